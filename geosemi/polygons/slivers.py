"""Small polygons give their pixels to the class they share the longest edge with: no holes, no gaps.

Defined on the whole raster: the smallest patch that is too small (of equal ones, the one whose first pixel comes first)
takes the class with which it shares the longest edge (of equal ones, the lower class), and is one patch with all its
neighbours of that class from then on; and so on, until no patch is too small. A patch with no neighbour but nodata
stays. Neighbours of one class count together, for they become one polygon.

Done while rows stream by: whether a patch is next concerns only its too small neighbours, for nothing that happens
elsewhere makes one smaller or moves its edges. So all patches that are smaller than their too small neighbours can be
decided at once, as soon as they are seen whole, with the same result; rows leave when all of their patches are
decided. Rows held back reach over the patches that wait for each other, a few times the size of the largest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import OUTSIDE, Bytes, Ints
from geosemi.geo.grid import Grid
from geosemi.polygons.measure import pixel_area, pixel_sides, run_areas
from geosemi.polygons.regions import find_runs, united

_FEED_PIXELS = 2**20
_UNITS = 2**16  # parts of a pixel, where pixels differ in size: areas become whole numbers
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RunSizes:
    """How large runs and edges are.

    Attributes:
        of: (row, column, length) of runs → size in whole numbers, so that sums do not depend on their order.
        limit: patches of a smaller size are too small.
        edges: length of a pixel's horizontal and vertical edge.
    """

    of: Callable[[Ints, Ints, Ints], Ints]
    limit: int
    edges: tuple[float, float]


def run_sizes(grid: Grid, min_area: float) -> RunSizes:
    """Return how runs and edges are measured on a grid, and that patches of less than `min_area` m² are too small."""
    edges = pixel_sides(grid)
    if (pixel := pixel_area(grid)) is not None:
        # whole pixels, as `n_px × pixel < min_area` says it
        limit = math.ceil(min_area / pixel)
        limit += (limit * pixel < min_area) - ((limit - 1) * pixel >= min_area)
        return RunSizes(lambda _row, _col, length: length, limit, edges)
    areas = run_areas(grid)
    unit = float(areas(*(np.array([n]) for n in (grid.height // 2, grid.width // 2, 1)))[0]) / _UNITS

    def sizes(row: Ints, col: Ints, length: Ints) -> Ints:
        units: Ints = np.rint(areas(row, col, length) / unit).astype(np.int64)
        return units

    return RunSizes(sizes, math.ceil(min_area / unit), edges)


@dataclass(frozen=True, slots=True)
class _Patches:
    """What is known of patches that still matter."""

    size: Ints
    first: Ints  # flat position of the first pixel
    value: Bytes

    def merged(self, group: Ints, count: int) -> "_Patches":
        """Return the patches after those of one group have become one."""
        size, first = np.zeros(count, dtype=np.int64), np.full(count, np.iinfo(np.int64).max)
        value = np.empty(count, dtype=np.uint8)
        np.add.at(size, group, self.size)
        np.minimum.at(first, group, self.first)
        value[group] = self.value
        return _Patches(size, first, value)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Shared edges between patches, each pair once: so many horizontal and vertical pixel edges."""

    one: Ints
    other: Ints
    counts: Ints  # (n, 2)

    def merged(self, group: Ints) -> "_Edges":
        """Return the edges after patches of one group have become one."""
        one, other = group[self.one], group[self.other]
        return _Edges(np.minimum(one, other), np.maximum(one, other), self.counts).summed()

    def summed(self) -> "_Edges":
        """Return the edges with every pair once, edges within a patch left out."""
        kept = np.flatnonzero(self.one != self.other)
        order = kept[np.lexsort((self.other[kept], self.one[kept]))]
        one, other = self.one[order], self.other[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
        begins = np.flatnonzero(is_first)
        counts = np.add.reduceat(self.counts[order], begins, axis=0) if len(begins) else self.counts[:0]
        return _Edges(one[begins], other[begins], counts)


class Slivers:
    """Gives the pixels of small patches away; feed it rows of classes from top to bottom."""

    def __init__(self, width: int, sizes: RunSizes) -> None:
        self._width = width
        self._sizes = sizes
        self._seen = self._left = 0  # rows that came, rows that went
        # a row of OUTSIDE above the raster
        self._start = np.array([-width])
        self._patch = np.zeros(1, dtype=np.int64)
        self._patches = _Patches(np.zeros(1, np.int64), np.array([-width]), np.full(1, OUTSIDE, np.uint8))
        none = np.empty(0, dtype=np.int64)
        self._edges = _Edges(none, none, np.empty((0, 2), dtype=np.int64))

    def feed(self, values: Bytes) -> list[Bytes]:
        """Take the next rows, (h, width) uint8 with OUTSIDE where there is no class; return those that are decided."""
        rows = max(1, _FEED_PIXELS // self._width)
        done = []
        for k in range(0, len(values), rows):
            self._take(values[k : k + rows])
            done.append(self._leave(is_end=False))
        return [d for d in done if len(d)]

    def finish(self) -> Bytes:
        """Return the rows that are left."""
        return self._leave(is_end=True)

    def _take(self, values: Bytes) -> None:
        """Add the runs, patches and edges of some rows."""
        last = self._last_row()
        above = np.repeat(self._patches.value[self._patch[last:]], self._lengths()[last:])
        runs = find_runs(np.concatenate([above[np.newaxis], values]))
        known, old = len(self._patches.size), len(self._start) - last
        start = runs.start[old:] + (self._seen - 1) * self._width
        node = np.concatenate([self._patch[last:], known + np.arange(len(start))])
        size = self._sizes.of(start // self._width, start % self._width, runs.length[old:])
        patches = _Patches(
            np.append(self._patches.size, size),
            np.append(self._patches.first, start),
            np.append(self._patches.value, runs.value[old:]),
        )
        same = runs.value[runs.above] == runs.value[runs.below]
        beside = np.flatnonzero(start[1:] % self._width != 0) + old
        edges = _Edges(
            np.concatenate([self._edges.one, node[runs.above[~same]], node[beside]]),
            np.concatenate([self._edges.other, node[runs.below[~same]], node[beside + 1]]),
            np.concatenate(
                [
                    self._edges.counts,
                    np.stack([runs.contact[~same], np.zeros_like(runs.contact[~same])], axis=1),
                    np.tile([[0, 1]], (len(beside), 1)),
                ]
            ),
        )
        inside = (patches.value[edges.one] != OUTSIDE) & (patches.value[edges.other] != OUTSIDE)
        self._start = np.append(self._start, start)
        self._patch = np.append(self._patch, node[old:])
        self._patches = patches
        self._edges = _Edges(edges.one[inside], edges.other[inside], edges.counts[inside])
        self._merge(node[runs.above[same]], node[runs.below[same]])
        self._seen += len(values)

    def _last_row(self) -> int:
        """Return the first run of the last row."""
        return int(np.searchsorted(self._start, (self._seen - 1) * self._width))

    def _lengths(self) -> Ints:
        # the last row may be kept without the row before it: its own runs are right, and no other is asked for
        return np.diff(self._start, append=self._seen * self._width)

    def _merge(self, one: Ints, other: Ints) -> None:
        roots, group = np.unique(united(len(self._patches.size), one, other), return_inverse=True)
        self._patches = self._patches.merged(group, len(roots))
        self._edges = self._edges.merged(group)
        self._patch = group[self._patch]

    def _leave(self, *, is_end: bool) -> Bytes:
        """Decide what can be decided; return rows whose patches are all decided."""
        while self._decide(is_end=is_end):
            pass
        waits = self._small() & (self._open(is_end=is_end) | self._has_edge())
        rows = self._patches.first[waits] // self._width
        stop = max(self._left, min(self._seen, int(rows.min(initial=self._seen))))
        begin, end = np.searchsorted(self._start, (self._left * self._width, stop * self._width))
        lengths = np.diff(np.append(self._start[begin:end], stop * self._width))
        done = np.repeat(self._patches.value[self._patch[begin:end]], lengths).reshape(stop - self._left, self._width)
        self._left = stop
        self._forget(int(min(end, self._last_row())), waits)
        return done

    def _small(self) -> Flags:
        small: Flags = (self._patches.size < self._sizes.limit) & (self._patches.value != OUTSIDE)
        return small

    def _open(self, *, is_end: bool) -> Flags:
        is_open = np.zeros(len(self._patches.size), dtype=bool)
        if not is_end:
            is_open[self._patch[self._last_row() :]] = True
        return is_open

    def _has_edge(self) -> Flags:
        has = np.zeros(len(self._patches.size), dtype=bool)
        has[self._edges.one] = has[self._edges.other] = True
        return has

    def _decide(self, *, is_end: bool) -> bool:
        """Give away, at once, all whole small patches that are smaller than their small neighbours."""
        small, size, first = self._small(), self._patches.size, self._patches.first
        one = np.concatenate([self._edges.one, self._edges.other])
        other = np.concatenate([self._edges.other, self._edges.one])
        counts = np.concatenate([self._edges.counts, self._edges.counts])
        earlier = (size[other] < size[one]) | ((size[other] == size[one]) & (first[other] < first[one]))
        ready = small & ~self._open(is_end=is_end) & self._has_edge()
        ready[one[small[other] & earlier]] = False
        if not ready.any():
            return False
        of_ready = np.flatnonzero(ready[one])
        one, other, counts = one[of_ready], other[of_ready], counts[of_ready]
        patch, chosen = self._longest(one, self._patches.value[other], counts)
        value = self._patches.value.copy()
        value[patch] = chosen
        self._patches = replace(self._patches, value=value)
        joined = value[one] == value[other]
        self._merge(one[joined], other[joined])
        return True

    def _longest(self, patch: Ints, value: Bytes, counts: Ints) -> tuple[Ints, Bytes]:
        """Return each patch once, and the class it shares the longest edge with."""
        pairs = _Edges(patch, 2**62 + value.astype(np.int64), counts).summed()
        across, along = self._sizes.edges
        length = pairs.counts[:, 0] * across + pairs.counts[:, 1] * along
        order = np.lexsort((pairs.other, -length, pairs.one))
        best = order[np.unique(pairs.one[order], return_index=True)[1]]
        return pairs.one[best], (pairs.other[best] - 2**62).astype(np.uint8)

    def _forget(self, begin: int, waits: Flags) -> None:
        """Keep runs from `begin`, edges of waiting patches, and the patches that either names."""
        kept = waits[self._edges.one] | waits[self._edges.other]
        edges = _Edges(self._edges.one[kept], self._edges.other[kept], self._edges.counts[kept])
        start, patch = self._start[begin:], self._patch[begin:]
        named, number = np.unique(np.concatenate([patch, edges.one, edges.other]), return_inverse=True)
        p = self._patches
        self._patches = _Patches(p.size[named], p.first[named], p.value[named])
        self._start, self._patch = start, number[: len(patch)]
        one, other = np.split(number[len(patch) :], 2)
        self._edges = _Edges(one, other, edges.counts)
