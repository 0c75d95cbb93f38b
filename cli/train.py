"""`geosemi train`: learn from a few labelled blocks and much unlabelled ground."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from geosemi.metrics import Scores

EPILOG = """
**Examples**

`geosemi train --config configs/sample/semiearth.yaml --out runs/first`

`geosemi train --data sample_data --ratio 50 --method fixmatch --steps 300 --out runs/second`

`geosemi train --dataset potsdam --ratio 5`   (after `geosemi prepare --dataset potsdam …`)

`geosemi train --config configs/sample/supervised.yaml --seed 1 --set train.lr=0.001 --out runs/third`
"""


def train(
    dataset: Annotated[
        str, typer.Option(help="`scenes` (your own folders), potsdam, vaihingen, loveda, deepglobe or openearthmap.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of the data [default: data/DATASET, or here].")] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Percent of the training blocks whose labels are used [default: 5].")
    ] = None,
    method: Annotated[
        str, typer.Option(help="How it learns; `geosemi methods` lists the names [default: semiearth].")
    ] = "",
    model: Annotated[
        str, typer.Option(help="light, dinov2_small, dinov2_base or dinov2_large [default: by device].")
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
) -> None:
    """Learn land cover from a few labelled blocks and many unlabelled scenes.

    The run folder gets the best model (`bundle.safetensors`), curves (`metrics.csv`, TensorBoard), the split and a
    picture of validation predictions. Ctrl-C saves and stops; `--resume` goes on.
    """
    from geosemi.config import plan_run

    options: dict[str, Any] = {
        "data.dataset": dataset,
        "data.root": str(data) if data else None,
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
