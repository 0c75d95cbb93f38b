"""`geosemi evaluate`: a mask against truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.metrics import Scores

STDOUT = Path("-")
EPILOG = """
**Examples**

`geosemi evaluate mask.tif sample_data/test/labels/autumn_town.tif`

`geosemi evaluate mask.tif sample_data/test/labels/autumn_town.tif --json scores.json --png confusion.png`

`geosemi predict sample_data/scenes/spring_suburb.tif --out suburb.tif`

`geosemi evaluate suburb.tif sample_data/labels/spring_suburb.gpkg --column class`   (polygons in any crs)
"""


def evaluate(
    mask: Annotated[Path, typer.Argument(help="The mask: one band of class ids, e.g. from `geosemi predict`.")],
    labels: Annotated[Path, typer.Argument(help="Truth: a raster on the mask's grid, or .gpkg, .geojson, .shp, .fgb.")],
    legend: Annotated[
        Path | None, typer.Option(help="The classes, as YAML. Default: those that the mask carries in its own tags.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Class column of a vector layer. Default: `class`, `class_name`, `label`, ….")
    ] = None,
    outside: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Class of pixels that no polygon covers. Default: they have no truth."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Rules of counting: default, semiearth_paper, semiearth_code, dwl, rsmtdf or s5.")
    ] = "default",
    json: Annotated[Path | None, typer.Option(help="Also write all figures there; `-` prints them instead.")] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw the confusion matrix there.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Compare a mask with truth: IoU, F1, precision and recall per class, accuracy, kappa, confusion matrix."""
    from rich.console import Console

    from geosemi.errors import ConfigError
    from geosemi.evaluate import evaluate as compare
    from geosemi.evaluate import one_sided
    from geosemi.geo.commit import require_writable
    from geosemi.geo.style import require_legend
    from geosemi.metrics import PRESETS

    if protocol not in PRESETS:
        raise ConfigError(f"there is no protocol `{protocol}`", hint=f"choose one of {', '.join(PRESETS)}")
    for path in (json, png):
        if path is not None and path != STDOUT:
            require_writable(path, overwrite=overwrite, inputs=[mask, labels])
    classes = require_legend(mask, legend)
    scores = compare(mask, labels, classes, PRESETS[protocol], column=column, outside=outside)
    # with the figures on stdout, words go elsewhere
    console = Console(stderr=json == STDOUT, highlight=False, soft_wrap=True)
    _show(scores, console)
    _write(scores, json, png, console)
    if outside is None and (doubt := one_sided(scores, labels)):
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"warning  {doubt}", style="yellow", markup=False)


def _show(scores: "Scores", console: "Console") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for name in ("IoU", "F1", "precision", "recall", "truth px"):
        table.add_column(name, justify="right")
    for c in scores.classes:
        figures = (f"{v:.4f}" if v == v else "–" for v in (c.iou, c.f1, c.precision, c.recall))  # noqa: PLR0124 - NaN
        note = "" if c.averaged else "  (not in the means)"
        table.add_row(f"{c.name}{note}", *figures, f"{c.truth:,}")
    means = (scores.miou, scores.mf1, scores.mprecision, scores.mrecall)
    table.add_section()
    table.add_row("mean", *(f"{v:.4f}" for v in means), f"{sum(c.truth for c in scores.classes):,}", style="bold")
    console.print(table)
    console.print(
        f"OA {scores.oa:.4f}   mIoU {scores.miou:.4f}   kappa {scores.kappa:.4f}   protocol {scores.protocol.name}"
    )
    missed = int(scores.confusion.unpredicted.sum())
    if missed:
        console.print(f"{missed:,} pixels have truth but are nodata in the mask; they count nowhere")


def _write(scores: "Scores", json: Path | None, png: Path | None, console: "Console") -> None:
    from json import dumps

    from geosemi.geo.commit import write_files

    text = dumps(scores.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if json == STDOUT:
        print(text, end="")
    elif json is not None:
        write_files({json: text.encode()})
        console.print(f"figures  {json}", markup=False)
    if png is not None:
        from geosemi.plots import confusion_png

        write_files({png: confusion_png(scores)})
        console.print(f"picture  {png}", markup=False)
