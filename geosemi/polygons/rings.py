"""Ragged lists of boundary segments, and polygons made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import INFO, ROW, START, STOP, TOUCH_START, TOUCH_STOP, VALUE_SHIFT, Ints

Table = npt.NDArray[np.int32]
_SEEN = -2


@dataclass(frozen=True, slots=True)
class Chains:
    """Sequences of horizontal segments, open or closed; consecutive ones are joined by vertical edges.

    Attributes:
        table: (n, 4) int32 segments of all chains, one chain after the other (see `corners.horizontal_segments`).
        lengths: segments of each chain.
        key: each chain's first segment in row-major order: `(row * (width + 1) + column) * 2 + component above it`.
        group: each chain's component.
        tallies: (c, t) int64: sums along each chain that add up, over a component's boundary, to sums over its pixels.
    """

    table: Table
    lengths: Ints
    key: Ints
    group: Ints
    tallies: Ints

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def groups(self) -> int:
        """One more than the largest group."""
        return int(self.group.max(initial=-1)) + 1

    @classmethod
    def empty(cls, tallies: int = 0) -> "Chains":
        """Return no chains, with so many tallies."""
        none = np.empty(0, dtype=np.int64)
        return cls(np.empty((0, 4), dtype=np.int32), none, none, none, np.empty((0, tallies), dtype=np.int64))

    def plus(self, other: "Chains") -> "Chains":
        """Return these chains, then the others."""
        if not len(other):
            return self
        pairs = ((getattr(self, f), getattr(other, f)) for f in ("table", "lengths", "key", "group", "tallies"))
        return Chains(*(np.concatenate(p) for p in pairs))

    def with_segments(self, table: Table, key: Ints, tallies: Ints) -> "Chains":
        """Return these chains and every segment of a table as a chain of its own; its group has no meaning yet."""
        ones = np.ones(len(table), dtype=np.int64)
        return self.plus(Chains(table, ones, key, ones, tallies))

    def regrouped(self, group: Ints) -> "Chains":
        """Return the chains with other groups."""
        return replace(self, group=group)

    def take(self, which: Ints) -> "Chains":
        """Return some chains, in the order given."""
        starts = (np.cumsum(self.lengths) - self.lengths)[which]
        lengths = self.lengths[which]
        table = self.table[spans(starts, lengths)]
        return Chains(table, lengths, self.key[which], self.group[which], self.tallies[which])

    def joined(self, order: Ints, lengths: Ints) -> "Chains":
        """Join chains in the order given, so many (`lengths`) to each new one; groups have no meaning yet."""
        parts = self.take(order)
        begins = np.cumsum(lengths) - lengths
        if not len(begins):
            return Chains.empty(self.tallies.shape[1])
        key = np.minimum.reduceat(parts.key, begins)
        tallies = np.add.reduceat(parts.tallies, begins, axis=0)
        sizes = np.add.reduceat(parts.lengths, begins)
        return Chains(parts.table, sizes, key, np.zeros(len(begins), dtype=np.int64), tallies)


@dataclass(frozen=True, slots=True)
class Shapes:
    """Polygons on the pixel lattice.

    Attributes:
        corners: (n, 2) column and row, int32, or float64 once they may lie off the lattice or edges run askew; rings
            are closed, shells counter-clockwise as displayed, holes clockwise.
        rings: (r + 1,) where each ring begins in `corners`.
        polygons: (p + 1,) where each polygon begins in `rings`; its first ring is the shell.
        value: (p,) uint8, the pixels' value.
        n_px: (p,) pixels.
        tallies: (p, t) int64 sums over the pixels (see `tally.Tally`).
    """

    corners: npt.NDArray[np.int32] | npt.NDArray[np.float64]
    rings: Ints
    polygons: Ints
    value: npt.NDArray[np.uint8]
    n_px: Ints
    tallies: Ints

    def __len__(self) -> int:
        return len(self.value)

    @property
    def on_lattice(self) -> bool:
        """Whether edges follow pixel edges, so that `n_px` tells the area."""
        return self.corners.dtype.kind == "i"

    @classmethod
    def concatenate(cls, parts: Sequence["Shapes"], tallies: int = 0) -> "Shapes":
        """Return the polygons of all parts, which have so many tallies, in their order."""
        zero = np.zeros(1, dtype=np.int64)
        return cls(
            corners=np.concatenate([np.empty((0, 2), dtype=np.int32), *(p.corners for p in parts)]),
            rings=np.append(zero, np.concatenate([zero[:0], *(np.diff(p.rings) for p in parts)]).cumsum()),
            polygons=np.append(zero, np.concatenate([zero[:0], *(np.diff(p.polygons) for p in parts)]).cumsum()),
            value=np.concatenate([np.empty(0, dtype=np.uint8), *(p.value for p in parts)]),
            n_px=np.concatenate([zero[:0], *(p.n_px for p in parts)]),
            tallies=np.concatenate([np.empty((0, tallies), dtype=np.int64), *(p.tallies for p in parts)]),
        )


def spans(starts: Ints, lengths: Ints) -> Ints:
    """Return the indices start, start + 1, … of every span, one span after the other."""
    total = int(lengths.sum())
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(total)


def follow(after: Ints, tails: Ints) -> tuple[Ints, Ints]:
    """Order nodes along their links: first the open paths that begin at the tails, then all cycles.

    A plain loop: 0.1 µs a node; pointer jumping in numpy took longer, for it reads memory at random log(n) times.

    Args:
        after: the node that follows each node, -1 at the end of an open path.
        tails: first nodes of the open paths.

    Returns:
        the nodes in order, and the number of nodes of each path and cycle.
    """
    links = after.tolist()
    order: list[int] = []
    ends: list[int] = []
    append = order.append
    for tail in tails.tolist():
        k = tail
        while k >= 0:
            append(k)
            links[k], k = _SEEN, links[k]
        ends.append(len(order))
    for first in range(len(links)):
        if links[first] == _SEEN:
            continue
        k = first
        while (link := links[k]) != _SEEN:
            append(k)
            links[k] = _SEEN
            k = link
        ends.append(len(order))
    marks = np.array([0, *ends], dtype=np.int64)
    return np.array(order, dtype=np.int64), marks[1:] - marks[:-1]


def places(table: Table, width: int) -> Ints:
    """Return where each segment lies in row-major order, times two, plus one where its component is above it."""
    left = np.minimum(table[:, START], table[:, STOP])
    return (table[:, ROW].astype(np.int64) * (width + 1) + left) * 2 + (table[:, STOP] > table[:, START])


def assemble(rings: Chains, width: int) -> Shapes:
    """Make polygons of all rings of closed components, ordered by their last row, then their first pixel."""
    if not len(rings):
        return Shapes.concatenate([], rings.tallies.shape[1])
    rings = _untangled(rings, width)
    begins = np.cumsum(rings.lengths) - rings.lengths
    is_hole = rings.key & 1
    bottom = np.maximum.reduceat(rings.table[:, ROW], begins)
    area = np.add.reduceat(
        rings.table[:, ROW].astype(np.int64) * (rings.table[:, STOP] - rings.table[:, START]), begins
    )
    shells = np.flatnonzero(is_hole == 0)
    shells = shells[np.lexsort((rings.key[shells], bottom[shells]))]
    number = np.empty(rings.groups, dtype=np.int64)
    number[rings.group[shells]] = np.arange(len(shells))
    polygon = number[rings.group]
    order = np.lexsort((rings.key, is_hole, polygon))
    corners, ring_begins = _closed_corners(rings, order, width)
    return Shapes(
        corners=corners,
        rings=ring_begins,
        polygons=np.append(np.flatnonzero(is_hole[order] == 0), len(order)),
        value=(rings.table[begins[shells], INFO] >> VALUE_SHIFT).astype(np.uint8),
        n_px=np.add.reduceat(area[order], np.flatnonzero(is_hole[order] == 0)),
        tallies=np.add.reduceat(rings.tallies[order], np.flatnonzero(is_hole[order] == 0), axis=0),
    )


def _closed_corners(rings: Chains, order: Ints, width: int) -> tuple[Table, Ints]:
    """Return corners of rings in the order given, each ring from its first edge and closed, and where they begin."""
    begins = np.cumsum(rings.lengths) - rings.lengths
    first = np.flatnonzero(places(rings.table, width) == np.repeat(rings.key, rings.lengths)) - begins
    lengths = rings.lengths[order]
    step = spans(np.zeros_like(lengths), lengths)
    turned = (step + np.repeat(first[order], lengths)) % np.repeat(lengths, lengths)
    table = rings.table[turned + np.repeat(begins[order], lengths)]
    sizes = 2 * lengths + 1
    ends = np.cumsum(sizes)
    is_last = np.zeros(int(ends[-1]), dtype=bool)
    is_last[ends - 1] = True
    corners = np.empty((len(is_last), 2), dtype=np.int32)
    corners[~is_last] = table[:, (START, ROW, STOP, ROW)].reshape(-1, 2)
    corners[is_last] = corners[ends - sizes]
    return corners, np.append(0, ends)


def _untangled(rings: Chains, width: int) -> Chains:
    """Split rings that pass a point twice, so that every ring is simple.

    Two pixels of one component may meet at a corner only, the other two pixels of that 2 × 2 square being of others.
    The turns found there are those of two separate pixels, which makes the boundary pass the point twice: an invalid
    ring. The other way to join the four edges there gives two rings that touch. Two passes on different rings belong
    to different components (within one, the pixels between would be joined at the point, thus have one boundary).
    """
    ring = np.repeat(np.arange(len(rings)), rings.lengths)
    swap_start = _twins(rings.table, START, TOUCH_START, ring)
    swap_stop = _twins(rings.table, STOP, TOUCH_STOP, ring)
    tangled = np.zeros(len(rings), dtype=bool)
    tangled[ring[swap_start[0]]] = tangled[ring[swap_stop[0]]] = True
    if not tangled.any():
        return rings
    begins = np.cumsum(rings.lengths) - rings.lengths
    after = np.arange(1, len(ring) + 1)
    after[begins + rings.lengths - 1] = begins
    after[np.concatenate(swap_stop)] = after[np.concatenate(swap_stop[::-1])]
    swapped = np.arange(len(ring))
    swapped[np.concatenate(swap_start)] = np.concatenate(swap_start[::-1])
    after = swapped[after]
    chosen = np.flatnonzero(tangled[ring])
    compact = np.empty(len(ring), dtype=np.int64)
    compact[chosen] = np.arange(len(chosen))
    order, lengths = follow(compact[after[chosen]], chosen[:0])
    segments = chosen[order]
    table = rings.table[segments]
    firsts = np.cumsum(lengths) - lengths
    key = np.minimum.reduceat(places(table, width), firsts)
    owner = ring[segments[firsts]]
    # what a ring carries goes with one of its parts: only the sum over a polygon's rings counts
    heirs = np.unique(owner, return_index=True)[1]
    tallies = np.zeros((len(owner), rings.tallies.shape[1]), dtype=np.int64)
    tallies[heirs] = rings.tallies[owner[heirs]]
    split = Chains(table, lengths, key, rings.group[owner], tallies)
    return rings.take(np.flatnonzero(~tangled)).plus(split)


def _twins(table: Table, column: int, bit: int, ring: Ints) -> tuple[Ints, Ints]:
    """Return pairs of segments of one ring that begin (or end) at the same point."""
    touching = np.flatnonzero(table[:, INFO] & bit)
    row, col, owner = table[touching, ROW], table[touching, column], ring[touching]
    order = np.lexsort((col, row, owner))
    row, col, owner = row[order], col[order], owner[order]
    same = np.flatnonzero((row[1:] == row[:-1]) & (col[1:] == col[:-1]) & (owner[1:] == owner[:-1]))
    return touching[order[same]], touching[order[same + 1]]
