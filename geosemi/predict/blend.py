"""Overlapping windows of probabilities become rows of classes, in a strip that rolls down the scene.

Windows come row by row, so whatever lies above the current row of windows is finished: it is decided, handed on, and
its memory used again. The strip is as high as one window, so memory grows with the scene's width alone.
"""

from collections.abc import Iterator
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


def ramp(size: int, overlap: int, *, first: bool = False, last: bool = False) -> Tensor:
    """Return weights (size,) float32 along one side of a window, in (0, 1].

    The outer quarter of the overlap counts next to nothing, then the weight rises so that two neighbours which share
    exactly `overlap` pixels sum to 1. A side that lies on the scene's own rim does not fade: what a network sees there
    is what it would see of the whole scene.

    Args:
        size: of the window.
        overlap: pixels shared with a neighbour, below `size`.
        first: whether the window begins at the scene's rim.
        last: whether it ends there.
    """
    margin = overlap // 4
    rise = overlap - 2 * margin
    inwards = torch.arange(size, dtype=torch.float64)
    faded = ((inwards - margin + 1) / (rise + 1)).clamp(_RIM, 1)
    whole = torch.ones_like(faded)
    return torch.minimum(whole if first else faded, whole if last else faded.flip(0)).float()


class _Side:
    """Windows along one axis of a scene and their weights."""

    def __init__(self, length: int, tile: int, overlap: int) -> None:
        self._cut = (min(tile, length), min(overlap, min(tile, length) - 1))
        self._begins = starts(length, tile, overlap)
        self.total = torch.zeros(length)
        for begin in self._begins:
            self.total[begin : begin + self._cut[0]] += self.weight(*self.ends(begin))

    def ends(self, begin: int) -> tuple[bool, bool]:
        """Tell whether the window that starts at `begin` is the first, and the last."""
        return (begin == self._begins[0], begin == self._begins[-1])

    def weight(self, first: bool, last: bool) -> Tensor:
        """Return the weights of such a window."""
        return ramp(*self._cut, first=first, last=last)


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
        self._down, self._across = _Side(self._height, tile, overlap), _Side(self._width, tile, overlap)
        self._weights: dict[tuple[bool, ...], Tensor] = {}
        strip = min(tile, self._height)
        self._sum = torch.zeros(classes, strip, self._width, device=device)
        self._valid = torch.zeros(strip, self._width, dtype=torch.bool, device=device)
        self._top = 0  # row of the scene that the strip begins with
        # windows lie on a lattice, so the sum of their weights is a product of two sums
        self._total = (self._down.total.to(device), self._across.total.to(device))

    def add(self, window: Window, probability: Tensor, valid: Tensor) -> None:
        """Add a window that begins at the strip's first row; close the rows above it first.

        probability: (K, h, w) float32; valid: (h, w) bool.
        """
        if window.row != self._top or window.height > self._sum.shape[1]:
            raise ValueError(f"{window} does not lie on the strip that begins at row {self._top}")
        where = (slice(window.height), slice(window.col, window.stop_col))
        self._sum[:, *where].addcmul_(probability, self._weight(window))
        self._valid[where] |= valid

    def _weight(self, window: Window) -> Tensor:
        """Return the weights (h, w) of a window; a scene has at most nine kinds."""
        down, across = self._down.ends(window.row), self._across.ends(window.col)
        if (*down, *across) not in self._weights:
            weight = torch.outer(self._down.weight(*down), self._across.weight(*across))
            self._weights[*down, *across] = weight.to(self._sum.device)
        return self._weights[*down, *across]

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
        down, across = self._total
        weight = torch.outer(down[self._top : self._top + len(best)], across)
        steps = (best / weight * CONFIDENCE_STEPS).round_().nan_to_num_().clamp_(0, CONFIDENCE_STEPS)
        return steps.to(torch.uint8).masked_fill_(nodata, 255)

    def _roll(self, count: int) -> None:
        kept = self._sum.shape[1] - count
        for strip in (self._sum, self._valid):
            strip[..., :kept, :] = strip[..., count:, :].clone()
            strip[..., kept:, :] = 0
        self._top += count
