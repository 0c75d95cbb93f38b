"""The words that are asked for and understood: the legend's real classes, their synonyms, and the question itself."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from geosemi.annotate.boxes import Frame
from geosemi.errors import ConfigError, LegendError
from geosemi.legend import Legend

# classes that name no thing one could point at; a model that is offered them draws boxes around everything
NOT_ASKED = frozenset({
    "ignore", "ignored", "clutter", "background", "clutter background", "unknown", "unlabelled", "unlabeled", "void",
    "none", "other", "no data", "nodata", "undefined", "unclassified", "invalid",
})  # fmt: skip
_NEGATIONS = frozenset({"no", "not", "non", "without", "former"})
_ARTICLES = frozenset({"a", "an", "the", "some", "several", "many"})

QUESTION = """\
This is a picture of the ground seen straight from above. Find every visible object and area of these classes:
{classes}
Answer with a JSON list and nothing else, one entry for each object:
[{"bbox_2d": [{corners}], "label": "class name"}]
Coordinates are {coordinates}. Use only the class names above, written the same. \
Draw a tight box around each object; do not draw one box around the whole picture. If there is none, answer []."""
_PLACES = {
    Frame.PICTURE: "whole pixels of this picture, which is {width} wide and {height} high, from its upper left corner",
    Frame.SEEN: "whole pixels of this picture, from its upper left corner",
    Frame.UNIT: "fractions from 0 to 1 of the picture's width and height, from its upper left corner",
    Frame.MILLE: "whole numbers from 0 to 1000, relative to the picture's width and height, from its upper left corner",
    Frame.MILLE_YX: "whole numbers from 0 to 1000, relative to the picture's height and width, from its upper left "
    "corner",
}


@dataclass(frozen=True)
class Vocabulary:
    """Which classes are asked for, and what they are called.

    Attributes:
        legend: all classes.
        asked: ids of those that are asked for.
        template: the question, with the places {classes}, {coordinates}, {corners}, {width} and {height}.
    """

    legend: Legend
    asked: tuple[int, ...]
    template: str = QUESTION

    @classmethod
    def of(cls, legend: Legend, *, skip: tuple[str, ...] = (), prompt: Path | None = None) -> "Vocabulary":
        """Ask for all classes but those that mean "nothing" (`clutter`, `background`, …) and those named in `skip`.

        Raises:
            LegendError: `skip` names an unknown class, or no class is left.
            ConfigError: the file of the question cannot be read or has no {classes}.
        """
        unknown = [name for name in skip if legend.find(name) is None]
        if unknown:
            raise LegendError(
                f"`{unknown[0]}` is no class of `{legend.name}`", hint=f"choose from {', '.join(legend.names)}"
            )
        left_out = {found.id for name in skip if (found := legend.find(name)) is not None}
        asked = tuple(c.id for c in legend if c.id not in left_out and _key(c.name) not in NOT_ASKED)
        if not asked:
            raise LegendError(
                f"no class of `{legend.name}` is left to ask for", hint="name at least one real class in the legend"
            )
        return cls(legend, asked, QUESTION if prompt is None else _template(prompt))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the classes that are not asked for."""
        return tuple(c.name for c in self.legend if c.id not in self.asked)

    def question(self, frame: Frame, *, width: int, height: int) -> str:
        """Return the question about a picture of that size."""
        lines = [
            f"- {c.name}" + (f" (also: {', '.join(c.synonyms)})" if c.synonyms else "")
            for c in self.legend
            if c.id in self.asked
        ]
        places = {
            "classes": "\n".join(lines),
            "coordinates": _PLACES[frame],
            "corners": "y1, x1, y2, x2" if frame is Frame.MILLE_YX else "x1, y1, x2, y2",
        }
        text = self.template
        for name, words in {**places, "width": str(width), "height": str(height)}.items():
            text = text.replace("{" + name + "}", words)
        return text

    @property
    def digest(self) -> str:
        """SHA-256 of what decides how an answer is understood: legend and question."""
        return _sha256([self.legend_digest, self.question_digest])

    @property
    def legend_digest(self) -> str:
        """SHA-256 of the legend: names, synonyms, colours and numbers of all classes."""
        return _sha256(self.legend.to_dict())

    @property
    def question_digest(self) -> str:
        """SHA-256 of the template, and of which classes are asked for."""
        return _sha256([self.template, self.asked])

    def find(self, label: str) -> int | None:
        """Return the class that an answer means, or None.

        Case, underscores, plural, articles and numbers behind do not matter; of `large grey buildings` the last word
        counts where the whole is unknown, as in English; `water tower` is a tower, and `no water` nothing.
        """
        words = _key(label).split()
        if not words or _NEGATIONS & set(words):
            return None
        for first in range(min(len(words), 4)):
            found = self._known.get(" ".join(words[first:]))
            if found is not None:  # a class that is not asked for hides its own words: `bare ground` is no `ground`
                return found if found in self.asked else None
        return None

    @cached_property
    def _known(self) -> dict[str, int]:
        known: dict[str, int] = {}
        for c in self.legend:
            for name in (c.name, *c.synonyms):
                known.setdefault(_key(name), c.id)
        return known


def _key(text: str) -> str:
    """Return a name as words that compare: small letters, singular, without articles, remarks and numbers behind."""
    plain = re.sub(r"\([^)]{0,80}\)", " ", text.casefold())
    plain = re.sub(r"[\s_\-/]+", " ", re.sub(r"[^\w\s/-]", " ", plain)).strip()
    words = plain.split()
    while len(words) > 1 and words[-1].isdecimal():
        words.pop()
    while len(words) > 1 and words[0] in _ARTICLES:
        words.pop(0)
    return " ".join([*words[:-1], _singular(words[-1])]) if words else ""


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def _template(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` cannot be read as text", hint="give a UTF-8 text file with `--prompt`") from error
    missing = [place for place in ("{classes}", "{coordinates}") if place not in text]
    if missing or len(text) > 20_000:
        raise ConfigError(
            f"`{path}` has no {missing[0]}" if missing else f"`{path}` is longer than 20,000 characters",
            hint="the question must hold {classes} and {coordinates}; {corners}, {width} and {height} if you like",
        )
    return text
