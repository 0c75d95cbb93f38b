"""`geosemi report`: a run folder as a page."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
**Examples**

`geosemi report runs/first`   (writes runs/first/report.html)

`geosemi report runs/first --out first.html`
"""


def report(
    run: Annotated[Path, typer.Argument(help="The run folder that `geosemi train` made; it may still be running.")],
    out: Annotated[Path | None, typer.Option(help="The page. Default: report.html in the run folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Make one HTML page of a run: curves, scores, pseudo-labels before and after purification, configuration.

    The page needs no network and runs nothing; send it to anybody. It names the paths of the run's configuration.
    """
    from geosemi.geo.commit import require_writable
    from geosemi.report.page import write_report

    page = out or run / "report.html"
    if out is not None or run.is_dir():
        require_writable(page, overwrite=overwrite)
    write_report(run, page)
    print(f"page     {page}")
