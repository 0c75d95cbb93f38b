"""4-connected components of a raster that arrives in strips: pixels counted, names kept from strip to strip."""

from dataclasses import dataclass

import numpy as np

from geosemi.geo.corners import OUTSIDE, Bytes, Ints
from geosemi.polygons.regions import Runs, find_runs, united
from geosemi.polygons.tally import NO_CONFIDENCE, TALLIES


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of components.

    Attributes:
        value: of the pixels.
        n_px: pixels.
        first: flat position of the first pixel.
        last_row: the last row.
        tallies: (n, t) sum of confidence, pixels without one.
    """

    value: Bytes
    n_px: Ints
    first: Ints
    last_row: Ints
    tallies: Ints

    def __len__(self) -> int:
        return len(self.value)

    def take(self, which: Ints) -> "Table":
        """Return some components, in the order given."""
        return Table(
            self.value[which], self.n_px[which], self.first[which], self.last_row[which], self.tallies[which]
        )  # fmt: skip

    def merged(self, group: Ints, count: int) -> "Table":
        """Return the components after those of one group have become one."""
        value, n_px = np.empty(count, dtype=np.uint8), np.zeros(count, dtype=np.int64)
        first, last_row = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        tallies = np.zeros((count, self.tallies.shape[1]), dtype=np.int64)
        value[group] = self.value
        np.add.at(n_px, group, self.n_px)
        np.minimum.at(first, group, self.first)
        np.maximum.at(last_row, group, self.last_row)
        np.add.at(tallies, group, self.tallies)
        return Table(value, n_px, first, last_row, tallies)

    def plus(self, other: "Table") -> "Table":
        """Return these components, then the others."""
        names = ("value", "n_px", "first", "last_row", "tallies")
        return Table(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


@dataclass(frozen=True, slots=True)
class StripComponents:
    """The components that a strip meets.

    Attributes:
        table: all of them, those that came from above included.
        renamed: number in this table of every component that was open before.
        closed: numbers of those that end in this strip.
        still_open: numbers of those that go on; their place here is their number before the next strip.
        run_start: flat positions, from the row above the strip on, where runs of pixels begin.
        run_owner: component of each run.
    """

    table: Table
    renamed: Ints
    closed: Ints
    still_open: Ints
    run_start: Ints
    run_owner: Ints

    def at(self, pixel: Ints) -> Ints:
        """Return the components of pixels at flat positions, from the row above the strip on."""
        owners: Ints = self.run_owner[np.searchsorted(self.run_start, pixel, side="right") - 1]
        return owners


class Components:
    """Names the components of a raster of `width` columns; feed it strips from top to bottom."""

    def __init__(self, width: int, *, has_confidence: bool = False) -> None:
        self._width = width
        self._row = 0
        self._above = np.full(width, OUTSIDE, dtype=np.uint8)
        self._owners = np.zeros(1, dtype=np.int64)  # of the runs of the row above
        none = np.zeros(1, dtype=np.int64)
        tallies = np.zeros((1, TALLIES if has_confidence else 0), dtype=np.int64)
        self._open = Table(np.full(1, OUTSIDE, dtype=np.uint8), none, none, none - 1, tallies)

    def feed(self, values: Bytes, confidence: Bytes | None, *, is_last: bool) -> StripComponents:
        """Take the next strip, (h, width); on the last one every component ends."""
        runs = find_runs(np.concatenate([self._above[np.newaxis], values]))
        known, old = len(self._open), len(self._owners)
        table = self._open.plus(self._of_runs(runs, old, confidence))
        node = np.concatenate([self._owners, known + np.arange(len(runs.start) - old)])
        same = runs.value[runs.above] == runs.value[runs.below]
        roots, group = np.unique(
            united(len(table), node[runs.above[same]], node[runs.below[same]]), return_inverse=True
        )
        table = table.merged(group, len(roots))
        owner = group[node]
        last = int(np.searchsorted(runs.start, len(values) * self._width))
        still_open, self._owners = np.unique(owner[last:], return_inverse=True)
        is_closed = np.ones(len(table), dtype=bool)
        if not is_last:
            is_closed[still_open] = False
        is_closed[table.value == OUTSIDE] = False
        self._open = table.take(still_open)
        self._above, self._row = values[-1].copy(), self._row + len(values)
        return StripComponents(
            table, group[:known], np.flatnonzero(is_closed), still_open, runs.start, owner
        )  # fmt: skip

    def _of_runs(self, runs: Runs, old: int, confidence: Bytes | None) -> Table:
        """Return every new run as a component of its own."""
        start, length = runs.start[old:] - self._width, runs.length[old:]
        tallies = np.empty((len(start), self._open.tallies.shape[1]), dtype=np.int64)
        if confidence is not None and tallies.shape[1]:
            sureness = confidence.ravel()
            missing = sureness == NO_CONFIDENCE
            tallies[:, 0] = np.add.reduceat(np.where(missing, 0, sureness), start, dtype=np.int64)
            tallies[:, 1] = np.add.reduceat(missing, start, dtype=np.int64)
        first = start + self._row * self._width
        return Table(runs.value[old:], length, first, first // self._width, tallies)
