"""Human truth of a scene, window by window, whether it is a raster or a vector layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi.data.scenes import SceneFiles
from geosemi.data.settings import DataSettings
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
        ids = {value: c.id for c in legend for value in c.values}
        # a class that the file declares as nodata stays a class: the legend is what people wrote
        for silent in (legend.ignore, file.nodata):
            if silent is not None and float(silent).is_integer():
                ids.setdefault(int(silent), NO_TRUTH)
        self._values = np.array(sorted(ids), dtype=np.int64)
        self._ids = np.array([ids[v] for v in self._values.tolist()], dtype=np.uint8)
        self._place_of_byte = self._search(np.arange(256))

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids (h, w), 255 where there is no truth.

        Raises:
            LegendError: a value is no class; the message says which, how often and where first.
        """
        raw = self._file.read(window, 1)
        # codes of land-cover maps have four digits and more, some are negative; bytes take a table, 20 × as fast
        place = self._place_of_byte[raw] if raw.dtype == np.uint8 else self._search(raw)
        wrong = self._values[place] != raw
        if wrong.any():
            row, col = np.argwhere(wrong)[0]
            raise LegendError(
                f"`{self._file.path}` holds the value {raw[row, col]}, which is no class of `{self._legend.name}` "
                f"({int(wrong.sum())} pixels, first at row {window.row + row}, column {window.col + col})",
                hint="add it to the legend (`values: [...]`), or set it to the legend's `ignore` value",
            )
        ids: npt.NDArray[np.uint8] = self._ids[place]
        return ids

    def _search(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the position of each number among the known values, or of one that differs from it."""
        return np.minimum(np.searchsorted(self._values, raw), len(self._values) - 1)


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
