"""Rounder arcs, without a gap or an overlap: the curve that Chaikin's corner cutting tends to.

Each corner is replaced by the quadratic B-spline from one of its edges to the other; it begins and ends half way along
the edges, but at most `REACH` pixels from the corner, so long straight edges stay straight. The curve lies in the
triangle that the corner is cut off by. Where no other point lies in that triangle, no other arc and no other curve
meets it: two such triangles could only meet across their open sides, and two straight lines cross once or never, two
convex figures an even number of times. Corners whose triangle holds a point stay as they are, and so do nodes.

Chaikin, G. M. (1974): An algorithm for high-speed curve generation. Computer Graphics and Image Processing 3, 346–349.
"""

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import Ints
from geosemi.polygons.arcs import Flags
from geosemi.polygons.rings import spans
from geosemi.polygons.simplify import Crowd

Floats = npt.NDArray[np.float64]
REACH = 4.0  # pixels
_STEPS = np.array([0, 0.25, 0.5, 0.75, 1])


def smoothed(points: Floats, sizes: Ints, is_loop: Flags, crowd: Crowd) -> tuple[Floats, Ints]:
    """Round the corners of arcs.

    Args:
        points: (n, 2) column and row of all arcs, one after the other; loops hold each point once.
        sizes: points of each arc.
        is_loop: whether an arc goes round.
        crowd: all points of the strip.

    Returns:
        points and sizes as they then are.
    """
    if not len(points):
        return points, sizes
    begins = np.cumsum(sizes) - sizes
    before, after = np.arange(len(points)) - 1, np.arange(len(points)) + 1
    before[begins], after[begins + sizes - 1] = begins + sizes - 1, begins
    is_corner = np.ones(len(points), dtype=bool)
    is_corner[begins[~is_loop]] = is_corner[(begins + sizes - 1)[~is_loop]] = False
    corner = np.flatnonzero(is_corner)
    middle = points[corner]
    one, other = (_cut(middle, points[near[corner]]) for near in (before, after))
    x, y = (np.stack([one[:, k], middle[:, k], other[:, k]], axis=1) for k in (0, 1))
    is_free = crowd.inside(x, y) == 1
    counts = np.ones(len(points), dtype=np.int64)
    counts[corner[is_free]] = len(_STEPS)
    out = np.repeat(points, counts, axis=0)
    t = _STEPS[:, np.newaxis]
    curve = (1 - t) ** 2 * one[is_free, np.newaxis] + 2 * t * (1 - t) * middle[is_free, np.newaxis]
    curve = curve + t**2 * other[is_free, np.newaxis]
    first = (np.cumsum(counts) - counts)[corner[is_free]]
    out[spans(first, np.full(len(first), len(_STEPS)))] = curve.reshape(-1, 2)
    return _without_twins(out, np.add.reduceat(counts, begins), is_loop)


def _cut(corner: Floats, end: Floats) -> Floats:
    """Return the point half way along an edge, but no further than `REACH` from its corner."""
    edge = end - corner
    length = np.hypot(*edge.T)[:, np.newaxis]
    cut: Floats = np.where(length <= 2 * REACH, (corner + end) / 2, corner + edge * (REACH / np.maximum(length, 1)))
    return cut


def _without_twins(points: Floats, sizes: Ints, is_loop: Flags) -> tuple[Floats, Ints]:
    """Drop points that equal the one before them: curves of neighbouring corners meet half way."""
    begins = np.cumsum(sizes) - sizes
    before = np.arange(len(points)) - 1
    before[begins] = begins + sizes - 1
    is_twin = (points == points[before]).all(axis=1)
    is_twin[begins[~is_loop]] = False
    kept: Ints = np.add.reduceat(~is_twin, begins, dtype=np.int64)
    return points[~is_twin], kept
