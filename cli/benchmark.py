"""`geosemi benchmark`: methods against each other, with the same data and several seeds."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from geosemi.benchmark.bench import Outcome
    from geosemi.benchmark.plan import Run
    from geosemi.benchmark.pool import Failure
    from geosemi.benchmark.settings import BenchmarkSettings

EPILOG = """
**Examples**

`geosemi benchmark configs/benchmark/sample.yaml --dry-run`   (which runs there would be)

`geosemi benchmark configs/benchmark/demo.yaml --out runs/bench --jobs 2`
"""


def benchmark(
    file: Annotated[
        Path, typer.Argument(help="YAML: data sets, methods, ratios, seeds; docs/benchmark.md has its keys.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of runs and tables.")] = Path("runs/bench"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once [default: one a GPU, or 1].")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of all runs, e.g. train.steps=100; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is left to do; write nothing.")] = False,
) -> None:
    """Compare methods: data sets × ratios × arms × seeds, with tables that say how sure they are.

    What is done is not done again: call it again after Ctrl-C, a crash, or with more seeds. A run that fails is told at
    the end and stops no other. The folder gets `index.html`, `tables.md`, `tables.tex`, pictures, and every figure as
    CSV and JSON.
    """
    from geosemi.benchmark.plan import load_benchmark, plan_runs

    settings = load_benchmark(file)
    if dry_run:
        _list(settings, plan_runs(settings, override or []), out)
        return

    from geosemi.benchmark.bench import run_benchmark
    from geosemi.stop import stop_on_signals

    watch = RunsBar()
    with stop_on_signals() as stop, watch:
        outcome = run_benchmark(
            settings, out, options=override or [], jobs=jobs, onlooker=watch.begin, stopped=lambda: bool(stop)
        )
    _tell(outcome)
    if outcome.stopped:
        raise stop.error(
            f"stopped by you; {outcome.done} of {outcome.runs} runs are done, those in progress are saved",
            hint="run the same command to go on",
        )
    _complain(outcome)


def _list(settings: "BenchmarkSettings", runs: "Sequence[Run]", out: Path) -> None:
    from geosemi.benchmark.bench import pending, require_data

    require_data(runs)
    left, states = pending(runs, out)
    arms = list(dict.fromkeys(run.arm for run in runs))
    print(f"{settings.title}: {len(runs)} runs")
    print(f"data     {', '.join(settings.datasets)}")
    print(f"ratios   {', '.join(f'{r:g} %' for r in settings.ratios)}")
    print(f"seeds    {', '.join(map(str, settings.seeds))}")
    print(f"arms     {', '.join(arms)}{f'; baseline {settings.baseline}' if settings.baseline else ''}")
    print(f"scores   protocol {settings.protocol}")
    begun = states["begun"] + states["trained"]
    print(f"state    {states['done']} done, {begun} begun, {states['new']} new")
    for run in left:
        train = run.settings.train
        length = f"{train.steps} steps" if train.steps else f"{train.epochs or 20:g} epochs"
        leaky = ", LEAKY split" if run.leaky else ""
        print(f"  {run.name}: {run.settings.method.name} with {run.settings.model.name}, {length}{leaky}")


def _tell(outcome: "Outcome") -> None:
    if not outcome.files:
        return
    named = {path.name: path for path in outcome.files}
    print(f"runs     {outcome.done} of {outcome.runs} done, each in runs.csv: {named['runs.csv']}")
    print(f"tables   {named['tables.md']}, {named['tables.tex']}")
    print(f"page     {named['index.html']}")


def _complain(outcome: "Outcome") -> None:
    """Raise one error for all runs that failed."""
    from geosemi.errors import ResourceError

    if not outcome.failures:
        return
    lines = [f"{f.run.name}: {' '.join(f.message.split())}; {f.hint}" for f in outcome.failures]
    raise ResourceError(
        f"{len(outcome.failures)} of {outcome.runs} runs failed",
        hint="the same command tries them again; the others are done",
        faults=lines,
    )


class RunsBar:
    """Shows on stderr how many runs are done, which ones go on, and how long the rest will take."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,  # in a file or a pipe a bar is a blank line
        )
        self._runs: Sequence[Run] = ()
        self._steps: dict[int, tuple[int, int]] = {}
        self._done: set[int] = set()

    def __enter__(self) -> "RunsBar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, runs: "Sequence[Run]", jobs: int) -> "RunsBar":
        """Show the bar of the runs that are left."""
        from geosemi.benchmark.pool import Clock

        self._runs, self._clock = runs, Clock(runs, jobs)
        self._task: Any = self._progress.add_task("runs", total=max(1, len(runs)), count=f"0/{len(runs)}", left="")
        return self

    def progress(self, number: int, step: int, total: int) -> None:
        """Move the bar by a step of a run."""
        self._steps[number] = (step, total)
        self._clock.progress(number, step, total)
        self._show()

    def finished(self, number: int, failure: "Failure | None") -> None:
        """Tell that a run is done, or what went wrong."""
        self._done.add(number)
        self._steps.pop(number, None)
        name = self._runs[number].name
        if failure is not None:
            self._console.print(f"failed: {name}: {failure.message}", markup=False, style="bold yellow", soft_wrap=True)
        else:
            self._console.print(f"done: {name}  ({len(self._done)} of {len(self._runs)})", markup=False, soft_wrap=True)
        self._show()

    def _show(self) -> None:
        from geosemi.cli.train import span

        waiting = [n for n in range(len(self._runs)) if n not in self._done and n not in self._steps]
        seconds = self._clock.seconds(waiting, list(self._steps))
        left = "" if seconds is None else f"about {span(seconds)} left"
        part = sum(step / max(1, total) for step, total in self._steps.values())
        self._progress.update(
            self._task, completed=len(self._done) + part, count=f"{len(self._done)}/{len(self._runs)}", left=left
        )
