"""What can go wrong, and what to do about it.

Every failure that geosemi knows is a `GeosemiError`: one sentence on what is wrong with which file, one on the way
out, and the exit code that the terminal returns for it. Messages have no full stop at the end; names stand in
backticks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial


class GeosemiError(Exception):
    """Root of all known failures.

    Attributes:
        lines: what is wrong, naming the file or the setting; several faults have a line each below the first.
        message: the lines as one text.
        hint: the way out, as an instruction.
        exit_code: what the command returns to the shell.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str, faults: Sequence[str] = ()) -> None:
        self.lines = (message, *faults)
        self.message = "\n  ".join(self.lines)
        self.hint = hint
        super().__init__(self.message)

    def __reduce__(self) -> tuple[partial["GeosemiError"], tuple[str]]:
        # pickle passes only positional arguments: without this an error of a worker process dies with a TypeError
        return (partial(type(self), hint=self.hint, faults=self.lines[1:]), (self.lines[0],))


class ConfigError(GeosemiError):
    """A setting, option or config file is wrong."""

    exit_code = 2


class InputError(GeosemiError):
    """An input file cannot be used as it is."""

    exit_code = 3


class SceneUnreadable(InputError):
    """A raster cannot be opened or decoded."""


class GridMismatch(InputError):
    """Two rasters that must share a pixel grid do not."""


class BandMismatch(InputError):
    """A scene has other bands than the model was trained on."""


class LegendError(InputError):
    """A legend, or a class in a label, cannot be understood."""


class DatasetMissing(InputError):
    """A data set is not where it was looked for."""


class BundleError(InputError):
    """A model file cannot be used."""


class WeightsUnavailable(InputError):
    """Pretrained weights are neither on disk nor to be had."""


class OutputError(GeosemiError):
    """An output cannot be written."""

    exit_code = 4


class ResourceError(GeosemiError):
    """A limit of memory, size or time is exceeded."""

    exit_code = 5


class UnsafeInput(GeosemiError):
    """A file was refused because opening it could run code, read other files or use the network."""

    exit_code = 7


class Interrupted(GeosemiError):
    """The user stopped a run; what is done is kept."""

    exit_code = 130


class Faults:
    """Collects what is wrong, so that people are told everything at once instead of one thing a try."""

    def __init__(self) -> None:
        self._settings: list[str] = []
        self._found: list[GeosemiError] = []

    def __len__(self) -> int:
        return len(self._settings) + len(self._found)

    def add_setting(self, line: str) -> None:
        """Add a fault of a setting, as `key: what is wrong`."""
        self._settings.append(line)

    def add(self, error: GeosemiError) -> None:
        """Add a fault that has a way out of its own."""
        self._found.append(error)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep an error of the block for later; the block ends there."""
        try:
            yield
        except Interrupted:
            raise
        except GeosemiError as error:
            self._found.append(error)

    def raise_all(self, what: str, *, hint: str = "the way out stands behind each") -> None:
        """Raise what was found, as one error; nothing if there was nothing.

        Args:
            what: what cannot be used, e.g. "the settings".
            hint: the way out where only settings are wrong, or several things are.

        Raises:
            GeosemiError: one fault as it was found, unless it is of a setting; several of one kind as that kind, with
                a line each; else a ConfigError.
        """
        if len(self._found) == 1 and not self._settings:
            raise self._found[0]
        lines = [*self._settings, *map(_in_one_line, self._found)]
        kinds = {type(e) for e in self._found}
        kind = kinds.pop() if len(kinds) == 1 and not self._settings else ConfigError
        if lines:
            raise kind(f"{what}: {len(lines)} problem{'s' if len(lines) > 1 else ''}", hint=hint, faults=lines)


def _in_one_line(error: GeosemiError) -> str:
    first, *faults = error.lines
    return f"{first}{': ' if faults else ''}{', '.join(faults)}; {error.hint}"
