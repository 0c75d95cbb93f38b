"""What a run's audit amounts to: shares over the whole run, and whether purification changed anything at all."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geosemi.geo.commit import write_files
from geosemi.legend import Legend
from geosemi.methods.settings import OfMethod, PseudoLabelled
from geosemi.train.folder import AUDIT, METRICS

_LATE = 10  # the last tenth of a run shows what its teacher has become


def conclude(out: Path, legend: Legend, method: OfMethod) -> str | None:
    """Add shares of pixels and the verdict to `audit.json` of a finished run, and return a warning where one is due.

    Shares are read from `metrics.csv`, which a resumed run continues, so they are of the whole run.

    Args:
        out: the run folder.
        legend: its classes.
        method: what the run was told to do.

    Raises:
        OutputError: the disk is full.
    """
    columns = read_columns(out / METRICS)
    shares = {name.removeprefix("purify/"): v for name, v in columns.items() if name.startswith("purify/")}
    trust = {name: v[-1] for k, name in enumerate(legend.names) if (v := columns.get(f"trust/{k}"))}
    purify = method.purify if isinstance(method, PseudoLabelled) and method.rules() is not None else None
    warning = _verdict(shares, purify.mode, len(columns.get("step", ())), method) if purify else None
    path = out / AUDIT
    facts = read_json(path)
    if shares:
        facts["shares"] = {
            when: {name: _mean(values[-(len(values) // part or 1) :]) for name, values in shares.items()}
            for when, part in (("run", 1), ("last tenth", _LATE))
        }
    facts |= {"trust": trust} if trust else {}
    facts |= {"warning": warning} if warning else {}
    if facts:
        write_files({path: json.dumps(facts).encode()})
    return warning


def read_columns(path: Path) -> dict[str, list[float]]:
    """Return the columns of a table of numbers by name; what is no number is NaN. A missing table has none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file) if path.stat().st_size else [[]]
    whole = [r for r in rows if len(r) == len(header)]  # the last line of a killed run may be cut
    return {name: [_number(r[n]) for r in whole] for n, name in enumerate(header)}


def _verdict(shares: Mapping[str, Sequence[float]], mode: str, steps: int, method: OfMethod) -> str | None:
    if any(share > 0 for share in shares.get("changed", ())):
        return None
    if not shares:
        why = "no scene that is trained on has an opinion; `geosemi annotate` makes them"
    elif mode == "released":
        why = (
            "mode `released` repeats the published code, whose purified confidences never reach its own filter; "
            "use `method.purify.mode=recommended`"
        )
    elif max(map(max, (shares["agreeing"], shares["conflicting"], shares["ambiguous"]))) == 0:
        why = "the opinions are silent wherever the teacher is unsure; look at them in QGIS"
    else:
        why = "no pixel that it changed reached the last filter; lower `method.purify.post_threshold`, or raise `gamma`"
    plain = "`fixmatch`" if method.name == "semiearth" else f"`{method.name}` without it"
    return f"purification changed nothing that training saw in {steps} steps, the run is that of {plain}: {why}"


def _mean(values: Sequence[float]) -> float | None:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of a run folder; empty where the file is missing or no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
