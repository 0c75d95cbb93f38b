"""True areas and lengths of polygons on a pixel lattice, in metres on the ground.

Map units mislead: EPSG:3857 gives four times the area at 60° north, and degrees are no metres at all. So the map is
checked first. Where it keeps areas to half a per cent over the whole raster (UTM, Lambert, equal-area maps) pixels of
the map's own plane count, times the map's local scale (see `scale`). Where it does not, but parallels and meridians are
straight (degrees, Mercator, plate carrée), areas are exact on the ellipsoid. Anything else is measured in an equal-area
map around the raster's centre. A raster without a crs is measured in its own units.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Geod, Transformer

from geosemi.geo.corners import Ints
from geosemi.geo.grid import Grid
from geosemi.polygons.rings import Shapes
from geosemi.polygons.scale import Scale, scale_of

Floats = npt.NDArray[np.float64]
Sizes = tuple[Floats, Floats]
AREA_TOLERANCE = 0.005  # of maps that are near true; UTM is off by 0.1–0.2 % at the rim of its zone
_STRAIGHT = 1e-9  # radians, 6 mm


def measure(shapes: Shapes, grid: Grid) -> Sizes:
    """Return area (m²) and perimeter (m, holes included) of each polygon; in the raster's own units without a crs."""
    return measurer(grid)(shapes)


def pixel_area(grid: Grid) -> float | None:
    """Return the area (m²) that every pixel has, or None where it depends on the pixel's place."""
    measures = measurer(grid)
    return measures.pixel if isinstance(measures, _Plane) and not measures.scale.terms else None


def run_areas(grid: Grid) -> Callable[[Ints, Ints, Ints], Floats]:
    """Return what gives the area (m²) of runs of pixels: (row, column, length) → (n,)."""
    measures = measurer(grid)
    if isinstance(measures, _Plane):
        return measures.of_runs
    return lambda row, col, length: measures(rectangles(row, col, length))[0]


def pixel_sides(grid: Grid) -> tuple[float, float]:
    """Return width and height of the pixel in the raster's middle, metres on the ground."""
    row, col = np.full(2, grid.height // 2), np.full(2, grid.width // 2)
    _, (around_one, around_two) = measurer(grid)(rectangles(row, col, np.array([1, 2])))
    across = float(around_two - around_one) / 2
    return across, float(around_one) / 2 - across


def rectangles(row: Ints, col: Ints, length: Ints) -> Shapes:
    """Return runs of pixels as polygons."""
    count = len(row)
    cols = np.stack([col, col, col + length, col + length, col], axis=1)
    rows = np.stack([row, row + 1, row + 1, row, row], axis=1)
    return Shapes(
        corners=np.stack([cols, rows], axis=2).reshape(-1, 2).astype(np.int32),
        rings=np.arange(0, 5 * count + 1, 5),
        polygons=np.arange(count + 1),
        value=np.zeros(count, dtype=np.uint8),
        n_px=length,
        tallies=np.empty((count, 0), dtype=np.int64),
    )


def measurer(grid: Grid) -> Callable[[Shapes], Sizes]:
    """Choose once, for a whole raster, how its polygons are measured."""
    if grid.crs is None:
        return _Plane(grid, 1.0, Scale(grid))
    crs = CRS.from_user_input(grid.crs)
    geod = crs.get_geod()
    if crs.geodetic_crs is None or geod is None:
        return _Plane(grid, crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0, Scale(grid))
    columns, rows = np.meshgrid(np.linspace(0, grid.width, 3), np.linspace(0, grid.height, 3))
    to_degrees = Transformer.from_crs(crs, CRS.from_dict({"proj": "longlat", **_ellipsoid(geod)}), always_xy=True)
    if not crs.is_geographic:
        factor = crs.axis_info[0].unit_conversion_factor
        scale = scale_of(grid, to_degrees, geod, factor=factor, tolerance=AREA_TOLERANCE)
        if scale is not None:
            return _Plane(grid, factor, scale)
    lon, lat = (np.radians(v) for v in _ground(grid, to_degrees, columns, rows))
    turned = abs(grid.transform.b) + abs(grid.transform.d) > 0
    if crs.is_geographic or (not turned and np.ptp(lon, axis=0).max() + np.ptp(lat, axis=1).max() < _STRAIGHT):
        return _Graticule(grid, geod, to_degrees if crs.is_projected else None, crs)
    centre = _ground(grid, to_degrees, np.array([grid.width / 2]), np.array([grid.height / 2]))
    around = {"proj": "laea", "lon_0": float(centre[0][0]), "lat_0": float(centre[1][0]), **_ellipsoid(geod)}
    return _EqualArea(grid, Transformer.from_crs(crs, CRS.from_dict(around), always_xy=True))


@dataclass(frozen=True, slots=True)
class _Plane:
    """Measures in the map's own plane, where pixels are counted, and by the map's scale on the ground."""

    grid: Grid
    factor: float
    scale: Scale

    @property
    def pixel(self) -> float:
        """Area of a pixel on the ground in the raster's middle, m²."""
        return float(abs(self.grid.transform.determinant) * self.factor**2 * self.scale.level)

    def of_runs(self, row: Ints, col: Ints, length: Ints) -> Floats:
        """Return the areas of runs of pixels; the scale is that of their middles."""
        area: Floats = np.multiply(length, self.pixel, dtype=np.float64)
        if self.scale.terms:
            area *= (
                self.scale.at(np.add(col, length / 2, dtype=np.float64), np.add(row, 0.5, dtype=np.float64))
                / self.scale.level
            )
        return area

    def __call__(self, shapes: Shapes) -> Sizes:
        t = self.grid.transform
        col, row = shapes.corners.T
        step, rise = np.diff(col), np.diff(row)
        if shapes.on_lattice:
            across, along = self.grid.pixel_size
            pixels: Floats = shapes.n_px.astype(np.float64)
            lengths = np.abs(step) * across + np.abs(rise) * along
        else:
            pixels = np.abs(_per_polygon(shapes, (row[1:] + row[:-1]) / 2 * step))
            lengths = np.hypot(t.a * step + t.b * rise, t.d * step + t.e * rise)
        perimeter = _per_polygon(shapes, lengths) * (self.factor * math.sqrt(self.scale.level))
        area = pixels * self.pixel
        if not self.scale.terms:
            return area, perimeter
        more = 1 + _per_polygon(shapes, self.scale.beyond_level(col, row)) / (pixels * self.scale.level)
        # maps that are near true in area and shape: a length is as wrong as the root of an area
        return area * more, perimeter * np.sqrt(more)


@dataclass(frozen=True, slots=True)
class _Graticule:
    """Measures on the ellipsoid where the map's axes are longitude and latitude, whatever the scale of either."""

    grid: Grid
    geod: Geod
    to_degrees: Transformer | None  # None: the map's units are angles
    crs: CRS

    def __call__(self, shapes: Shapes) -> Sizes:
        lon, lat = self._angles(shapes.corners.astype(np.float64))
        step, rise = np.diff(lon), np.diff(lat)
        middle = (lat[1:] + lat[:-1]) / 2
        # Simpson's rule: exact along parallels and meridians, and to 1e-12 along the short edges of turned grids
        below = (self._below(lat[1:]) + 4 * self._below(middle) + self._below(lat[:-1])) / 6
        flat = 1 - self.geod.es * np.sin(middle) ** 2
        east = step * np.cos(middle) * self.geod.a / np.sqrt(flat)
        north = rise * self.geod.a * (1 - self.geod.es) / flat**1.5
        return np.abs(_per_polygon(shapes, below * step)), _per_polygon(shapes, np.hypot(east, north))

    def _angles(self, corners: Floats) -> Sizes:
        """Return longitude from the raster's centre and latitude, in radians."""
        t = self.grid.transform
        col, row = corners[:, 0] - self.grid.width / 2, corners[:, 1]
        if self.to_degrees is None:
            unit = self.crs.axis_info[0].unit_conversion_factor
            return (t.a * col + t.b * row) * unit, (t.d * corners[:, 0] + t.e * row + t.f) * unit
        # longitude is linear in x; asked of the map it would jump at 180°
        near, far = ((self.grid.width - 1) / 2, (self.grid.width + 1) / 2)
        lons, _ = _ground(self.grid, self.to_degrees, np.array([near, far]), np.full(2, self.grid.height / 2))
        rows, number = np.unique(row, return_inverse=True)
        _, lats = _ground(self.grid, self.to_degrees, np.full_like(rows, self.grid.width / 2), rows)
        turn = (lons[1] - lons[0] + 180) % 360 - 180
        return np.radians(col * turn), np.radians(lats[number])

    def _below(self, lat: Floats) -> Floats:
        """Return the area between the equator and a latitude, m² a radian of longitude."""
        sine, e = np.sin(lat), np.sqrt(self.geod.es)
        round_part = np.arctanh(e * sine) / e if e else sine
        area: Floats = self.geod.b**2 / 2 * (sine / (1 - self.geod.es * sine**2) + round_part)
        return area


@dataclass(frozen=True, slots=True)
class _EqualArea:
    """Measures in an equal-area map around the raster's centre; lengths are those of that map."""

    grid: Grid
    to_plane: Transformer

    def __call__(self, shapes: Shapes) -> Sizes:
        x, y = _ground(self.grid, self.to_plane, *shapes.corners.astype(np.float64).T)
        area = _per_polygon(shapes, (x[1:] * y[:-1] - x[:-1] * y[1:]) / 2)
        return np.abs(area), _per_polygon(shapes, np.hypot(np.diff(x), np.diff(y)))


def _per_polygon(shapes: Shapes, edge_values: Floats) -> Floats:
    """Sum values of edges (one fewer than corners) over each polygon; the jump from ring to ring is no edge."""
    if not len(shapes):
        return np.empty(0)
    values = np.append(edge_values, 0.0)
    values[shapes.rings[1:] - 1] = 0.0
    sums: Floats = np.add.reduceat(values, shapes.rings[shapes.polygons[:-1]])
    return sums


def _ground(grid: Grid, transformer: Transformer, col: Floats, row: Floats) -> Sizes:
    t = grid.transform
    x, y = transformer.transform(t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f)
    return x, y


def _ellipsoid(geod: Geod) -> dict[str, float]:
    return {"a": geod.a, "b": geod.b}
