"""Which classes exist: one legend travels from YAML to the loss, the metrics, the colour table and QGIS."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosemi.errors import LegendError
from geosemi.yamlfile import read_yaml

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
MAX_CLASSES = 32  # an opinion raster holds one bit a class in at most 32 bits


@dataclass(frozen=True, slots=True)
class ClassDef:
    """One land-cover class.

    Attributes:
        id: channel of the network and value in a mask, 0 … K-1.
        name: what people read, in the legend's language.
        colour: `#rrggbb`.
        synonyms: other names of the same class (used to read vector labels and, later, answers of a VLM).
        values: numbers that mean this class in label rasters; the id itself unless said otherwise.
    """

    id: int
    name: str
    colour: str
    synonyms: tuple[str, ...] = ()
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise LegendError(f"class {self.id} has no readable name", hint="give every class a `name`")
        if not _COLOUR.fullmatch(self.colour):
            raise LegendError(
                f"class `{self.name}` has the colour `{self.colour}`", hint='write colours as "#rrggbb", in quotes'
            )
        if not self.values:
            object.__setattr__(self, "values", (self.id,))

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 … 255."""
        return (int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16))


@dataclass(frozen=True, slots=True)
class Legend:
    """The classes of a data set, in the order of their ids, and the label value that means "no truth here".

    Attributes:
        classes: K classes with ids 0 … K-1.
        ignore: value of unlabelled pixels in label rasters and of nodata in masks; no class.
        name: a short name for messages.
    """

    classes: tuple[ClassDef, ...]
    ignore: int = 255
    name: str = "legend"

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise LegendError(f"`{self.name}` has {len(self.classes)} classes", hint=f"list 1 to {MAX_CLASSES} classes")
        ids = [c.id for c in self.classes]
        if ids != list(range(len(ids))):
            raise LegendError(
                f"`{self.name}` has the class ids {ids}",
                hint="number classes 0, 1, 2, …; if label rasters use other numbers, list them as `values: [10, 11]`",
            )
        names = [_plain(n) for c in self.classes for n in (c.name, *c.synonyms)]
        if len(set(names)) < len(names):
            raise LegendError(f"`{self.name}` uses a name twice", hint="names and synonyms must differ")
        values = [v for c in self.classes for v in c.values]
        if len(set(values)) < len(values) or self.ignore in values:
            raise LegendError(f"`{self.name}` uses a value twice", hint="values and `ignore` must differ")
        if not 0 <= self.ignore <= 255 or self.ignore < len(self.classes):
            raise LegendError(f"`{self.name}` has ignore: {self.ignore}", hint="use 255, or a free value below it")

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassDef]:
        return iter(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return tuple(c.name for c in self.classes)

    def find(self, text: str) -> ClassDef | None:
        """Return the class that a word or number means, or None. Case, blanks and underscores do not matter."""
        wanted = _plain(text)
        for c in self.classes:
            if wanted in {_plain(n) for n in (c.name, *c.synonyms)} or wanted in {str(v) for v in c.values}:
                return c
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        return {
            "name": self.name,
            "ignore": self.ignore,
            "classes": [
                {"id": c.id, "name": c.name, "colour": c.colour, "synonyms": list(c.synonyms), "values": list(c.values)}
                for c in self.classes
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "legend") -> "Legend":
        """Build a legend from plain values.

        Raises:
            LegendError: a key is missing, unknown or wrong; the message names the source.
        """
        unknown = set(content) - {"name", "ignore", "classes"}
        if unknown or not isinstance(content.get("classes"), list):
            raise LegendError(
                f"`{source}` is no legend"
                + (f": unknown key `{sorted(unknown)[0]}`" if unknown else ": no `classes` list"),
                hint='write `classes:` and one `- {id: 0, name: water, colour: "#2060c0"}` a class',
            )
        classes = tuple(_class_from_dict(c, source) for c in content["classes"])
        name, ignore = content.get("name", "legend"), content.get("ignore", 255)
        if not isinstance(name, str) or not _is_integer(ignore):
            raise LegendError(
                f"`{source}` has name: {name!r}, ignore: {ignore!r}",
                hint="`name` is a word and `ignore` a whole number; put words that YAML reads as yes or no in quotes",
            )
        return cls(classes, ignore=ignore, name=name)

    @classmethod
    def load(cls, path: Path) -> "Legend":
        """Read a legend from YAML.

        Raises:
            ConfigError: the file is missing or not YAML.
            LegendError: the content is no legend.
        """
        content = read_yaml(path)
        try:
            return cls.from_dict(content, source=str(path))
        except LegendError as error:
            named = error.message if f"`{path}`" in error.message else f"`{path}`: {error.message}"
            raise LegendError(named, hint=error.hint) from error


def _class_from_dict(entry: Any, source: str) -> ClassDef:
    allowed = {"id", "name", "colour", "color", "synonyms", "values"}
    if not isinstance(entry, Mapping) or not {"id", "name"} <= set(entry) or set(entry) - allowed:
        raise LegendError(f"`{source}` has the class entry {entry!r}", hint=f"a class has {', '.join(sorted(allowed))}")
    name, synonyms, values = entry["name"], entry.get("synonyms", []), entry.get("values", [])
    if not (_is_integer(entry["id"]) and isinstance(values, list) and all(map(_is_integer, values))):
        raise LegendError(f"`{source}` has the class entry {entry!r}", hint="`id` is a whole number, `values` a list")
    # YAML reads an unquoted `no` as False: a class must not end up named so
    if not (isinstance(synonyms, list) and all(isinstance(word, str) for word in (name, *synonyms))):
        raise LegendError(
            f"`{source}` has the class entry {entry!r}",
            hint='`name` is a word, `synonyms` a list of words; write "no", "on" or "1" in quotes',
        )
    colour = str(entry.get("colour", entry.get("color", "")))
    return ClassDef(entry["id"], name, colour, tuple(synonyms), tuple(values))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-]+", " ", text).strip().casefold()
