"""Objects that several tiles show are one object."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from geosemi.annotate.boxes import Box
from geosemi.geo.window import Window

SAME = 0.5  # intersection over union of what two tiles say of the ground that both show


@dataclass(frozen=True, slots=True)
class Merged:
    """Boxes of all tiles as objects of the scene.

    Attributes:
        object_of: number of the object of each box, in the order of the boxes.
        hulls: a box around each object.
    """

    object_of: tuple[int, ...]
    hulls: tuple[Box, ...]


def merge(boxes: Sequence[Box], tiles: Sequence[Window]) -> Merged:
    """Find out which boxes of overlapping tiles are the same object.

    Two boxes are one where they name the same class and, on the ground that both tiles show, agree in half of their
    joint area. So an object that a tile's border cuts is put together, whether it lies in the overlap or reaches
    across it; two neighbours of one class in the same tile stay two.

    Args:
        boxes: in pixels of the scene.
        tiles: the tile that each box was seen in.
    """
    parent = list(range(len(boxes)))
    outlines = shapely.box(*np.array([b.edges for b in boxes]).T) if boxes else np.empty(0, dtype=object)
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if a < b and boxes[a].id == boxes[b].id and tiles[a] != tiles[b] and _agree(boxes, tiles, a, b):
            parent[_root(parent, b)] = _root(parent, a)
    roots = [_root(parent, n) for n in range(len(boxes))]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    members: list[list[Box]] = [[] for _ in numbers]
    for box, root in zip(boxes, roots, strict=True):
        members[numbers[root]].append(box)
    return Merged(tuple(numbers[root] for root in roots), tuple(map(_hull, members)))


def _agree(boxes: Sequence[Box], tiles: Sequence[Window], a: int, b: int) -> bool:
    shared = tiles[a].intersection(tiles[b])
    if shared is None:
        return False
    mine, theirs = _clipped(boxes[a], shared), _clipped(boxes[b], shared)
    if mine is None or theirs is None:
        return False
    both = mine.overlap(theirs)
    return both >= SAME * (mine.area + theirs.area - both)


def _clipped(box: Box, window: Window) -> Box | None:
    left, right = max(box.left, window.col), min(box.right, window.stop_col)
    top, bottom = max(box.top, window.row), min(box.bottom, window.stop_row)
    return Box(box.id, left, top, right, bottom) if left < right and top < bottom else None


def _hull(members: Sequence[Box]) -> Box:
    return Box(
        members[0].id,
        min(b.left for b in members),
        min(b.top for b in members),
        max(b.right for b in members),
        max(b.bottom for b in members),
        members[0].label,
    )


def _root(parent: list[int], member: int) -> int:
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member
