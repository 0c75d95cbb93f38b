"""`geosemi vectorize`: a mask to polygons."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geosemi.cli.outputs import output

if TYPE_CHECKING:
    from geosemi.polygons.polygonize import PolygonSettings

EPILOG = """
**Examples**

`geosemi vectorize mask.tif --out classes.gpkg`

`geosemi vectorize map.tif --out smooth.gpkg --confidence sure.tif --simplify 2 --smooth`

`geosemi vectorize mask.tif --out classes.fgb --legend sample_data/legend.yaml --min-area 4`
"""


def vectorize(
    mask: Annotated[Path, typer.Argument(help="The mask: one band of class ids, e.g. from `geosemi predict`.")],
    out: Annotated[Path, output(help="The polygons: .gpkg (opens styled in QGIS), .fgb, .geojson, .parquet or .shp.")],
    legend: Annotated[
        Path | None, typer.Option(help="The classes, as YAML. Default: those that the mask carries in its own tags.")
    ] = None,
    confidence: Annotated[
        Path | None,
        typer.Option(help="What `geosemi predict --confidence` wrote: its mean becomes the field `conf`, 0 … 1."),
    ] = None,
    min_area: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="M2",
            help="Merge polygons smaller than this, in m², into the neighbour they share most edge with; 0 keeps all.",
        ),
    ] = 0.0,
    simplify: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Straighten shared edges: `2` or `2px` in pixels, `0.5m` in metres; 0 does not."
        ),
    ] = "0",
    smooth: Annotated[bool, typer.Option("--smooth", help="Round the corners of shared edges.")] = False,
    regularize: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS",
            help="Give polygons of this class right angles (buildings); may be given again. They then no longer share "
            "every edge with their neighbours.",
        ),
    ] = None,
    dissolve: Annotated[bool, typer.Option("--dissolve", help="Write one multipolygon a class.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Turn a mask into polygons: exact, uncut, named, with true areas.

    Simplified and smoothed neighbours still share their edges: no gaps, no overlaps.
    """
    from rich.console import Console

    from geosemi.cli.bar import bar
    from geosemi.geo.style import require_legend
    from geosemi.geo.target import discard, shown
    from geosemi.polygons.polygonize import polygonize
    from geosemi.polygons.vectors import limits_of
    from geosemi.stop import stop_on_signals

    settings = _settings(
        simplify, min_area_m2=min_area, smooth=smooth, dissolve=dissolve, regularize=tuple(regularize or ())
    )  # fmt: skip
    classes = require_legend(mask, legend)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if (limits := limits_of(out)) is not None:
        console.print(f"warning  {limits}", style="yellow", markup=False)
    ending = {"kept": "nothing is half written", "hint": "run the same command again"}
    with stop_on_signals() as stop, bar(console, "polygons", stop, **ending) as on_progress:
        count = polygonize(
            mask, out, classes, settings, confidence=confidence, overwrite=overwrite,
            on_progress=on_progress,
        )  # fmt: skip
    discard([out])
    kind = ("multi" if dissolve else "") + ("polygon" if count == 1 else "polygons")
    print(f"{shown(out)}: {count:,} {kind} of {len(classes)} classes")


def _settings(simplify: str, **given: Any) -> "PolygonSettings":
    """Return the settings; `simplify` is a number, or one with px or m behind it."""
    from geosemi.errors import ConfigError
    from geosemi.polygons.polygonize import PolygonSettings

    unit = "m" if simplify.endswith("m") else "px"
    try:
        size = float(simplify.removesuffix(unit))
    except ValueError:
        size = -1.0
    if not 0 <= size < math.inf:
        raise ConfigError(f"`--simplify {simplify}` is no size", hint="write pixels as `2` or `2px`, metres as `0.5m`")
    if not given["min_area_m2"] < math.inf:
        raise ConfigError(f"`--min-area {given['min_area_m2']}` is no area", hint="write square metres, e.g. `4`")
    return PolygonSettings(**{f"simplify_{unit}": size}, **given)
