"""Which value of somebody's map means which class of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geosemi.errors import ConfigError, LegendError
from geosemi.legend import Legend
from geosemi.yamlfile import read_yaml

_MAX_UNKNOWN = 20


@dataclass(frozen=True)
class ClassTable:
    """Which value of a map means which class.

    Attributes:
        values: text of a value → class id, or None where it says nothing.
        column: of a vector layer, or None to find it by its name.
        legend: decides on values that the table does not name, by names, synonyms and numbers.
        widths: metres of lines and points on the ground, by value or by name of a class.
    """

    values: Mapping[str, int | None]
    legend: Legend
    column: str | None = None
    widths: Mapping[str, float] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict, compare=False)
    """Values that mean no class, and how many polygons or pixels have them."""

    @classmethod
    def load(cls, path: Path | None, legend: Legend, *, column: str | None = None) -> "ClassTable":
        """Read a table: YAML with `values: {forest: tree, 41: tree, residential: null}`.

        It may name the `column` of a vector layer, and the `widths` of lines and points.

        Raises:
            ConfigError: the file is missing or has another form.
            LegendError: it names a class that the legend does not know.
        """
        content: Any = {} if path is None else read_yaml(path)
        if not isinstance(content, Mapping) or set(content) - {"values", "column", "widths"}:
            raise _no_table(path)
        values, widths = content.get("values", {}), content.get("widths", {})
        if (
            not isinstance(values, Mapping)
            or not isinstance(widths, Mapping)
            or not all(map(_is_width, widths.values()))
        ):
            raise _no_table(path)
        known: dict[str, int | None] = {}
        for value, name in values.items():
            found = None if name is None else legend.find(str(name))
            if name is not None and found is None:
                raise LegendError(
                    f"`{path}` maps `{value}` to `{name}`, which is no class of `{legend.name}`",
                    hint=f"choose from {', '.join(legend.names)}, or null for nothing",
                )
            known[_text(value)] = None if found is None else found.id
        metres = {_text(value): float(width) for value, width in widths.items()}
        return cls(known, legend, column or content.get("column"), metres)

    def fresh(self) -> "ClassTable":
        """Return the table with nothing counted."""
        return replace(self, unknown={})

    def find(self, value: Any, count: int = 1) -> int | None:
        """Return the class of a value; what is unknown is counted."""
        text = _text(value)
        if text in self.values:
            return self.values[text]
        found = self.legend.find(text)
        if found is None:
            name = text[:80] if text[:80] in self.unknown or len(self.unknown) < _MAX_UNKNOWN else "…"
            self.unknown[name] = self.unknown.get(name, 0) + count
        return None if found is None else found.id

    def width(self, value: Any) -> float | None:
        """Return the metres across of a line or point of that value, or None where nothing says so."""
        found = self.values.get(_text(value)) if _text(value) in self.values else None
        cls = self.legend.find(_text(value)) if found is None else self.legend.classes[found]
        return self.widths.get(_text(value), None if cls is None else self.widths.get(_text(cls.name)))


def _is_width(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e4


def _no_table(path: Path | None) -> ConfigError:
    return ConfigError(
        f"`{path}` is no table of classes",
        hint="write `values: {forest: tree, residential: null}`; `column:` and `widths: {road: 5}` if need be",
    )


def _text(value: Any) -> str:
    """Return a value of a map as the text that a table names it by: 41, 41.0 and "41" are one."""
    text = str(value).strip()
    return text.removesuffix(".0").casefold()
