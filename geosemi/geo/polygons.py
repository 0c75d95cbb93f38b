"""From a mask file to a vector layer: streamed, exact, uncut, styled."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import BaseModel, ConfigDict, Field

from geosemi.errors import GridMismatch, LegendError
from geosemi.geo.commit import private_folder, publish, require_writable
from geosemi.geo.corners import OUTSIDE, Bytes
from geosemi.geo.grid import Grid
from geosemi.geo.measure import Sizes, measurer
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.rings import Shapes
from geosemi.geo.tracing import Tracer
from geosemi.geo.vectors import Columns, PolygonLayer, require_format
from geosemi.geo.window import Window
from geosemi.legend import Legend

_BATCH_CORNERS = 2**19  # polygons are written when they have so many corners (8 MB of coordinates) together


class PolygonSettings(BaseModel):
    """How polygons are made.

    Attributes:
        band_rows: rows read at a time. The result does not depend on it; memory and speed do.
        min_area_m2: smaller polygons are left out (their place stays empty); 0 keeps all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    band_rows: int = Field(512, ge=1)
    min_area_m2: float = Field(0.0, ge=0, allow_inf_nan=False)


def polygonize(
    mask: Path,
    out: Path,
    legend: Legend,
    settings: PolygonSettings,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write one polygon for every 4-connected patch of one class.

    Polygons follow pixel edges exactly, with holes; they are valid and neither cut at band borders nor simplified.
    They come in the order of their last row, then their first pixel. Pixels of `legend.ignore`, of the file's nodata
    value or outside its internal mask yield none. Attributes: `class_id`, `class_name`, `area_m2`, `perim_m` (holes
    included; see `geosemi.geo.measure`) and `n_px`.

    Args:
        mask: one-band raster whose values are class ids.
        out: .gpkg (layer `segments`, opens named and coloured in QGIS), .fgb, .geojson (longitude and latitude,
            RFC 7946) or .parquet.
        legend: the classes.
        settings: band height and smallest area.
        overwrite: replace an existing file.
        on_progress: called with rows done and rows in all.

    Returns:
        the number of polygons written.

    Raises:
        OutputError: the output exists, cannot be written, or its extension is unknown.
        LegendError: the mask holds a value that is no class, or is no mask at all.
        GridMismatch: it is placed by ground control points only.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    with open_raster(mask) as file:
        _require_mask(file)
        require_format(out, file.grid)
        require_writable(out, overwrite=overwrite, inputs=(mask,))
        with private_folder(out) as folder:
            batch = _Batch(PolygonLayer(folder / "polygons.gpkg", file.grid), file.grid, legend, settings.min_area_m2)
            tracer = Tracer(file.grid.width)
            for row in range(0, file.grid.height, settings.band_rows):
                rows = min(settings.band_rows, file.grid.height - row)
                for shapes in tracer.feed(_class_rows(file, Window(row, 0, rows, file.grid.width), legend)):
                    batch.add(shapes)
                if on_progress is not None:
                    on_progress(row + rows, file.grid.height)
            batch.add(tracer.finish())
            batch.write()
            publish({batch.layer.finish(out, legend, file.grid): out})
            return batch.layer.count


class _Batch:
    """Polygons between the tracer and the file."""

    def __init__(self, layer: PolygonLayer, grid: Grid, legend: Legend, min_area: float) -> None:
        self.layer = layer
        self._grid = grid
        self._names = np.array(legend.names, dtype=object)
        self._min_area = min_area
        self._measure: Callable[[Shapes], Sizes] = measurer(grid)
        self._waiting: list[Shapes] = []
        self._corners = 0

    def add(self, shapes: Shapes) -> None:
        """Take polygons; write when there are many."""
        if len(shapes):
            self._waiting.append(shapes)
            self._corners += len(shapes.corners)
        if self._corners >= _BATCH_CORNERS:
            self.write()

    def write(self) -> None:
        """Write what waits; the layer is made even if nothing does."""
        shapes = Shapes.concatenate(self._waiting)
        self._waiting, self._corners = [], 0
        area, perimeter = self._measure(shapes)
        columns: Columns = {
            "class_id": shapes.value.astype(np.int32),
            "class_name": self._names[shapes.value],
            "area_m2": area,
            "perim_m": perimeter,
            "n_px": shapes.n_px,
        }
        geometry = polygons_on_map(shapes, self._grid)
        if self._min_area > 0:
            large = area >= self._min_area
            geometry, columns = geometry[large], {name: values[large] for name, values in columns.items()}
        self.layer.append(shapely.to_wkb(geometry), columns)


def polygons_on_map(shapes: Shapes, grid: Grid) -> npt.NDArray[np.object_]:
    """Return shapely polygons in map coordinates; shells run counter-clockwise on the map, holes clockwise."""
    corners = shapes.corners
    t = grid.transform
    if t.determinant > 0:  # a mirrored grid, e.g. south-up: turn every ring round
        sizes = np.diff(shapes.rings)
        corners = corners[np.repeat(shapes.rings[:-1] + shapes.rings[1:] - 1, sizes) - np.arange(len(corners))]
    col, row = corners.astype(np.float64).T
    points = np.stack([t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f], axis=1)
    polygons: npt.NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (shapes.rings, shapes.polygons)
    )
    return polygons


def _require_mask(file: RasterFile) -> None:
    if file.count != 1 or file.dtype.kind not in "iu":
        raise LegendError(
            f"`{file.path}` has {file.count} band(s) of {file.dtype.name}, a mask has one band of whole numbers",
            hint="give the mask that `geosemi predict` wrote, or pick its band with gdal_translate -b",
        )
    if file.has_gcps:  # polygons cannot carry control points: they would lie in pixel coordinates
        raise GridMismatch(
            f"`{file.path}` is placed by ground control points only, which polygons cannot be",
            hint="warp it first: `gdalwarp -r near mask.tif warped.tif`",
        )


def _class_rows(file: RasterFile, window: Window, legend: Legend) -> Bytes:
    """Read rows as class ids, (h, w) uint8, OUTSIDE where there is no class."""
    pixels = file.read(window, 1)
    empty = pixels == legend.ignore
    if file.nodata is not None:
        empty |= pixels == file.nodata
    if file.has_internal_mask:
        empty |= ~file.read_internal_mask(window)
    strange = ~empty & ((pixels < 0) | (pixels >= len(legend)))
    if strange.any():
        raise LegendError(
            f"`{file.path}` holds the value {pixels[strange][0]}, "
            f"the legend `{legend.name}` the classes 0 … {len(legend) - 1}",
            hint="give the legend of this mask with `--legend`",
        )
    rows: Bytes = np.where(empty, OUTSIDE, pixels).astype(np.uint8)
    return rows
