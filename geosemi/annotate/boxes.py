"""From numbers that a model wrote to boxes in pixels of the scene: frames of coordinates, and what is dropped."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from geosemi.annotate.answer import Answer, Claim
from geosemi.geo.window import Window

MIN_SIDE = 4.0  # pixels of the scene; smaller boxes are noise of the coordinates
MAX_SHARE = 0.9  # of a tile; a box around everything says nothing about where
MAX_BOXES = 200  # of a tile; an answer of 8,192 tokens holds about as many
MAX_UNKNOWN = 50  # different unknown labels that are remembered


class Frame(StrEnum):
    """What the numbers of a box mean.

    `PICTURE` pixels of the picture that was sent; `SEEN` pixels of the picture as the model resized it (Qwen2-VL and
    Qwen2.5-VL); `UNIT` 0 … 1; `MILLE` 0 … 1000 (Qwen3-VL); `MILLE_YX` the same, rows first (Gemini).
    """

    PICTURE = "picture"
    SEEN = "seen"
    UNIT = "unit"
    MILLE = "mille"
    MILLE_YX = "mille-yx"


@dataclass(frozen=True, slots=True)
class Box:
    """A class in a rectangle of the scene.

    Attributes:
        id: class id.
        left, top, right, bottom: edges in pixels of the scene, counted from its upper left corner; left < right.
        label: what the model called it.
    """

    id: int
    left: float
    top: float
    right: float
    bottom: float
    label: str = ""

    @property
    def area(self) -> float:
        """Square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom: XYXY."""
        return (self.left, self.top, self.right, self.bottom)

    def overlap(self, other: "Box") -> float:
        """Return the square pixels that both share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)


@dataclass(frozen=True, slots=True)
class Placed:
    """The usable boxes of an answer, and why others were dropped.

    Attributes:
        boxes: in the order of the answer, at most `MAX_BOXES`.
        unknown: label → how often; labels that are no class.
        dropped: reason → how often: `small`, `whole picture`, `outside`, `duplicate`, `too many`.
    """

    boxes: tuple[Box, ...]
    unknown: dict[str, int]
    dropped: dict[str, int]


def place_boxes(
    answer: Answer, find: Callable[[str], int | None], *, frame: Frame, tile: Window, seen: tuple[int, int]
) -> Placed:
    """Convert the claims of an answer about a tile to boxes in pixels of the scene.

    Corners in the wrong order are put right, what leaves the tile is clipped. Dropped are boxes with a side below 4
    pixels, with more than 90 % of the tile, and a box that comes twice: of the same class its repetition, of
    different classes all of them, for then the model did not look. Of more than 200 the first ones are kept.

    Args:
        answer: of `parse_answer`.
        find: label → class id, or None.
        frame: what the numbers mean.
        tile: the rectangle of the scene that the picture shows.
        seen: (height, width) of the picture in which absolute numbers count.
    """
    unknown: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    boxes: list[Box] = []
    for claim in answer.claims:
        found = find(claim.label)
        if found is None:
            known = claim.label in unknown or len(unknown) < MAX_UNKNOWN
            unknown[claim.label if known else "…"] += 1
            continue
        box, reason = _placed(claim, found, frame, tile, seen)
        if box is None:
            dropped[reason] += 1
        else:
            boxes.append(box)
    kept = tuple(_distinct(boxes))
    if len(kept) < len(boxes):
        dropped["duplicate"] += len(boxes) - len(kept)
    if len(kept) > MAX_BOXES:
        dropped["too many"] = len(kept) - MAX_BOXES
    return Placed(kept[:MAX_BOXES], dict(unknown), dict(dropped))


def shares_of(claim: Claim, frame: Frame, seen: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom as shares of the picture, 0 … 1 where they lie in it."""
    xs, ys = sorted((claim.numbers[0], claim.numbers[2])), sorted((claim.numbers[1], claim.numbers[3]))
    if frame is Frame.MILLE_YX:
        xs, ys = ys, xs
    height, width = {Frame.UNIT: (1, 1), Frame.MILLE: (1000, 1000), Frame.MILLE_YX: (1000, 1000)}.get(frame, seen)
    return (xs[0] / width, ys[0] / height, xs[1] / width, ys[1] / height)


def _placed(claim: Claim, found: int, frame: Frame, tile: Window, seen: tuple[int, int]) -> tuple[Box | None, str]:
    shares = shares_of(claim, frame, seen)
    if min(shares[2:]) <= 0 or max(shares[:2]) >= 1:
        return None, "outside"
    left, right = (min(max(share, 0.0), 1.0) * tile.width for share in shares[::2])
    top, bottom = (min(max(share, 0.0), 1.0) * tile.height for share in shares[1::2])
    if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
        return None, "small"
    if (right - left) * (bottom - top) > MAX_SHARE * tile.height * tile.width:
        return None, "whole picture"
    return Box(found, left + tile.col, top + tile.row, right + tile.col, bottom + tile.row, claim.label), ""


def _distinct(boxes: Sequence[Box]) -> Iterator[Box]:
    classes: dict[tuple[float, ...], set[int]] = {}
    for box in boxes:
        classes.setdefault(box.edges, set()).add(box.id)
    given = set()
    for box in boxes:
        if len(classes[box.edges]) == 1 and box.edges not in given:
            given.add(box.edges)
            yield box
