"""Ctrl-C ends a command cleanly, at the next point where nothing is lost; a second Ctrl-C ends it at once.

Python's own KeyboardInterrupt can be raised inside a rasterio callback, which swallows it; a flag cannot be swallowed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from geosemi.errors import Interrupted


class StopFlag:
    """Tells whether somebody asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def error(self, message: str, *, hint: str) -> Interrupted:
        """Return what to raise; the exit code is the shell's for this signal, 130 for Ctrl-C and 143 for SIGTERM."""
        error = Interrupted(message, hint=hint)
        error.exit_code = 128 + (self.signal or signal.SIGINT)
        return error


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag while the block runs; outside the main thread nothing changes."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if flag:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        flag.signal = number

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, old in before.items():
            signal.signal(number, old)
