"""Overlapping windows of probabilities become rows of classes, in a strip that rolls down the scene.

Windows come row by row, so whatever lies above the current row of windows is finished: it is decided, handed on, and
its memory used again. The strip is as high as one window, so memory grows with the scene's width alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geosemi.errors import ResourceError
from geosemi.geo.window import Window, starts
from geosemi.geo.writer import CONFIDENCE_STEPS

# What a window says of its own rim: next to nothing, because there the network saw padding instead of the scene, but
# never zero, because the rim of the scene is covered by nothing else.
_RIM = 1e-6


@dataclass(frozen=True, slots=True)
class Rows:
    """Finished rows of a scene.

    Attributes:
        row: where they begin.
        classes: (h, W) uint8, class ids, the legend's ignore value on nodata.
        confidence: (h, W) uint8, probability × 254 of that class, 255 on nodata; None where nobody asked.
    """

    row: int
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None


def ramp(size: int, overlap: int) -> Tensor:
    """Return weights (size,) float32 along one side of a window, in (0, 1].

    The outer quarter of the overlap counts next to nothing, then the weight rises so that two neighbours which share
    exactly `overlap` pixels sum to 1.
    """
    margin = overlap // 4
    rise = overlap - 2 * margin
    inwards = torch.arange(size, dtype=torch.float64)
    one_side = ((inwards - margin + 1) / (rise + 1)).clamp(_RIM, 1)
    return torch.minimum(one_side, one_side.flip(0)).float()


class Blend:
    """A rolling strip of summed probabilities.

    Args:
        shape: (height, width) of the scene.
        classes: K.
        tile: side of the windows.
        overlap: of neighbouring windows.
        ignore: what nodata becomes.
        device: where probabilities live and are summed.
        confidence: whether the winner's probability is wanted.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        classes: int,
        tile: int,
        overlap: int,
        ignore: int,
        device: torch.device,
        confidence: bool,
    ) -> None:
        self._height, self._width = shape
        self._ignore = ignore
        self._confidence = confidence
        side = ramp(tile, overlap)
        self._weight = torch.outer(side, side).to(device)
        strip = min(tile, self._height)
        self._sum = torch.zeros(classes, strip, self._width, device=device)
        self._valid = torch.zeros(strip, self._width, dtype=torch.bool, device=device)
        self._top = 0  # row of the scene that the strip begins with
        # windows lie on a lattice, so the sum of their weights is a product of two sums
        self._down = _total(starts(self._height, tile, overlap), side, self._height).to(device)
        self._across = _total(starts(self._width, tile, overlap), side, self._width).to(device)

    def add(self, window: Window, probability: Tensor, valid: Tensor) -> None:
        """Add a window that begins at the strip's first row; close the rows above it first.

        probability: (K, h, w) float32; valid: (h, w) bool.
        """
        if window.row != self._top or window.height > self._sum.shape[1]:
            raise ValueError(f"{window} does not lie on the strip that begins at row {self._top}")
        where = (slice(window.height), slice(window.col, window.stop_col))
        self._sum[:, *where].addcmul_(probability, self._weight[: window.height, : window.width])
        self._valid[where] |= valid

    def close(self, row: int) -> Iterator[Rows]:
        """Decide and yield all rows above `row`, and roll the strip down to it.

        Raises:
            ResourceError: the network gave no number for a valid pixel.
        """
        while self._top < row:
            count = min(row - self._top, self._sum.shape[1])
            yield self._decide(count)
            self._roll(count)

    def _decide(self, count: int) -> Rows:
        # a running maximum: torch.argmax over six classes takes five times as long on a CPU
        best = self._sum[0, :count].clone()
        winner = torch.zeros_like(best, dtype=torch.uint8)
        for number, votes in enumerate(self._sum[1:, :count], start=1):
            winner.masked_fill_(votes > best, number)
            torch.maximum(best, votes, out=best)
        nodata = ~self._valid[:count]
        if (best.isnan() & ~nodata).any():
            raise ResourceError(
                f"the network's answer is not a number in rows {self._top} … {self._top + count - 1}",
                hint="run with the precision fp32; if it stays, the model is damaged",
            )
        winner.masked_fill_(nodata, self._ignore)
        confidence = self._sure(best, nodata) if self._confidence else None
        return Rows(self._top, winner.cpu().numpy(), None if confidence is None else confidence.cpu().numpy())

    def _sure(self, best: Tensor, nodata: Tensor) -> Tensor:
        weight = torch.outer(self._down[self._top : self._top + len(best)], self._across)
        steps = (best / weight * CONFIDENCE_STEPS).round_().nan_to_num_().clamp_(0, CONFIDENCE_STEPS)
        return steps.to(torch.uint8).masked_fill_(nodata, 255)

    def _roll(self, count: int) -> None:
        kept = self._sum.shape[1] - count
        for strip in (self._sum, self._valid):
            strip[..., :kept, :] = strip[..., count:, :].clone()
            strip[..., kept:, :] = 0
        self._top += count


def _total(begins: Sequence[int], side: Tensor, length: int) -> Tensor:
    total = torch.zeros(length)
    for begin in begins:
        part = total[begin : begin + len(side)]
        part += side[: len(part)]
    return total
