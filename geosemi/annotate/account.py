"""What was heard, tile by tile: the record that people read, and what they are warned of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geosemi.annotate.answer import Answer
from geosemi.annotate.asking import Shown
from geosemi.annotate.boxes import Frame, Placed, shares_of
from geosemi.annotate.merging import Merged
from geosemi.annotate.speaker import Reply

_CUT_SHARE, _MUTE_SHARE = 0.1, 0.3  # of the answers, above which people are warned
# Boxes of a picture that somebody shrank reach a smaller part of it; among so many, some touch the rim of their tile
_ENOUGH_BOXES, _ENOUGH_ANSWERS, _RIM = 40, 8, 0.93
_BEYOND, _BEYOND_SHARE = 1.05, 0.1


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it was understood.

    Attributes:
        shown: the tile.
        reply: the raw answer.
        answer: what could be read of it.
        placed: boxes in pixels of the scene.
    """

    shown: Shown
    reply: Reply
    answer: Answer
    placed: Placed


def records_of(
    heard: Sequence[Heard | None],
    merged: Merged,
    scores: Sequence[tuple[float, ...]],
    *,
    names: Sequence[str],
    about: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return a JSON value for each tile that was shown.

    Args:
        heard: all tiles in order; None for those of nodata.
        merged: the objects of all boxes, in the same order.
        scores: quality of the masks of each tile, empty where boxes are filled.
        names: of the classes.
        about: what holds for all tiles.
    """
    records, first = [], 0
    for item, quality in zip(heard, scores, strict=True):
        if item is not None:
            objects = merged.object_of[first : first + len(item.placed.boxes)]
            first += len(objects)
            records.append({**about, **_record(item, objects, quality, names)})
    return records


def _record(heard: Heard, objects: Sequence[int], quality: tuple[float, ...], names: Sequence[str]) -> dict[str, Any]:
    window = heard.shown.window
    boxes = [
        {
            "class": names[b.id],
            "label": b.label,
            "box": [round(e, 2) for e in b.edges],
            "object": number,
            "score": score,
        }
        for b, number, score in zip(heard.placed.boxes, objects, quality or (None,) * len(objects), strict=True)
    ]
    return {
        "tile": [window.row, window.col, window.height, window.width],
        "picture": list(heard.shown.picture),
        "seen": list(heard.reply.seen),
        "key": heard.shown.key,
        "answer": heard.reply.text,
        "form": heard.answer.form,
        "truncated": heard.reply.cut or heard.answer.truncated,
        "boxes": boxes,
        "unknown": heard.placed.unknown,
        "dropped": heard.placed.dropped,
        "unusable": heard.answer.unusable,
        "tokens": [heard.reply.tokens_in, heard.reply.tokens_out],
    }


def frame_doubts(heard: Sequence[Heard], frame: Frame) -> list[str]:
    """Say where numbers of boxes do not fit what they are taken for: every box would lie in a wrong place.

    The released code of SemiEarth took pixels of the picture that its model saw, 448², for pixels of the one that was
    sent, 518², and drew all boxes at 0.86 of their size. No single box shows that, but together they do.
    """
    reaches = [
        max(shares_of(claim, frame, item.reply.seen if frame is Frame.SEEN else item.shown.picture))
        for item in heard
        for claim in item.answer.claims
    ]
    answers = sum(bool(item.answer.claims) for item in heard)
    beyond = sum(reach > _BEYOND for reach in reaches)
    check = f"the numbers may mean something else than `{frame}`: look at a tile, and check `--frame` and `--picture`"
    if reaches and beyond > _BEYOND_SHARE * len(reaches):
        return [f"{beyond} of {len(reaches)} boxes reach beyond their picture; {check}"]
    if len(reaches) >= _ENOUGH_BOXES and answers >= _ENOUGH_ANSWERS and max(reaches) < _RIM:
        return [f"no box of {len(reaches)} reaches beyond {100 * max(reaches):.0f} % of its picture; {check}"]
    return []


def warnings_of(heard: Sequence[Heard]) -> list[str]:
    """Say what makes an opinion worth less than it could be."""
    found = []
    count = max(len(heard), 1)
    cut = sum(item.reply.cut for item in heard)
    if cut > _CUT_SHARE * count:
        found.append(f"{cut} of {len(heard)} answers were cut off: allow more with `--max-tokens`")
    mute = sum(not item.answer.claims and not item.answer.nothing for item in heard)
    if mute > _MUTE_SHARE * count:
        found.append(f"{mute} of {len(heard)} answers could not be understood: look at them in the record")
    unknown: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for item in heard:
        unknown.update(item.placed.unknown)
        dropped.update(item.placed.dropped)
    if unknown:
        some = ", ".join(f"{name} ({n})" for name, n in unknown.most_common(5))
        found.append(
            f"{unknown.total()} boxes of things that are no class: {some}; `synonyms:` in the legend make them one"
        )
    if dropped:
        found.append("boxes dropped: " + ", ".join(f"{n} {reason}" for reason, n in dropped.most_common()))
    if heard and not any(item.placed.boxes for item in heard):
        found.append("the model named nothing at all: the opinion is silence")
    return found
