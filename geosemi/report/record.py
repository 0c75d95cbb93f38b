"""A run folder as its report needs it; everything that is missing is left out, nothing of it is run or fetched."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geosemi.errors import InputError
from geosemi.train.folder import AUDIT, AUDIT_TABLE, CONFIG, FACTS, METRICS, PANELS, VALIDATION
from geosemi.train.verdict import read_columns, read_json

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST = 8 * 2**20  # bytes of one sheet of panels; ours have a tenth of a megabyte
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
PALETTE = ("#2a6f97", "#d1495b", "#5b8e3e", "#e09f3e", "#8c6bb1", "#4d908e", "#9c6644", "#82898d")

Table = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Class:
    """A class: its name as written by somebody, and a colour that is safe to put into a page."""

    name: str
    colour: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a run folder tells.

    Attributes:
        name: of the folder.
        config: its YAML, as text.
        method: name of the method.
        model: name of the network.
        mode: of purification, or None.
        classes: in the order of the legend.
        coloured: whether their colours are the legend's, which panels are painted in.
        metrics: a line a step, by column.
        validation: a line a validation, by column.
        audit: lines of the audit: `step`, `ground`, `who`, `zone` and figures.
        facts: of `run.json`; empty while the run goes on.
        summary: of `audit.json`.
        panels: step → PNG.
    """

    name: str
    config: str
    method: str
    model: str
    mode: str | None
    classes: tuple[Class, ...]
    coloured: bool
    metrics: Table
    validation: Table
    audit: Sequence[Mapping[str, str]]
    facts: Mapping[str, Any]
    summary: Mapping[str, Any]
    panels: Mapping[int, bytes]

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read a run folder, also of a run that is not finished.

        Raises:
            InputError: it is none, or nothing was trained in it yet.
        """
        path = folder / CONFIG
        metrics = read_columns(folder / METRICS)
        if not path.is_file() or not metrics:
            raise InputError(
                f"`{folder}` is no run folder, or nothing was trained in it yet",
                hint="name the folder that `geosemi train --out` made",
            )
        config = path.read_text(encoding="utf-8", errors="replace")
        facts, validation = read_json(folder / FACTS), read_columns(folder / VALIDATION)
        settings = _settings(config)
        purify, summary = _part(settings, "method", "purify"), read_json(folder / AUDIT)
        classes, coloured = _classes((facts, summary), validation)
        return cls(
            name=folder.resolve().name,
            config=config,
            method=str(_part(settings, "method").get("name", "unknown")),
            model=str(_part(settings, "model").get("name", "unknown")),
            mode=str(purify["mode"]) if "mode" in purify else None,
            classes=classes,
            coloured=coloured,
            metrics=metrics,
            validation=validation,
            audit=_lines(folder / AUDIT_TABLE),
            facts=facts,
            summary=summary,
            panels=_panels(folder / PANELS),
        )

    def course(self, ground: str, who: str, figure: str, zone: str = "all") -> tuple[list[float], list[float]]:
        """Return steps and values of one figure of the audit over the run."""
        lines = [r for r in self.audit if (r.get("ground"), r.get("who"), r.get("zone")) == (ground, who, zone)]
        return [number(r.get("step")) for r in lines], [number(r.get(figure)) for r in lines]

    def speakers(self, ground: str) -> list[str]:
        """Return who was measured on a ground, in the order of the table."""
        return list(dict.fromkeys(r.get("who", "") for r in self.audit if r.get("ground") == ground))


def number(text: object) -> float:
    """Return a number, NaN for what is none."""
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def _settings(config: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _part(values: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        inner = values.get(key)
        values = inner if isinstance(inner, dict) else {}
    return values


def _classes(tellers: Sequence[Mapping[str, Any]], validation: Table) -> tuple[tuple[Class, ...], bool]:
    """Return the classes, and whether their colours are the legend's."""
    lists = [found for teller in tellers if isinstance(found := teller.get("classes"), list)]
    told = next((found for found in lists if found and all(isinstance(c, dict) for c in found)), None)
    if told is None:
        # before the first audit, or of an older version: names from the table, colours of our own
        told = [{"name": column.removeprefix("iou ")} for column in validation if column.startswith("iou ")]
    colours = [str(c.get("colour")) for c in told]
    safe = [c if _COLOUR.fullmatch(c) else PALETTE[k % len(PALETTE)] for k, c in enumerate(colours)]
    classes = tuple(Class(str(c.get("name")), colour) for c, colour in zip(told, safe, strict=True))
    return classes, bool(told) and safe == colours


def _lines(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [{str(k): str(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _panels(folder: Path) -> dict[int, bytes]:
    found = {}
    for path in sorted(folder.glob("step-*.png")):
        step = path.stem.removeprefix("step-")
        if step.isdecimal() and path.stat().st_size <= _LARGEST:
            data = path.read_bytes()
            if data.startswith(_PNG):
                found[int(step)] = data
    return found
