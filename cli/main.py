"""The `geosemi` command: its groups, its errors and its exit codes. Each command lives in a file of its own."""

import sys
import warnings
from typing import Annotated

import typer

from geosemi.cli.annotate import EPILOG as ANNOTATE_EPILOG
from geosemi.cli.annotate import annotate
from geosemi.cli.benchmark import EPILOG as BENCHMARK_EPILOG
from geosemi.cli.benchmark import benchmark
from geosemi.cli.evaluate import EPILOG as EVALUATE_EPILOG
from geosemi.cli.evaluate import evaluate
from geosemi.cli.methods import EPILOG as METHODS_EPILOG
from geosemi.cli.methods import methods
from geosemi.cli.predict import EPILOG as PREDICT_EPILOG
from geosemi.cli.predict import predict
from geosemi.cli.prepare import EPILOG as PREPARE_EPILOG
from geosemi.cli.prepare import prepare
from geosemi.cli.quantize import EPILOG as QUANTIZE_EPILOG
from geosemi.cli.quantize import quantize
from geosemi.cli.report import EPILOG as REPORT_EPILOG
from geosemi.cli.report import report
from geosemi.cli.train import EPILOG as TRAIN_EPILOG
from geosemi.cli.train import train
from geosemi.cli.vectorize import EPILOG as VECTORIZE_EPILOG
from geosemi.cli.vectorize import vectorize
from geosemi.errors import GeosemiError

app = typer.Typer(
    name="geosemi",
    help="Learn land cover from a few labelled pixels; map scenes of any size for QGIS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

LEARN, APPLY, INSPECT = "Learn", "Apply", "Inspect"


def _show_version(wanted: bool) -> None:
    if wanted:
        from geosemi import __version__

        print(f"geosemi {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before any command."""


app.command(rich_help_panel=LEARN, epilog=PREPARE_EPILOG)(prepare)
app.command(rich_help_panel=LEARN, epilog=ANNOTATE_EPILOG)(annotate)
app.command(rich_help_panel=LEARN, epilog=TRAIN_EPILOG)(train)
app.command(rich_help_panel=APPLY, epilog=PREDICT_EPILOG)(predict)
app.command(rich_help_panel=APPLY, epilog=QUANTIZE_EPILOG)(quantize)
app.command(rich_help_panel=APPLY, epilog=VECTORIZE_EPILOG)(vectorize)
app.command(rich_help_panel=INSPECT, epilog=METHODS_EPILOG)(methods)
app.command(rich_help_panel=INSPECT, epilog=BENCHMARK_EPILOG)(benchmark)
app.command(rich_help_panel=INSPECT, epilog=EVALUATE_EPILOG)(evaluate)
app.command(rich_help_panel=INSPECT, epilog=REPORT_EPILOG)(report)


def main() -> None:
    """Run the command line; a known failure ends in two lines on stderr and its exit code, never in a traceback."""
    # rasterio warns at every picture without georeference; commands say it once, in words
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    try:
        app()
    except GeosemiError as error:
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        first, *faults = error.lines
        console.print(f"[bold red]error:[/] {_plain(first)}")
        for fault in faults:
            console.print(f"  {_plain(fault)}")
        console.print(f"[bold cyan]hint:[/] {_plain(error.hint)}")
        sys.exit(error.exit_code)


def _plain(text: str) -> str:
    """Keep a file's own name from being read as markup or as terminal control codes."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))
