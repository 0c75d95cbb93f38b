"""Curves of a run: `metrics.csv` (a line a step), `validation.csv` (a line a validation) and TensorBoard events."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from geosemi.metrics import Scores

FLUSH_EVERY = 20  # steps; a killed run loses at most these lines of its curve


class Journal:
    """Writes curves while a run goes on. A resumed run continues its files: lines of steps that are run again are cut.

    Args:
        folder: the run folder.
        start: first step that will be written.
        active: False on ranks other than 0, where nothing is written.
    """

    def __init__(self, folder: Path, start: int, *, active: bool) -> None:
        self._folder, self._start, self._active = folder, start, active
        self._tables: dict[str, tuple[TextIO, Any, list[str]]] = {}
        self._events: Any = None

    def __enter__(self) -> "Journal":
        if self._active:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - half a second that other ranks save

            # events are counted in finished steps; what was written after the checkpoint will be written again
            purge = self._start + 1 if self._start else None
            self._events = SummaryWriter(str(self._folder / "tensorboard"), purge_step=purge)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file, _, _ in self._tables.values():
            file.close()
        if self._events:
            self._events.close()

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Write one step."""
        if self._active:
            self._row("metrics.csv", step, values)
            for name, value in values.items():
                self._events.add_scalar(f"train/{name}", value, step + 1)

    def validation(self, step: int, scores: Scores) -> None:
        """Write one validation."""
        if not self._active:
            return
        values = {"miou": scores.miou, "mf1": scores.mf1, "oa": scores.oa, "kappa": scores.kappa}
        values |= {f"iou {c.name}": c.iou for c in scores.classes} | {f"f1 {c.name}": c.f1 for c in scores.classes}
        self._row("validation.csv", step, values)
        for name, value in values.items():
            self._events.add_scalar(f"validation/{name}", value, step)

    def flush(self) -> None:
        """Put everything on disk, so that the curves of a killed run reach at least to its last checkpoint."""
        for file, _, _ in self._tables.values():
            file.flush()
        if self._events:
            self._events.flush()

    def _row(self, name: str, step: int, values: Mapping[str, float]) -> None:
        if name not in self._tables:
            self._tables[name] = self._open(name, ["step", *values])
        file, writer, columns = self._tables[name]
        if not values.keys() <= set(columns):  # a later stage of a run tells more
            file.close()
            file, writer, columns = self._tables[name] = self._widened(name, values)
        writer.writerow([step, *(f"{values.get(c, float('nan')):.6g}" for c in columns[1:])])
        if name != "metrics.csv" or step % FLUSH_EVERY == 0:
            file.flush()

    def _widened(self, name: str, values: Mapping[str, float]) -> tuple[TextIO, Any, list[str]]:
        path = self._folder / name
        with path.open(newline="", encoding="utf-8") as file:
            columns, *rows = csv.reader(file)
        more = [column for column in values if column not in columns]
        out = path.open("w", newline="", encoding="utf-8")
        writer = csv.writer(out)
        writer.writerows([[*columns, *more], *([*row, *["nan"] * len(more)] for row in rows)])
        return out, writer, [*columns, *more]

    def _open(self, name: str, columns: list[str]) -> tuple[TextIO, Any, list[str]]:
        path = self._folder / name
        kept: list[list[str]] = []
        if path.is_file() and self._start:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
            columns = rows[0] if rows else columns
            # a validation after step n is written as n, so n = start was finished before the checkpoint
            last = self._start if name == "validation.csv" else self._start - 1
            kept = [r for r in rows[1:] if r and r[0].isdigit() and int(r[0]) <= last and len(r) == len(columns)]
        out = path.open("w", newline="", encoding="utf-8")
        writer = csv.writer(out)
        writer.writerows([columns, *kept])
        return out, writer, columns
