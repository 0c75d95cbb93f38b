"""The words that are asked for and understood: the legend's real classes, their synonyms, and the question itself."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from geosemi.annotate.boxes import Frame
from geosemi.annotate.nothing import key_of_name, means_nothing
from geosemi.errors import ConfigError, LegendError
from geosemi.legend import ClassDef, Legend

_NEGATIONS = frozenset({"no", "not", "non", "without", "former"})

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
        asked = tuple(c.id for c in legend if c.id not in left_out and not means_nothing(c.name))
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
            f"- {c.name}" + (f" (also: {', '.join(synonyms)})" if synonyms else "")
            for c, synonyms in self._named
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
        """SHA-256 of what decides what is asked and understood: names and synonyms in their order, and the question.

        Colours do not, so that nobody pays again for another colour.
        """
        names = [[c.name, *c.synonyms] for c in self.legend]
        return _sha256([names, self.question_digest])

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
        words = key_of_name(label).split()
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
        for c, synonyms in self._named:
            for name in (c.name, *synonyms):
                known.setdefault(key_of_name(name), c.id)
        return known

    @cached_property
    def _named(self) -> list[tuple[ClassDef, list[str]]]:
        """All classes with those of their synonyms that mean something: `barren` may be `no data` elsewhere."""
        return [(c, [word for word in c.synonyms if not means_nothing(word)]) for c in self.legend]


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
