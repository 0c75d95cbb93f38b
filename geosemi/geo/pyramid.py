"""Coarser levels of a raster, each pixel made of two by two of the level below, in memory for a few rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]


def level_shapes(height: int, width: int, block: int) -> list[tuple[int, int]]:
    """Return the (height, width) of a raster and of its coarser levels, down to one that fits into a block."""
    shapes = [(height, width)]
    while max(shapes[-1]) > block:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


def mode(pixels: Pixels, nodata: int) -> Pixels:
    """Halve a raster of class ids (B, h, w): the most frequent of four, of equals the first in reading order.

    Nodata has no vote: it wins only where there is nothing else. Odd rims are made of the pixels that exist.
    """
    a, b, c, d = _quarters(pixels, nodata)
    # of classes that occur once each, the first; a pair beats it, wherever it lies
    first = np.where(a != nodata, a, np.where(b != nodata, b, np.where(c != nodata, c, d)))
    pair_b = (b != nodata) & (b != a) & ((b == c) | (b == d))
    pair_a = (a != nodata) & ((a == b) | (a == c) | (a == d))
    pair_c = (c != nodata) & (c == d)
    return np.where(pair_a, a, np.where(pair_b, b, np.where(pair_c, c, first)))


def average(pixels: Pixels, nodata: float) -> Pixels:
    """Halve a raster of amounts (B, h, w): the mean of those of the four that are not nodata; halves round up."""
    quarters = np.stack(_quarters(pixels, nodata))
    known = ~np.isnan(quarters) if np.isnan(nodata) else quarters != nodata
    count = known.sum(axis=0, dtype=np.uint8)
    whole = np.issubdtype(pixels.dtype, np.integer)
    total = np.where(known, quarters, 0).sum(axis=0, dtype=np.uint32 if whole else np.float32)
    some = np.maximum(count, 1)
    mean = (2 * total + some) // (2 * some) if whole else total / some
    return np.where(count > 0, mean, nodata).astype(pixels.dtype)


def _quarters(pixels: Pixels, nodata: float) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    odd = [(0, n % 2) for n in pixels.shape[1:]]
    even = np.pad(pixels, ((0, 0), *odd), constant_values=nodata) if any(o for _, o in odd) else pixels
    return (even[:, ::2, ::2], even[:, ::2, 1::2], even[:, 1::2, ::2], even[:, 1::2, 1::2])


class BlockRows:
    """Gathers rows of any count, (B, h, W), into rows of blocks.

    Args:
        shape: (bands, height, width) of the raster.
        block: rows in a row of blocks.
        dtype: of the pixels.
    """

    def __init__(self, shape: tuple[int, int, int], block: int, dtype: Any) -> None:
        self._height, self._block = shape[1], block
        self._buffer = np.empty((shape[0], min(block, shape[1]), shape[2]), dtype=dtype)
        self.next = 0
        """The first row that was not handed in yet."""

    def add(self, rows: Pixels) -> Iterator[Pixels]:
        """Take rows and yield every row of blocks that is complete; it is valid until the next one."""
        while rows.shape[1]:
            filled = self.next % self._block
            part, rows = rows[:, : self._block - filled], rows[:, self._block - filled :]
            self.next += part.shape[1]
            done = self.next % self._block == 0 or self.next == self._height
            if done and not filled:  # a whole row of blocks at once needs no copy
                yield part
                continue
            self._buffer[:, filled : filled + part.shape[1]] = part
            if done:
                yield self._buffer[:, : filled + part.shape[1]]
