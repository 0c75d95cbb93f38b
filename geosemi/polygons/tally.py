"""Sums of a second raster over polygons, from their boundaries alone.

As a polygon's area is the sum of row × (stop − start) over its horizontal edges, the sum of any raster over it is the
sum of what lies above each edge, taken with the same signs: two running sums of the raster, and two look-ups an edge.
No pixel needs to know its polygon, and open polygons carry two numbers a piece of boundary.
"""

import numpy as np
import numpy.typing as npt

from geosemi.geo.corners import Bytes, Ints

TALLIES = 2  # sum of the values, pixels without one
CONFIDENCE_SCALE = 254  # as `geosemi predict --confidence` writes it: 254 is 1
NO_CONFIDENCE = 255


class Tally:
    """Running sums of a confidence raster of `width` columns; feed it the tracer's rows."""

    def __init__(self, width: int) -> None:
        self._above = np.zeros((TALLIES, width), dtype=np.int64)  # column sums of all earlier rows
        self._table = np.zeros((TALLIES, 0, width + 1), dtype=np.int64)

    def feed(self, rows: Bytes) -> None:
        """Take the next rows, (h, width) uint8."""
        height, width = rows.shape
        missing = rows == NO_CONFIDENCE
        table = np.zeros((TALLIES, height, width + 1), dtype=np.int64)
        for k, values in enumerate((np.where(missing, 0, rows), missing)):
            table[k, 0, 1:] = self._above[k]
            np.cumsum(values[:-1], axis=0, out=table[k, 1:, 1:], dtype=np.int64)
            table[k, 1:, 1:] += self._above[k]
            self._above[k] += values.sum(axis=0, dtype=np.int64)
            np.cumsum(table[k], axis=1, out=table[k])
        self._table = table

    def along(self, row: npt.NDArray[np.int32], start: npt.NDArray[np.int32], stop: npt.NDArray[np.int32]) -> Ints:
        """Return (n, 2): what lies above horizontal edges at these rows of the last feed, from start to stop."""
        sums: Ints = (self._table[:, row, stop] - self._table[:, row, start]).T
        return sums


def mean_confidence(tallies: Ints, n_px: Ints) -> npt.NDArray[np.float64]:
    """Return each polygon's mean confidence, 0 … 1; NaN where no pixel has one."""
    known = (n_px - tallies[:, 1]).astype(np.float64)
    known[known == 0] = np.nan
    means: npt.NDArray[np.float64] = tallies[:, 0] / (CONFIDENCE_SCALE * known)
    return means
