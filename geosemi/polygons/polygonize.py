"""From a mask file to a vector layer: streamed, exact, uncut, styled."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from geosemi.errors import LegendError
from geosemi.geo.commit import private_folder, publish, require_writable
from geosemi.geo.corners import Bytes
from geosemi.geo.grid import Grid
from geosemi.legend import Legend
from geosemi.polygons.coverage import CoverageTracer
from geosemi.polygons.dissolve import Dissolved
from geosemi.polygons.features import Features, layer_and_sink
from geosemi.polygons.formats import convert, discard_stale
from geosemi.polygons.maskrows import ReadRows, open_confidence, open_mask
from geosemi.polygons.measure import pixel_sides
from geosemi.polygons.regularize import Squaring
from geosemi.polygons.slivers import Slivers, run_sizes
from geosemi.polygons.tally import Tally
from geosemi.polygons.tracing import Tracer
from geosemi.polygons.vectors import require_format

_LEAST_WALL = 2.0  # pixels


class PolygonSettings(BaseModel):
    """How polygons are made.

    Attributes:
        band_rows: rows read at a time. The result does not depend on it; memory and speed do.
        min_area_m2: smaller polygons give their place to the neighbour they share the longest edge with, the smallest
            first (see `geosemi.polygons.slivers`); those that touch nothing but nodata stay. 0 keeps all.
        simplify_px: drop turns of shared boundaries that span less than a triangle of this size squared, in pixels;
            neighbours keep sharing every edge (see `geosemi.polygons.simplify`). 0 keeps pixel edges.
        simplify_m: the same in metres.
        smooth: round the corners of shared boundaries, after simplifying (see `geosemi.polygons.smooth`).
        dissolve: write one multipolygon a class instead of one polygon a patch.
        regularize: names of classes, e.g. buildings, whose polygons get right angles, each by itself: they no longer
            share every edge with their neighbours (see `geosemi.polygons.regularize`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    band_rows: int = Field(512, ge=1)
    min_area_m2: float = Field(0.0, ge=0, allow_inf_nan=False)
    simplify_px: float = Field(0.0, ge=0, allow_inf_nan=False)
    simplify_m: float = Field(0.0, ge=0, allow_inf_nan=False)
    smooth: bool = False
    dissolve: bool = False
    regularize: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.simplify_px and self.simplify_m:
            raise ValueError("simplify_px and simplify_m say the same thing in two units: give one")
        return self

    def tolerance_px(self, grid: Grid) -> float:
        """Return the tolerance of simplification in pixels of a grid; metres are taken at its centre."""
        return self.simplify_px or self.simplify_m / (
            grid.metres_per_pixel() or math.sqrt(abs(grid.transform.determinant))
        )


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

    Polygons follow pixel edges exactly, with holes, unless settings say otherwise; they are valid and never cut.
    They come in the order of their last row, then their first pixel. Pixels of `legend.ignore`, of the file's nodata
    value or outside its internal mask yield none. Attributes: `class_id`, `class_name`, `area_m2`, `perim_m` (holes
    included; see `geosemi.polygons.measure`), `n_px` and, with a confidence raster, `conf` (its mean, 0 … 1).

    Args:
        mask: one-band raster whose values are class ids.
        out: .gpkg (layer `segments`, opens named and coloured in QGIS), .fgb, .geojson (longitude and latitude,
            RFC 7946), .parquet (GeoParquet 1.1) or .shp.
        legend: the classes.
        settings: how; by default exact.
        confidence: raster on the mask's grid as `geosemi predict --confidence` writes it: 0 … 254 for 0 … 1, 255 none.
        overwrite: replace an existing file.
        on_progress: called with rows done and rows in all.

    Returns:
        the number of polygons written.

    Raises:
        OutputError: the output exists, cannot be written, or its extension is unknown.
        LegendError: the mask holds a value that is no class, or is no mask at all; a class to regularize is unknown.
        GridMismatch: it is placed by ground control points only, or the confidence lies elsewhere.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    inputs = (mask,) if confidence is None else (mask, confidence)
    with open_mask(mask, legend) as (grid, classes), open_confidence(confidence, grid, mask) as sureness:
        require_format(out, grid, overwrite=overwrite)
        require_writable(out, overwrite=overwrite, inputs=inputs)
        with private_folder(out) as folder:
            layer, sink = layer_and_sink(folder, grid, dissolve=settings.dissolve)
            features = Features(
                grid, legend, sink, has_confidence=sureness is not None, change=_squaring(grid, legend, settings)
            )  # fmt: skip
            tracer = _tracer(grid, settings, has_confidence=sureness is not None)
            done = 0
            for values in _bands(classes, grid, settings, on_progress):
                for shapes in tracer.feed(values, sureness and sureness(done, len(values))):
                    features.add(shapes)
                done += len(values)
            features.add(tracer.finish())
            features.write()
            if isinstance(sink, Dissolved):
                sink.finish()
            layer.finish(out, legend)
            publish(convert(layer, out, grid))
            discard_stale(out)
            return layer.count


def _tracer(grid: Grid, settings: PolygonSettings, *, has_confidence: bool) -> Tracer | CoverageTracer:
    tolerance = settings.tolerance_px(grid)
    if tolerance or settings.smooth:
        return CoverageTracer(grid.width, tolerance=tolerance, smooth=settings.smooth, has_confidence=has_confidence)
    return Tracer(grid.width, Tally(grid.width) if has_confidence else None)


def _squaring(grid: Grid, legend: Legend, settings: PolygonSettings) -> Squaring | None:
    for name in settings.regularize:
        if name not in legend.names:
            raise LegendError(f"`{name}` is no class of `{legend.name}`", hint=f"its classes are {_listed(legend)}")
    if not settings.regularize:
        return None
    values = frozenset(legend.names.index(name) for name in settings.regularize)
    room = (grid.width, grid.height)
    return Squaring(values, pixel_sides(grid), max(settings.tolerance_px(grid), _LEAST_WALL), room)


def _listed(legend: Legend) -> str:
    return ", ".join(f"`{name}`" for name in legend.names)


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
