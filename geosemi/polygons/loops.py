"""Ragged lists of points, and polygons made of those that are closed."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import Ints
from geosemi.polygons.components import StripComponents
from geosemi.polygons.rings import Shapes, spans

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loops:
    """Sequences of points, each of one component's boundary, walked with the component on the left.

    Attributes:
        points: (n, 2) column and row of all, one sequence after the other; closed ones do not repeat the first point.
        lengths: points of each.
        owner: component of each.
    """

    points: Floats
    lengths: Ints
    owner: Ints

    @classmethod
    def empty(cls) -> "Loops":
        """Return none."""
        none = np.empty(0, dtype=np.int64)
        return cls(np.empty((0, 2)), none, none)

    def plus(self, other: "Loops") -> "Loops":
        """Return these, then the others."""
        return Loops(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.lengths, other.lengths]),
            np.concatenate([self.owner, other.owner]),
        )

    def renamed(self, number: Ints) -> "Loops":
        """Return them with other numbers of components."""
        return replace(self, owner=number[self.owner])

    def take(self, which: Ints) -> "Loops":
        """Return some, in the order given."""
        starts = (np.cumsum(self.lengths) - self.lengths)[which]
        lengths = self.lengths[which]
        return Loops(self.points[spans(starts, lengths)], lengths, self.owner[which])

    def joined(self, order: Ints, counts: Ints) -> "Loops":
        """Join sequences in the order given, so many (`counts`) to each new one."""
        parts = self.take(order)
        begins = np.cumsum(counts) - counts
        lengths = np.add.reduceat(parts.lengths, begins) if len(begins) else parts.lengths
        return Loops(parts.points, lengths, parts.owner[begins])


def polygons_of(rings: Loops, components: StripComponents, width: int) -> Shapes:
    """Make polygons of all rings of closed components, ordered by their last row, then their first pixel."""
    table = components.table
    rings = _untangled(rings, width)
    order = components.closed[np.lexsort((table.first[components.closed], table.last_row[components.closed]))]
    place = np.empty(len(table), dtype=np.int64)
    place[order] = np.arange(len(order))
    begins = np.cumsum(rings.lengths) - rings.lengths
    chosen = table.take(order)
    if not len(begins):
        return Shapes.concatenate([], table.tallies.shape[1])
    key = np.minimum.reduceat(rings.points[:, 1] * (width + 1) + rings.points[:, 0], begins)
    is_hole = _areas(rings) < 0
    sequence = np.lexsort((key, is_hole, place[rings.owner]))
    rings = rings.take(sequence)
    lengths = rings.lengths
    begins = np.cumsum(lengths) - lengths
    starts = np.cumsum(lengths + 1) - (lengths + 1)
    step = spans(np.zeros_like(lengths), lengths + 1) % np.repeat(lengths, lengths + 1)
    return Shapes(
        corners=rings.points[step + np.repeat(begins, lengths + 1)],
        rings=np.append(starts, len(step)),
        polygons=np.append(np.searchsorted(place[rings.owner], np.arange(len(order))), len(lengths)),
        value=chosen.value,
        n_px=chosen.n_px,
        tallies=chosen.tallies,
    )


def _areas(rings: Loops) -> Floats:
    """Return the area of each ring: positive where it runs counter-clockwise as displayed."""
    begins = np.cumsum(rings.lengths) - rings.lengths
    after = np.arange(1, len(rings.points) + 1)
    after[begins + rings.lengths - 1] = begins
    col, row = rings.points.T
    areas: Floats = np.add.reduceat((row[after] + row) / 2 * (col[after] - col), begins)
    return areas


def _untangled(rings: Loops, width: int) -> Loops:
    """Split rings that pass a point twice into simple ones (see `rings`): only nodes can be such points."""
    ring = np.repeat(np.arange(len(rings.lengths)), rings.lengths)
    on_lattice = np.flatnonzero((rings.points == np.rint(rings.points)).all(axis=1))
    place = (rings.points[on_lattice, 1] * (width + 1) + rings.points[on_lattice, 0]).astype(np.int64)
    order = np.lexsort((place, ring[on_lattice]))
    place, owner = place[order], ring[on_lattice][order]
    tangled = np.unique(owner[1:][(place[1:] == place[:-1]) & (owner[1:] == owner[:-1])])
    if not len(tangled):
        return rings
    is_simple = np.ones(len(rings.lengths), dtype=bool)
    is_simple[tangled] = False
    done = rings.take(np.flatnonzero(is_simple))
    begins = np.cumsum(rings.lengths) - rings.lengths
    parts, owners = [], []
    for k in tangled.tolist():
        loops = _simple(rings.points[begins[k] : begins[k] + rings.lengths[k]])
        parts += loops
        owners += [int(rings.owner[k])] * len(loops)
    lengths = np.array([len(p) for p in parts], dtype=np.int64)
    return done.plus(Loops(np.concatenate(parts), lengths, np.array(owners, dtype=np.int64)))


def _simple(points: Floats) -> list[Floats]:
    """Cut a loop off whenever the walk comes back to a point."""
    parts: list[Floats] = []
    walk: list[tuple[float, float]] = []
    at: dict[tuple[float, float], int] = {}
    for x, y in points.tolist():
        if (x, y) in at:
            begin = at[x, y]
            parts.append(np.array(walk[begin:]))
            for point in walk[begin:]:
                del at[point]
            del walk[begin:]
        at[x, y] = len(walk)
        walk.append((x, y))
    return [*parts, np.array(walk)]
