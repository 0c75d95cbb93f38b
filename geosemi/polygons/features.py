"""From traced shapes to features: map coordinates, attributes, batches; or one feature a class."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import shapely

from geosemi.geo.grid import Grid
from geosemi.legend import Legend
from geosemi.polygons.dissolve import Dissolved
from geosemi.polygons.measure import measurer
from geosemi.polygons.rings import Shapes
from geosemi.polygons.tally import TALLIES, mean_confidence
from geosemi.polygons.vectors import Columns, PolygonLayer

_BATCH_CORNERS = 2**18  # polygons are written when they have so many corners (4 MB of coordinates) together


class Sink(Protocol):
    """What takes features in: a layer, or the collector that dissolves them."""

    def append(self, geometry: npt.NDArray[np.object_], columns: Columns) -> None:
        """Take a batch of WKB polygons with their attributes."""


class Features:
    """Polygons between the tracer and the file.

    Args:
        grid: of the mask.
        legend: the classes.
        sink: where features go.
        has_confidence: whether shapes carry tallies of confidence.
        change: what is done to a batch of shapes before it is measured.
    """

    def __init__(
        self,
        grid: Grid,
        legend: Legend,
        sink: Sink,
        *,
        has_confidence: bool,
        change: Callable[[Shapes], Shapes] | None = None,
    ) -> None:
        self._grid = grid
        self._names = np.array(legend.names, dtype=object)
        self._sink = sink
        self._has_confidence = has_confidence
        self._change = change
        self._measure = measurer(grid)
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
        if self._change is not None:
            shapes = self._change(shapes)
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
        self._sink.append(shapely.to_wkb(polygons_on_map(shapes, self._grid)), columns)


def layer_and_sink(folder: Path, grid: Grid, *, dissolve: bool) -> tuple[PolygonLayer, PolygonLayer | Dissolved]:
    """Return the layer that becomes the output, and what features go into: itself, or what dissolves them first."""
    if not dissolve:
        layer = PolygonLayer(folder / "polygons.gpkg", grid)
        return layer, layer
    layer = PolygonLayer(folder / "polygons.gpkg", grid, "MultiPolygon")
    return layer, Dissolved(folder, layer)


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
