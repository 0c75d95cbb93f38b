"""What a network says of overlapping windows becomes rows of classes, from top to bottom.

Windows come row by row. With each one a rectangle of the scene is finished, and no two of these overlap: for `centre`
the pixels that lie deepest in this window, for `blend` all that no later window covers. So memory holds the rows of one
row of windows and, for `blend`, what it shares with the next; it grows with the scene's width alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geosemi.geo.scene import Tile
from geosemi.predict.answers import Answers

Rule = Literal["blend", "centre"]

# What a window says of its own rim: next to nothing, because there the network saw padding instead of the scene, but
# never zero, because the rim of the scene is covered by nothing else.
_RIM = 1e-6


@dataclass(frozen=True, slots=True)
class Rows:
    """Finished rows of a scene.

    Attributes:
        row: where they begin.
        layers: one array for each layer, (h, W) or (B, h, W), the classes last.
    """

    row: int
    layers: tuple[npt.NDArray[np.generic], ...]

    def below(self, row: int) -> "Rows | None":
        """Return the rows from `row` on, or None where there are none."""
        cut = row - self.row
        if cut <= 0:
            return self
        rest = tuple(layer[..., cut:, :] for layer in self.layers)
        return Rows(row, rest) if rest[-1].shape[-2] else None

    def above(self, row: int) -> "Rows | None":
        """Return the rows before `row`, or None where there are none."""
        count = row - self.row
        if count >= self.layers[-1].shape[-2]:
            return self
        return Rows(self.row, tuple(layer[..., :count, :] for layer in self.layers)) if count > 0 else None


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one side of a scene, and which pixels each of them finishes.

    Attributes:
        length: pixels of the scene.
        tile: pixels of a window, at most `length`.
        overlap: that neighbours share at least, below `tile`.
        starts: where windows begin.
        bounds: window i finishes the pixels `bounds[i] … bounds[i+1]-1`.
    """

    length: int
    tile: int
    overlap: int
    starts: tuple[int, ...]
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, length: int, tile: int, overlap: int, rule: Rule) -> "Axis":
        """Cut a side into windows."""
        size = min(tile, length)
        begins = spread(length, size, min(overlap, size - 1))
        inner = [(b + a + size) // 2 if rule == "centre" else b for a, b in pairwise(begins)]
        return cls(length, size, min(overlap, size - 1), begins, (0, *inner, length))

    def weight(self, number: int) -> Tensor:
        """Return the weights (tile,) of a window, see `ramp`."""
        return ramp(self.tile, self.overlap, first=number == 0, last=number == len(self.starts) - 1)

    def total(self) -> Tensor:
        """Return the sum of all windows' weights (length,)."""
        total = torch.zeros(self.length)
        for number, begin in enumerate(self.starts):
            total[begin : begin + self.tile] += self.weight(number)
        return total


def spread(length: int, size: int, overlap: int) -> tuple[int, ...]:
    """Return where the fewest windows of `size` begin that cover a side and share `overlap` pixels or more.

    They lie at even distances: if all slack were left to the last window, it would share nearly all of itself with the
    one before, and `Blend` would have to keep as much.

    Raises:
        ValueError: not 0 ≤ overlap < size ≤ length.
    """
    if not 0 <= overlap < size <= length:
        raise ValueError(f"need 0 <= overlap < size <= length, got {overlap=}, {size=}, {length=}")
    steps = -(-(length - size) // (size - overlap))
    return tuple((2 * i * (length - size) + steps) // (2 * steps) for i in range(steps + 1)) if steps else (0,)


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


def windows_for(down: Axis, rule: Rule, wanted: range) -> range:
    """Return which rows of windows have a say on rows of the scene, of which there is one at least."""
    ends = down.bounds[1:] if rule == "centre" else [begin + down.tile for begin in down.starts]
    first = next(number for number, end in enumerate(ends) if end > wanted.start)
    last = next(number for number, stop in enumerate(down.bounds[1:]) if stop >= wanted.stop)
    return range(first, last + 1)


class Stitch(Protocol):
    """How the answers for overlapping windows become one. Windows are given in row-major order, none left out."""

    down: Axis
    across: Axis

    def add(self, place: tuple[int, int], logits: Tensor | None) -> Tensor | None:
        """Take a window's logits (K, h, w), or None where it has no valid pixel; return those of what it finishes.

        place: number of the row of windows, and of the window in it. The answer may be probabilities, weighted or not:
        what is largest is largest.
        """

    def share(self, place: tuple[int, int]) -> Tensor | None:
        """Return what probabilities of a finished part sum to, (h, w); None where the part is logits."""


class Centre:
    """Each pixel from the window where it lies deepest.

    Where the overlap is twice the network's receptive field or more, this is what one forward pass over the whole scene
    would say, of every pixel.
    """

    def __init__(self, down: Axis, across: Axis) -> None:
        self.down, self.across = down, across

    def add(self, place: tuple[int, int], logits: Tensor | None) -> Tensor | None:
        """Cut out the middle."""
        return None if logits is None else logits[:, *inner(self, place)]

    def share(self, place: tuple[int, int]) -> None:
        """Logits sum to nothing."""


class Blend:
    """Probabilities weighted by a ramp that falls towards a window's rim and never reaches zero.

    What a window shares with later ones is kept: columns for the next one in the row, rows for the next row.
    """

    def __init__(self, down: Axis, across: Axis, *, classes: int, device: torch.device) -> None:
        self.down, self.across = down, across
        deepest = max(begin + down.tile - stop for begin, stop in zip(down.starts, down.bounds[1:], strict=True))
        self._below = torch.zeros(classes, deepest, across.length, device=device)
        self._kept = 0  # rows of `_below` that the row of windows above has filled
        self._right: Tensor | None = None
        self._votes: Tensor | None = None  # kept, so that it does not take another place in the heap each time
        self._weights: dict[tuple[bool, ...], Tensor] = {}
        self._total = (down.total().to(device), across.total().to(device))

    def add(self, place: tuple[int, int], logits: Tensor | None) -> Tensor | None:
        """Add a window to what earlier ones said."""
        rows, cols = inner(self, place)
        begin = self.across.starts[place[1]]
        where = slice(begin, begin + cols.stop)
        ends = place[1] == len(self.across.starts) - 1
        above = self._kept
        if ends:
            self._kept = self.down.tile - rows.stop
        if logits is None:  # all that it covers is nodata, of the windows beside it too
            self._right = None
            self._below[:, : self.down.tile - rows.stop, where] = 0
            return None
        if self._votes is None or self._votes.shape != logits.shape:
            self._votes = torch.empty_like(logits, memory_format=torch.contiguous_format)
        votes = torch.softmax(logits, dim=0, out=self._votes).mul_(self._weight(place))
        if self._right is not None:
            votes[:, :, : self._right.shape[2]] += self._right
        self._right = None if ends else votes[:, :, cols.stop :].clone()
        votes = votes[:, :, : cols.stop]
        if place[0] > 0:
            votes[:, :above] += self._below[:, :above, where]
        self._below[:, : self.down.tile - rows.stop, where] = votes[:, rows.stop :]
        return votes[:, : rows.stop]

    def share(self, place: tuple[int, int]) -> Tensor:
        """Return the weights' sum; windows lie on a lattice, so it is a product of two sums."""
        (down, across), (row, col) = self._total, place
        rows = down[self.down.bounds[row] : self.down.bounds[row + 1]]
        return torch.outer(rows, across[self.across.bounds[col] : self.across.bounds[col + 1]])

    def _weight(self, place: tuple[int, int]) -> Tensor:
        """Return the weights (h, w) of a window; a scene has at most nine kinds."""
        (row, col), sides = place, (self.down, self.across)
        kind = (*(n == 0 for n in place), *(n == len(s.starts) - 1 for n, s in zip(place, sides, strict=True)))
        if kind not in self._weights:
            weight = torch.outer(self.down.weight(row), self.across.weight(col))
            self._weights[kind] = weight.to(self._below.device)
        return self._weights[kind]


def inner(stitch: Stitch, place: tuple[int, int]) -> tuple[slice, slice]:
    """Return which rows and columns of a window it finishes."""
    axes = zip((stitch.down, stitch.across), place, strict=True)
    rows, cols = (slice(a.bounds[n] - a.starts[n], a.bounds[n + 1] - a.starts[n]) for a, n in axes)
    return rows, cols


class Rolling:
    """Puts finished parts side by side.

    Args:
        stitch: the rule.
        answers: what is made of a part.
        wanted: rows of the scene that are wanted.
        first: the row of windows that comes first, see `windows_for`.
    """

    def __init__(self, stitch: Stitch, answers: Answers, wanted: range, first: int) -> None:
        self.stitch = stitch
        self.wanted = wanted
        self._answers = answers
        self._row = (first, 0)
        self._layers: tuple[npt.NDArray[np.generic], ...] = ()

    def add(self, tile: Tile, logits: Tensor | None) -> Iterator[Rows]:
        """Take the next window in row-major order, and yield rows when a row of windows is complete.

        tile: its pixels; logits: (K, ≥ h, ≥ w), or None where no pixel is valid.

        Raises:
            ResourceError: the network gave no number for a valid pixel.
        """
        place = self._row
        stitch = self.stitch
        height, width = tile.window.shape
        part = stitch.add(place, None if logits is None else logits[:, :height, :width])
        rows, cols = inner(stitch, place)
        across = stitch.across
        if place[1] == 0:
            self._layers = self._answers.empty(rows.stop - rows.start, across.length)
        where = slice(across.bounds[place[1]], across.bounds[place[1] + 1])
        views = tuple(layer[..., where] for layer in self._layers)
        self._answers.fill(views, part, tile.valid[rows, cols], share=stitch.share(place))
        if place[1] < len(across.starts) - 1:
            self._row = (place[0], place[1] + 1)
            return
        self._row = (place[0] + 1, 0)
        finished = Rows(stitch.down.bounds[place[0]], self._layers).below(self.wanted.start)
        if finished is not None and (finished := finished.above(self.wanted.stop)) is not None:
            yield finished


def make_stitch(rule: Rule, axes: Sequence[Axis], *, classes: int, device: torch.device) -> Stitch:
    """Return the rule of that name for windows along two axes, down and across."""
    down, across = axes
    return Centre(down, across) if rule == "centre" else Blend(down, across, classes=classes, device=device)
