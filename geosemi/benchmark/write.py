"""All that a benchmark leaves: tables, page, pictures, and every figure as JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geosemi.benchmark.draw import dots, over_ratio
from geosemi.benchmark.page import page
from geosemi.benchmark.plan import Run
from geosemi.benchmark.published import Printed, published
from geosemi.benchmark.runs import Result
from geosemi.benchmark.settings import BenchmarkSettings
from geosemi.benchmark.summary import Sheet, sheets
from geosemi.benchmark.tables import latex, markdown
from geosemi.geo.commit import write_files

PAGE, MARKDOWN, LATEX, RUNS, SUMMARY, PLOTS = (
    "index.html", "tables.md", "tables.tex", "runs.csv", "summary.json", "plots",
)  # fmt: skip
_FIGURES = ("miou", "mf1", "oa", "kappa")


def write_tables(
    settings: BenchmarkSettings, results: Sequence[Result], out: Path, *, planned: Sequence[Run]
) -> tuple[Path, ...]:
    """Write tables, page and pictures of the runs that are done; return their paths, the page last.

    Args:
        settings: of the benchmark.
        results: of the runs that are done, one at least.
        out: folder of the benchmark.
        planned: all its runs.

    Raises:
        OutputError: the disk is full.
    """
    found = sheets(settings, results, planned)
    printed = printed_for(settings)
    (out / PLOTS).mkdir(exist_ok=True)
    contents = {out / PLOTS / name: svg.encode() for name, svg in pictures(found).items()}
    contents[out / RUNS] = _runs_csv(results).encode()
    contents[out / SUMMARY] = json.dumps([_plain(asdict(s)) for s in found], indent=1).encode()
    contents[out / LATEX] = latex(settings.title, found, printed).encode()
    contents[out / MARKDOWN] = markdown(settings.title, found, printed).encode()
    text = page(settings.title, found, printed, done=len(results), planned=len(planned))
    contents[out / PAGE] = text.encode()
    write_files(contents)
    return tuple(contents)


def printed_for(settings: BenchmarkSettings) -> dict[str, list[Printed]]:
    """Return published numbers by data set, each once."""
    names = dict.fromkeys(of.published for of in settings.datasets.values() if of.published)
    return {name: published(name) for name in names}


def pictures(found: Sequence[Sheet]) -> dict[str, str]:
    """Return SVGs by file name."""
    drawn = {f"{s.dataset}-{s.ratio:g}.svg": dots(s) for s in found}
    for dataset in dict.fromkeys(s.dataset for s in found):
        drawn[f"{dataset}-ratios.svg"] = over_ratio([s for s in found if s.dataset == dataset])
    return {name: svg for name, svg in drawn.items() if svg}


def _runs_csv(results: Sequence[Result]) -> str:
    classes = list(dict.fromkeys(name for r in results for name in r.iou))
    told = ("method", "model", "protocol", "ground", "leaky", "steps", "best_step", "labelled_blocks", "train_blocks")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["dataset", "arm", "ratio", "seed", *_FIGURES, *(f"iou {c}" for c in classes), "seconds_per_step"]
    writer.writerow([*head, *told, "folder"])
    for r in results:
        figures = [r.figures[f] for f in _FIGURES] + [r.iou.get(c, math.nan) for c in classes] + [r.seconds]
        cells = ["" if math.isnan(v) else f"{v:.6g}" for v in figures]
        run = r.run
        writer.writerow(
            [run.dataset, run.arm, f"{run.ratio:g}", run.seed, *cells, *(r.facts.get(t) for t in told), run.name]
        )
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Return values that JSON knows: it has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
