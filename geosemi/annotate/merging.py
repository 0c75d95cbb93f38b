"""Objects that several tiles show are one object."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geosemi.annotate.boxes import Box
from geosemi.geo.window import Window

Edges = npt.NDArray[np.float64]
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
    for a, b in _same(boxes, tiles):
        parent[_root(parent, b)] = _root(parent, a)
    roots = [_root(parent, n) for n in range(len(boxes))]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    members: list[list[Box]] = [[] for _ in numbers]
    for box, root in zip(boxes, roots, strict=True):
        members[numbers[root]].append(box)
    return Merged(tuple(numbers[root] for root in roots), tuple(map(_hull, members)))


def _same(boxes: Sequence[Box], tiles: Sequence[Window]) -> Iterator[tuple[int, int]]:
    """Yield pairs of boxes that are the same object.

    Tiles are compared with those that they overlap, class by class: what a tile may say is bounded, so the work grows
    with the number of tiles, whatever a model says.
    """
    groups: dict[Window, dict[int, list[int]]] = {}
    for number, (box, tile) in enumerate(zip(boxes, tiles, strict=True)):
        groups.setdefault(tile, {}).setdefault(box.id, []).append(number)
    edges = np.array([b.edges for b in boxes], dtype=np.float64).reshape(-1, 4)
    for one, other in _neighbours(list(groups)):
        shared = one.intersection(other)
        if shared is None:
            continue
        for k in groups[one].keys() & groups[other].keys():
            mine, theirs = np.array(groups[one][k]), np.array(groups[other][k])
            first, second = np.nonzero(_agree(edges[mine], edges[theirs], shared))
            yield from zip(mine[first].tolist(), theirs[second].tolist(), strict=True)


def _neighbours(tiles: Sequence[Window]) -> Iterator[tuple[Window, Window]]:
    if not tiles:
        return
    frames = shapely.box(*np.array([(w.col, w.row, w.stop_col, w.stop_row) for w in tiles]).T)
    for a, b in shapely.STRtree(frames).query(frames, predicate="intersects").T.tolist():
        if a < b:
            yield tiles[a], tiles[b]


def _agree(mine: Edges, theirs: Edges, shared: Window) -> npt.NDArray[np.bool_]:
    """Return (n, m): which boxes of two tiles agree on the ground that both show."""
    low = np.array([shared.col, shared.row])
    high = np.array([shared.stop_col, shared.stop_row])
    (start, stop), (begin, end) = (
        (np.maximum(edges[:, :2], low), np.minimum(edges[:, 2:], high)) for edges in (mine, theirs)
    )
    mine_area, their_area = np.maximum(stop - start, 0).prod(1), np.maximum(end - begin, 0).prod(1)
    sides = np.minimum(stop[:, None], end[None]) - np.maximum(start[:, None], begin[None])
    both = np.maximum(sides, 0).prod(2)
    agree: npt.NDArray[np.bool_] = (both > 0) & (both >= SAME * (mine_area[:, None] + their_area[None] - both))
    return agree


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
