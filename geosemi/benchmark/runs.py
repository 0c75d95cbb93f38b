"""The folder of a run in a benchmark: is it done, was it begun, what did it bring. Nothing here imports torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geosemi.benchmark.plan import Run
from geosemi.geo.commit import write_files
from geosemi.train.folder import CHECKPOINTS, FACTS, checkpoints
from geosemi.train.verdict import read_json

RESULT, LOG = "result.json", "log.txt"
State = Literal["done", "trained", "begun", "new"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run brought.

    Attributes:
        run: which one.
        figures: mIoU, OA and so on by name, 0 … 1; NaN where undefined.
        iou: by class.
        ground: what it was scored on.
        seconds: a training step, the median.
        facts: everything of `result.json`.
    """

    run: Run
    figures: Mapping[str, float]
    iou: Mapping[str, float]
    ground: str
    seconds: float
    facts: Mapping[str, Any]


def state_of(folder: Path, run: Run) -> State:
    """Return how far a run is; it is done where it was scored with exactly these settings."""
    if read_json(folder / RESULT).get("fingerprint") == run.fingerprint:
        return "done"
    if (folder / FACTS).is_file():
        return "trained"
    return "begun" if checkpoints(folder / CHECKPOINTS) else "new"


def write_result(folder: Path, run: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write what a run brought; only then it is done.

    Raises:
        OutputError: the disk is full.
    """
    write_files({folder / RESULT: json.dumps({**run, **figures}, indent=1).encode()})


def read_results(out: Path, runs: Sequence[Run]) -> list[Result]:
    """Return what the finished ones of some runs brought, in their order."""
    found = []
    for run in runs:
        if state_of(out / run.name, run) != "done":
            continue
        facts = read_json(out / run.name / RESULT)
        figures = {name: _number(facts.get(name)) for name in ("miou", "mf1", "oa", "kappa")}
        classes = facts.get("classes", {})
        iou = {name: _number(of.get("iou")) for name, of in classes.items()}
        found.append(Result(run, figures, iou, str(facts["ground"]), _number(facts.get("seconds_per_step")), facts))
    return found


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
