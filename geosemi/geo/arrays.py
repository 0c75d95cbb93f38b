"""Scenes that a program holds or computes, instead of a file: windows of them are asked for one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geosemi.errors import ResourceError
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window

_MAX_BANDS = 4096


@dataclass(frozen=True, eq=False)
class Array:
    """Pixels that lie in no file.

    Attributes:
        name: what messages and provenance call it.
        grid: where the pixels lie.
        dtype: numpy dtype name of what `fetch` gives.
        names: of the bands.
        nodatas: declared nodata value of each band.
        fetch: (window, 0-based bands) → (C, h, w); called in the thread that reads, never for more than is needed.
    """

    name: str
    grid: Grid
    dtype: str
    names: tuple[str, ...]
    nodatas: tuple[float | None, ...]
    fetch: Callable[[Window, Sequence[int]], npt.NDArray[Any]]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= _MAX_BANDS:
            raise ResourceError(f"`{self.name}` has {len(self.names)} bands", hint=f"choose 1 to {_MAX_BANDS} of them")

    def __str__(self) -> str:
        return self.name


class ArrayFile:
    """An array with the interface of a `RasterFile`."""

    has_gcps = False
    has_internal_mask = False
    samples = ""
    images = 1
    blocks = None
    block_shape = (256, 256)
    alpha = None
    palette = None

    def __init__(self, array: Array) -> None:
        self.path = array.name
        self.grid = array.grid
        self.count = len(array.names)
        self.dtype = np.dtype(array.dtype)
        self.band_names = array.names
        self.nodatas = array.nodatas
        self.nodata = array.nodatas[0]
        self._fetch = array.fetch

    def read(self, window: Window, bands: Sequence[int] | int) -> npt.NDArray[Any]:
        """Read pixels; `bands` are 1-based; (C, h, w), or (h, w) for one int."""
        if not self.grid.window.contains(window):
            raise ValueError(f"{window} leaves the array of {self.grid.height} × {self.grid.width} pixels")
        if isinstance(bands, int):
            plane: npt.NDArray[Any] = self._fetch(window, [bands - 1])[0]
            return plane
        return self._fetch(window, [band - 1 for band in bands])

    def read_internal_mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return where pixels are valid by a mask, which an array has none of, (h, w)."""
        return np.ones(window.shape, dtype=bool)

    def written(self, window: Window, bands: Sequence[int]) -> None:
        """Tell where blocks were written, as `RasterFile.written`: everywhere."""
