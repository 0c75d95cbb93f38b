"""The base of all settings: frozen, closed values that every room defines for itself and `config.py` composes."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

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


def fault_line(fault: Any, kinds: Iterable[type[BaseModel]], below: int = 0) -> str:
    """Say in one line where a fault of nested settings is, and what is wrong; a key that is unknown has a near one.

    Args:
        fault: one of pydantic's.
        kinds: of the settings; several where they are one of a union.
        below: how many keys of the place lead to them.
    """
    place = [str(p) for p in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        what = f"unknown key{_meant(place[-1], _known_keys(kinds, place[below:-1]))}"
    elif fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
        what = f"write `{place[-1]}: {{…}}` with keys inside, got {fault['input']!r}"
    else:
        words = fault["msg"].removeprefix("Value error, ")
        got = "" if isinstance(fault["input"], dict) else f", got {fault['input']!r}"  # a whole group says nothing
        what = f"{words[0].lower()}{words[1:]}{got}"
    return f"{'.'.join(place)}: {what}" if place else what


def _known_keys(kinds: Iterable[type[BaseModel]], path: Iterable[str]) -> list[str]:
    """Return the keys of a group of settings; of all members where the group is a union."""
    models = list(kinds)
    inside: list[Any] = []  # of a mapping, whose keys are names that somebody chose
    for part in path:
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models, inside = _groups(inside or fields)
    return sorted({name for m in models for name in m.model_fields})


def _groups(annotations: Iterable[Any]) -> tuple[list[type[BaseModel]], list[Any]]:
    """Return the settings that may stand in fields, and what the values of mappings there may be."""
    models, inside = [], []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            models.append(annotation)
        elif get_origin(annotation) is dict:
            inside.append(get_args(annotation)[1])
        else:
            more = _groups(get_args(annotation))
            models, inside = models + more[0], inside + more[1]
    return models, inside


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else ""


def _line(name: str, faults: list[Any], known: list[str]) -> str:
    """Say what is wrong with an option; pydantic tells a fault for every kind of value that would have been right."""
    if faults[0]["type"] == "extra_forbidden":
        return f"there is no option `{name}`{_meant(name, known)}"
    whats = dict.fromkeys(_in_our_words(str(fault["msg"])) for fault in faults)
    return (f"`{name}` cannot be {faults[0]['input']!r}: " if name else "") + ", or ".join(whats)


def _in_our_words(text: str) -> str:
    text = text.removeprefix("Value error, ")
    text = f"it{text.removeprefix('Input')}" if text.startswith("Input ") else text
    return text[:1].lower() + text[1:]
