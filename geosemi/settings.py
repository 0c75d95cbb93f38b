"""The base of all settings: frozen, closed values that every room defines for itself and `config.py` composes."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geosemi.errors import ConfigError

S = TypeVar("S", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Frozen pydantic settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def settings_of(kind: type[S], options: Mapping[str, Any], *, named: Callable[[str], str] = str, hint: str = "") -> S:
    """Return the settings that single options mean.

    Args:
        kind: of the settings.
        options: by the names of its fields.
        named: how an option is written where it was typed, e.g. `--min-area` for `min_area_m2`.
        hint: where the options are explained; their names where that is empty.

    Raises:
        ConfigError: options are unknown or wrong, a line for each.
    """
    try:
        return kind(**options)
    except ValidationError as error:
        faults: dict[str, list[Any]] = {}
        for fault in sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden"):
            faults.setdefault(str(fault["loc"][0]) if fault["loc"] else "", []).append(fault)
    lines = [_line(named(name) if name else "", found, [*kind.model_fields]) for name, found in faults.items()]
    raise ConfigError(lines[0], hint=hint or f"the options are {', '.join(kind.model_fields)}", faults=lines[1:])


def dotted(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys of nested settings, as `--set` takes them, with the values that are no groups."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _line(name: str, faults: list[Any], known: list[str]) -> str:
    """Say what is wrong with an option; pydantic tells a fault for every kind of value that would have been right."""
    if faults[0]["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return f"there is no option `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")
    whats = dict.fromkeys(_in_our_words(str(fault["msg"])) for fault in faults)
    return (f"`{name}` cannot be {faults[0]['input']!r}: " if name else "") + ", or ".join(whats)


def _in_our_words(text: str) -> str:
    text = text.removeprefix("Value error, ")
    text = f"it{text.removeprefix('Input')}" if text.startswith("Input ") else text
    return text[:1].lower() + text[1:]
