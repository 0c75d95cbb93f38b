"""Options that name an output: a path, or a URL of a bucket."""

from pathlib import Path
from typing import Any

import typer


def output(help: str, **more: Any) -> Any:  # noqa: A002 - as typer calls it
    """Return a `typer.Option` whose value is a path to write to; of a URL its stand-in (see `geosemi.geo.target`)."""
    return typer.Option(help=help, parser=_placed, metavar="<path>", **more)


def _placed(text: str) -> Path:
    from geosemi.geo.target import placed

    return placed(text)
