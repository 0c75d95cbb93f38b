"""`geosemi vectorize`: a mask to polygons."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Examples**

`geosemi vectorize mask.tif --out map.gpkg`

`geosemi vectorize mask.tif --out map.gpkg --confidence sure.tif`

`geosemi vectorize mask.tif --out map.fgb --legend legend.yaml --min-area 4`
"""


def vectorize(
    mask: Annotated[Path, typer.Argument(help="The mask: one band of class ids, e.g. from `geosemi predict`.")],
    out: Annotated[
        Path, typer.Option(help="The polygons: .gpkg (opens styled in QGIS), .fgb, .geojson, .parquet or .shp.")
    ],
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Turn a mask into polygons: exact, uncut, named, with true areas."""
    from rich.console import Console

    from geosemi.cli.bar import bar
    from geosemi.geo.polygons import PolygonSettings, polygonize
    from geosemi.geo.style import require_legend
    from geosemi.geo.vectors import limits_of
    from geosemi.stop import stop_on_signals

    classes = require_legend(mask, legend)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if (limits := limits_of(out)) is not None:
        console.print(f"warning  {limits}", style="yellow", markup=False)
    ending = {"kept": "nothing is half written", "hint": "run the same command again"}
    with stop_on_signals() as stop, bar(console, "polygons", stop, **ending) as on_progress:
        count = polygonize(
            mask, out, classes, PolygonSettings(min_area_m2=min_area), confidence=confidence, overwrite=overwrite,
            on_progress=on_progress,
        )  # fmt: skip
    print(f"{out}: {count:,} polygons of {len(classes)} classes")
