"""The work of `geosemi annotate`, scene by scene, and what is said of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geosemi.errors import InputError, OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.annotate.maps import OpinionFacts
    from geosemi.geo.scene import Place
    from geosemi.geo.sources import SceneSource
    from geosemi.stop import StopFlag

Annotate = Callable[["Place", Path, Callable[[int, int], None]], "OpinionFacts"]
"""Writes the opinion of one scene: where it is, the output, whom to tell of progress."""


def run(
    scenes: "Sequence[SceneSource]",
    out: Path,
    work: Annotate,
    console: "Console",
    stop: "StopFlag",
    *,
    overwrite: bool,
    kept: str = "finished scenes are kept",
) -> None:
    """Write the opinions of all scenes. Of several, one that fails does not keep the others from being done.

    Raises:
        GeosemiError: the only scene failed; or some of several did, all of them named.
    """
    folder_for(out)
    failed = []
    for number, scene in enumerate(scenes, start=1):
        target = out / f"{scene.name}.tif"
        if len(scenes) > 1:
            console.print(f"scene    {number} of {len(scenes)}: {scene.name}", markup=False)
            if is_kept(scene, out, of=len(scenes), overwrite=overwrite):
                console.print(f"kept     {target}, which exists; `--overwrite` makes it anew", markup=False)
                continue
        try:
            _one(scene, target, work, console, stop, kept)
        except InputError as error:
            if len(scenes) == 1:
                raise
            console.print(f"error    {error.message}", style="red", markup=False)
            failed.append(error)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(scenes)} scenes have no opinion"
            + ("; the others are done" if len(failed) < len(scenes) else ""),
            hint="; ".join(dict.fromkeys(error.hint for error in failed)),
            faults=[
                text if times == 1 else f"{text} ({times} scenes)"  # a fault of the one map for all of them
                for text, times in Counter("; ".join(error.lines) for error in failed).items()
            ],
        )


def is_kept(scene: "SceneSource", out: Path, *, of: int, overwrite: bool) -> bool:
    """Tell whether a scene is left as it is; the only one is not, but refused."""
    return of > 1 and not overwrite and (out / f"{scene.name}.tif").exists()


def folder_for(out: Path) -> None:
    """Make the folder of opinions where it is not there.

    Raises:
        OutputError: it cannot be.
    """
    from geosemi.geo.commit import naming_disk

    if out.exists() and not out.is_dir():
        raise OutputError(f"`{out}` is a file", hint="name a folder with `--out`")
    naming_disk(out, lambda: out.mkdir(parents=True, exist_ok=True))


def _one(scene: "SceneSource", target: Path, work: Annotate, console: "Console", stop: "StopFlag", kept: str) -> None:
    from geosemi.cli.bar import bar

    with bar(console, "annotating", stop, kept=kept, hint="run the same command again to go on") as on_progress:
        facts = work(scene.place, target, on_progress)
    console.print(f"source   {facts.source}", markup=False)
    tell(facts, console)
    print(f"{'opinion':<13} {target}")


def tell(facts: "OpinionFacts", console: "Console") -> None:
    """Print warnings and how much of the scene each class was seen on."""
    from rich.markup import escape
    from rich.table import Table

    for warning in facts.warnings:
        console.print(f"warning  {warning}", style="yellow", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    table.add_column("seen on", justify="right")
    for c, count in zip(facts.legend, facts.pixels, strict=True):
        table.add_row(f"[{c.colour}]■[/] {escape(c.name)}", f"{100 * count / facts.total:.2f} %")
    table.add_section()
    table.add_row("several classes", f"{100 * facts.several / facts.total:.2f} %")
    table.add_row("silent", f"{100 * (facts.total - facts.spoken) / facts.total:.2f} %")
    console.print(table)
