"""Boundaries of a labelled band as oriented horizontal segments, without a loop over pixels.

Lattice point (i, j) is the corner that the pixels NW, NE, SW and SE share. A component's boundary turns at some of
these points. Seen from a pixel of the component (its quadrant `q` at the point) the turn is *convex* where both
neighbours in the 2 × 2 square differ from the pixel, *reflex* where both equal it and the pixel across does not.
A turn joins one horizontal and one vertical edge; which ones, `q` and the kind say. So in row-major order the turns
with the component below alternate left end, right end, left end, …: horizontal segments need no search at all, and
vertical ones a stable sort by column.

Boundaries are walked with the component on the left, seen on the raster as displayed: shells counter-clockwise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

OUTSIDE = 255  # value of pixels that belong to no polygon
NW, NE, SW, SE = range(4)
_CONVEX, _REFLEX = 1, 2
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# columns of a segment table
ROW, START, STOP, INFO = range(4)
TOUCH_START, TOUCH_STOP, VALUE_SHIFT = 1, 2, 2  # bits of INFO


def _turns_of_square() -> Bytes:
    """Return (16, 4): for each pattern of edges at a point, the turn that each quadrant's component makes there."""
    table = np.zeros((16, 4), dtype=np.uint8)
    for code in range(16):
        above, below, left, right = (bool(code & bit) for bit in (1, 2, 4, 8))
        vertical = {NW: above, NE: above, SW: below, SE: below}
        horizontal = {NW: left, SW: left, NE: right, SE: right}
        for q in range(4):
            if vertical[q] and horizontal[q]:
                table[code, q] = _CONVEX
            elif not vertical[q] and not horizontal[q] and vertical[3 - q] and horizontal[3 - q]:
                table[code, q] = _REFLEX
    return table


_TURNS = _turns_of_square()


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of all boundaries at the lattice points of a band, in row-major order, then NW, NE, SW, SE.

    Attributes:
        row: lattice row, 0 at the band's upper edge.
        col: lattice column.
        quadrant: where the component's pixel lies.
        downward: whether the vertical edge goes down from the point (else up).
        touching: whether the pixel diagonally across has the same value and the other two do not: the boundary of one
            component may pass such a point twice.
        value: of the component.
    """

    row: Ints
    col: Ints
    quadrant: Bytes
    downward: npt.NDArray[np.bool_]
    touching: npt.NDArray[np.bool_]
    value: Bytes


def find_turns(block: Bytes) -> Turns:
    """Find the turns at all points between the rows of a block.

    Args:
        block: (h + 1, W + 2) values: the row above the band, the band, and a column of OUTSIDE on either side.
    """
    upright = block[:, 1:] != block[:, :-1]
    level = block[1:] != block[:-1]
    is_turn = (upright[:-1] | upright[1:]) & (level[:, :-1] | level[:, 1:])
    rows = np.repeat(np.arange(len(level)), np.count_nonzero(is_turn, axis=1))
    points = np.flatnonzero(is_turn)
    cols = points - rows * is_turn.shape[1]
    flat, stride = block.ravel(), block.shape[1]
    corner = points + rows  # the block is one column wider than the lattice
    square = np.stack([flat[corner + shift] for shift in (0, 1, stride, stride + 1)], axis=1)
    nw, ne, sw, se = square.T
    code = (nw != ne) | ((sw != se) << np.uint8(1)) | ((nw != sw) << np.uint8(2)) | ((ne != se) << np.uint8(3))
    kinds = _TURNS[code]
    kinds[square == OUTSIDE] = 0
    chosen = np.flatnonzero(kinds)
    point, quadrant = chosen >> 2, (chosen & 3).astype(np.uint8)
    value = square.ravel()[chosen]
    across = square.ravel()[(chosen & ~3) | (3 - (chosen & 3))]
    reflex = kinds.ravel()[chosen] == _REFLEX
    return Turns(
        row=rows[point],
        col=cols[point],
        quadrant=quadrant,
        downward=(quadrant >= SW) ^ reflex,
        touching=(code[point] == 15) & (across == value),
        value=value,
    )


def horizontal_segments(turns: Turns, first_row: int) -> tuple[npt.NDArray[np.int32], Ints]:
    """Join turns to horizontal segments, each walked with its component on the left.

    Returns:
        table (n, 4) int32 of row, start column, stop column and info (two touch bits, value << 2); and the number of
        the segment that every turn belongs to.
    """
    above = np.flatnonzero(turns.quadrant < SW)  # component above the edge: walked east
    below = np.flatnonzero(turns.quadrant >= SW)  # component below: walked west
    start = np.concatenate([above[0::2], below[1::2]])
    stop = np.concatenate([above[1::2], below[0::2]])
    table = np.empty((len(start), 4), dtype=np.int32)
    table[:, ROW] = turns.row[start] + first_row
    table[:, START] = turns.col[start]
    table[:, STOP] = turns.col[stop]
    table[:, INFO] = (
        turns.touching[start] * TOUCH_START
        + turns.touching[stop] * TOUCH_STOP
        + (turns.value[start].astype(np.int32) << VALUE_SHIFT)
    )
    segment_of = np.empty(len(turns.row), dtype=np.int64)
    segment_of[start] = segment_of[stop] = np.arange(len(start))
    return table, segment_of


@dataclass(frozen=True, slots=True)
class Uprights:
    """Vertical edges with the component on one side, sorted by column, then row.

    Attributes:
        upper, lower: nodes at the upper and lower ends of complete edges.
        open_col, open_node: column and upper node of edges that go on below the band.
        top_col, top_row, top_node: upper ends of all edges; row is -1 for those that come from above the band.
    """

    upper: Ints
    lower: Ints
    open_col: Ints
    open_node: Ints
    top_col: Ints
    top_row: Ints
    top_node: Ints


def vertical_edges(turns: Turns, node_of: Ints, *, east: bool, stub_col: Ints, stub_node: Ints) -> Uprights:
    """Join turns to vertical edges.

    Args:
        turns: of the band.
        node_of: node that each turn belongs to.
        east: edges with the component to their east, else west.
        stub_col: columns of edges that come from above the band.
        stub_node: their nodes.
    """
    chosen = np.flatnonzero((turns.quadrant & 1) == east)
    col = np.concatenate([stub_col, turns.col[chosen]])
    # 16 bits, where they suffice: numpy then sorts by radix, five times as fast
    keys = col.astype(np.uint16) if len(col) and col.max() < 2**16 else col
    order = np.argsort(keys, kind="stable")
    col = col[order]
    row = np.concatenate([np.full(len(stub_col), -1), turns.row[chosen]])[order]
    node = np.concatenate([stub_node, node_of[chosen]])[order]
    is_top = np.concatenate([np.ones(len(stub_col), dtype=bool), turns.downward[chosen]])[order]
    top = np.flatnonzero(is_top)
    complete = ~np.append(is_top, True)[top + 1]
    upper, still_open = top[complete], top[~complete]
    return Uprights(node[upper], node[upper + 1], col[still_open], node[still_open], col[top], row[top], node[top])
