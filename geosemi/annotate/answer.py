"""What a vision-language model wrote, as claims "this class, in this box". The answer is untrusted text.

It is read and nothing else: nothing in it is run, followed or used as a name of a file. Length, nesting, the number of
claims and the length of a label are bounded, and the time that parsing takes grows with the length of the answer alone.

JSON comes first, as most models write it: objects with a box and a label, in lists, in code fences, with prose around;
of an answer that was cut off, the objects that are complete. Where no object holds a box, lines outside of objects:
`name: [x1, y1, x2, y2]`, the boxes of Qwen's first models, table rows.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MAX_TEXT = 200_000  # characters; 8,192 tokens are about 30,000
MAX_CLAIMS = 1_000
MAX_DEPTH = 12
MAX_OBJECT = 4_000  # characters of one object
MAX_LABEL = 80

Numbers = tuple[float, float, float, float]
_LABELS = ("label", "class", "class_name", "category", "name", "object", "type", "text_content")
_BOXES = (
    "bbox_2d", "bbox", "box_2d", "box", "bounding_box", "boundingbox", "coordinates", "bboxes", "boxes", "location",
)  # fmt: skip
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
            ("left", "top", "right", "bottom"))  # fmt: skip
_SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))  # upper left corner
_NUMBER = r"[-+]?\d{1,9}(?:\.\d{1,12})?"
_COMMA = r"\s{0,4}[,;\s]\s{0,4}"
# [1, 2, 3, 4], (1,2,3,4), (1,2),(3,4) and [[1, 2], [3, 4]]
_GROUP = re.compile(
    rf"[\[(]{{1,2}}\s{{0,4}}({_NUMBER}){_COMMA}({_NUMBER})\s{{0,4}}(?:[\])]\s{{0,4}},?\s{{0,4}}[\[(]|[,;\s])\s{{0,4}}"
    rf"({_NUMBER}){_COMMA}({_NUMBER})\s{{0,4}}[\])]"
)
_ROW = re.compile(rf"\|?([^|]{{1,{MAX_LABEL}}})\|" + r"\|".join([rf"\s{{0,8}}({_NUMBER})\s{{0,8}}"] * 4) + r"\|?\s*")
_HALVES = re.compile("[\ud800-\udfff]")
_OBJECT = re.compile(r"""\{\s{0,8}["']""")
_TAGS = re.compile(r"</?[a-z_|]{1,30}>")
_QUOTED_LABEL = re.compile(
    rf"""["']?(?:{"|".join(_LABELS)})["']?\s{{0,4}}[:=]\s{{0,4}}["']([^"'\n]{{1,{MAX_LABEL}}})["']""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A class in a box, as written.

    Attributes:
        label: what it was called; at most 80 printable characters.
        numbers: four finite numbers, in the order and frame of the model.
    """

    label: str
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Answer:
    """What could be read of an answer.

    Attributes:
        claims: in the order of the text, at most `MAX_CLAIMS`.
        form: `json`, `lines`, or `none` where no claim was found.
        truncated: whether the text ends in the middle of something, or was longer than what is read.
        unusable: objects or boxes that are neither a label with four numbers nor a part of one.
        nothing: whether it says in so many brackets that there is nothing.
    """

    claims: tuple[Claim, ...]
    form: Literal["json", "lines", "none"]
    truncated: bool
    unusable: int
    nothing: bool = False


def parse_answer(text: str) -> Answer:
    """Read an answer; any text is allowed, and the worst one is an answer without claims."""
    thoughts, closed, after = text.rpartition("</think>")
    text = after if closed else text.partition("<think>")[0] if "<think>" in thoughts + after else text
    lost = not closed and "<think>" in after
    cut = text[:MAX_TEXT]
    reader = _Objects()
    claims = list(_first(reader.claims(cut)))
    form: Literal["json", "lines", "none"] = "json"
    if not claims:  # `{"thought": "ok"}` may stand before lines
        claims = list(_first(_from_lines(_without_objects(cut))))
        form = "lines" if claims else "none"
    truncated = lost or len(text) > MAX_TEXT or reader.open_ended or len(claims) >= MAX_CLAIMS
    return Answer(tuple(claims), form, truncated, reader.unusable, reader.found_empty and not claims)


def _first(claims: Iterator[Claim]) -> Iterator[Claim]:
    for _, claim in zip(range(MAX_CLAIMS), claims, strict=False):
        yield claim


class _Objects:
    """Finds the complete `{…}` of a text, the inner ones first, in one pass."""

    def __init__(self) -> None:
        self.unusable = 0
        self.open_ended = False
        self.found_empty = False

    def claims(self, text: str) -> Iterator[Claim]:
        for part in self._complete(text):
            value = _loaded(part)
            around = "{" in part[1:]  # an object around objects mostly has no box of its own, and says nothing
            found = list(_from_object(value) if isinstance(value, dict) else () if around else _from_broken(part))
            corners = isinstance(value, dict) and _boxes(value)  # `"box": {"x1": …}`, of which the outer one speaks
            self.unusable += not (found or around or corners) and ":" in part
            yield from found

    def _complete(self, text: str) -> Iterator[str]:
        """Yield objects; what stands in quotes is no bracket, and a line break ends quotes that were never closed."""
        starts: list[tuple[str, int]] = []
        depth, quoted, escaped = 0, False, False
        for place, char in enumerate(text):
            if quoted:
                quoted = char != "\n" and (escaped or char != '"')
                escaped = char == "\\" and not escaped
            elif char == '"':
                quoted = depth > 0
            elif char in "{[":
                depth += 1
                if len(starts) < MAX_DEPTH:
                    starts.append((char, place))
            elif char in "}]" and depth > 0:
                depth -= 1
                if depth < len(starts):
                    begun, start = starts.pop()
                    if begun + char == "{}" and place - start < MAX_OBJECT:
                        yield text[start : place + 1]
                    self.found_empty |= begun + char == "[]" and not text[start + 1 : place].strip()
        self.open_ended = depth > 0


def _without_objects(text: str) -> str:
    """Return what stands outside of objects, in one pass; one that is never closed reaches to the end."""
    kept, start = [], 0
    while (found := _OBJECT.search(text, start)) is not None:
        kept.append(text[start : found.start()])
        start = _end_of_object(text, found.start())
    return "\n".join([*kept, text[start:]])


def _end_of_object(text: str, start: int) -> int:
    depth, quoted, escaped = 0, False, False
    for place in range(start, len(text)):
        char = text[place]
        if quoted:
            quoted = char != "\n" and (escaped or char != '"')
            escaped = char == "\\" and not escaped
        elif char in '"{}':
            quoted = char == '"'
            depth += (char == "{") - (char == "}")
            if depth == 0:
                return place + 1
    return len(text)


def _loaded(part: str) -> Any:
    try:
        return json.loads(part)
    except (ValueError, RecursionError):
        return None


def _from_object(value: Mapping[str, Any]) -> Iterator[Claim]:
    keys = {str(key).casefold(): content for key, content in value.items()}
    label = next((keys[name] for name in _LABELS if isinstance(keys.get(name), str)), None)
    if label is None:  # {"car": [[1, 2, 3, 4], …]}
        for key, content in value.items():
            if key.casefold() not in _BOXES:
                yield from _claims(key, _boxes(content))
        return
    boxes = next((keys[name] for name in _BOXES if name in keys), keys)
    yield from _claims(label, _boxes(boxes))


def _from_broken(part: str) -> Iterator[Claim]:
    """Read an object that is almost JSON: single quotes, bare words, a comma too many."""
    label = _QUOTED_LABEL.search(part)
    if label is not None:
        yield from _claims(label[1], [_numbers(found.groups()) for found in _GROUP.finditer(part)])


def _boxes(value: Any) -> list[Numbers | None]:
    if isinstance(value, str):
        return [_numbers(found.groups()) for found in _GROUP.finditer(value[:MAX_OBJECT])]
    if isinstance(value, Mapping):
        keys = {str(key).casefold(): content for key, content in value.items()}
        corners = [_numbers([keys[n] for n in names]) for names in _CORNERS if set(names) <= set(keys)]
        sides = [_numbers([keys[n] for n in names]) for names in _SIDES if set(names) <= set(keys)]
        return [*corners, *((s[0], s[1], s[0] + s[2], s[1] + s[3]) if s else None for s in sides)][:1]
    if not isinstance(value, list):
        return []
    if len(value) == 4 and not any(isinstance(v, list | Mapping) for v in value):
        return [_numbers(value)]
    if len(value) == 2 and all(isinstance(v, list) and len(v) == 2 for v in value):
        return [_numbers([*value[0], *value[1]])]
    return [_numbers(v) for v in value if isinstance(v, list) and len(v) == 4]


def _numbers(values: Sequence[Any]) -> Numbers | None:
    """Return four finite numbers, or None; `"12"` is one, true is not."""
    found = []
    for value in values:
        if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
            found.append(float(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
            found.append(float(value))  # NaN and infinity are not below
    return (found[0], found[1], found[2], found[3]) if len(found) == 4 and all(map(math.isfinite, found)) else None


def _claims(label: str, boxes: Sequence[Numbers | None]) -> Iterator[Claim]:
    clean = clean_label(label)
    yield from (Claim(clean, box) for box in boxes if box is not None and clean)


def whole_characters(text: str) -> str:
    r"""Return a text with a replacement character for each lone half of a surrogate pair.

    JSON may escape halves (`\ud800`), Python reads them, and UTF-8, in which everything is written, has none.
    """
    return _HALVES.sub("\ufffd", text)


def clean_label(text: str) -> str:
    """Return a label without control characters and markup, at most 80 characters."""
    words = _TAGS.sub(" ", text[: 4 * MAX_LABEL])
    printable = "".join(c if c.isprintable() else " " for c in words)
    return " ".join(printable.strip(" \t\"'`*_#>:;=-–—•.,()[]|").split())[:MAX_LABEL]


def _from_lines(text: str) -> Iterator[Claim]:
    """Read `name: [1, 2, 3, 4], [5, 6, 7, 8]`, boxes below a heading `name:`, and table rows."""
    heading = ""
    for long in text.splitlines():
        line = long[:MAX_OBJECT]
        row = _ROW.fullmatch(line.strip())
        groups = list(_GROUP.finditer(line))
        if row is not None:
            yield from _claims(row[1], [_numbers(row.groups()[1:])])
        elif not groups:
            name = clean_label(re.sub(r"^\s{0,20}\d{1,4}[.)]\s", "", line))
            heading = name if line.strip().rstrip("*").endswith(":") else ""
        else:
            yield from _from_line(line, groups, heading)


def _from_line(line: str, groups: Sequence[re.Match[str]], heading: str) -> Iterator[Claim]:
    label, end = heading, 0
    for group in groups:
        before = clean_label(re.sub(r"^\s{0,20}\d{1,4}[.)]\s", "", line[end : group.start()]))
        if re.search(r"[^\W\d]", before):  # letters, not a comma between two boxes
            label = before
        end = group.end()
        yield from _claims(label, [_numbers(group.groups())])
