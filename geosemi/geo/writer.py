"""Rows in, cloud-optimised GeoTIFFs out, on the grid of the scene that they came from; a kill loses half a minute.

GDAL writes nothing here: on a full disk it can report success over a broken file, and a killed writer leaves one that
reads as zeros. Rows are compressed as they come, into files that an interrupted run finds again (`unfinished`). At the
end coarser levels are made of them, headers put before them (`tiff`), and the whole is read back through GDAL and
compared with what was handed in, before it gets its name. Memory holds a row of blocks of each level, whatever the
scene's height. Several processes may each write a band of a scene; the first band makes the files of all.
"""

import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geosemi.errors import OutputError, SceneUnreadable
from geosemi.geo.blocks import BLOCK, BlockFile, predictor_of
from geosemi.geo.commit import naming_disk, publish
from geosemi.geo.gcps import ControlPoints
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer, files_of
from geosemi.geo.pyramid import BlockRows, average, level_shapes, mode
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.tiff import Level, header, tags_by_gdal
from geosemi.geo.unfinished import Unfinished
from geosemi.geo.window import Window

Pixels = npt.NDArray[Any]


class _Raster:
    """Rows of one GeoTIFF in the making."""

    def __init__(
        self, path: Path, layer: Layer, grid: Grid, rows: range, *, parts: Path, done: Sequence[tuple[int, list[int]]]
    ) -> None:
        self.path = path
        self.layer = layer
        self.rows = rows
        self.checksum = 0
        self.histogram = np.zeros(256, dtype=np.int64)
        """Pixels of each value, of classes in bytes only."""
        self._grid = grid
        self._parts = parts
        naming_disk(path, lambda: parts.mkdir(exist_ok=True))
        sizes = tuple(size for _, row in done for size in row)
        self.blocks = BlockFile(parts / "level0", grid.width, layer, sizes)
        if done:
            self._take_up(min(len(done) * BLOCK, len(rows)), done[-1][0])

    def append(self, rows: Pixels) -> tuple[int, list[int]]:
        """Store a row of blocks (B, h, W); return the checksum of all rows so far, and the sizes of these blocks."""
        self._count(rows)
        sizes = self.blocks.append(rows)
        self.blocks.flush(to_disk=True)
        return self.checksum, sizes

    def _count(self, rows: Pixels) -> None:
        self.checksum = zlib.crc32(np.ascontiguousarray(rows).data, self.checksum)
        if self.layer.overviews == "MODE" and self.layer.dtype == "uint8":
            self.histogram += np.bincount(rows.ravel(), minlength=256)

    def _take_up(self, height: int, checksum: int) -> None:
        """Count what an interrupted run left, and check it."""
        try:
            for rows in self.blocks.rows(height):
                self._count(rows)
        except (zlib.error, ValueError):
            self.checksum = -1
        if self.checksum != checksum:
            raise OutputError(
                f"the unfinished work on `{self.path}` is damaged", hint="begin anew: the same command with `--restart`"
            )

    def close(self) -> None:
        """Close the file of blocks."""
        self.blocks.close()

    def finish(
        self, tags: Mapping[str, str], points: ControlPoints | None, below: Sequence["_Raster"]
    ) -> dict[Path, Path]:
        """Make the GeoTIFF and its side files; return finished file → final name, the GeoTIFF last.

        Raises:
            OutputError: the disk is full, or what was made is not what was handed in.
        """
        bands = (self, *below)
        levels = [[band.blocks for band in bands], *([level] for level in self._coarser(bands))]
        shapes = level_shapes(*self._grid.shape, BLOCK)
        sizes = [
            Level(*shape, [size for blocks in level for size in blocks.sizes])
            for shape, level in zip(shapes, levels, strict=True)
        ]
        made = self._parts / "raster.tif"
        head = header(sizes, self._tags(tags, points), block=BLOCK, predictor=predictor_of(self.layer))
        files = [blocks.path for level in reversed(levels) for blocks in level]
        naming_disk(self.path, lambda: _joined(made, head, files))
        self._require_intact(made, bands)
        finished = {}
        for text, target in zip(self.layer.sides.values(), files_of(self.path, self.layer), strict=False):
            side = self._parts / target.name
            naming_disk(target, lambda side=side, text=text: side.write_text(text, encoding="utf-8"))  # type: ignore[misc]
            finished[side] = target
        return {**finished, made: self.path}

    def _coarser(self, bands: Sequence["_Raster"]) -> list[BlockFile]:
        """Make the coarser levels of all bands, and close everything."""
        levels, gather = [], []
        for number, (height, width) in enumerate(level_shapes(*self._grid.shape, BLOCK)[1:], start=1):
            levels.append(BlockFile(self._parts / f"level{number}", width, self.layer))
            gather.append(BlockRows((len(self.layer.bands), height, width), BLOCK, self.layer.dtype))
        for band in bands if levels else ():
            for rows in band.blocks.rows(len(band.rows)):
                self._coarsen(rows, levels, gather)
        for blocks in (*levels, *(band.blocks for band in bands)):
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

    def _require_intact(self, made: Path, bands: Sequence["_Raster"]) -> None:
        try:
            with open_raster(made) as file:
                same = file.has_gcps or (file.grid.crs, file.grid.transform) == (self._grid.crs, self._grid.transform)
                same = same and all(self._checksum(file, band.rows) == band.checksum for band in bands)
        except SceneUnreadable as error:
            raise self._broken(error.message) from error
        if not same:
            raise self._broken("pixels or place differ")

    def _checksum(self, file: RasterFile, rows: range) -> int:
        checksum = 0
        for row in rows[::BLOCK]:
            window = Window(row, 0, min(BLOCK, rows.stop - row), self._grid.width)
            pixels = file.read(window, range(1, file.count + 1)).astype(self.layer.dtype)
            checksum = zlib.crc32(np.ascontiguousarray(pixels).data, checksum)
        return checksum

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
        rows: those that this set is given; None for all. A band begins at a multiple of 512.
    """

    def __init__(
        self,
        layers: Mapping[Path, Layer],
        grid: Grid,
        work: Unfinished,
        *,
        points: ControlPoints | None = None,
        rows: range | None = None,
    ) -> None:
        self.rows = range(grid.height) if rows is None else rows
        self._work = work
        self._grid = grid
        self._points = points
        self._stack = ExitStack()
        self.rasters: list[_Raster] = []
        self._gather: list[BlockRows] = []
        for number, (path, layer) in enumerate(layers.items()):
            done = [(line[number][0], line[number][1]) for line in work.done]
            raster = _Raster(path, layer, grid, self.rows, parts=work.folder / str(number), done=done)
            self._stack.callback(raster.close)
            self.rasters.append(raster)
            self._gather.append(BlockRows((len(layer.bands), self.rows.stop, grid.width), BLOCK, layer.dtype))
            self._gather[-1].next = self.begin
        self._ready: list[list[tuple[int, list[int]]]] = [[] for _ in layers]

    def __enter__(self) -> "RasterSet":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def begin(self) -> int:
        """The first row that is not on disk; a multiple of 512, or the end of the rows."""
        return min(self.rows.start + len(self._work.done) * BLOCK, self.rows.stop)

    def write(self, row: int, pixels: Sequence[Pixels]) -> None:
        """Append rows, (h, W) or (B, h, W) for each raster in the order of `layers`; `row` is the first one's place."""
        for number, (raster, gather, rows) in enumerate(zip(self.rasters, self._gather, pixels, strict=True)):
            stack = rows if rows.ndim == 3 else rows[None]
            wanted = (len(raster.layer.bands), self._grid.width)
            if row != gather.next or stack.dtype != raster.layer.dtype or (stack.shape[0], stack.shape[2]) != wanted:
                raise ValueError(f"expected {wanted} {raster.layer.dtype} from row {gather.next} on, got {stack.shape}")
            if row + stack.shape[1] > self.rows.stop:
                raise ValueError(f"rows {row} … {row + stack.shape[1] - 1} leave those before {self.rows.stop}")
            self._ready[number] += [raster.append(complete) for complete in gather.add(stack)]
        while all(self._ready):
            self._work.record([ready.pop(0) for ready in self._ready])

    def finish(
        self, tags: Mapping[str, str], notes: Mapping[Path, str] | None = None, *, below: Sequence["RasterSet"] = ()
    ) -> tuple[Path, ...]:
        """Give all files their final names, the main raster's last, and return them.

        Args:
            tags: provenance that the rasters share.
            notes: texts that are written too, by final name.
            below: the bands of rows below this one, from top to bottom.

        Raises:
            OutputError: the disk is full or fails; nothing was replaced.
        """
        done = 0
        for band in (self, *below):
            done = band.begin if band.rows.start == done else -1
            if done != band.rows.stop:
                raise ValueError(f"rows {band.begin} … {band.rows.stop - 1} were not handed in")
        if done != self._grid.height:
            raise ValueError(f"rows {done} … {self._grid.height - 1} were not handed in")
        moves: dict[Path, Path] = {}
        for path, text in (notes or {}).items():
            made = self._work.folder / f"note-{path.name}"  # `work.json` is a name of the folder's own
            naming_disk(path, lambda made=made, text=text: made.write_text(text, encoding="utf-8"))  # type: ignore[misc]
            moves[made] = path
        for raster, *others in zip(self.rasters, *(band.rasters for band in below), strict=True):
            moves.update(raster.finish(tags, self._points, others))
        publish(moves)
        return tuple(moves.values())

    @property
    def histogram(self) -> npt.NDArray[np.int64]:
        """Pixels of each value 0 … 255 of the main raster, of all rows that are on disk."""
        return self.rasters[-1].histogram


def _joined(made: Path, head: bytes, parts: Sequence[Path]) -> None:
    with made.open("wb") as out:
        out.write(head)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 2**20)
