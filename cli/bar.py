"""The progress bar of long work, and the place where Ctrl-C reaches it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.stop import StopFlag


@contextmanager
def bar(
    console: "Console", what: str, stop: "StopFlag", *, kept: str, hint: str
) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told how much of how much is done.

    Args:
        console: where the bar is drawn.
        what: the word before it.
        stop: looked at whenever the work reports; a signal handler's own exception could be swallowed by rasterio.
        kept: what a stopped command leaves behind, e.g. "no output is half written".
        hint: how to go on.

    Raises:
        Interrupted: somebody asked to stop; raised inside the work, at its next report.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    # in a file or a pipe a bar is a blank line
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            if stop and done < total:
                raise stop.error(f"stopped by you; {kept}", hint=hint)

        yield tell
