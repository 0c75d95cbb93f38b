"""The area of interest: polygons that say which part of a scene is to be mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from geosemi.errors import InputError
from geosemi.geo.affines import applied
from geosemi.geo.grid import Grid
from geosemi.geo.vectorfile import read_polygons
from geosemi.geo.window import Window

_BEND = 0.1  # pixels that a straight edge of the file may lie beside its true course on the scene
_PARTS = 1000  # of an edge, at most
_MARGIN = 0.1  # of the scene's size: how far beyond it polygons are kept


@dataclass(frozen=True)
class AreaOfInterest:
    """Polygons in pixel coordinates of a grid. Build with `load`.

    Attributes:
        shapes: N polygons; x = column, y = row, counted from the grid's upper left corner.
        tree: finds those near a window.
    """

    shapes: npt.NDArray[Any]
    tree: shapely.STRtree

    @classmethod
    def load(cls, path: Path, grid: Grid) -> "AreaOfInterest":
        """Read polygons in any crs and bring them onto a grid; long edges bend as they do on the ground.

        Args:
            path: GeoPackage, GeoJSON, Shapefile or FlatGeobuf.
            grid: of the scene, or of what it is resampled to.

        Raises:
            SceneUnreadable: the file cannot be read or holds no polygons.
            InputError: the file or the scene has no crs, or no polygon lies on the scene.
        """
        frame = read_polygons(path)
        shapes = shapely.make_valid(np.asarray(frame.geometry.values))
        crs = _crs_of(path, frame.crs, grid)
        forward = None if crs is None else Transformer.from_crs(crs, grid.crs, always_xy=True)
        if forward is not None:
            shapes = _densified(_near(shapes, forward, grid), forward, grid)
        placed = _on_grid(shapes, forward, grid)
        whole = shapely.box(0, 0, grid.width, grid.height)
        placed = placed[shapely.intersects(placed, whole)] if len(placed) else placed
        if not len(placed):
            raise InputError(
                f"no polygon of `{path}` lies on the scene",
                hint="check the crs of both files, and look at them in QGIS",
            )
        return cls(placed, shapely.STRtree(placed))

    def touches(self, window: Window) -> bool:
        """Tell whether a window may hold a pixel inside; where it says no, there is none."""
        return bool(len(self._near(window)))

    def read(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return where the centres of pixels lie inside, (h, w)."""
        out = np.zeros(window.shape, dtype=np.uint8)
        near = self._near(window)
        if not len(near):
            return out.astype(bool)
        # a polygon of a whole coast costs no more than its part here
        parts = shapely.clip_by_rect(
            self.shapes[near], window.col - 1, window.row - 1, window.stop_col + 1, window.stop_row + 1
        )
        parts = [p for p in shapely.get_parts(parts) if p.geom_type in ("Polygon", "MultiPolygon") and not p.is_empty]
        if parts:
            moved = shapely.transform(parts, lambda xy: xy - (window.col, window.row))
            rasterize(((shape, 1) for shape in moved), out=out)
        return out.astype(bool)

    def _near(self, window: Window) -> npt.NDArray[np.int64]:
        frame = shapely.box(window.col, window.row, window.stop_col, window.stop_row)
        found: npt.NDArray[np.int64] = np.sort(self.tree.query(frame, predicate="intersects"))
        return found


def _crs_of(path: Path, crs: CRS | None, grid: Grid) -> CRS | None:
    """Return the polygons' crs, or None where it is the grid's."""
    if crs is None and grid.crs is not None:
        raise InputError(
            f"`{path}` has no coordinate system", hint="give it one in QGIS (Set Layer Projection), and export it again"
        )
    if crs is not None and grid.crs is None:
        raise InputError(
            f"the scene has no coordinate system, so `{path}` cannot be laid onto it",
            hint="say where the scene lies with `--assume-crs EPSG:…`, or warp it first if it has control points",
        )
    return None if crs is None or crs == CRS.from_user_input(grid.crs) else crs


def _near(shapes: npt.NDArray[Any], forward: Transformer, grid: Grid) -> npt.NDArray[Any]:
    """Cut off what lies far from the scene, where the scene's crs may have no coordinates at all."""
    places = np.linspace(0, 1, 21)
    edge = np.concatenate([[(s, 0), (1, s), (s, 1), (0, s)] for s in places]) * (grid.width, grid.height)
    x, y = applied(grid.transform, *edge.T)
    lons, lats = forward.transform(x, y, direction="INVERSE")
    found = np.isfinite(lons) & np.isfinite(lats)
    if not found.any():
        return shapes
    west, east, south, north = lons[found].min(), lons[found].max(), lats[found].min(), lats[found].max()
    if forward.source_crs is not None and forward.source_crs.is_geographic and east - west > 180:
        return shapes  # across the antimeridian the smallest box in degrees is not the scene's
    wide, high = _MARGIN * (east - west), _MARGIN * (north - south)
    cut = shapely.intersection(shapes, shapely.box(west - wide, south - high, east + wide, north + high))
    parts = shapely.get_parts(shapely.get_parts(cut))
    kept: npt.NDArray[Any] = parts[
        (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    ]
    return kept


def _densified(shapes: npt.NDArray[Any], forward: Transformer, grid: Grid) -> npt.NDArray[Any]:
    """Add vertices so that no edge lies more than a tenth of a pixel beside its course.

    The bend of a short arc grows with the square of its length: four times the bend wants twice the parts.
    """
    return np.array([shapely.segmentize(shape, _longest(shape, forward, grid)) for shape in shapes], dtype=object)


def _longest(shape: Any, forward: Transformer, grid: Grid) -> float:
    """Return how long the edges of a polygon may be, in units of its own crs."""
    longest = np.inf
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        xy = shapely.get_coordinates(ring)
        begin, end = xy[:-1], xy[1:]
        on_grid = [_pixels(forward, grid, points) for points in (begin, (begin + end) / 2, end)]
        bend = np.hypot(*(on_grid[1] - (on_grid[0] + on_grid[2]) / 2).T)
        parts = np.clip(np.ceil(np.sqrt(np.nan_to_num(bend, nan=0.0, posinf=0.0) / _BEND)), 1, _PARTS)
        length = np.hypot(*(end - begin).T)
        longest = min(longest, float((length / parts)[length > 0].min(initial=np.inf)))
    return longest if np.isfinite(longest) and longest > 0 else 1.0


def _on_grid(shapes: npt.NDArray[Any], forward: Transformer | None, grid: Grid) -> npt.NDArray[Any]:
    """Return polygons in pixel coordinates; what has no place in the grid's crs is left out."""
    moved = np.asarray(shapely.transform(shapes, lambda xy: _pixels(forward, grid, xy)), dtype=object)
    finite = np.array([bool(np.isfinite(shapely.get_coordinates(shape)).all()) for shape in moved], dtype=bool)
    kept = shapely.make_valid(moved[finite])
    return np.asarray(kept, dtype=object)


def _pixels(forward: Transformer | None, grid: Grid, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x, y = xy.T if forward is None else forward.transform(xy[:, 0], xy[:, 1])
    columns, rows = applied(~grid.transform, np.asarray(x), np.asarray(y))
    return np.stack([columns, rows], axis=1)
