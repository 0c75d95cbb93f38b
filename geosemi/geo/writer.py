"""Rows in, cloud-optimised GeoTIFFs out, on the grid of the scene that they came from; a kill loses half a minute.

GDAL writes nothing here: on a full disk it can report success over a broken file, and a killed writer leaves one that
reads as zeros. Rows are compressed as they come, into files that an interrupted run finds again (`unfinished`). At the
end coarser levels are made of them, headers put before them (`tiff`), and the whole is read back through GDAL and
compared with what was handed in, before it gets its name. Memory holds a row of blocks of each level, whatever the
scene's height.
"""

import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from geosemi.errors import OutputError, SceneUnreadable
from geosemi.geo.blocks import BLOCK, BlockFile, predictor_of
from geosemi.geo.commit import naming_disk, publish
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer, files_of
from geosemi.geo.pyramid import BlockRows, average, level_shapes, mode
from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.tiff import Level, header, tags_by_gdal
from geosemi.geo.unfinished import Unfinished
from geosemi.geo.window import Window

Pixels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """Ground control points of a raster that has no geotransform.

    Attributes:
        points: rasterio's GroundControlPoint objects.
        crs: of their coordinates.
    """

    points: tuple[Any, ...]
    crs: CRS | None

    @classmethod
    def of(cls, place: Path | Remote) -> "ControlPoints | None":
        """Read a file's control points; None where it has none."""
        with open_raster(place) as file:
            points, crs = file.dataset.gcps
        return cls(tuple(points), crs) if points else None


class _Raster:
    """One GeoTIFF in the making."""

    def __init__(
        self, path: Path, layer: Layer, grid: Grid, parts: Path, done: Sequence[tuple[int, list[int]]]
    ) -> None:
        self.path = path
        self.layer = layer
        self.checksum = 0
        self.histogram = np.zeros(256, dtype=np.int64)
        """Pixels of each value, of classes only."""
        self._grid = grid
        self._parts = parts
        naming_disk(path, lambda: parts.mkdir(exist_ok=True))
        sizes = tuple(size for _, row in done for size in row)
        self._blocks = BlockFile(parts / "level0", grid.width, layer, sizes)
        if done:
            self._take_up(min(len(done) * BLOCK, grid.height), done[-1][0])

    def append(self, rows: Pixels) -> tuple[int, list[int]]:
        """Store a row of blocks (B, h, W); return the checksum of all rows so far, and the sizes of these blocks."""
        self._count(rows)
        sizes = self._blocks.append(rows)
        self._blocks.flush(to_disk=True)
        return self.checksum, sizes

    def _count(self, rows: Pixels) -> None:
        self.checksum = zlib.crc32(np.ascontiguousarray(rows).data, self.checksum)
        if self.layer.overviews == "MODE":
            self.histogram += np.bincount(rows.ravel(), minlength=256)

    def _take_up(self, height: int, checksum: int) -> None:
        """Count what an interrupted run left, and check it."""
        try:
            for rows in self._blocks.rows(height):
                self._count(rows)
        except (zlib.error, ValueError):
            self.checksum = -1
        if self.checksum != checksum:
            raise OutputError(
                f"the unfinished work on `{self.path}` is damaged", hint="begin anew: the same command with `--restart`"
            )

    def close(self) -> None:
        """Close the file of blocks."""
        self._blocks.close()

    def finish(self, tags: Mapping[str, str], points: ControlPoints | None) -> dict[Path, Path]:
        """Make the GeoTIFF and its side files; return finished file → final name, the GeoTIFF last.

        Raises:
            OutputError: the disk is full, or what was made is not what was handed in.
        """
        levels = self._levels()
        shapes = level_shapes(*self._grid.shape, BLOCK)
        sizes = [Level(*shape, blocks.sizes) for shape, blocks in zip(shapes, levels, strict=True)]
        made = self._parts / "raster.tif"
        head = header(sizes, self._tags(tags, points), block=BLOCK, predictor=predictor_of(self.layer))
        naming_disk(self.path, lambda: _joined(made, head, [blocks.path for blocks in reversed(levels)]))
        self._require_intact(made)
        finished = {}
        for text, target in zip(self.layer.sides.values(), files_of(self.path, self.layer), strict=False):
            side = self._parts / target.name
            naming_disk(target, lambda side=side, text=text: side.write_text(text, encoding="utf-8"))  # type: ignore[misc]
            finished[side] = target
        return {**finished, made: self.path}

    def _levels(self) -> list[BlockFile]:
        """Return the blocks of all levels, the finest first; coarser ones are made now."""
        shapes = level_shapes(*self._grid.shape, BLOCK)
        levels = [self._blocks]
        gather = []
        for number, (height, width) in enumerate(shapes[1:], start=1):
            levels.append(BlockFile(self._parts / f"level{number}", width, self.layer))
            gather.append(BlockRows((len(self.layer.bands), height, width), BLOCK, self.layer.dtype))
        if gather:
            for rows in self._blocks.rows(self._grid.height):
                self._coarsen(rows, levels[1:], gather)
        for blocks in levels:
            blocks.close()
        return levels

    def _coarsen(self, rows: Pixels, levels: Sequence[BlockFile], gather: Sequence[BlockRows]) -> None:
        if self.layer.overviews == "MODE":
            half = mode(rows, int(self.layer.nodata))
        else:
            half = average(rows, self.layer.nodata)
        for complete in gather[0].add(half):
            levels[0].append(complete)
            if len(levels) > 1:
                self._coarsen(complete, levels[1:], gather[1:])

    def _tags(self, tags: Mapping[str, str], points: ControlPoints | None) -> dict[int, Any]:
        layer, place = self.layer, {"crs": self._grid.crs}
        if points is not None:
            place = {"gcps": list(points.points), "crs": points.crs}
        elif self._grid.transform != Affine.identity():  # which rasterio warns of, and GDAL does not write
            place["transform"] = self._grid.transform
        half = {"dtype": "float32", "nbits": 16} if layer.dtype == "float16" else {"dtype": layer.dtype}

        def describe(dataset: Any) -> None:
            for number, name in enumerate(layer.bands, start=1):
                dataset.set_band_description(number, name)
            if layer.colours is not None:
                dataset.write_colormap(1, layer.colours)
            if layer.scale != 1:
                dataset.scales = (layer.scale,) * len(layer.bands)
            dataset.update_tags(**{**layer.tags, **tags})

        return tags_by_gdal({"count": len(layer.bands), "nodata": layer.nodata, **half, **place}, describe)

    def _require_intact(self, made: Path) -> None:
        checksum = 0
        try:
            with open_raster(made) as file:
                same = file.has_gcps or (file.grid.crs, file.grid.transform) == (self._grid.crs, self._grid.transform)
                for row in range(0, self._grid.height, BLOCK):
                    window = Window(row, 0, min(BLOCK, self._grid.height - row), self._grid.width)
                    rows = file.read(window, range(1, file.count + 1)).astype(self.layer.dtype)
                    checksum = zlib.crc32(np.ascontiguousarray(rows).data, checksum)
        except SceneUnreadable as error:
            raise self._broken(error.message) from error
        if not same or checksum != self.checksum:
            raise self._broken("pixels or place differ")

    def _broken(self, cause: str) -> OutputError:
        return OutputError(
            f"`{self.path}` does not read back as it was written ({cause})",
            hint="check the disk and run the same command again with `--restart`",
        )


class RasterSet:
    """Rasters of one scene that grow together, top to bottom, and get their names together; a context manager.

    Args:
        layers: final name → what it means; the main raster last.
        grid: where the pixels lie.
        work: keeps what is done; what it holds already is not written again.
        points: ground control points, where the scene is placed by them.
    """

    def __init__(
        self, layers: Mapping[Path, Layer], grid: Grid, work: Unfinished, *, points: ControlPoints | None = None
    ) -> None:
        self._work = work
        self._grid = grid
        self._points = points
        self._stack = ExitStack()
        self._rasters, self._gather = [], []
        for number, (path, layer) in enumerate(layers.items()):
            done = [(line[number][0], line[number][1]) for line in work.done]
            raster = _Raster(path, layer, grid, work.folder / str(number), done)
            self._stack.callback(raster.close)
            self._rasters.append(raster)
            self._gather.append(BlockRows((len(layer.bands), *grid.shape), BLOCK, layer.dtype))
            self._gather[-1].next = self.begin
        self._ready: list[list[tuple[int, list[int]]]] = [[] for _ in layers]

    def __enter__(self) -> "RasterSet":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def begin(self) -> int:
        """The first row that is not on disk; a multiple of 512, or the scene's height."""
        return min(len(self._work.done) * BLOCK, self._grid.height)

    def write(self, row: int, pixels: Sequence[Pixels]) -> None:
        """Append rows, (h, W) or (B, h, W) for each raster in the order of `layers`; `row` is the first one's place."""
        for number, (raster, gather, rows) in enumerate(zip(self._rasters, self._gather, pixels, strict=True)):
            stack = rows if rows.ndim == 3 else rows[None]
            wanted = (len(raster.layer.bands), self._grid.width)
            if row != gather.next or stack.dtype != raster.layer.dtype or (stack.shape[0], stack.shape[2]) != wanted:
                raise ValueError(f"expected {wanted} {raster.layer.dtype} from row {gather.next} on, got {stack.shape}")
            if row + stack.shape[1] > self._grid.height:
                raise ValueError(f"rows {row} … {row + stack.shape[1] - 1} leave the scene of {self._grid.height} rows")
            self._ready[number] += [raster.append(complete) for complete in gather.add(stack)]
        while all(self._ready):
            self._work.record([ready.pop(0) for ready in self._ready])

    def finish(self, tags: Mapping[str, str], notes: Mapping[Path, str] | None = None) -> tuple[Path, ...]:
        """Give all files their final names, the main raster's last, and return them.

        Args:
            tags: provenance that the rasters share.
            notes: texts that are written too, by final name.

        Raises:
            OutputError: the disk is full or fails; nothing was replaced.
        """
        if self.begin != self._grid.height:
            raise ValueError(f"only {self.begin} of {self._grid.height} rows were handed in")
        moves: dict[Path, Path] = {}
        for path, text in (notes or {}).items():
            made = self._work.folder / f"note-{path.name}"  # `work.json` is a name of the folder's own
            naming_disk(path, lambda made=made, text=text: made.write_text(text, encoding="utf-8"))  # type: ignore[misc]
            moves[made] = path
        for raster in self._rasters:
            moves.update(raster.finish(tags, self._points))
        publish(moves)
        return tuple(moves.values())

    @property
    def histogram(self) -> npt.NDArray[np.int64]:
        """Pixels of each value 0 … 255 of the main raster, of all rows that are on disk."""
        return self._rasters[-1].histogram


def _joined(made: Path, head: bytes, parts: Sequence[Path]) -> None:
    with made.open("wb") as out:
        out.write(head)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 2**20)
