"""Human truth of a scene, window by window, whether it is a raster or a vector layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geosemi.data.scenes import DataSettings, SceneFiles
from geosemi.errors import LegendError
from geosemi.geo.burn import VectorLabels, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.window import Window
from geosemi.legend import Legend

NO_TRUTH = 255  # in every batch, whatever value the legend's files use


class LabelReader(Protocol):
    """Anything that gives class ids of windows."""

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids (h, w), 255 where there is no truth."""


class RasterLabels:
    """Class ids from a label raster on the scene's grid."""

    def __init__(self, file: RasterFile, legend: Legend) -> None:
        self._file = file
        self._legend = legend
        self._ids = np.full(256, NO_TRUTH, dtype=np.uint8)
        self._known = np.zeros(256, dtype=bool)
        for c in legend:
            self._ids[list(c.values)] = c.id
            self._known[list(c.values)] = True
        self._known[legend.ignore] = True
        if file.nodata is not None and 0 <= file.nodata <= 255 and not self._known[int(file.nodata)]:
            self._known[int(file.nodata)] = True

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids (h, w), 255 where there is no truth.

        Raises:
            LegendError: a value is no class; the message says which, how often and where first.
        """
        raw = self._file.read(window, 1)
        values = np.clip(raw, 0, 255).astype(np.uint8)
        wrong = (raw != values) | ~self._known[values]
        if wrong.any():
            row, col = np.argwhere(wrong)[0]
            raise LegendError(
                f"`{self._file.path}` holds the value {raw[row, col]}, which is no class of `{self._legend.name}` "
                f"({int(wrong.sum())} pixels, first at row {window.row + row}, column {window.col + col})",
                hint="add it to the legend (`values: [...]`), or set it to the legend's `ignore` value",
            )
        ids: npt.NDArray[np.uint8] = self._ids[values]
        return ids


@contextmanager
def reading_labels(files: SceneFiles, legend: Legend, settings: DataSettings) -> Iterator[LabelReader]:
    """Open the truth of a scene that has one.

    Raises:
        GridMismatch: a label raster lies on another grid than its scene.
        LegendError, SceneUnreadable: the file cannot be understood.
    """
    assert files.label is not None
    if is_vector(files.label):
        grid = files.scene.grid
        vector = VectorLabels.load(
            files.label, grid, legend, column=settings.label_column, outside=settings.label_outside
        )
        yield replace(vector, outside=NO_TRUTH) if vector.outside == legend.ignore else vector
        return
    with open_raster(files.label) as file:
        _require_same_pixels(files.scene.grid, file.grid, files)
        if file.count != 1 or not np.issubdtype(file.dtype, np.integer):
            raise LegendError(
                f"`{files.label}` has {file.count} bands of {file.dtype}; a label raster has one band of whole numbers",
                hint="colour-coded labels of known data sets are converted by `geosemi prepare`",
            )
        yield RasterLabels(file, legend)


def _require_same_pixels(scene: Grid, label: Grid, files: SceneFiles) -> None:
    if label.crs is None and scene.shape == label.shape:
        return  # a PNG mask beside a GeoTIFF: the same pixels, and nothing says otherwise
    scene.require_same(label, mine=str(files.scene.path), theirs=str(files.label))
