"""`geosemi prepare`: cut an original download into georeferenced tiles."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

EPILOG = """
**Examples**

`geosemi prepare --dataset potsdam --source ~/Downloads/Potsdam --out data/potsdam`

`geosemi prepare --dataset loveda --source ~/Downloads/LoveDA --out data/loveda --tile 1024`
"""


def prepare(
    dataset: Annotated[str, typer.Option(help="potsdam, vaihingen, loveda, deepglobe or openearthmap.")],
    source: Annotated[Path, typer.Option(help="Folder of the unpacked download.")],
    out: Annotated[Path, typer.Option(help="New folder for tiles, lists and legend.")],
    tile: Annotated[int, typer.Option(min=32, max=8192, help="Side of a tile in pixels.")] = 512,
    bands: Annotated[
        str | None, typer.Option(help="Bands to take: rgb, irrg or rgbir; the data set's first choice if not given.")
    ] = None,
    split: Annotated[
        Literal["official", "scene"],
        typer.Option(help="`official` parts, or `scene`: whole scenes or regions drawn 60/20/20."),
    ] = "official",
    seed: Annotated[int, typer.Option(min=0, help="Draws what the makers left open, and the labelled tiles.")] = 0,
) -> None:
    """Cut an original download into georeferenced GeoTIFF tiles with split lists, once.

    Nothing is resampled, and nothing is written to the source folder. Run the same command again after an
    interruption: it goes on where it stopped.
    """
    from rich.console import Console

    from geosemi.cli.bar import bar
    from geosemi.data.prepare import PrepareSettings
    from geosemi.data.prepare import prepare as run
    from geosemi.stop import stop_on_signals

    settings = PrepareSettings(tile=tile, bands=bands, split=split, seed=seed)
    console = Console(stderr=True, highlight=False)
    ending = {"kept": "finished tiles are kept", "hint": "run the same command again to go on"}
    with stop_on_signals() as stop, bar(console, "cutting tiles", stop, **ending) as on_progress:
        prepared = run(dataset, source, out, settings, on_progress=on_progress)
    for note in prepared.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    parts = ", ".join(f"{count:,} {part}" for part, count in prepared.counts.items() if count)
    kept = f" ({prepared.kept:,} were there already)" if prepared.kept else ""
    print(f"{prepared.tiles:,} tiles in {out}{kept}: {parts}")
    print(f"next: geosemi train --dataset {dataset} --data {shlex.quote(str(out))} --ratio 5")
