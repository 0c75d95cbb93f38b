"""From a mask file to a vector layer: streamed, exact, uncut, styled."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import BaseModel, ConfigDict, Field

from geosemi.geo.commit import private_folder, publish, require_writable
from geosemi.geo.corners import Bytes
from geosemi.geo.formats import convert
from geosemi.geo.grid import Grid
from geosemi.geo.maskrows import ReadRows, open_confidence, open_mask
from geosemi.geo.measure import Sizes, measurer
from geosemi.geo.rings import Shapes
from geosemi.geo.slivers import Slivers, run_sizes
from geosemi.geo.tally import TALLIES, Tally, mean_confidence
from geosemi.geo.tracing import Tracer
from geosemi.geo.vectors import Columns, PolygonLayer, require_format
from geosemi.legend import Legend

_BATCH_CORNERS = 2**19  # polygons are written when they have so many corners (8 MB of coordinates) together


class PolygonSettings(BaseModel):
    """How polygons are made.

    Attributes:
        band_rows: rows read at a time. The result does not depend on it; memory and speed do.
        min_area_m2: smaller polygons give their place to the neighbour they share the longest edge with, the smallest
            first (see `geosemi.geo.slivers`); those that touch nothing but nodata stay. 0 keeps all.
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
    confidence: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write one polygon for every 4-connected patch of one class.

    Polygons follow pixel edges exactly, with holes; they are valid and neither cut at band borders nor simplified.
    They come in the order of their last row, then their first pixel. Pixels of `legend.ignore`, of the file's nodata
    value or outside its internal mask yield none. Attributes: `class_id`, `class_name`, `area_m2`, `perim_m` (holes
    included; see `geosemi.geo.measure`), `n_px` and, with a confidence raster, `conf` (its mean, 0 … 1).

    Args:
        mask: one-band raster whose values are class ids.
        out: .gpkg (layer `segments`, opens named and coloured in QGIS), .fgb, .geojson (longitude and latitude,
            RFC 7946), .parquet (GeoParquet 1.1) or .shp.
        legend: the classes.
        settings: band height and smallest area.
        confidence: raster on the mask's grid as `geosemi predict --confidence` writes it: 0 … 254 for 0 … 1, 255 none.
        overwrite: replace an existing file.
        on_progress: called with rows done and rows in all.

    Returns:
        the number of polygons written.

    Raises:
        OutputError: the output exists, cannot be written, or its extension is unknown.
        LegendError: the mask holds a value that is no class, or is no mask at all.
        GridMismatch: it is placed by ground control points only, or the confidence lies elsewhere.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    inputs = (mask,) if confidence is None else (mask, confidence)
    with open_mask(mask, legend) as (grid, classes), open_confidence(confidence, grid, mask) as sureness:
        require_format(out, grid, overwrite=overwrite)
        require_writable(out, overwrite=overwrite, inputs=inputs)
        with private_folder(out) as folder:
            layer = PolygonLayer(folder / "polygons.gpkg", grid)
            batch = _Batch(layer, grid, legend, has_confidence=sureness is not None)
            tracer = Tracer(grid.width, None if sureness is None else Tally(grid.width))
            done = 0
            for values in _bands(classes, grid, settings, on_progress):
                for shapes in tracer.feed(values, sureness and sureness(done, len(values))):
                    batch.add(shapes)
                done += len(values)
            batch.add(tracer.finish())
            batch.write()
            layer.finish(out, legend)
            publish(convert(layer, out, grid))
            return layer.count


def _bands(
    classes: ReadRows, grid: Grid, settings: PolygonSettings, on_progress: Callable[[int, int], None] | None
) -> Iterator[Bytes]:
    """Yield the rows of a mask in bands, small patches given away if so wished."""
    slivers = None
    if settings.min_area_m2 > 0:
        slivers = Slivers(grid.width, run_sizes(grid, settings.min_area_m2))
    for row in range(0, grid.height, settings.band_rows):
        values = classes(row, min(settings.band_rows, grid.height - row))
        yield from [values] if slivers is None else slivers.feed(values)
        if on_progress is not None:
            on_progress(row + len(values), grid.height)
    if slivers is not None and len(rest := slivers.finish()):
        yield rest


class _Batch:
    """Polygons between the tracer and the file."""

    def __init__(self, layer: PolygonLayer, grid: Grid, legend: Legend, *, has_confidence: bool) -> None:
        self.layer = layer
        self._grid = grid
        self._names = np.array(legend.names, dtype=object)
        self._has_confidence = has_confidence
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
        shapes = Shapes.concatenate(self._waiting, TALLIES if self._has_confidence else 0)
        self._waiting, self._corners = [], 0
        area, perimeter = self._measure(shapes)
        columns: Columns = {
            "class_id": shapes.value.astype(np.int32),
            "class_name": self._names[shapes.value],
            "area_m2": area,
            "perim_m": perimeter,
            "n_px": shapes.n_px,
        }
        if self._has_confidence:
            columns["conf"] = mean_confidence(shapes.tallies, shapes.n_px)
        geometry = polygons_on_map(shapes, self._grid)
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
