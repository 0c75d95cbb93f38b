"""Who shares ground with whom: scenes whose footprints overlap belong to one group, and ground is cut into blocks."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import shapely
from pyproj import CRS as ProjCRS
from pyproj import Transformer

from geosemi.geo.grid import Grid
from geosemi.geo.window import Window


def footprint(grid: Grid) -> tuple[str, shapely.Polygon]:
    """Return a key of the coordinate space and the footprint in it.

    Grids with an ellipsoid meet in longitude and latitude; a local crs is a space of its own, and so is a raster
    without crs (its key is unique, because nothing is known about where it lies).
    """
    if grid.crs is None:
        return f"none-{id(grid)}", shapely.Polygon(grid.corners)
    crs = ProjCRS.from_user_input(grid.crs)
    if crs.geodetic_crs is None:
        return crs.to_wkt(), shapely.Polygon(grid.corners)
    # edges of a UTM scene are curved in degrees: 21 points an edge keep the error far under a pixel for scenes of 10 km
    ring = shapely.segmentize(shapely.Polygon(grid.corners), max_segment_length=_longest(grid) / 20)
    to_degrees = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    return "degrees", shapely.transform(ring, lambda xy: np.column_stack(to_degrees.transform(xy[:, 0], xy[:, 1])))


def shared_groups(grids: Sequence[Grid], groups: Sequence[str]) -> list[str]:
    """Merge groups whose footprints overlap by more than a touch.

    Args:
        grids: one for each scene.
        groups: the scenes' groups so far.

    Returns:
        The groups after merging: scenes that share ground, directly or through others, share a name.
    """
    parent: dict[str, str] = {g: g for g in groups}

    def find(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for a, b in _overlaps(grids):
        one, two = find(groups[a]), find(groups[b])
        parent[max(one, two)] = min(one, two)
    return [find(g) for g in groups]


def lies_on(grids: Sequence[Grid], ground: Sequence[Grid]) -> list[bool]:
    """Tell of each grid whether its footprint overlaps that of any grid of `ground` by more than a touch."""
    first = len(grids)
    found = {a for a, b in _overlaps([*grids, *ground]) if a < first <= b}
    return [i in found for i in range(first)]


def _overlaps(grids: Sequence[Grid]) -> Iterator[tuple[int, int]]:
    """Yield the positions a < b of grids that share ground."""
    prints = [footprint(g) for g in grids]
    for key in {k for k, _ in prints}:
        members = [i for i, (k, _) in enumerate(prints) if k == key]
        shapes = np.array([prints[i][1] for i in members])
        for a, b in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
            # neighbours touch, and rounding makes them overlap by a hair; a thousandth of the smaller is no ground
            least = 1e-3 * min(shapes[a].area, shapes[b].area)
            if a < b and shapely.intersection(shapes[a], shapes[b]).area > least:
                yield members[a], members[b]


def ground_blocks(grid: Grid, side: float) -> list[tuple[tuple[int, int], Window]]:
    """Cut a north-up or south-up scene along a mesh that is anchored at the origin of its crs.

    Scenes that share ground are cut along the same lines, and each window lies wholly inside its cell, so windows of
    different cells never share ground.

    Args:
        grid: the scene's grid, not rotated.
        side: side of a cell in units of the crs.

    Returns:
        (cell column, cell row) and window of each cell that the scene reaches with at least 32 × 32 pixels.
    """
    west, south, east, north = grid.bounds
    to_pixel = ~grid.transform
    blocks = []
    for j in range(math.floor(south / side), math.ceil(north / side)):
        for i in range(math.floor(west / side), math.ceil(east / side)):
            c0, r0 = to_pixel * (i * side, j * side)
            c1, r1 = to_pixel * ((i + 1) * side, (j + 1) * side)
            left, right = _inner(c0, c1, grid.width)
            top, bottom = _inner(r0, r1, grid.height)
            if right - left >= 32 and bottom - top >= 32:
                blocks.append(((i, j), Window(top, left, bottom - top, right - left)))
    return blocks


def _inner(one: float, two: float, limit: int) -> tuple[int, int]:
    # 1e-6 px: an edge that lies on a pixel border must not lose that pixel to floating point
    low, high = math.ceil(min(one, two) - 1e-6), math.floor(max(one, two) + 1e-6)
    return max(0, low), min(limit, high)


def _longest(grid: Grid) -> float:
    corners = grid.corners
    return max(math.dist(a, b) for a, b in pairwise(corners))
