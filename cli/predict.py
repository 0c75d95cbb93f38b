"""`geosemi predict`: a trained model maps a whole scene."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.predict.answers import Extra
    from geosemi.predict.predict import PredictionFacts
    from geosemi.predict.settings import PredictSettings

EPILOG = """
**Examples**

`geosemi predict scene.tif --out mask.tif`

`geosemi predict scene.tif --out mask.tif --model runs/first --polygons map.gpkg --confidence sure.tif`
"""


def predict(
    scene: Annotated[Path, typer.Argument(help="The scene: a GeoTIFF, PNG or JPEG of any size.")],
    out: Annotated[
        Path, typer.Option(help="The mask, a .tif on the scene's own pixels; opens coloured and named in QGIS.")
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="RUN_OR_BUNDLE", help="A run folder or a bundle. Default: the newest run.")
    ] = None,
    polygons: Annotated[
        Path | None, typer.Option(help="Also write polygons: .gpkg (opens styled in QGIS), .fgb, .geojson or .parquet.")
    ] = None,
    confidence: Annotated[
        Path | None, typer.Option(help="Also write the probability of each pixel's class, a .tif.")
    ] = None,
    entropy: Annotated[
        Path | None, typer.Option(help="Also write how undecided the model is, 0 to 1: the entropy over all classes.")
    ] = None,
    margin: Annotated[
        Path | None, typer.Option(help="The same as 1 minus the lead of the first class over the second.")
    ] = None,
    probabilities: Annotated[
        Path | None, typer.Option(help="Also write the probability of every class, a .tif with a band for each.")
    ] = None,
    float16: Annotated[bool, typer.Option("--float16", help="Probabilities as float16 instead of 254 steps.")] = False,
    bands: Annotated[
        str, typer.Option(metavar="1,2,3", help="Bands of the scene in the order of the model's. Default: all.")
    ] = "",
    tile: Annotated[
        int | None,
        typer.Option(min=16, help="Side of the windows in pixels. Default: the model's own (512 for `light`)."),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Pixels that windows share. Default: a quarter of them.")
    ] = None,
    stitch: Annotated[
        str,
        typer.Option(
            help="blend: no seams. centre: each pixel from the window where it lies deepest; exactly one whole pass "
            "where windows share twice the receptive field."
        ),
    ] = "blend",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Windows at a time. Default: 1 on a CPU, 8 on a GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--restart",
            help="Go on with an interrupted run, or begin anew. Default: go on where it was the same work.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Map a whole scene: classes as a GeoTIFF, and polygons and how sure the model is if you like.

    Ctrl-C stops cleanly, and a run that was killed goes on with the same command. No output gets its name before it is
    complete.
    """
    from rich.console import Console

    from geosemi.cli.bar import bar
    from geosemi.geo.polygons import PolygonSettings, polygonize
    from geosemi.models.bundle import Bundle
    from geosemi.predict.polygons import check_polygons
    from geosemi.predict.predict import predict_scene
    from geosemi.predict.runs import find_bundle
    from geosemi.stop import stop_on_signals

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    given = {
        "tile": tile,
        "overlap": overlap,
        "stitch": stitch,
        "batch": batch,
        "device": device,
        "precision": precision,
    }
    settings = _settings(given, bands)
    if polygons is not None:
        check_polygons(scene, polygons, overwrite=overwrite)
    path = find_bundle(model)
    bundle = Bundle.load(path)
    console.print(f"model    {path} ({bundle.card.spec.name}, {len(bundle.card.legend)} classes)", markup=False)
    count = None
    extras: dict[Extra, Path | None] = {
        "confidence": confidence, "entropy": entropy, "margin": margin,
        "probabilities_float16" if float16 else "probabilities": probabilities,
    }  # fmt: skip
    ending = {"kept": "finished rows are kept", "hint": "run the same command again to go on"}
    with stop_on_signals() as stop:
        with bar(console, "mapping", stop, **ending) as on_progress:
            facts = predict_scene(
                bundle, scene, out, settings, extras={what: path for what, path in extras.items() if path},
                overwrite=overwrite, resume=resume, on_progress=on_progress, command=_command(sys.argv[1:]),
            )  # fmt: skip
        if polygons is not None:
            with bar(console, "polygons", stop, **ending) as on_progress:
                count = polygonize(
                    out, polygons, bundle.card.legend, PolygonSettings(), overwrite=overwrite, on_progress=on_progress
                )
    _tell(facts, console)
    print(f"{'mask':<13} {out}")
    for what, extra in extras.items():
        if extra is not None:
            print(f"{what.partition('_')[0]:<13} {extra}")
    if polygons is not None:
        print(f"{'polygons':<13} {polygons} ({count:,})")


def _settings(given: dict[str, Any], bands: str) -> "PredictSettings":
    from pydantic import ValidationError

    from geosemi.errors import ConfigError
    from geosemi.predict.settings import PredictSettings

    try:
        chosen = tuple(int(b) for b in bands.split(",")) if bands else None
    except ValueError:
        raise ConfigError(f"`--bands {bands}` is no list of numbers", hint="write e.g. `--bands 4,1,2`") from None
    try:
        return PredictSettings(**given, bands=chosen)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"`--{first['loc'][0]}` cannot be {first['input']!r}: {first['msg'].lower()}",
            hint="see `geosemi predict --help`",
        ) from None


def _command(words: Sequence[str]) -> str:
    """Return the command for the outputs' provenance: file names stay, folders are nobody's business."""
    return shlex.join(["geosemi", *("=".join(Path(part).name for part in word.split("=")) for word in words)])


def _tell(facts: "PredictionFacts", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    if facts.resumed:
        console.print(f"went on   from row {facts.resumed:,} of {facts.grid.height:,}, where a run was interrupted")
    for warning in facts.warnings:
        console.print(f"warning  {warning}", style="yellow", markup=False)
    side = facts.grid.metres_per_pixel()
    known = sum(facts.pixels)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    table.add_column("share", justify="right")
    if side is not None:
        table.add_column("hectares", justify="right")
    for c, count in zip(facts.legend, facts.pixels, strict=True):
        row = [f"[{c.colour}]■[/] {escape(c.name)}", f"{100 * count / known:.2f} %" if known else "–"]
        table.add_row(*row, *([] if side is None else [f"{count * side**2 / 1e4:,.2f}"]))
    console.print(table)
    if facts.nodata:
        total = known + facts.nodata
        console.print(f"{100 * facts.nodata / total:.2f} % of the scene is nodata; the shares leave it out")
