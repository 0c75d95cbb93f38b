"""The outline of a grid in longitude and latitude, as RFC 7946 wants it: cut at the antimeridian, counter-clockwise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS as ProjCRS
from pyproj import Transformer

from geosemi.geo.affines import applied
from geosemi.geo.grid import Grid

_BEND = 0.1  # pixels that the outline may lie beside the true edge
_PARTS = 64  # of an edge, at most
_FEWEST = 8
_DECIMALS = 9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where a grid lies on the Earth.

    Attributes:
        geometry: a GeoJSON Polygon or MultiPolygon, in degrees on WGS 84.
        bbox: (west, south, east, north); west > east across the antimeridian.
    """

    geometry: dict[str, Any]
    bbox: tuple[float, float, float, float]


def footprint_of(grid: Grid) -> Footprint | None:
    """Return the outline of a grid, or None where its crs does not say where on the Earth it lies."""
    crs = None if grid.crs is None else ProjCRS.from_user_input(grid.crs)
    if crs is None or crs.geodetic_crs is None:
        return None
    forward = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    parts = 1
    while parts < _PARTS and _bend(grid, forward, parts) > _BEND:
        parts *= 2
    outline = _outline(grid, forward, parts)
    if not np.isfinite(outline).all():
        return None
    ring = _over_the_pole(outline)
    west, east = float(ring[:, 0].min()), float(ring[:, 0].max())
    shape = _cut(shapely.make_valid(shapely.Polygon(ring)), west, east)
    south, north = float(ring[:, 1].min()), float(ring[:, 1].max())
    sides = (-180.0, 180.0) if east - west >= 360 else (_turned(west), _turned(east, is_east=True))
    bbox = tuple(round(n, _DECIMALS) for n in (sides[0], south, sides[1], north))
    return Footprint(_geojson(shape), (bbox[0], bbox[1], bbox[2], bbox[3]))


def _outline(grid: Grid, forward: Transformer, parts: int) -> Floats:
    """Return longitudes and latitudes (4 · parts, 2) along the edges; longitudes go on beyond 180."""
    step = max(1, _FEWEST // parts)  # longitudes are followed in steps that are clearly less than half a turn
    parts *= step
    corners = np.array([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)], dtype=np.float64)
    share = (np.arange(parts) / parts)[:, None]
    pixels = np.concatenate([a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    x, y = applied(grid.transform, *pixels.T)
    lons, lats = forward.transform(x, y)
    return np.stack([np.unwrap(lons, period=360), lats], axis=1)[::step]


def _bend(grid: Grid, forward: Transformer, parts: int) -> float:
    """Return how far, in pixels, edges of so many parts lie beside the true ones."""
    fine = _outline(grid, forward, 2 * parts)
    ends = np.concatenate([fine[::2], fine[:1]])
    chords = np.hypot(*np.diff(ends, axis=0).T)
    beside = np.hypot(*(fine[1::2] - (ends[:-1] + ends[1:]) / 2).T)
    length = np.repeat([grid.width, grid.height, grid.width, grid.height], parts) / parts
    bends = np.where(chords > 0, beside / np.where(chords > 0, chords, 1), 0) * length
    return float(np.nan_to_num(bends, nan=0.0).max())


def _over_the_pole(outline: Floats) -> Floats:
    """Return a ring around a pole as an area in longitude and latitude: along the pole back to where it began."""
    begin, end = outline[0], outline[-1]
    turn = 360 * round((begin[0] - end[0]) / 360)
    if turn == 0:
        return outline
    pole = np.copysign(90.0, outline[:, 1].mean())
    closing = [(begin[0] - turn, begin[1]), (begin[0] - turn, pole), (begin[0], pole)]
    return np.concatenate([outline, np.array(closing)])


def _cut(shape: Any, west: float, east: float) -> Any:
    """Bring a shape into -180 … 180, cut where it crosses."""
    world = shapely.box(-180, -90, 180, 90)
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360)) + 1)
    moved = [shapely.transform(shape, lambda xy, t=turn: xy - (360.0 * t, 0.0)) for turn in turns]
    pieces = [p for m in moved for p in shapely.get_parts(shapely.intersection(m, world)) if p.geom_type == "Polygon"]
    return shapely.union_all(pieces, grid_size=10.0**-_DECIMALS)  # valid after rounding too, and seams close


def _turned(lon: float, *, is_east: bool = False) -> float:
    found = (lon + 180) % 360 - 180
    return 180.0 if is_east and found == -180 else found


def _geojson(shape: Any) -> dict[str, Any]:
    polygons = [shapely.orient_polygons(p) for p in shapely.get_parts(shape)]
    rings = [
        [[[round(float(x), _DECIMALS), round(float(y), _DECIMALS)] for x, y in ring.coords] for ring in _rings(p)]
        for p in polygons
    ]
    return {"type": "Polygon", "coordinates": rings[0]} if len(rings) == 1 else {
        "type": "MultiPolygon", "coordinates": rings,
    }  # fmt: skip


def _rings(polygon: Any) -> list[Any]:
    return [polygon.exterior, *polygon.interiors]
