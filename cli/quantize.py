"""`geosemi quantize`: a trained model in int8, and what that costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.predict.quantize import QuantizeFacts
    from geosemi.predict.settings import QuantizeSettings

EPILOG = """
**Examples**

`geosemi quantize sample_data/test --labels sample_data/test/labels --calibrate sample_data/unlabelled`

`geosemi quantize sample_data/scenes --labels sample_data/labels --model runs/first --max-cost 2 --overwrite`

Then `geosemi predict … --engine openvino --precision int8` maps with it.
"""


def quantize(
    scenes: Annotated[
        list[str],
        typer.Argument(
            help="Labelled scenes to check on, best those that training did not see: as in `geosemi predict`.",
            metavar="SCENE…",
        ),
    ],
    labels: Annotated[
        Path, typer.Option(help="Their labels: rasters or vector layers in a folder, named like the scenes; or one.")
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="RUN_OR_BUNDLE", help="A run folder or a bundle. Default: the newest run.")
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCENE",
            help="Scenes that set the ranges of 8-bit numbers; they need no labels. May be given again. Default: half "
            "of the windows of the labelled scenes, the other half is checked.",
        ),
    ] = None,
    max_cost: Annotated[
        float, typer.Option(min=0, metavar="POINTS", help="Points of mIoU that int8 may cost; else nothing is written.")
    ] = 1.0,
    windows: Annotated[int, typer.Option(min=1, help="At most so many to calibrate with, and to check on.")] = 64,
    tile: Annotated[
        int | None, typer.Option(min=16, help="Side of windows, here and when mapping. Default: the model's own.")
    ] = None,
    engine: Annotated[str, typer.Option(help="What is to run int8: openvino or onnx.")] = "openvino",
    bands: Annotated[
        str,
        typer.Option(
            metavar="1,2,3", help="Bands of the scenes in the order of the model's, by number or name. Default: all."
        ),
    ] = "",
    column: Annotated[
        str | None, typer.Option(help="Class column of vector labels. Default: `class`, `class_name`, `label`, ….")
    ] = None,
    outside: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Class of pixels that no polygon covers. Default: they have no truth."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Make a model faster on CPUs, in 8-bit numbers, and measure on labelled scenes what that costs.

    One file is written beside the model, `bundle.int8.onnx`, which holds these figures.
    """
    from rich.console import Console

    from geosemi.cli.bar import bar
    from geosemi.geo.sources import find_scenes
    from geosemi.models.bundle import Bundle
    from geosemi.predict.quantize import quantize as make
    from geosemi.predict.runs import find_bundle
    from geosemi.predict.samples import labels_of
    from geosemi.stop import stop_on_signals

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = _settings(
        bands, max_cost=max_cost, windows=windows, tile=tile, engine=engine, label_column=column, label_outside=outside
    )  # fmt: skip
    path = find_bundle(model)
    bundle = Bundle.load(path)
    names = [str(b) for b in settings.bands or ()] or list(bundle.card.bands)
    found = find_scenes(scenes, bands=names)
    truths = labels_of(found, labels)
    others = find_scenes(calibrate, bands=names) if calibrate else ()
    console.print(f"model    {path} ({bundle.card.spec.name}, {len(bundle.card.legend)} classes)", markup=False)
    ending = {"kept": "nothing is written", "hint": "run the same command again"}
    with stop_on_signals() as stop, bar(console, "int8", stop, **ending) as on_progress:
        facts = make(
            bundle, found, truths, settings, calibrate=others, overwrite=overwrite, on_progress=on_progress
        )  # fmt: skip
    _show(facts, console)
    print(f"{facts.path}")


def _settings(bands: str, **given: Any) -> "QuantizeSettings":
    from geosemi.predict.settings import QuantizeSettings
    from geosemi.settings import settings_of

    chosen = tuple(int(b) if b.strip().isdecimal() else b.strip() for b in bands.split(",")) if bands else None
    return settings_of(
        QuantizeSettings,
        {**given, "bands": chosen},
        named=lambda name: f"--{name.replace('_', '-')}",
        hint="see `geosemi quantize --help`",
    )


def _show(facts: "QuantizeFacts", console: "Console") -> None:
    """Print IoU of both by class, and what int8 costs and gives."""
    from rich.table import Table

    record = facts.record
    for note in facts.notes:
        console.print(f"warning  {note}", style="yellow", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for name in ("IoU fp32", "IoU int8", "truth px"):
        table.add_column(name, justify="right")
    for before, after in zip(facts.fp32.classes, facts.int8.classes, strict=True):
        known = (f"{v:.4f}" if v == v else "–" for v in (before.iou, after.iou))  # noqa: PLR0124 - NaN
        table.add_row(before.name, *known, f"{before.truth:,}")
    table.add_section()
    table.add_row("mean", f"{record.miou_fp32:.4f}", f"{record.miou:.4f}", f"{record.pixels:,}", style="bold")
    console.print(table)
    eager, int8 = facts.seconds
    console.print(
        f"int8 with {record.engine} costs {record.cost:.2f} points of mIoU, on {record.checked} windows of "
        f"{record.tile} px ({record.calibrated} others calibrated it)\n"
        f"{100 * record.same:.2f} % of the pixels keep their class; {eager / int8:.1f} × as fast as torch in fp32"
    )
