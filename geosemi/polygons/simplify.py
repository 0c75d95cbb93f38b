"""Fewer points along shared arcs, by the rule of Visvalingam and Whyatt, without a gap, an overlap or a lost polygon.

A point that spans a small triangle with its two neighbours is dropped, the smallest triangle first, until none is
smaller than the tolerance squared. Nodes stay. A point stays too if its triangle holds any other point: then the new
edge can cross no other one, and no island changes sides. Two arcs between the same two nodes never both become the
straight line, and a loop keeps three points: so every polygon keeps an area.

Points are dropped in rounds: all at once that have a smaller triangle than both of their neighbours. Triangles that
are empty stay empty when others shrink, so those of a round do not disturb each other.

Visvalingam, M. and Whyatt, J. D. (1993): Line generalisation by repeated elimination of points. The Cartographic
Journal 30 (1), 46–51.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import Ints
from geosemi.polygons.arcs import Arcs, Flags

Floats = npt.NDArray[np.float64]
_LOOP_LEAST = 3  # points of a loop
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # odd, near 2^64 / golden ratio: neighbouring points get distant numbers


def simplified(arcs: Arcs, width: int, *, tolerance: float, first_row: int = 0) -> Flags:
    """Return which entries of `arcs.vertex` stay.

    Args:
        arcs: of a strip.
        width: columns of the raster.
        tolerance: in pixels; points stay whose triangle is at least its square.
        first_row: the strip's first row.
    """
    if not len(arcs):
        return np.zeros(0, dtype=bool)
    line = _Line(arcs, width, first_row, 2 * tolerance**2)
    while line.round() or line.unblock():
        pass
    kept = np.zeros(len(arcs.vertex), dtype=bool)
    kept[line.entry] = True
    return kept


@dataclass(frozen=True, slots=True)
class Crowd:
    """Points in the plane, to be asked whether triangles hold any of them.

    Attributes:
        key: `row * stride + column` of lattice points, in ascending order.
        stride: more than the largest column.
    """

    key: Ints
    stride: int

    def inside(self, x: Floats, y: Floats) -> Ints:
        """Count the points in closed triangles. `x`, `y`: (n, 3) column and row of their corners, 0 … stride - 1."""
        low = np.ceil(y.min(axis=1) - _TOUCH).astype(np.int64)
        rows = np.floor(y.max(axis=1) + _TOUCH).astype(np.int64) - low + 1
        triangle = np.repeat(np.arange(len(x)), rows)
        row = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows, rows) + low[triangle]
        left, right = _span(x[triangle], y[triangle], row)
        first = np.searchsorted(self.key, row * self.stride + np.ceil(left - _TOUCH).astype(np.int64))
        stop = np.searchsorted(self.key, row * self.stride + np.floor(right + _TOUCH).astype(np.int64), side="right")
        counts: Ints = np.bincount(triangle, weights=stop - first, minlength=len(x)).astype(np.int64)
        return counts


_TOUCH = 1e-7  # a point so near counts as touching; lattice points off an edge lie further away


def _span(x: Floats, y: Floats, row: Ints) -> tuple[Floats, Floats]:
    """Return where triangles begin and end along a row that crosses them."""
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        rise = y[:, b] - y[:, a]
        part = np.clip((row - y[:, a]) / np.where(rise == 0, 1, rise), 0, 1)
        meets = np.abs(y[:, a] + part * rise - row) <= _TOUCH
        at = x[:, a] + part * (x[:, b] - x[:, a])
        left, right = np.where(meets, np.minimum(left, at), left), np.where(meets, np.maximum(right, at), right)
        # a level edge is met at both of its ends
        level = meets & (rise == 0)
        left = np.where(level, np.minimum(left, x[:, b]), left)
        right = np.where(level, np.maximum(right, x[:, b]), right)
    return left, right


class _Line:
    """The points that are left of all arcs."""

    def __init__(self, arcs: Arcs, width: int, first_row: int, limit: float) -> None:
        self._arcs = arcs
        self._stride = width + 1
        self._limit = limit
        arc = np.repeat(np.arange(len(arcs)), arcs.sizes)
        stops = np.cumsum(arcs.sizes)
        begins = stops - arcs.sizes
        self.entry = np.arange(len(arcs.vertex))  # the entries of arcs.vertex that are left
        self._arc = arc
        self._is_end = np.zeros(len(arc), dtype=bool)
        is_open = ~arcs.is_loop
        self._is_end[begins[is_open]] = self._is_end[stops[is_open] - 1] = True
        self._blocked = np.zeros(len(arc), dtype=bool)
        self._has_blocked = self._has_dropped = False
        x, y = arcs.col[arcs.vertex], arcs.row[arcs.vertex]
        self._x, self._y = x.astype(np.float64), y.astype(np.float64)
        # equal triangles (every step of a staircase) are taken in no order rather than one after the other
        place = (y + first_row).astype(np.uint64) * np.uint64(self._stride) + x.astype(np.uint64)
        self._tie = ((place * _SCATTER) >> np.uint64(12)).astype(np.float64)
        self._alive = np.ones(len(arcs.row), dtype=bool)
        self._key = arcs.row * self._stride + arcs.col
        self._left = arcs.sizes.copy()
        self._ends = np.sort(np.stack([arcs.vertex[begins], arcs.vertex[stops - 1]], axis=1), axis=1)
        self._least = self._least_points(begins, stops)
        self._straight = self._straight_pairs()

    def _least_points(self, begins: Ints, stops: Ints) -> Ints:
        """Return how many points each arc keeps, ends included."""
        arcs, (one, other) = self._arcs, self._ends.T
        least = np.where(one == other, _LOOP_LEAST + 1, 2)
        least[arcs.is_loop] = _LOOP_LEAST
        # along the edge of a strip a straight line could meet another one of the neighbouring strip
        least[~arcs.is_loop & (one != other) & (arcs.row[one] == arcs.row[other]) & self._on_rim(one)] = 3
        kept: Ints = np.minimum(least, stops - begins)
        return kept

    def _on_rim(self, point: Ints) -> Flags:
        row = self._arcs.row[point]
        on_rim: Flags = (row == 0) | (row == self._arcs.height)
        return on_rim

    def _straight_pairs(self) -> set[tuple[int, int]]:
        """Return the pairs of nodes that an arc joins without a point between."""
        chosen = ~self._arcs.is_loop & (self._arcs.sizes == 2)
        return set(map(tuple, self._ends[chosen].tolist()))

    def unblock(self) -> bool:
        """Give points another chance whose triangle held a point; False where nothing has changed since."""
        again = self._has_blocked and self._has_dropped
        self._blocked[:] = False
        self._has_blocked = self._has_dropped = False
        return again

    def round(self) -> bool:
        """Drop points; return whether any was."""
        before, after = self._neighbours()
        x, y = self._x, self._y
        doubled = np.abs((x[before] - x) * (y[after] - y) - (x[after] - x) * (y[before] - y))
        may = ~self._is_end & ~self._blocked & (doubled < self._limit) & (self._left > self._least)[self._arc]
        size = np.where(may, doubled, np.inf)
        chosen = np.flatnonzero(may & self._is_less(size, before) & self._is_less(size, after))
        if not len(chosen):
            return False
        corners = np.stack([before[chosen], chosen, after[chosen]], axis=1)
        crowd = Crowd(self._key[self._alive], self._stride)
        is_empty = crowd.inside(x[corners], y[corners]) == 3
        self._block(chosen[~is_empty])
        dropped = self._allowed(chosen[is_empty], size)
        if not len(dropped):
            return bool((~is_empty).any())
        self._drop(dropped)
        return True

    def _neighbours(self) -> tuple[Ints, Ints]:
        count = len(self.entry)
        before, after = np.arange(count) - 1, np.arange(count) + 1
        is_first = np.ones(count, dtype=bool)
        is_first[1:] = self._arc[1:] != self._arc[:-1]
        firsts = np.flatnonzero(is_first)
        lasts = np.append(firsts[1:], count) - 1
        before[firsts], after[lasts] = lasts, firsts
        return before, after

    def _is_less(self, size: Floats, other: Ints) -> Flags:
        less: Flags = (size < size[other]) | ((size == size[other]) & (self._tie < self._tie[other]))
        return less

    def _block(self, entries: Ints) -> None:
        self._blocked[entries] = True
        self._has_blocked |= bool(len(entries))

    def _allowed(self, chosen: Ints, size: Floats) -> Ints:
        """Return those whose removal leaves enough points on every arc, and no two straight arcs between two nodes."""
        left, least = self._left[self._arc[chosen]], self._least[self._arc[chosen]]
        is_short = (least > 2) & (left <= 2 * least)  # a round may drop every other point
        last_one = (least == 2) & (left == 3)
        kept = chosen[~is_short & ~last_one].tolist()
        short = chosen[is_short]
        short = short[np.lexsort((self._tie[short], size[short], self._arc[short]))]
        kept += short[np.unique(self._arc[short], return_index=True)[1]].tolist()
        blocked = []
        for entry in chosen[last_one].tolist():
            pair = tuple(self._ends[self._arc[entry]].tolist())
            if pair in self._straight:
                blocked.append(entry)
            else:
                self._straight.add(pair)
                kept.append(entry)
        self._block(np.array(blocked, dtype=np.int64))
        return np.array(sorted(kept), dtype=np.int64)

    def _drop(self, dropped: Ints) -> None:
        self._has_dropped = True
        self._alive[self._arcs.vertex[self.entry[dropped]]] = False
        np.subtract.at(self._left, self._arc[dropped], 1)
        stay = np.ones(len(self.entry), dtype=bool)
        stay[dropped] = False
        for name in ("entry", "_arc", "_is_end", "_blocked", "_x", "_y", "_tie"):
            setattr(self, name, getattr(self, name)[stay])
