"""Hypothesis strategies for the values that geosemi is made of."""

import math

from affine import Affine
from hypothesis import strategies as st
from rasterio.crs import CRS

from geosemi.geo.grid import Grid
from geosemi.geo.window import Window

CODES = (32636, 32719, 25833, 3857, 2263)


@st.composite
def windows(draw: st.DrawFn, *, reach: int = 60, largest: int = 40) -> Window:
    """Windows anywhere near the origin, overhanging ones included."""
    row, col = draw(st.integers(-reach, reach)), draw(st.integers(-reach, reach))
    return Window(row, col, draw(st.integers(1, largest)), draw(st.integers(1, largest)))


@st.composite
def windows_inside(draw: st.DrawFn, height: int, width: int) -> Window:
    """Windows that lie inside a scene."""
    row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Window(row, col, draw(st.integers(1, height - row)), draw(st.integers(1, width - col)))


@st.composite
def transforms(draw: st.DrawFn) -> Affine:
    """North-up, south-up, rotated and mirrored geotransforms of sane pixel sizes (1 cm … 100 m)."""
    x, y = draw(st.floats(1e5, 9e5)), draw(st.floats(0, 9e6))
    wide, high = draw(st.floats(0.01, 100)), draw(st.floats(0.01, 100))
    turn = draw(st.sampled_from([0.0, 0.0, 15.0, 90.0, 123.4, 180.0]))
    flip = draw(st.sampled_from([-1, -1, 1]))
    return Affine.translation(x, y) * Affine.rotation(turn) * Affine.scale(wide, flip * high)


@st.composite
def grids(draw: st.DrawFn, *, largest: int = 300) -> Grid:
    """Grids in one of a few projected systems."""
    crs = CRS.from_epsg(draw(st.sampled_from(CODES)))
    return Grid(crs, draw(transforms()), draw(st.integers(1, largest)), draw(st.integers(1, largest)))


def legend_names(*, largest: int = 6) -> st.SearchStrategy[list[str]]:
    """Lists of distinct printable class names, in any script."""
    name = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
    return st.lists(name, min_size=1, max_size=largest, unique_by=str.casefold)


def close(a: tuple[float, ...], b: tuple[float, ...], *, scale: float = 1.0) -> bool:
    """Tell whether coordinates agree to 1e-9 of their size, or of `scale`."""
    return all(math.isclose(p, q, rel_tol=1e-9, abs_tol=1e-9 * scale) for p, q in zip(a, b, strict=True))
