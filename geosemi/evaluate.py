"""A mask against human truth, band of rows by band of rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from geosemi.data.labels import NO_TRUTH, RasterLabels
from geosemi.errors import InputError
from geosemi.geo.burn import VectorLabels, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.window import Window
from geosemi.legend import Legend
from geosemi.metrics import PRESETS, Confusion, Protocol, Scores, score

_ROWS = 512  # as high as a mask's blocks, so that each is decoded once


class _Reader(Interface):
    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids (h, w)."""


def evaluate(
    mask: Path,
    labels: Path,
    legend: Legend,
    protocol: Protocol = PRESETS["default"],
    *,
    column: str | None = None,
    outside: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Compare a mask with truth. Memory grows with the mask's width alone.

    Args:
        mask: one band of class ids; nodata and `legend.ignore` mean that nothing was predicted.
        labels: a raster on the mask's grid with the values of `legend`, or a vector layer with a class column, which
            is burnt onto it.
        legend: the classes.
        protocol: what counts, and how.
        column: the class column of a vector layer; found by its name when None.
        outside: the class of pixels that no polygon of a vector layer covers; None leaves them without truth.
        on_progress: told (rows done, rows in all).

    Raises:
        GridMismatch: the label raster lies on another grid.
        LegendError: a value, or `outside`, is no class.
        InputError: a file cannot be read, no pixel has both truth and prediction, or `outside` is given for a raster.
    """
    confusion = compare(mask, labels, legend, column=column, outside=outside, on_progress=on_progress)
    if not confusion.matrix.any():
        raise InputError(
            f"no pixel of `{mask}` has truth in `{labels}`", hint="check that both are of the same place, and `ignore`"
        )
    return score(confusion, legend, protocol)


def compare(
    mask: Path,
    labels: Path,
    legend: Legend,
    *,
    windows: Sequence[Window] | None = None,
    column: str | None = None,
    outside: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Confusion:
    """Count a mask against truth; what follows from it under any protocol is `geosemi.metrics.score`.

    Args:
        mask: as for `evaluate`, like all that is not told here.
        labels: as for `evaluate`.
        legend: as for `evaluate`.
        windows: parts of the mask that count, which share no pixel; None counts all.
        column: as for `evaluate`.
        outside: as for `evaluate`.
        on_progress: told (rows done, rows in all).

    Raises:
        GridMismatch, LegendError, InputError: as `evaluate`; a mask without truth is no error here.
    """
    if outside is not None and not is_vector(labels):
        raise InputError(
            f"`{labels}` is a raster, which has no ground outside polygons to be `{outside}`",
            hint="leave `--outside` away, or give polygons",
        )
    confusion = Confusion(len(legend))
    with open_raster(mask) as file:
        _require_classes(mask, file)
        # a mask holds ids, whatever values the label rasters of the same legend use
        predicted = RasterLabels(file, _by_id(legend))
        parts = [file.grid.window] if windows is None else windows
        total, done = sum(part.height for part in parts), 0
        with _reading_truth(labels, file.grid, mask, legend, column=column, outside=outside) as truth:
            for window in (band for part in parts for band in _bands(part)):
                true = truth.read(window)
                true = np.where(true == legend.ignore, NO_TRUTH, true)
                confusion.add(predicted.read(window), true, ignore=NO_TRUTH)
                done += window.height
                if on_progress is not None:
                    on_progress(done, total)
    return confusion


def _bands(part: Window) -> Iterator[Window]:
    for row in range(part.row, part.stop_row, _ROWS):
        yield Window(row, part.col, min(_ROWS, part.stop_row - row), part.width)


def one_sided(scores: Scores, labels: Path) -> str | None:
    """Return a warning if polygons of a single class were all the truth, or None.

    Every prediction is then counted where that class is true and nowhere else, so its precision is 1 whatever the mask
    says. A protocol that counts predictions without truth as errors is free of this.
    """
    found = [c.name for c in scores.classes if c.truth]
    if len(scores.classes) < 2 or len(found) != 1 or not is_vector(labels):
        return None
    if scores.protocol.ignored_truth == "count_fp":
        return None
    return (
        f"all truth is `{found[0]}`, as ground outside the polygons has none, so its precision is 1 whatever the mask "
        "says: name the class outside with `--outside CLASS`"
    )


def _by_id(legend: Legend) -> Legend:
    return replace(legend, classes=tuple(replace(c, values=(c.id,)) for c in legend))


@contextmanager
def _reading_truth(
    labels: Path, grid: Grid, mask: Path, legend: Legend, *, column: str | None, outside: str | None
) -> Iterator[_Reader]:
    if is_vector(labels):
        yield VectorLabels.load(labels, grid, legend, column=column, outside=outside)
        return
    with open_raster(labels) as file:
        _require_classes(labels, file)
        if file.grid.crs is not None or file.grid.shape != grid.shape:  # a PNG says nothing of its place
            grid.require_same(file.grid, mine=str(mask), theirs=str(labels))
        yield RasterLabels(file, legend)


def _require_classes(path: Path, file: RasterFile) -> None:
    if file.count != 1 or not np.issubdtype(file.dtype, np.integer):
        raise InputError(
            f"`{path}` has {file.count} × {file.dtype}; classes are one band of integers",
            hint="give the mask first and the labels second; colour-coded labels are converted by `geosemi prepare`",
        )
