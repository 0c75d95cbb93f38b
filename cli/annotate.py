"""`geosemi annotate`: what others see in scenes becomes opinion rasters, which purify pseudo-labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from geosemi.annotate.settings import TileSettings
    from geosemi.cli.annotating import Annotate
    from geosemi.legend import Legend

EPILOG = """
**Examples**

`geosemi annotate sample_data/scenes sample_data/unlabelled --legend sample_data/legend.yaml --out opinions --provider layer --layer sample_data/old_map.gpkg`

`geosemi annotate sample_data/scenes --legend sample_data/legend.yaml --out spoilt --provider labels --labels sample_data/labels --precision 0.8 --recall 0.6 --recall car=0.3 --shift 2`
"""  # noqa: E501 - a command is one line
LAYER, LABELS, AGAIN = "Provider layer: an existing map", "Provider labels: simulated", "Runs"
ASKED = ("qwen", "openai")
PROVIDERS = (*ASKED, "layer", "labels")
MODEL, SERVER = "Providers qwen and openai: vision-language models", "Provider openai: a server"


# options by the providers that they mean something to, as the parameters are called
BELONGING: dict[tuple[str, ...], tuple[str, ...]] = {
    ("layer",): ("layer", "table", "column"),
    ("labels",): ("labels", "precision", "recall", "shift", "exclusive", "seed"),
    ("qwen",): ("revision", "batch", "four_bit"),
    ("openai",): ("url", "key_env", "frame", "workers", "timeout", "budget", "price", "max_requests"),
    ASKED: ("model", "refine", "tile", "overlap", "picture", "bands", "skip", "prompt", "max_tokens", "device"),
}


def annotate(
    context: typer.Context,
    scenes: Annotated[
        list[str], typer.Argument(help="GeoTIFFs, PNGs, JPEGs, folders, patterns, VRTs or URLs.", metavar="SCENE…")
    ],
    legend: Annotated[Path, typer.Option(help="The classes, with the synonyms that are understood.")],
    out: Annotated[Path, typer.Option(help="The folder of opinions; it is made if need be.")],
    provider: Annotated[
        str,
        typer.Option(
            help="Who speaks. qwen: a Qwen-VL model on this machine. openai: a model behind any server of that API. "
            "layer: an existing map. labels: truth, spoilt on purpose, for experiments only."
        ),
    ] = "qwen",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="qwen: a repository or folder, default Qwen/Qwen2.5-VL-7B-Instruct (Apache-2.0). openai: its name at "
            "the server.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Of the repository.", rich_help_panel=MODEL)
    ] = None,
    refine: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="Makes pixels of boxes: SAM, SAM 2 or SAM 3 of transformers, by repository or folder; weights of "
            "segment-anything as .safetensors; none fills the boxes.",
            rich_help_panel=MODEL,
        ),
    ] = "facebook/sam-vit-base",
    tile: Annotated[
        int, typer.Option(min=64, help="Side of a tile, in pixels of the scene.", rich_help_panel=MODEL)
    ] = 512,
    overlap: Annotated[
        int, typer.Option(min=16, help="Pixels that neighbouring tiles share.", rich_help_panel=MODEL)
    ] = 64,
    picture: Annotated[
        int, typer.Option(min=224, help="Pixels along the picture of a tile that is shown.", rich_help_panel=MODEL)
    ] = 896,
    bands: Annotated[
        str,
        typer.Option(
            metavar="1,2,3",
            help="Shown as red, green, blue. Default: those named so, or the first.",
            rich_help_panel=MODEL,
        ),
    ] = "",
    skip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Do not ask for it; clutter, background and the like never are.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="A question of your own, with {classes} and {coordinates}.", rich_help_panel=MODEL),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.", rich_help_panel=MODEL)] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="qwen: pictures at a time.", rich_help_panel=MODEL)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=MODEL)] = "auto",
    four_bit: Annotated[
        bool,
        typer.Option("--four-bit", help="qwen: 4-bit weights; needs bitsandbytes and a GPU.", rich_help_panel=MODEL),
    ] = False,
    url: Annotated[str, typer.Option(help="Of the API.", rich_help_panel=SERVER)] = "http://localhost:8000/v1",
    key_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Environment variable with the key, if any.", rich_help_panel=SERVER)
    ] = "GEOSEMI_API_KEY",
    frame: Annotated[
        str | None,
        typer.Option(
            help="What the numbers of its boxes mean: picture (pixels), unit (0 to 1), mille (0 to 1000), mille-yx "
            "(rows first). Known for Qwen-VL and Gemini.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Calls at once.", rich_help_panel=SERVER)] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for an answer.", rich_help_panel=SERVER)] = 120.0,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Stop before more money than this is spent.", rich_help_panel=SERVER)
    ] = None,
    price: Annotated[
        str, typer.Option(metavar="IN,OUT", help="Of a million tokens asked and answered.", rich_help_panel=SERVER)
    ] = "0,0",
    max_requests: Annotated[int | None, typer.Option(min=1, help="Stop after so many.", rich_help_panel=SERVER)] = None,
    layer: Annotated[
        Path | None,
        typer.Option(
            help="Shapes or a class raster in any crs, or a folder of such files named like the scenes.",
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
        str | None, typer.Option(help="Class column of shapes. Default: found by its name.", rich_help_panel=LAYER)
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
    exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive",
            help="Claim one class of a pixel, never several at once.",
            rich_help_panel=LABELS,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the random choices.", rich_help_panel=LABELS)] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Count tiles, tokens and cost; ask nobody.", rich_help_panel=AGAIN),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing opinions.", rich_help_panel=AGAIN)
    ] = False,
) -> None:
    """Write what others see in scenes as opinion rasters, one bit a class, for `geosemi train` with method semiearth.

    Each scene gets NAME.tif on its own pixels, NAME.qml, with which QGIS shows it, and NAME.jsonl: who said what.
    """
    from rich.console import Console

    from geosemi.cli.annotating import run
    from geosemi.cli.speaking import Conversation, Wishes
    from geosemi.errors import ConfigError
    from geosemi.geo.sources import find_scenes
    from geosemi.legend import Legend
    from geosemi.stop import stop_on_signals

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    classes = Legend.load(legend)
    if provider not in PROVIDERS:
        raise ConfigError(f"`--provider {provider}` is not known", hint=f"choose {', '.join(PROVIDERS)}")
    if dry_run and provider not in ASKED:
        raise ConfigError(f"`--dry-run` counts questions, and nobody is asked by `{provider}`", hint="leave it out")
    _require_fitting(provider, context)
    wishes = Wishes(
        provider, model, revision, url, key_env, frame, max_tokens=max_tokens, workers=workers, timeout=timeout,
        batch=batch, device=device, four_bit=four_bit, refine=refine, budget=budget, price=price,
        max_requests=max_requests,
    )  # fmt: skip
    shown = _tiles(tile=tile, overlap=overlap, picture=picture, bands=bands)
    talk = Conversation(classes, tuple(skip or ()), prompt, shown, wishes, out)
    if provider == "layer":
        work = _from_layer(classes, layer, table, column, overwrite=overwrite)
    elif provider == "labels":
        quality = (precision or [], recall or [], shift or [])
        work = _from_labels(classes, labels, quality, seed=seed, exclusive=exclusive, overwrite=overwrite)
    sources = find_scenes(scenes)
    with stop_on_signals() as stop:
        if dry_run:
            talk.plan(sources, console, stop, overwrite=overwrite)
        elif provider in ASKED:
            talk.hold(sources, console, stop, overwrite=overwrite)
        else:
            run(sources, out, work, console, stop, overwrite=overwrite)


def _require_fitting(provider: str, context: typer.Context) -> None:
    """Refuse options of another provider: whoever gives a map and forgets who speaks would wait for a model."""
    from geosemi.errors import ConfigError

    given = {p.name: p.opts[0] for p in context.command.params if p.name and _is_typed(context, p.name)}
    for providers, names in BELONGING.items():
        option = next((given[name] for name in names if name in given), None)
        if option is not None and provider not in providers:
            raise ConfigError(
                f"`{option}` belongs to `--provider {'` or `'.join(providers)}`, and `{provider}` was asked for",
                hint=f"add `--provider {providers[0]}`, or leave `{option}` out",
            )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _tiles(*, bands: str, **sizes: int) -> "TileSettings":
    from pydantic import ValidationError

    from geosemi.annotate.settings import TileSettings
    from geosemi.errors import ConfigError

    words = [b.strip() for b in bands.split(",")] if bands else None
    chosen = None if words is None else tuple(int(b) if b.isdecimal() else b for b in words)
    try:
        return TileSettings.model_validate({**sizes, "bands": chosen})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "overlap"
        raise ConfigError(
            f"`--{name}` is wrong: {first['msg'].removeprefix('Value error, ').lower()}",
            hint="see `geosemi annotate --help`",
        ) from None


def _from_layer(
    legend: "Legend", layer: Path | None, table: Path | None, column: str | None, *, overwrite: bool
) -> "Annotate":
    from geosemi.annotate.classtable import ClassTable
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
    exclusive: bool,
    overwrite: bool,
) -> "Annotate":
    from geosemi.annotate.others import annotate_from_labels, qualities_of
    from geosemi.annotate.settings import Simulation
    from geosemi.errors import ConfigError

    if labels is None:
        raise ConfigError("`--provider labels` needs labels", hint="name a file or folder with `--labels`")
    simulation = Simulation(qualities=qualities_of(legend, *quality), seed=seed, exclusive=exclusive)
    return lambda place, out, on_progress: annotate_from_labels(
        place, out, labels, legend=legend, simulation=simulation, overwrite=overwrite, on_progress=on_progress
    )
