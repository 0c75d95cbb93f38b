"""How much ground a map unit squared is, all over a raster: a polynomial, for it varies slowly.

UTM gives 0.08 % too little area along its central meridian and too much at the rim of a zone. The scale is asked of
geodesics at 49 places, and a polynomial of the lowest degree that follows it is taken: a constant for some hundred
metres of UTM, a plane for ten kilometres, degree 2 for a hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyproj import Geod, Transformer

from geosemi.geo.affines import applied
from geosemi.geo.grid import Grid

Floats = npt.NDArray[np.float64]
_PLACES = 7  # each way
_CELL = 200.0  # metres: angles in double precision tell its area to 1e-10, and its sides are as good as straight
_MISFIT = 2e-6  # of the scale
_HIGHEST = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """Ground area over map area: `level` + the sum of `terms[j][i]` u^i v^j, u and v being -½ … ½ over the raster.

    Attributes:
        grid: whose columns and rows are asked for.
        level: in the raster's middle.
        terms: by the power of v, then of u; empty where the scale is the same all over.
    """

    grid: Grid
    level: float = 1.0
    terms: tuple[tuple[float, ...], ...] = ()

    def at(self, col: Floats, row: Floats) -> Floats:
        """Return the scale at places."""
        u, v = self._unit(col, row)
        found = np.zeros_like(u)
        for powers in reversed(self.terms):
            found = found * v + _horner(powers, u)
        return found + self.level

    def beyond_level(self, col: Floats, row: Floats) -> Floats:
        """Return, for edges between consecutive points, what they add to the integral of scale - level over a polygon.

        In pixels, for polygons whose shells run counter-clockwise as displayed.
        """
        u, v = self._unit(col, row)
        ends = self._above(u, v)
        if len(self.terms) == 2:  # of degree 1: exact on pixel edges, and to 1e-7 along slanted ones
            sums = ends[1:] + ends[:-1]
            sums *= np.diff(u)
            sums *= self.grid.width * self.grid.height / 2
            return sums
        # Simpson's rule: exact up to degree 2
        middle = self._above((u[1:] + u[:-1]) / 2, (v[1:] + v[:-1]) / 2)
        middle *= 4
        middle += ends[1:]
        middle += ends[:-1]
        middle *= np.diff(u)
        middle *= self.grid.width * self.grid.height / 6
        return middle

    def _above(self, u: Floats, v: Floats) -> Floats:
        """Integrate the terms over v."""
        total = np.zeros_like(u)
        for j in range(len(self.terms) - 1, -1, -1):
            total += _horner([a / (j + 1) for a in self.terms[j]], u)
            total *= v
        return total

    def _unit(self, col: Floats, row: Floats) -> tuple[Floats, Floats]:
        return col / self.grid.width - 0.5, row / self.grid.height - 0.5


def scale_of(grid: Grid, to_degrees: Transformer, geod: Geod, *, factor: float, tolerance: float) -> Scale | None:
    """Return the scale over a raster, or None where it strays too far from 1, or no polynomial follows it to 2e-6.

    Where the map cannot be inverted, as beside a map of the whole Earth, only the plane is left: the scale is 1.

    Args:
        grid: with a projected crs.
        to_degrees: from the map to longitude and latitude.
        geod: the crs's ellipsoid.
        factor: metres of a map unit.
        tolerance: how far the scale may be from 1.
    """
    part = np.linspace(0, 1, _PLACES)
    u, v = (axis.ravel() - 0.5 for axis in np.meshgrid(part, part))
    x, y = applied(grid.transform, (u + 0.5) * grid.width, (v + 0.5) * grid.height)
    half = _CELL / 2 / factor
    cells = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    lon, lat = to_degrees.transform((x[:, None] + cells[:, 0]).ravel(), (y[:, None] + cells[:, 1]).ravel())
    if not np.isfinite([lon, lat]).all():
        return Scale(grid)
    rings = zip(lon.reshape(-1, 4), lat.reshape(-1, 4), strict=True)
    ground = np.array([geod.polygon_area_perimeter(*ring)[0] for ring in rings])
    scale = np.abs(ground) / _CELL**2
    return None if np.abs(1 / scale - 1).max() > tolerance else _fitted(grid, u, v, scale)


def _fitted(grid: Grid, u: Floats, v: Floats, scale: Floats) -> Scale | None:
    for degree in range(_HIGHEST + 1):
        powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
        basis = np.stack([u**i * v**j for i, j in powers], axis=1)
        found, *_ = np.linalg.lstsq(basis, scale, rcond=None)
        if np.abs(basis @ found - scale).max() > _MISFIT * scale.min():
            continue
        value = dict(zip(powers, found.tolist(), strict=True))
        level = value.pop((0, 0))
        rows = [tuple(value.get((i, j), 0.0) for i in range(degree + 1 - j)) for j in range(degree + 1)]
        return Scale(grid, level, tuple(rows) if degree else ())
    return None


def _horner(powers: Sequence[float], u: Floats) -> Floats | float:
    total: Floats | float = powers[-1]
    for a in reversed(powers[:-1]):
        total = total * u + a if a else total * u
    return total
