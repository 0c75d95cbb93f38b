"""Polygons that share simplified edges, from a labelled raster that arrives in bands of rows.

Works like `tracing`, but on arcs (see `arcs`): each is simplified and smoothed once, and both neighbours take it as it
then is. That is done in strips of a height that the raster's width alone decides, so the result does not depend on how
rows are fed; lines pass through fixed points where they cross from strip to strip.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import OUTSIDE, Bytes, Ints
from geosemi.polygons.arcs import NORTH, SOUTH, Arcs, Flags, find_arcs
from geosemi.polygons.components import Components, StripComponents
from geosemi.polygons.loops import Loops, polygons_of
from geosemi.polygons.rings import Shapes, follow, spans
from geosemi.polygons.simplify import Crowd, simplified
from geosemi.polygons.smooth import smoothed

_STRIP_PIXELS = 2**22
_LEAST_ROWS = 128
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Paths:
    """Open boundaries, walked with the component on the left: where they begin and end on a strip's lower edge."""

    lines: Loops
    head_col: Ints
    tail_col: Ints


@dataclass(frozen=True, slots=True)
class _Darts:
    """Arcs walked in one direction, with a component on the left; the last point of open ones is left out."""

    lines: Loops
    is_loop: Flags
    start: Ints  # point where the dart begins, and the direction in which it leaves
    leaves: Ints
    stop: Ints
    arrives: Ints


class CoverageTracer:
    """Follows the shared boundaries of a raster of `width` columns; feed it rows from top to bottom.

    Args:
        width: columns.
        tolerance: in pixels, see `simplify`; 0 keeps every turn.
        smooth: whether corners are rounded, see `smooth`.
        has_confidence: whether rows of a confidence raster come too.
        strip_rows: height of the strips, on which the result depends; for tests.
    """

    def __init__(
        self,
        width: int,
        *,
        tolerance: float,
        smooth: bool = False,
        has_confidence: bool = False,
        strip_rows: int | None = None,
    ) -> None:
        self._width = width
        self._smooth = smooth
        self._tolerance = tolerance
        self._rows = strip_rows or max(_LEAST_ROWS, _STRIP_PIXELS // width)
        self._row = 0
        self._above = np.full(width + 2, OUTSIDE, dtype=np.uint8)
        self._components = Components(width, has_confidence=has_confidence)
        self._waiting: list[tuple[Bytes, Bytes | None]] = []
        none = np.empty(0, dtype=np.int64)
        self._open = _Paths(Loops.empty(), none, none)
        self._rings = Loops.empty()

    def feed(self, values: Bytes, confidence: Bytes | None = None) -> list[Shapes]:
        """Take the next rows, (h, width) uint8 with OUTSIDE where there is no class; return what they complete."""
        self._waiting.append((values, confidence))
        done = []
        # one row more than a strip: the last strip must not be empty
        while sum(len(v) for v, _ in self._waiting) > self._rows:
            strip, sureness = self._next(self._rows)
            done.append(self._strip(strip, sureness, is_last=False))
        return done

    def finish(self) -> Shapes:
        """Return what the lower edge of the raster completes: everything that is left."""
        return self._strip(*self._next(sum(len(v) for v, _ in self._waiting)), is_last=True)

    def _next(self, rows: int) -> tuple[Bytes, Bytes | None]:
        values = np.concatenate([v for v, _ in self._waiting])
        sureness = [c for _, c in self._waiting if c is not None]
        confidence = np.concatenate(sureness) if sureness else None
        self._waiting = [(values[rows:], None if confidence is None else confidence[rows:])]
        return values[:rows], None if confidence is None else confidence[:rows]

    def _strip(self, values: Bytes, confidence: Bytes | None, *, is_last: bool) -> Shapes:
        block = np.full((len(values) + 1 + is_last, self._width + 2), OUTSIDE, dtype=np.uint8)
        block[0] = self._above
        block[1 : len(values) + 1, 1:-1] = values
        arcs = find_arcs(block, is_first=self._row == 0, is_last=is_last)
        components = self._components.feed(values, confidence, is_last=is_last)
        darts = self._darts(arcs, block, components)
        self._link(arcs, darts, components.renamed, len(values))
        is_closed = np.zeros(len(components.table), dtype=bool)
        is_closed[components.closed] = True
        ready = is_closed[self._rings.owner]
        done = polygons_of(self._rings.take(np.flatnonzero(ready)), components, self._width)
        number = np.full(len(components.table), -1, dtype=np.int64)
        number[components.still_open] = np.arange(len(components.still_open))
        self._rings = self._rings.take(np.flatnonzero(~ready)).renamed(number)
        self._open = replace(self._open, lines=self._open.lines.renamed(number))
        self._above = block[len(values)].copy()
        self._row += len(values)
        return done

    def _lines(self, arcs: Arcs) -> tuple[Floats, Ints]:
        """Return the points of all arcs as they shall be, and how many each has."""
        points = np.stack([arcs.col[arcs.vertex], arcs.row[arcs.vertex]], axis=1).astype(np.float64)
        sizes, vertex = arcs.sizes, arcs.vertex
        if self._tolerance and len(arcs):
            kept = simplified(arcs, self._width, tolerance=self._tolerance, first_row=self._row)
            sizes = np.diff(np.cumsum(kept)[np.cumsum(sizes) - 1], prepend=0)
            points, vertex = points[kept], vertex[kept]
        if self._smooth:
            key = np.unique(arcs.row[vertex] * (self._width + 1) + arcs.col[vertex])
            points, sizes = smoothed(points, sizes, arcs.is_loop, Crowd(key, self._width + 1))
        return points + np.array([0, self._row]), sizes

    def _darts(self, arcs: Arcs, block: Bytes, components: StripComponents) -> _Darts:
        points, sizes = self._lines(arcs)
        begins = np.cumsum(sizes) - sizes
        ends = np.cumsum(arcs.sizes)
        first, last = arcs.vertex[ends - arcs.sizes], arcs.vertex[ends - 1]
        flat = block[:, 1:-1].ravel()
        there, back = (np.flatnonzero((pixel >= 0) & (flat[pixel] != OUTSIDE)) for pixel in (arcs.left, arcs.right))
        arc = np.concatenate([there, back])
        is_back = np.arange(len(arc)) >= len(there)
        lengths = sizes[arc] - ~arcs.is_loop[arc]
        step = spans(np.zeros_like(lengths), lengths)
        turned = np.repeat(is_back, lengths)
        entry = np.repeat(begins[arc], lengths) + np.where(turned, np.repeat(sizes[arc], lengths) - 1 - step, step)
        return _Darts(
            lines=Loops(points[entry], lengths, components.at(np.where(is_back, arcs.right[arc], arcs.left[arc]))),
            is_loop=arcs.is_loop[arc],
            start=np.where(is_back, last[arc], first[arc]),
            leaves=np.where(is_back, (arcs.last[arc] + 2) % 4, arcs.first[arc]),
            stop=np.where(is_back, first[arc], last[arc]),
            arrives=np.where(is_back, (arcs.first[arc] + 2) % 4, arcs.last[arc]),
        )

    def _link(self, arcs: Arcs, darts: _Darts, renamed: Ints, rows: int) -> None:
        """Join darts, and the paths from above, at the nodes; rings and paths that stay open become the state."""
        whole, parts = np.flatnonzero(darts.is_loop), np.flatnonzero(~darts.is_loop)
        known = len(self._open.head_col)
        on_top = np.flatnonzero(arcs.row == 0)
        head, tail = (
            on_top[np.searchsorted(arcs.col[on_top], col)] for col in (self._open.head_col, self._open.tail_col)
        )
        leaving = np.full((len(arcs.row), 4), -1, dtype=np.int64)
        leaving[darts.start[parts], darts.leaves[parts]] = known + np.arange(len(parts))
        leaving[head, NORTH] = np.arange(known)
        stop = np.concatenate([tail, darts.stop[parts]])
        arrives = np.concatenate([np.full(known, SOUTH), darts.arrives[parts]])
        # as far to the left as there is an edge: then diagonal neighbours are not joined
        left, ahead, right = (leaving[stop, (arrives + turn) % 4] for turn in (3, 0, 1))
        after = np.where(left >= 0, left, np.where(ahead >= 0, ahead, right))
        is_head = np.ones(len(after), dtype=bool)
        is_head[after[after >= 0]] = False
        heads = np.flatnonzero(is_head)
        order, lengths = follow(after, heads)
        lines = self._open.lines.renamed(renamed).plus(darts.lines.take(parts)).joined(order, lengths)
        col = arcs.col[np.concatenate([tail, darts.start[parts]])]
        is_path = np.arange(len(lengths)) < len(heads)
        tails = order[np.cumsum(lengths)[is_path] - 1]
        self._open = _Paths(lines.take(np.flatnonzero(is_path)), col[heads], arcs.col[stop[tails]])
        rings = lines.take(np.flatnonzero(~is_path)).plus(darts.lines.take(whole))
        self._rings = self._rings.renamed(renamed).plus(rings)
        # every open end lies on the strip's lower edge, or the boundary would be torn
        if not (arcs.row[stop[tails]] == rows).all():
            raise AssertionError("a boundary ends inside of a strip")
