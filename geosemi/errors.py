"""What can go wrong, and what to do about it.

Every failure that geosemi knows is a `GeosemiError`: one sentence on what is wrong with which file, one on the way
out, and the exit code that the terminal returns for it. Messages have no full stop at the end; names stand in
backticks.
"""

from collections.abc import Sequence
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
