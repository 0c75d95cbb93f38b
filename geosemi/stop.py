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


class _Handler:
    """Raises a flag at the first signal, and ends the process at the second."""

    def __init__(self) -> None:
        self.flag = StopFlag()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.flag:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.flag.signal = number


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag while the block runs; outside the main thread nothing changes.

    A block inside another has its flag: a wish to stop that came before the inner one began is heard there, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopFlag()
        return
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, _Handler):
        yield outer.flag
        return
    handler = _Handler()
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler.flag
    finally:
        for number, old in before.items():
            signal.signal(number, old)
