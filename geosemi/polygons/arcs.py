"""The boundaries of a strip of a labelled raster as arcs: every shared edge once.

A lattice point where three or more pixel edges meet is a node; an arc runs from node to node, or round in a loop, and
has the same two classes on its sides all the way. What changes an arc, changes both neighbours alike: that keeps a
coverage free of gaps and overlaps. Points where boundaries cross the upper or lower edge of the strip count as nodes:
arcs end there, and every strip can be worked on by itself.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import Bytes, Ints
from geosemi.polygons.rings import follow

EAST, SOUTH, WEST, NORTH = range(4)  # clockwise as displayed: left of d is d + 3, right is d + 1 (mod 4)
_DEGREE = np.array([bin(code).count("1") for code in range(16)])
_LEVEL, _UPRIGHT = 1 << EAST | 1 << WEST, 1 << SOUTH | 1 << NORTH
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Arcs:
    """Arcs of a strip, each with the greater class on its left.

    Attributes:
        row, col: lattice coordinates of all points (turns and nodes) in row-major order.
        height: of the strip; points of row 0 lie on its upper edge, those of row `height` on its lower one.
        vertex: the points of all arcs, one arc after the other; open arcs with both ends, loops with each point once.
        sizes: points of each arc.
        is_loop: whether an arc goes round; open arcs come first.
        left, right: flat position of a pixel on either side, in rows of the strip's width that begin with the row above
            the strip; -1 outside of the raster.
        first, last: directions in which an arc begins and ends.
    """

    height: int
    row: Ints
    col: Ints
    vertex: Ints
    sizes: Ints
    is_loop: Flags
    left: Ints
    right: Ints
    first: Ints
    last: Ints

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Straight edges between neighbouring points, each walked with the greater class on its left."""

    tail: Ints
    head: Ints
    direction: Ints
    left: Ints
    right: Ints


def find_arcs(block: Bytes, *, is_first: bool, is_last: bool) -> Arcs:
    """Find the arcs of a strip.

    Args:
        block: (h + 1, W + 2) values: the row above the strip, the strip, and a column of OUTSIDE on either side; for
            the last strip of a raster also a row of OUTSIDE below.
        is_first: whether the strip's upper edge is that of the raster.
        is_last: whether the strip's lower edge is that of the raster; else the edges along it belong to the next strip.
    """
    height, width = len(block) - 1 - is_last, block.shape[1] - 2
    code = _codes(block, height, is_last=is_last)
    is_point = (code != 0) & (code != _LEVEL) & (code != _UPRIGHT)
    is_point[0] = (code[0] != 0) & (code[0] != _LEVEL)
    point = np.flatnonzero(is_point)
    row, col, code = point // (width + 1), point % (width + 1), code.ravel()[point]
    is_node = (_DEGREE[code] > 2) | (row == height)
    # what goes up from the strip's upper edge was fixed by the strip above; the raster's rim stays as it is
    is_node |= (row == 0) & (is_first | (code & (1 << NORTH) != 0))
    edges = _edges(block, row, col, code)
    leaving = np.full(len(point), -1, dtype=np.int64)
    leaving[edges.tail] = np.arange(len(edges.tail))
    after = np.where(is_node[edges.head], -1, leaving[edges.head])
    begins = np.flatnonzero(is_node[edges.tail])
    order, lengths = follow(after, begins)
    stops = np.cumsum(lengths)
    is_loop = np.arange(len(lengths)) >= len(begins)
    first, last = order[stops - lengths], order[stops - 1]
    open_stops = stops[: len(begins)]
    return Arcs(
        height=height,
        row=row,
        col=col,
        vertex=np.insert(edges.tail[order], open_stops, edges.head[order[open_stops - 1]]),
        sizes=lengths + ~is_loop,
        is_loop=is_loop,
        left=edges.left[first],
        right=edges.right[first],
        first=edges.direction[first],
        last=edges.direction[last],
    )


def _codes(block: Bytes, height: int, *, is_last: bool) -> Bytes:
    """Return which pixel edges leave each lattice point, one bit a direction, (height + 1, W + 1)."""
    upright = block[:, 1:] != block[:, :-1]
    code: Bytes = upright[: height + 1].astype(np.uint8) << np.uint8(NORTH)
    code[:height] |= upright[1 : height + 1].astype(np.uint8) << np.uint8(SOUTH)
    level = block[1 : height + 1 + is_last] != block[: height + is_last]
    code[: len(level)] |= level[:, 1:].astype(np.uint8) << np.uint8(EAST)
    code[: len(level)] |= level[:, :-1].astype(np.uint8) << np.uint8(WEST)
    return code


def _edges(block: Bytes, row: Ints, col: Ints, code: Bytes) -> _Edges:
    """Join points to edges: along a row the next point, along a column the next one of that column."""
    width = block.shape[1] - 2
    level = np.flatnonzero(code & (1 << EAST))
    # 16 bits, where they suffice: numpy then sorts by radix
    down = np.argsort(col.astype(np.uint16) if width < 2**16 else col, kind="stable")
    at = np.flatnonzero(code[down] & (1 << SOUTH))
    upright = down[at]
    one = np.concatenate([level, upright])
    other = np.concatenate([level + 1, down[at + 1]])
    # pixels on the left (north, or east) and on the right of the walk eastwards, or southwards
    pixel_row = np.concatenate([row[level], row[upright] + 1])
    pixel_col = col[one]
    is_level = np.arange(len(one)) < len(level)
    right_row, right_col = pixel_row + is_level, pixel_col - ~is_level
    ahead = block[pixel_row, pixel_col + 1] > block[right_row, right_col + 1]
    place = _flat(pixel_row, pixel_col, width), _flat(right_row, right_col, width)
    direction = np.where(is_level, EAST, SOUTH)
    return _Edges(
        tail=np.where(ahead, one, other),
        head=np.where(ahead, other, one),
        direction=np.where(ahead, direction, direction + 2),
        left=np.where(ahead, *place),
        right=np.where(ahead, *place[::-1]),
    )


def _flat(row: Ints, col: Ints, width: int) -> Ints:
    return np.where((col >= 0) & (col < width), row * width + col, -1)
