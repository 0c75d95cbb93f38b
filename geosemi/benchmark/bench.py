"""A whole benchmark: find what is left to do, work it off, write the tables."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from geosemi.benchmark.plan import Run, plan_runs
from geosemi.benchmark.pool import Failure, Onlooker, alone_in, work_off
from geosemi.benchmark.runs import State, read_results, state_of
from geosemi.benchmark.settings import BenchmarkSettings
from geosemi.benchmark.write import write_tables
from geosemi.data.check import check_files
from geosemi.errors import Faults


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of a benchmark did.

    Attributes:
        done: runs that are done now, those of earlier calls too.
        runs: all of them.
        failures: runs that failed in this call.
        files: tables and pages; empty where no run is done.
        stopped: whether somebody stopped it.
    """

    done: int
    runs: int
    failures: tuple[Failure, ...]
    files: tuple[Path, ...]
    stopped: bool


def pending(runs: Sequence[Run], out: Path) -> tuple[list[Run], Counter[State]]:
    """Return the runs that are not done, those that were begun first, and how many are in which state."""
    states = [state_of(out / run.name, run) for run in runs]
    order: tuple[State, ...] = ("trained", "begun", "new")
    left = [run for wanted in order for run, state in zip(runs, states, strict=True) if state == wanted]
    return left, Counter(states)


def run_benchmark(
    settings: BenchmarkSettings,
    out: Path,
    *,
    options: Sequence[str] = (),
    jobs: int | None = None,
    onlooker: Callable[[Sequence[Run], int], Onlooker],
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train and score every run that is not done yet, and write tables of all that are.

    Args:
        settings: of the benchmark.
        out: its folder; made if missing. Runs of other settings may lie there, they are left alone.
        options: `key=value` texts of `--set`, for all runs.
        jobs: runs at once; None for one on each GPU, or one.
        onlooker: called with the runs that are left and with how many go on at once; told how they go.
        stopped: looked at several times a second.

    Raises:
        ConfigError: the settings are wrong, or there are fewer GPUs than jobs want.
        OutputError: another benchmark runs in the folder, or the disk is full.
    """
    runs = plan_runs(settings, options)
    require_data(runs)
    cards = torch.cuda.device_count()
    with alone_in(out) as held:
        left, _ = pending(runs, out)
        wanted = jobs or max(1, cards)
        watch = onlooker(left, wanted)
        failures = work_off(left, out, held, jobs=wanted, cards=cards, onlooker=watch, stopped=stopped)
        results = read_results(out, runs)
        files = write_tables(settings, results, out, planned=runs) if results else ()
    return Outcome(len(results), len(runs), tuple(failures), files, stopped() and len(results) < len(runs))


def require_data(runs: Sequence[Run]) -> None:
    """Check that the folders and files of every data set are there.

    Raises:
        GeosemiError: some are not; all of them in one error.
    """
    faults, seen = Faults(), set()
    for run in runs:
        key = run.settings.data.model_dump_json()
        if key not in seen:
            seen.add(key)
            check_files(run.settings.data, faults)
    faults.raise_all("the benchmark cannot begin")
