"""Which value of somebody's map means which class of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from geosemi.errors import ConfigError, LegendError
from geosemi.legend import Legend
from geosemi.yamlfile import read_yaml

_MAX_UNKNOWN = 20
EMPTY = "(empty)"


@dataclass(frozen=True)
class ClassTable:
    """Which value of a map means which class.

    Attributes:
        values: text of a value → class id, or None where it says nothing. `building=yes` is that value of that column
            alone, `building=*` any other value of it; both come before the value alone.
        columns: of a vector layer; the first one that is not empty speaks. None to find one by its name.
        legend: decides on values that the table does not name, by names, synonyms and numbers.
        widths: metres of lines and points on the ground, by value or by name of a class.
    """

    values: Mapping[str, int | None]
    legend: Legend
    columns: tuple[str, ...] = ()
    widths: Mapping[str, float] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict, compare=False)
    """Values that mean no class, and how many polygons or pixels have them."""

    @classmethod
    def load(cls, path: Path | None, legend: Legend, *, column: str | None = None) -> "ClassTable":
        """Read a table: YAML with `values: {forest: tree, 41: tree, residential: null}`.

        It may name the `column` of a vector layer, or a list of columns, and the `widths` of lines and points.

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
            or (columns := _columns(column or content.get("column"))) is None
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
        return cls(known, legend, columns, metres)

    def fresh(self) -> "ClassTable":
        """Return the table with nothing counted."""
        return replace(self, unknown={})

    def find(self, value: Any, count: int = 1, *, column: str = "") -> int | None:
        """Return the class of a value, of a column if any; what is unknown is counted."""
        text = _text(value)
        key = next((k for k in _keys(text, column) if k in self.values), None)
        if key is not None:
            return self.values[key]
        found = self.legend.find(text) if text else None
        if found is None:
            name = (f"{column}={text}" if text and len(self.columns) > 1 else text)[:80] or EMPTY
            name = name if name in self.unknown or len(self.unknown) < _MAX_UNKNOWN else "…"
            self.unknown[name] = self.unknown.get(name, 0) + count
        return None if found is None else found.id

    def width(self, value: Any, *, column: str = "") -> float | None:
        """Return the metres across of a line or point of that value, or None where nothing says so."""
        keys = _keys(_text(value), column)
        found = next((self.values[k] for k in keys if k in self.values), None)
        cls = self.legend.find(_text(value)) if found is None else self.legend.classes[found]
        named = [*keys, *([] if cls is None else [_text(cls.name)])]
        return next((self.widths[k] for k in named if k in self.widths), None)


def _keys(text: str, column: str) -> list[str]:
    """Return the names that a table may have for a value, the most special first."""
    of = f"{column.casefold()}="
    # of `building=residential`, `building=*` knows more than `residential`, which was written for the landuse
    return [of + text, *([f"{of}*"] if text else []), text] if column else [text]


def _columns(value: Any) -> tuple[str, ...] | None:
    """Return a column or a list of them, or None for what is neither."""
    names = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(names) if all(isinstance(name, str) and name for name in names) else None


def _is_width(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e4


def _no_table(path: Path | None) -> ConfigError:
    return ConfigError(
        f"`{path}` is no table of classes",
        hint="write `values: {forest: tree, residential: null}`; if need be `column: landuse` or "
        "`column: [building, landuse]`, and `widths: {road: 5}`",
    )


def is_empty(value: Any) -> bool:
    """Tell whether a value of a map is none: null, NaN, blanks."""
    return value is None or value is pd.NA or value != value or not str(value).strip()  # noqa: PLR0124 - NaN


def _text(value: Any) -> str:
    """Return a value of a map as the text that a table names it by: 41, 41.0 and "41" are one; empty ones are ""."""
    if is_empty(value):
        return ""
    text = str(value).strip()
    return text.removesuffix(".0").casefold()
