"""Rows in, a cloud-optimised GeoTIFF out, on the grid of the scene that it came from.

GDAL only ever writes into memory here: on a full disk it can report success over a broken file, and a killed writer
leaves one that reads as zeros. The finished bytes are read back, compared with what was handed in, and given to
`geosemi.geo.commit`. Memory holds the compressed rasters (0.05 bytes a pixel for a mask, measured) and 512 rows.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window as RasterioWindow

from geosemi.errors import OutputError
from geosemi.geo.commit import require_writable, write_files
from geosemi.geo.grid import Grid
from geosemi.geo.raster import open_raster
from geosemi.geo.style import LEGEND_TAG, aux_xml, colour_table, qml_raster
from geosemi.legend import Legend

BLOCK = 512
CONFIDENCE_STEPS = 254  # a confidence of 1 is stored as 254; 255 is nodata
_ENV: dict[str, Any] = {"GDAL_PAM_ENABLED": "NO", "GDAL_CACHEMAX": 64 * 2**20}


@dataclass(frozen=True, slots=True)
class Layer:
    """What the values of a uint8 raster mean.

    Attributes:
        description: of the band.
        nodata: the value that means nothing.
        overviews: how coarser levels are made: `MODE` for classes, `AVERAGE` for amounts.
        colours: value → (red, green, blue, alpha), or None.
        scale: value × scale = amount.
        tags: metadata that belongs to the meaning.
        sides: texts of side files by their names, in which {name} and {stem} are the raster's.
    """

    description: str
    nodata: int
    overviews: Literal["MODE", "AVERAGE"]
    colours: Mapping[int, tuple[int, int, int, int]] | None = None
    scale: float = 1.0
    tags: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)


def mask_layer(legend: Legend) -> Layer:
    """Return the layer of a class mask: class ids, `legend.ignore` is nodata, coloured and named for QGIS."""
    return Layer(
        "class",
        legend.ignore,
        "MODE",
        colours=colour_table(legend),
        tags={LEGEND_TAG: json.dumps(legend.to_dict(), ensure_ascii=False)},
        sides={"{name}.aux.xml": aux_xml(legend), "{stem}.qml": qml_raster(legend)},
    )


def confidence_layer() -> Layer:
    """Return the layer of the winning class's probability: 0 … 254 mean 0 … 1, 255 is nodata."""
    note = f"value / {CONFIDENCE_STEPS} is the probability of the class in the mask; 255 is nodata"
    return Layer(
        f"confidence × {CONFIDENCE_STEPS}", 255, "AVERAGE", scale=1 / CONFIDENCE_STEPS, tags={"GEOSEMI_SCALE": note}
    )


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
    def of(cls, path: Path) -> "ControlPoints | None":
        """Read a file's control points; None where it has none."""
        with open_raster(path) as file:
            points, crs = file.dataset.gcps
        return cls(tuple(points), crs) if points else None


def files_of(path: Path, layer: Layer) -> tuple[Path, ...]:
    """Return all files that a raster is written as, side files first."""
    sides = (path.with_name(side.format(name=path.name, stem=path.stem)) for side in layer.sides)
    return (*sides, path)


def require_free(path: Path, layer: Layer, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check, before any work, that a raster and its side files can be written.

    Raises:
        OutputError: the name is no `.tif`, the folder is missing, or a file exists or is an input.
    """
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise OutputError(f"`{path}` is no name for a GeoTIFF", hint="end it in .tif")
    for file in reversed(files_of(path, layer)):
        require_writable(file, overwrite=overwrite, inputs=inputs)


class CogWriter:
    """Takes uint8 rows from top to bottom and makes a GeoTIFF of them; use it as a context manager.

    Args:
        path: the final name; nothing is written there before `write_cogs`.
        grid: where the pixels lie.
        layer: what the values mean.
        points: ground control points, where the scene is placed by them.
    """

    def __init__(self, path: Path, grid: Grid, layer: Layer, *, points: ControlPoints | None = None) -> None:
        self.path = path
        self.grid = grid
        self.layer = layer
        self._buffer = np.empty((min(BLOCK, grid.height), grid.width), dtype=np.uint8)
        self._next = 0  # the first row that was not handed in yet
        self._checksum = 0
        self._stack = ExitStack()
        with rasterio.Env(**_ENV):
            self._raw = self._stack.enter_context(MemoryFile(ext=".tif"))
            self._cog = self._stack.enter_context(MemoryFile(ext=".tif"))
            self._dataset = self._stack.enter_context(self._raw.open(**_profile(grid, layer, points)))
            self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write_rows(self, row: int, rows: npt.NDArray[np.uint8]) -> None:
        """Append rows (h, W); `row` is the first one's place in the scene.

        Rows are gathered to whole block rows, so that each block is compressed once.
        """
        if row != self._next or rows.dtype != np.uint8 or rows.shape[1:] != (self.grid.width,):
            raise ValueError(
                f"expected uint8 rows of {self.grid.width} from {self._next} on, got {rows.shape} at {row}"
            )
        if row + len(rows) > self.grid.height:
            raise ValueError(f"rows {row} … {row + len(rows) - 1} leave the scene of {self.grid.height} rows")
        self._checksum = zlib.crc32(np.ascontiguousarray(rows).data, self._checksum)
        while len(rows):
            filled = self._next % BLOCK
            part, rows = rows[: BLOCK - filled], rows[BLOCK - filled :]
            self._buffer[filled : filled + len(part)] = part
            self._next += len(part)
            if self._next % BLOCK == 0 or self._next == self.grid.height:
                self._flush(filled + len(part))

    def finish(self, tags: Mapping[str, str]) -> Mapping[Path, bytes | memoryview]:
        """Return the contents of all files by final name, the GeoTIFF last; valid until the writer closes.

        Args:
            tags: provenance.

        Raises:
            OutputError: GDAL failed, or what it made is not what was handed in.
        """
        if self._next != self.grid.height:
            raise ValueError(f"only {self._next} of {self.grid.height} rows were handed in")
        with rasterio.Env(**_ENV):
            try:
                self._dataset.update_tags(**{**self.layer.tags, **tags})
                self._dataset.close()
                copy(
                    self._raw.name, self._cog.name, driver="COG", compress="DEFLATE", blocksize=BLOCK,
                    predictor="STANDARD" if self.layer.overviews == "AVERAGE" else "NO", bigtiff="IF_SAFER",
                    overviews="IGNORE_EXISTING", overview_resampling=self.layer.overviews,
                )  # fmt: skip
                intact = self._reads_back()
            except RasterioError as error:
                raise self._failed(str(error.__cause__ or error)) from error
        if not intact:
            raise self._failed("GDAL did not keep its pixels or its place")
        sides = (text.encode() for text in self.layer.sides.values())
        return dict(zip(files_of(self.path, self.layer), (*sides, self._cog.getbuffer()), strict=True))

    def _describe(self) -> None:
        self._dataset.set_band_description(1, self.layer.description)
        if self.layer.colours is not None:
            self._dataset.write_colormap(1, self.layer.colours)
        if self.layer.scale != 1:
            self._dataset.scales = (self.layer.scale,)

    def _flush(self, count: int) -> None:
        where = RasterioWindow(0, self._next - count, self.grid.width, count)
        with rasterio.Env(**_ENV):
            try:
                self._dataset.write(self._buffer[:count], 1, window=where)
            except RasterioError as error:
                raise self._failed(str(error.__cause__ or error)) from error

    def _reads_back(self) -> bool:
        checksum = 0
        with self._cog.open() as made:
            same_place = made.crs == self.grid.crs and made.transform == self.grid.transform
            for row in range(0, self.grid.height, BLOCK):
                where = RasterioWindow(0, row, self.grid.width, min(BLOCK, self.grid.height - row))
                checksum = zlib.crc32(np.ascontiguousarray(made.read(1, window=where)).data, checksum)
        return same_place and checksum == self._checksum

    def _failed(self, cause: str) -> OutputError:
        return OutputError(
            f"`{self.path}` could not be made in memory ({cause})",
            hint="free some memory and run the same command again",
        )


def write_cogs(writers: Sequence[CogWriter], tags: Mapping[str, str]) -> tuple[Path, ...]:
    """Finish rasters that belong together and give all their files final names, the last writer's GeoTIFF last.

    Args:
        writers: all rows of each were handed in.
        tags: provenance that they share.

    Raises:
        OutputError: GDAL failed or the disk is full; nothing was replaced.
    """
    contents: dict[Path, bytes | memoryview] = {}
    for writer in writers:
        contents.update(writer.finish(tags))
    write_files(contents)
    return tuple(contents)


def _profile(grid: Grid, layer: Layer, points: ControlPoints | None) -> dict[str, Any]:
    place: dict[str, Any] = {}
    if points is not None:
        place = {"gcps": list(points.points), "crs": points.crs}
    elif grid.crs is not None or grid.transform != Affine.identity():
        place = {"crs": grid.crs, "transform": grid.transform}
    return {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": "uint8",
        "nodata": layer.nodata, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK,
        # fast and only for passing on; the COG is compressed anew
        "compress": "DEFLATE", "zlevel": 1, "bigtiff": "IF_SAFER", **place,
    }  # fmt: skip
