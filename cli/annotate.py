"""`geosemi annotate`: what others see in scenes becomes opinion rasters, which purify pseudo-labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from geosemi.cli.annotating import Annotate
    from geosemi.legend import Legend

EPILOG = """
**Examples**

`geosemi annotate sample_data/scenes --legend sample_data/legend.yaml --out opinions --provider layer --layer sample_data/labels`

`geosemi annotate sample_data/scenes --legend sample_data/legend.yaml --out spoilt --provider labels --labels sample_data/labels --precision 0.8 --recall 0.6 --recall car=0.3 --shift 2`
"""  # noqa: E501 - a command is one line
LAYER, LABELS, AGAIN = "Provider layer: an existing map", "Provider labels: simulated", "Runs"


def annotate(
    scenes: Annotated[
        list[str], typer.Argument(help="GeoTIFFs, PNGs, JPEGs, folders, patterns, VRTs or URLs.", metavar="SCENE…")
    ],
    legend: Annotated[Path, typer.Option(help="The classes, with the synonyms that are understood.")],
    out: Annotated[Path, typer.Option(help="The folder of opinions; it is made if need be.")],
    provider: Annotated[
        str,
        typer.Option(
            help="Who speaks. layer: an existing map. labels: truth, spoilt on purpose, for experiments only."
        ),
    ],
    layer: Annotated[
        Path | None,
        typer.Option(
            help="Polygons or a class raster in any crs, or a folder of such files named like the scenes.",
            rich_help_panel=LAYER,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="YAML",
            help="Which value means which class: `values: {forest: tree, 41: tree, residential: null}`. Default: "
            "names, synonyms and numbers of the legend.",
            rich_help_panel=LAYER,
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Class column of polygons. Default: found by its name.", rich_help_panel=LAYER)
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A label file, or a folder of them named like the scenes.", rich_help_panel=LABELS),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="0.9", help="Share of claims that are right; `car=0.5` for one class.", rich_help_panel=LABELS
        ),
    ] = None,
    recall: Annotated[
        list[str] | None,
        typer.Option(metavar="0.7", help="Share of each class that is claimed.", rich_help_panel=LABELS),
    ] = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(metavar="1", help="Pixels that outlines lie beside the truth.", rich_help_panel=LABELS),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random choices.", rich_help_panel=LABELS)] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing opinions.", rich_help_panel=AGAIN)
    ] = False,
) -> None:
    """Write what others see in scenes as opinion rasters, one bit a class, for `geosemi train` with method semiearth.

    Each scene gets NAME.tif on its own pixels, NAME.qml, with which QGIS shows it, and NAME.jsonl: who said what.
    """
    from rich.console import Console

    from geosemi.cli.annotating import run
    from geosemi.errors import ConfigError
    from geosemi.geo.sources import find_scenes
    from geosemi.legend import Legend
    from geosemi.stop import stop_on_signals

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    classes = Legend.load(legend)
    if provider == "layer":
        work = _from_layer(classes, layer, table, column, overwrite=overwrite)
    elif provider == "labels":
        quality = (precision or [], recall or [], shift or [])
        work = _from_labels(classes, labels, quality, seed=seed, overwrite=overwrite)
    else:
        raise ConfigError(f"`--provider {provider}` is not known", hint="choose layer or labels")
    sources = find_scenes(scenes)
    with stop_on_signals() as stop:
        run(sources, out, work, console, stop, overwrite=overwrite)


def _from_layer(
    legend: "Legend", layer: Path | None, table: Path | None, column: str | None, *, overwrite: bool
) -> "Annotate":
    from geosemi.annotate.layer import ClassTable
    from geosemi.annotate.others import annotate_from_layer
    from geosemi.errors import ConfigError

    if layer is None:
        raise ConfigError("`--provider layer` needs a map", hint="name it with `--layer`")
    known = ClassTable.load(table, legend, column=column)
    return lambda place, out, on_progress: annotate_from_layer(
        place, out, layer, table=known.fresh(), overwrite=overwrite, on_progress=on_progress
    )


def _from_labels(
    legend: "Legend",
    labels: Path | None,
    quality: tuple[list[str], list[str], list[str]],
    *,
    seed: int,
    overwrite: bool,
) -> "Annotate":
    from geosemi.annotate.others import annotate_from_labels, qualities_of
    from geosemi.annotate.settings import Simulation
    from geosemi.errors import ConfigError

    if labels is None:
        raise ConfigError("`--provider labels` needs labels", hint="name a file or folder with `--labels`")
    simulation = Simulation(qualities=qualities_of(legend, *quality), seed=seed)
    return lambda place, out, on_progress: annotate_from_labels(
        place, out, labels, legend=legend, simulation=simulation, overwrite=overwrite, on_progress=on_progress
    )
