"""`geosemi train`: learn from a few labelled blocks and much unlabelled ground."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from geosemi.metrics import Scores
    from geosemi.train.dry import Trial
    from geosemi.train.settings import RunSettings

EPILOG = """
**Examples**

`geosemi train --config configs/sample/semiearth.yaml --out runs/first`

`geosemi train --data sample_data --ratio 50 --method fixmatch --steps 300 --out runs/second`

`geosemi train --dataset potsdam --ratio 5`   (after `geosemi prepare --dataset potsdam …`)

`geosemi train --config configs/sample/supervised.yaml --seed 1 --set train.lr=0.001 --out runs/third`

`geosemi train --config configs/sample/fixmatch.yaml --dry-run`   (says what it would be, and runs one step)
"""


def train(
    dataset: Annotated[
        str, typer.Option(help="`scenes` (your own folders), potsdam, vaihingen, loveda, deepglobe or openearthmap.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of the data [default: data/DATASET, or here].")] = None,
    opinions: Annotated[
        Path | None, typer.Option(help="Folder of opinion rasters [default: `opinions` in the folder of the data].")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Percent of the training blocks whose labels are used [default: 5].")
    ] = None,
    method: Annotated[
        str, typer.Option(help="How it learns; `geosemi methods` lists the names [default: semiearth].")
    ] = "",
    model: Annotated[
        str, typer.Option(help="light, dinov2_small, segformer_b2 …; docs/models.md lists all [default: by device].")
    ] = "",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; options win over it.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. train.lr=0.001; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder [default: runs/DATASET-METHOD-RATIO-seedN].")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation [default: 0].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps [default: auto].")] = "",
    steps: Annotated[int | None, typer.Option(help="Length of the run in optimiser steps.")] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Length in passes over the unlabelled ground [default: 20].")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build all, run one step, say what the run would be; write nothing.")
    ] = False,
) -> None:
    """Learn land cover from a few labelled blocks and many unlabelled scenes.

    The run folder gets the best model (`bundle.safetensors`), curves (`metrics.csv`, TensorBoard), the split and a
    picture of validation predictions. Ctrl-C saves and stops; `--resume` goes on.
    """
    from geosemi.config import plan_run

    options: dict[str, Any] = {
        "data.dataset": dataset,
        "data.root": str(data) if data else None,
        "data.opinions": str(opinions.absolute()) if opinions else None,  # in a file it is relative to the data
        "split.ratio": ratio,
        "method.name": method,
        "model.name": model,
        "train.seed": seed,
        "train.device": device,
        "train.steps": steps,
        "train.epochs": epochs,
    }
    given = {key: value for key, value in options.items() if value not in (None, "")}
    settings, folder = plan_run(config, given, override or [], out=out, resume=resume)
    if dry_run:
        from geosemi.train.dry import try_run

        with TerminalWatcher() as watcher:
            trial = try_run(settings, folder, resume=resume, watcher=watcher)
        _tell(trial, settings)
        return

    from geosemi.train.run import is_first_rank  # after the check of the command: this takes up to ten seconds
    from geosemi.train.run import train as run

    with TerminalWatcher() as watcher:
        bundle = run(settings, folder, resume=resume, watcher=watcher)
    if not is_first_rank():
        return
    print(f"model    {bundle}")
    print(f"curves   {folder / 'metrics.csv'}, tensorboard --logdir {folder / 'tensorboard'}")
    if (folder / "validation.png").exists():
        print(f"picture  {folder / 'validation.png'}")
    print(f"report   geosemi report {folder}")
    print(f"next     geosemi predict scene.tif --model {folder} --out mask.tif")


def _tell(trial: "Trial", settings: "RunSettings") -> None:
    labelled, unlabelled = trial.full
    asked = f", {trial.frozen:,} more are asked and not trained" if trial.frozen else ""
    print(*trial.lines, sep="\n")
    print(f"network  {settings.model.name}, {trial.network:,} parameters")
    print(f"method   {settings.method.name}, trains {trial.trainable:,} parameters{asked}")
    print(
        f"chips    {labelled} labelled and {unlabelled} unlabelled a step, {settings.chips.size} pixels wide, "
        f"crops of {settings.augment.size}"
    )
    print(f"steps    {trial.steps:,}")
    share = sum(trial.full) / sum(trial.chips)
    whole = span(trial.steps * trial.seconds * share)
    print(f"time     {trial.seconds:.2f} s for a step on {trial.device}: about {whole} in all, validation not counted")
    print(f"memory   {trial.memory / 2**30:.2f} GiB at most")
    if settings.train.devices > 1:
        print(f"devices  the step was run on one of {settings.train.devices}")
    if trial.chips != trial.full:
        labelled, unlabelled = trial.chips
        print(f"batch    the step was run with {labelled} labelled and {unlabelled} unlabelled chips, to spare the CPU")
    print("nothing was written")


def span(seconds: float) -> str:
    """Return 40 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class TerminalWatcher:
    """Shows a run on stderr: a line of facts, a progress bar with loss and mIoU, a line for each validation."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}
        self._miou = ""

    def __enter__(self) -> "TerminalWatcher":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, total: int, done: int) -> None:
        """Show the bar."""
        self._tasks["train"] = self._progress.add_task("training", total=total, completed=done, facts="")

    def note(self, text: str) -> None:
        """Print a line; a warning stands out."""
        style = "bold yellow" if text.startswith("warning") else None
        self._console.print(text, markup=False, soft_wrap=True, style=style)

    def counted(self, what: str, done: int, total: int) -> None:
        """Move a bar of preparation."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, facts="")
        self._progress.update(self._tasks[what], completed=done)
        if done == total:
            self._progress.remove_task(self._tasks.pop(what))

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:
        """Move the bar."""
        facts = f"loss {losses['loss']:.3f}{self._miou}"
        self._progress.update(self._tasks["train"], completed=step + 1, facts=facts)

    def validated(self, step: int, scores: "Scores", *, best: bool) -> None:
        """Print the validation's figures."""
        self._miou = f"  mIoU {scores.miou:.3f}"
        self._progress.update(self._tasks["train"], facts=self._miou.strip())
        classes = "  ".join(f"{c.name} {c.iou:.2f}" for c in scores.classes)
        mark = "  best so far" if best else ""
        self.note(
            f"step {step}: mIoU {scores.miou:.3f}  F1 {scores.mf1:.3f}  OA {scores.oa:.3f}{mark}   IoU: {classes}"
        )
