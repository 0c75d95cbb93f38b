"""Exact polygons of a labelled raster that arrives in bands of rows: every 4-connected component once, uncut.

A boundary that leaves a band at its lower edge is kept as an open path and goes on in the next band; a complete ring
waits until the shell of its component is complete. Memory is bounded by the band and the components that are open.
The result does not depend on the height of the bands: polygons come in the order of their last row, then their first
pixel, and each ring begins with its first edge.
"""

from dataclasses import dataclass

import numpy as np

from geosemi.geo.corners import (
    OUTSIDE,
    ROW,
    START,
    STOP,
    Bytes,
    Ints,
    Turns,
    Uprights,
    find_turns,
    horizontal_segments,
    vertical_edges,
)
from geosemi.polygons.rings import Chains, Shapes, assemble, follow, places
from geosemi.polygons.tally import TALLIES, Tally

__all__ = ["OUTSIDE", "Shapes", "Tracer"]
_FEED_PIXELS = 2**20  # bands are traced in slices of about this size: temporary arrays stay in the processor's cache


@dataclass(frozen=True, slots=True)
class _Open:
    """Paths that go on below the last row: their segments, and the columns where they begin and end there."""

    chains: Chains
    tail_col: Ints
    head_col: Ints


class Tracer:
    """Follows the boundaries of a raster of `width` columns; feed it rows from top to bottom.

    Args:
        width: columns.
        tally: sums a second raster over each polygon.
    """

    def __init__(self, width: int, tally: Tally | None = None) -> None:
        none = np.empty(0, dtype=np.int64)
        self._width = width
        self._row = 0
        self._above = np.full(width + 2, OUTSIDE, dtype=np.uint8)
        self._tally = tally
        self._tallies = TALLIES if tally is not None else 0
        self._open = _Open(Chains.empty(self._tallies), none, none)
        self._rings = Chains.empty(self._tallies)  # complete rings of components that are still open

    def feed(self, values: Bytes, confidence: Bytes | None = None) -> list[Shapes]:
        """Take the next rows, (h, width) uint8 with OUTSIDE where there is no class; return what they complete.

        Args:
            values: classes.
            confidence: the rows of the raster to be summed; for a tracer with a tally.
        """
        rows = max(1, _FEED_PIXELS // self._width)
        done = []
        for k in range(0, len(values), rows):
            if self._tally is not None and confidence is not None:
                self._tally.feed(confidence[k : k + rows])
            done.append(self._feed(values[k : k + rows]))
        return done

    def finish(self) -> Shapes:
        """Return what the lower edge of the raster completes: everything that is left."""
        if self._tally is not None:
            self._tally.feed(np.zeros((1, self._width), dtype=np.uint8))
        return self._feed(np.full((1, self._width), OUTSIDE, dtype=np.uint8))

    def _feed(self, values: Bytes) -> Shapes:
        block = np.full((len(values) + 1, self._width + 2), OUTSIDE, dtype=np.uint8)
        block[0] = self._above
        block[1:, 1:-1] = values
        turns = find_turns(block)
        table, segment_of = horizontal_segments(turns, self._row)
        tallies = np.empty((len(table), 0), dtype=np.int64)
        if self._tally is not None:
            tallies = self._tally.along(table[:, ROW] - self._row, table[:, START], table[:, STOP])
        nodes = self._open.chains.with_segments(table, places(table, self._width), tallies)
        east, west = self._uprights(turns, segment_of + len(self._open.chains))
        after = np.full(len(nodes), -1, dtype=np.int64)
        after[east.upper] = east.lower  # component to the east: walked down
        after[west.lower] = west.upper
        order, lengths = follow(after, west.open_node)
        chain_of = np.empty(len(nodes), dtype=np.int64)
        chain_of[order] = np.repeat(np.arange(len(lengths)), lengths)
        head_col = np.empty(len(nodes), dtype=np.int64)
        head_col[east.open_node] = east.open_col
        chains = nodes.joined(order, lengths)
        roots = self._group(block, chains, chain_of, east)
        done = self._settle(chains, roots, west.open_col, head_col[order[np.cumsum(lengths)[: len(west.open_col)] - 1]])
        self._above = block[-1].copy()
        self._row += len(values)
        return done

    def _uprights(self, turns: Turns, node_of: Ints) -> tuple[Uprights, Uprights]:
        paths = np.arange(len(self._open.chains))
        return (
            vertical_edges(turns, node_of, east=True, stub_col=self._open.head_col, stub_node=paths),
            vertical_edges(turns, node_of, east=False, stub_col=self._open.tail_col, stub_node=paths),
        )

    def _group(self, block: Bytes, chains: Chains, chain_of: Ints, east: Uprights) -> Ints:
        """Return the component of each chain (numbers below `len(chains)`), then of each earlier component.

        Paths that meet are one component. A chain whose first segment has its component above may be the rim of a
        hole: it belongs to the boundary at the left end of the run of pixels just above that segment.
        """
        first = len(chains)  # earlier components are numbered from here
        known = len(self._open.chains)
        joins = [(chain_of[:known], self._open.chains.group + first)]
        is_new = np.ones(first, dtype=bool)
        is_new[chain_of[:known]] = False
        hanging = np.flatnonzero(is_new & (chains.key & 1 == 1))
        if len(hanging):
            joins.append((hanging, chain_of[self._left_of(block, chains.key[hanging] >> 1, east)]))
        groups = max(self._open.chains.groups, self._rings.groups)
        return _united(first + groups, np.concatenate([a for a, _ in joins]), np.concatenate([b for _, b in joins]))

    def _left_of(self, block: Bytes, place: Ints, east: Uprights) -> Ints:
        """Return the node of the vertical edge at the left end of the run of pixels above each place."""
        height, lattice = len(block), self._width + 1
        row, col = place // lattice - self._row, place % lattice
        edges = np.flatnonzero(block[:, 1:] != block[:, :-1])
        left = edges[np.searchsorted(edges, row * lattice + col, side="right") - 1] - row * lattice
        tops = east.top_col * height + east.top_row + 1
        node: Ints = east.top_node[np.searchsorted(tops, left * height + row, side="right") - 1]
        return node

    def _settle(self, chains: Chains, roots: Ints, tail_col: Ints, head_col: Ints) -> Shapes:
        """Keep open paths and the rings of open components; return the closed components as polygons."""
        count, still_open = len(chains), len(tail_col)
        is_shell = (chains.key & 1 == 0) & (np.arange(count) >= still_open)
        closed = np.zeros(len(roots), dtype=bool)
        closed[roots[:count][is_shell]] = True
        rings = chains.regrouped(roots[:count]).take(np.arange(still_open, count))
        rings = self._rings.regrouped(roots[count:][self._rings.group]).plus(rings)
        paths = chains.regrouped(roots[:count]).take(np.arange(still_open))
        is_done = closed[rings.group]
        waiting = rings.take(np.flatnonzero(~is_done))
        _, number = np.unique(np.concatenate([paths.group, waiting.group]), return_inverse=True)
        self._open = _Open(paths.regrouped(number[:still_open]), tail_col, head_col)
        self._rings = waiting.regrouped(number[still_open:])
        return assemble(rings.take(np.flatnonzero(is_done)), self._width)


def _united(count: int, one: Ints, other: Ints) -> Ints:
    """Return the smallest member of the set of each of `count` elements, after joining pairs (union-find)."""
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(k) for k in range(count)], dtype=np.int64)
