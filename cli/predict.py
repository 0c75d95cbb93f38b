"""`geosemi predict`: a trained model maps whole scenes."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geosemi.cli.outputs import output

if TYPE_CHECKING:
    from geosemi.predict.answers import Extra
    from geosemi.predict.settings import PredictSettings

EPILOG = """
**Examples**

`geosemi predict sample_data/test/autumn_town.tif --out mask.tif`

`geosemi predict sample_data/test/autumn_town.tif --out map.tif --polygons map.gpkg --confidence sure.tif`

`geosemi predict sample_data/test/winter_suburb.tif --out fine.tif --model runs/first --stitch centre --tta flips`

`geosemi predict sample_data/test/autumn_town.tif --out mask.tif --plan --tile-grid windows.gpkg`
"""
OUTPUTS, MODEL, PIXELS, WINDOWS, AGAIN = "Further outputs", "The model", "The scene's pixels", "Windows", "Runs"


def predict(
    scenes: Annotated[
        list[str],
        typer.Argument(
            help="GeoTIFFs, PNGs, JPEGs, a folder, a pattern, a VRT, a STAC item, or URLs.", metavar="SCENE…"
        ),
    ],
    out: Annotated[
        Path,
        output(
            help="The mask, a .tif on the scene's own pixels; opens coloured and named in QGIS. Of several scenes: a "
            "folder, as with all outputs. In a bucket: s3://, gs:// or az://."
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="RUN_OR_BUNDLE", help="A run folder or a bundle. Default: the newest run.")
    ] = None,
    polygons: Annotated[
        Path | None,
        output(help="Polygons: .gpkg (opens styled in QGIS), .fgb, .geojson, .parquet, .shp.", rich_help_panel=OUTPUTS),
    ] = None,
    confidence: Annotated[
        Path | None, output(help="The probability of each pixel's class, a .tif.", rich_help_panel=OUTPUTS)
    ] = None,
    uncertainty: Annotated[
        Path | None, output(help="How undecided the model is, 0 to 1, a .tif.", rich_help_panel=OUTPUTS)
    ] = None,
    uncertainty_as: Annotated[
        str,
        typer.Option(
            help="entropy, over all classes; or margin, 1 − the lead of the first over the second.",
            rich_help_panel=OUTPUTS,
        ),
    ] = "entropy",
    probabilities: Annotated[
        Path | None, output(help="The probability of every class, a .tif of many bands.", rich_help_panel=OUTPUTS)
    ] = None,
    float16: Annotated[
        bool, typer.Option("--float16", help="Probabilities as float16, not in 254 steps.", rich_help_panel=OUTPUTS)
    ] = False,
    stac: Annotated[
        Path | None,
        output(help="A STAC item of all of it, with the classes and the model, a .json.", rich_help_panel=OUTPUTS),
    ] = None,
    taken: Annotated[
        str | None,
        typer.Option(
            "--datetime",
            metavar="2024-06-01",
            help="When the scene was taken, or a span with a slash. Default: what the scene says.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    bands: Annotated[
        str,
        typer.Option(
            metavar="1,2,3",
            help="Bands of the scene in the order of the model's, by number or name. Default: all.",
            rich_help_panel=PIXELS,
        ),
    ] = "",
    resolution: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="native; model, to resample to the pixel size that the model knows; or metres.",
            rich_help_panel=PIXELS,
        ),
    ] = "native",
    aoi: Annotated[
        Path | None, typer.Option(help="Polygons in any crs: map only inside.", rich_help_panel=PIXELS)
    ] = None,
    on_bad_block: Annotated[
        str, typer.Option(help="Damaged blocks: stop, or nodata (and a list).", rich_help_panel=PIXELS)
    ] = "stop",
    assume_crs: Annotated[
        str | None,
        typer.Option(metavar="EPSG:…", help="Where a scene without a crs lies.", rich_help_panel=PIXELS),
    ] = None,
    expand_palette: Annotated[
        bool, typer.Option("--expand-palette", help="Read a palette image as colours.", rich_help_panel=PIXELS)
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=16, help="Side in pixels. Default: the model's own (512 for `light`).", rich_help_panel=WINDOWS
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Pixels that they share. Default: a quarter.", rich_help_panel=WINDOWS)
    ] = None,
    stitch: Annotated[
        str,
        typer.Option(
            help="blend: no seams. centre: each pixel from where it lies deepest; with an overlap of twice the "
            "receptive field exactly one pass over the whole scene.",
            rich_help_panel=WINDOWS,
        ),
    ] = "blend",
    tta: Annotated[
        str, typer.Option(help="Average views of each: none, flips (4), d4 (8) or scales (3).", rich_help_panel=WINDOWS)
    ] = "none",
    batch: Annotated[
        int | None, typer.Option(min=1, help="At a time, on a GPU. Default: what fits.", rich_help_panel=WINDOWS)
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda:1, mps; `all` (every GPU), or several: cuda:0,cuda:1, one process each.",
            rich_help_panel=MODEL,
        ),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="fp32, bf16, fp16; int8 after `geosemi quantize`.", rich_help_panel=MODEL)
    ] = "fp32",
    engine: Annotated[
        str, typer.Option(help="torch, compile, onnx, openvino, or auto: the fastest here.", rich_help_panel=MODEL)
    ] = "torch",
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Say what it will take (windows, memory, time, bytes), and end.", rich_help_panel=AGAIN
        ),
    ] = False,
    tile_grid: Annotated[
        Path | None,
        output(help="With `--plan`: the windows as polygons, a .gpkg.", rich_help_panel=AGAIN),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--restart",
            help="Go on with an interrupted run, or begin anew. Default: go on where it was the same work.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=AGAIN)
    ] = False,
) -> None:
    """Map whole scenes: classes as a GeoTIFF, and polygons and how sure the model is if you like.

    Ctrl-C stops cleanly, and a run that was killed goes on with the same command. No output gets its name before it is
    complete.
    """
    from rich.console import Console

    from geosemi.cli.mapping import Mapper, jobs_of
    from geosemi.cli.plan import show_plans
    from geosemi.geo.sources import find_scenes
    from geosemi.models.bundle import Bundle
    from geosemi.predict.runs import find_bundle
    from geosemi.stop import stop_on_signals

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    settings = _settings(
        bands, resolution,
        tile=tile, overlap=overlap, stitch=stitch, batch=batch, device=device, precision=precision, engine=engine,
        tta=tta, aoi=aoi, on_bad_block=on_bad_block, expand_palette=expand_palette, assume_crs=assume_crs,
    )  # fmt: skip
    extras = _extras(confidence, uncertainty, uncertainty_as, probabilities, float16=float16)
    _require_pairs(stac=stac, taken=taken, plan=plan, tile_grid=tile_grid)
    path = find_bundle(model)
    bundle = Bundle.load(path)
    names = [str(b) for b in settings.bands or ()] or list(bundle.card.bands)
    jobs = jobs_of(find_scenes(scenes, bands=names), out, extras, polygons=polygons, stac=stac, tile_grid=tile_grid)
    console.print(f"model    {path} ({bundle.card.spec.name}, {len(bundle.card.legend)} classes)", markup=False)
    with stop_on_signals() as stop:
        if plan:
            show_plans(jobs, bundle, settings, overwrite=overwrite, console=console, stop=stop, taken=taken)
            return
        code = Mapper(bundle, settings, overwrite, resume, console, stop, taken).run(jobs)
    if code:
        raise typer.Exit(code)


def _extras(
    confidence: Path | None, uncertainty: Path | None, kind: str, probabilities: Path | None, *, float16: bool
) -> "dict[Extra, Path]":
    from geosemi.errors import ConfigError

    if kind not in {"entropy", "margin"}:
        raise ConfigError(f"`--uncertainty-as` cannot be {kind!r}", hint="choose entropy or margin")
    asked: dict[Extra, Path | None] = {
        "confidence": confidence,
        "entropy": uncertainty if kind == "entropy" else None,
        "margin": uncertainty if kind == "margin" else None,
        "probabilities": None if float16 else probabilities,
        "probabilities_float16": probabilities if float16 else None,
    }
    return {what: path for what, path in asked.items() if path is not None}


def _require_pairs(*, stac: Path | None, taken: str | None, plan: bool, tile_grid: Path | None) -> None:
    from geosemi.errors import ConfigError

    if tile_grid is not None and not plan:
        raise ConfigError("`--tile-grid` is part of a plan, and none is asked for", hint="add `--plan`")
    if taken is not None and stac is None:
        raise ConfigError("`--datetime` is for a STAC item, and none is asked for", hint="name it: `--stac item.json`")


def _settings(bands: str, resolution: str, **given: Any) -> "PredictSettings":
    from geosemi.errors import ConfigError
    from geosemi.predict.settings import PredictSettings
    from geosemi.settings import settings_of

    chosen = tuple(int(b) if b.strip().isdecimal() else b.strip() for b in bands.split(",")) if bands else None
    size: str | float = resolution
    if resolution not in {"native", "model"}:
        try:
            size = float(resolution.removesuffix("m"))
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            raise ConfigError(f"`--resolution {resolution}` is no size", hint="write native, model, or metres as `0.3`")
    return settings_of(
        PredictSettings,
        {**given, "bands": chosen, "resolution": size},
        named=lambda name: f"--{name.replace('_', '-')}",
        hint="see `geosemi predict --help`",
    )
