"""Scenes at another resolution: the same place with larger or smaller pixels, window by window, and masks back again.

Pixels are read 1:1 and weighted here. GDAL's decimated reads would use overviews, which may lie in other files and may
have been made by any rule; and what they give depends on the window that is asked for. Here a pixel is the same
whatever window it is read with: its taps and their order depend on its place alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geosemi.errors import InputError
from geosemi.geo.affines import composed
from geosemi.geo.grid import Grid
from geosemi.geo.scene import SceneReader, Tile
from geosemi.geo.window import Window

STRIP = 2**24  # values (pixels × bands) of the scene that are weighted at a time
_ROWS = 256  # of the scene that `NearestRows` gives at a time
_HIDDEN = 0.5 + 1e-6  # a pixel is valid where no larger share of its area is nodata; the rest is rounding


def model_grid(grid: Grid, metres: float) -> Grid:
    """Return a grid at the same place whose pixels are about that large on the ground, both ways.

    Rows and columns are whole numbers, so the corners stay and the size gives way.

    Raises:
        InputError: the grid has no crs, so nothing says how large its pixels are.
    """
    sides = grid.metres_each_way()
    if sides is None:
        raise InputError(
            "a scene without a coordinate system cannot be resampled: nothing says how large its pixels are",
            hint="say where it lies with `--assume-crs EPSG:…`, or map it as it is with `--resolution native`",
        )
    width = max(1, round(grid.width * sides[0] / metres))
    height = max(1, round(grid.height * sides[1] / metres))
    larger = Affine.scale(grid.width / width, grid.height / height)
    return Grid(grid.crs, composed(grid.transform, larger), height, width)


@dataclass(frozen=True, slots=True)
class _Taps:
    """What pixels of a new grid take from the old one, along one axis.

    Attributes:
        places: (n, k) int64, old pixels.
        weights: (n, k) float64, each row adds up to 1.
    """

    places: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, begin: int, stop: int, *, new: int, old: int) -> "_Taps":
        """Area average where the new pixels are larger, else linear between the centres of the old ones."""
        index = np.arange(begin, stop, dtype=np.int64)[:, None]
        if new <= old:  # in units of 1/new old pixels everything is a whole number, so the weights are exact
            places = index * old // new + np.arange(-(-old // new) + 1)
            shared = np.minimum((index + 1) * old, (places + 1) * new) - np.maximum(index * old, places * new)
            return cls(np.minimum(places, old - 1), np.maximum(shared, 0) / old)
        doubled = (2 * index + 1) * old - new  # of the place between old centres, in units of 1/(2·new)
        low = doubled // (2 * new)
        share = (doubled - low * 2 * new) / (2 * new)
        places = np.clip(np.concatenate([low, low + 1], axis=1), 0, old - 1)
        return cls(places, np.concatenate([1 - share, share], axis=1))

    @property
    def span(self) -> tuple[int, int]:
        """First place, and one behind the last."""
        return int(self.places.min()), int(self.places.max()) + 1

    def gather(self, values: npt.NDArray[Any], first: int, axis: int) -> npt.NDArray[Any]:
        """Weigh an axis of an array that begins at place `first`; tap by tap, in the same order for every window."""
        shape = [1] * values.ndim
        shape[axis] = len(self.places)
        total: npt.NDArray[Any] | None = None
        for tap in range(self.places.shape[1]):
            weight = self.weights[:, tap].astype(values.dtype)
            part = values.take(self.places[:, tap] - first, axis=axis) * weight.reshape(shape)
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total


class ResampledReader:
    """Tiles of a scene at another resolution.

    A pixel is valid where at least half of its area is, and averages the valid part alone.
    """

    def __init__(self, reader: SceneReader, native: Grid, wanted: Grid) -> None:
        self._reader = reader
        self._native = native
        self._wanted = wanted
        self._kept: Tile | None = None

    def read(self, window: Window) -> Tile:
        """Return the pixels of a window of the wanted grid, in the dtype of the scene.

        Raises:
            SceneUnreadable: the file is damaged there.
        """
        if self._native.shape == self._wanted.shape:
            return self._reader.read(window)
        cols = _Taps.of(window.col, window.stop_col, new=self._wanted.width, old=self._native.width)
        parts = [self._strip(row, stop, cols) for row, stop in self._strips(window, cols)]
        image = np.concatenate([part[0] for part in parts], axis=1)
        return Tile(image, np.concatenate([part[1] for part in parts]), window)

    def _strips(self, window: Window, cols: _Taps) -> Iterator[tuple[int, int]]:
        """Cut a window into strips of rows for which little of the scene is in memory at once."""
        wide = cols.span[1] - cols.span[0]
        bands = 1 if self._kept is None else len(self._kept.image)
        ratio = max(1.0, self._native.height / self._wanted.height)
        rows = max(1, int(STRIP / (wide * bands * ratio)))
        for row in range(window.row, window.stop_row, rows):
            yield row, min(row + rows, window.stop_row)

    def _strip(self, row: int, stop: int, cols: _Taps) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        rows = _Taps.of(row, stop, new=self._wanted.height, old=self._native.height)
        (top, bottom), (left, right) = rows.span, cols.span
        tile = self._native_tile(Window(top, left, bottom - top, right - left))
        dtype = tile.image.dtype
        # 16-bit numbers and their averages are exact enough in float32; larger ones are not
        work = np.float32 if dtype.itemsize <= 2 else np.float64
        image = tile.image.astype(work)
        if tile.valid.all():
            mean = cols.gather(rows.gather(image, top, 1), left, 2)
            return _back(mean, dtype), np.ones(mean.shape[1:], dtype=bool)
        hidden = cols.gather(rows.gather((~tile.valid).astype(work), top, 0), left, 1)
        total = cols.gather(rows.gather(np.where(tile.valid, image, 0), top, 1), left, 2)
        enough = hidden <= _HIDDEN
        # where nothing is hidden the sum stays as it is above, to the last bit
        mean = np.where(enough, total / np.where(enough, 1 - hidden, 1), 0)
        return _back(mean, dtype), enough

    def _native_tile(self, window: Window) -> Tile:
        """Read a window of the scene; rows that the last one had are not read again.

        PNG, JPEG and TIFFs in strips are decoded from the top: one row read twice is all above it decoded twice.
        """
        kept = self._kept
        columns = (window.col, window.width)
        if kept is not None and (kept.window.col, kept.window.width) == columns:
            begin, stop = kept.window.row, kept.window.stop_row
            if begin <= window.row and window.stop_row <= stop:
                return _rows_of(kept, window.row - begin, window.stop_row - begin)
            if begin <= window.row < stop:
                fresh = self._reader.read(Window(stop, window.col, window.stop_row - stop, window.width))
                old = _rows_of(kept, window.row - begin, stop - begin)
                image = np.concatenate([old.image, fresh.image], axis=1)
                return self._keep(Tile(image, np.concatenate([old.valid, fresh.valid]), window))
        return self._keep(self._reader.read(window))

    def _keep(self, tile: Tile) -> Tile:
        # neighbouring strips share two old rows where pixels shrink, and one where they grow
        last = max(0, tile.window.height - 2)
        tail = _rows_of(tile, last, tile.window.height)
        self._kept = Tile(tail.image.copy(), tail.valid.copy(), tail.window)
        return tile


class NearestRows:
    """Rows of a map on the wanted grid, from top to bottom, as rows on the scene's own grid: the nearest pixel's.

    Holds nothing but what it was just given.

    Args:
        wanted: grid of the rows that are pushed.
        native: grid of the rows that come out.
        rows: of the scene that are to come out, one at least; None for all.
    """

    def __init__(self, wanted: Grid, native: Grid, *, rows: range | None = None) -> None:
        rows = range(native.height) if rows is None else rows
        self._rows = _nearest(wanted.height, native.height)
        self._cols = _nearest(wanted.width, native.width)
        self._same = wanted.shape == native.shape
        first = 0 if rows.start == 0 else int(self._rows[rows.start])
        last = wanted.height if rows.stop == native.height else int(self._rows[rows.stop - 1]) + 1
        self.takes = range(first, last)
        """Rows of the wanted grid that are to be pushed; all of them where all of the scene is to come out."""
        self._given = first  # rows of the wanted grid
        self._done, self._stop = rows.start, rows.stop  # rows of the scene

    @property
    def finished(self) -> bool:
        """Whether all rows that are to come out have."""
        return self._done == self._stop

    def push(self, rows: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Take the next rows (bands, h, W) or (h, W) of the wanted grid; yield (first row, rows) of the scene's grid.

        What is yielded has at most 256 rows at a time, and the same dtype and bands. Run it to its end.
        """
        begin = self._given
        self._given += rows.shape[-2]
        stop = min(int(np.searchsorted(self._rows, self._given)), self._stop)
        for row in range(self._done, stop, _ROWS):
            last = min(row + _ROWS, stop)
            picked = rows.take(self._rows[row:last] - begin, axis=-2)
            self._done = last
            yield row, picked if self._same else picked.take(self._cols, axis=-1)


def _nearest(new: int, old: int) -> npt.NDArray[np.int64]:
    """Return, for each of `old` pixels, in which of `new` its centre lies; on a border in the later one."""
    return (2 * np.arange(old, dtype=np.int64) + 1) * new // (2 * old)


def _rows_of(tile: Tile, begin: int, stop: int) -> Tile:
    window = Window(tile.window.row + begin, tile.window.col, stop - begin, tile.window.width)
    return Tile(tile.image[:, begin:stop], tile.valid[begin:stop], window)


def _back(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return averages in a scene's dtype; whole numbers are rounded, halves to even."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    whole: npt.NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return whole


def ratio_of(native: Grid, wanted: Grid) -> float:
    """Return how many pixels of the scene, along a side, a pixel of the wanted grid holds."""
    return math.sqrt(native.height * native.width / (wanted.height * wanted.width))
