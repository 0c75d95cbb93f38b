"""Truth, spoilt in a stated way: an opinion of known quality, for experiments only, and named so wherever it is used.

A model errs by objects, not by pixels: it misses a whole roof, takes a car park for a road and draws outlines a little
beside the truth. So the plane is cut into irregular cells; the pixels of a class in a cell are a segment, and segments
are silenced until the wanted recall is left, claimed for other classes until the wanted precision is, and shifted.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi.annotate.maps import STRIP, Seen
from geosemi.annotate.settings import Quality, Simulation
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window
from geosemi.legend import Legend

NO_TRUTH = 255
CELL = 40  # pixels
_JITTER = 0.45  # of a cell, by which its centre lies beside the regular place
_DIRECTIONS = ((0, 0), (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class Truth(Protocol):
    """Class ids (h, w) of windows, 255 where there is no truth."""

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids."""


class Simulated:
    """What a model of a certain quality might say, given the truth.

    Precision and recall are reached to within one segment, before outlines are shifted; `record` has what came out.

    Args:
        truth: class ids of the scene.
        grid: of the scene.
        legend: the classes.
        simulation: how it is spoilt.
        on_progress: told how many rows of how many were counted.
    """

    def __init__(
        self,
        truth: Truth,
        grid: Grid,
        legend: Legend,
        *,
        simulation: Simulation,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._truth, self._grid, self._legend = truth, grid, legend
        self._qualities, self._seed = simulation.qualities, simulation.seed
        rng = np.random.default_rng([self._seed, 0])
        self._shape = (-(-grid.height // CELL), -(-grid.width // CELL))
        self._centres = (rng.uniform(-_JITTER, _JITTER, (*self._shape, 2)) + 0.5) * CELL
        sizes = self._count(on_progress)
        self._kept = np.zeros_like(sizes, dtype=bool)
        self._mistaken = np.full(sizes.shape, -1, dtype=np.int8)
        self._direction = rng.integers(0, len(_DIRECTIONS), sizes.shape, dtype=np.int8)
        self._rank = None
        if simulation.exclusive:  # who is believed where several classes are claimed: drawn anew in each cell
            order = np.random.default_rng([self._seed, 2]).random(sizes.shape).argsort(axis=0)
            self._rank = order.argsort(axis=0) + 1
        for k, quality in enumerate(self._qualities):
            self._choose(k, quality, sizes, np.random.default_rng([self._seed, 1, k]))
        self._counts = np.zeros((len(legend), 3), dtype=np.int64)

    def read(self, window: Window) -> Seen:
        """Return (K, h, w) bool; a window gives the same pixels whatever others were read."""
        reach = max(q.shift for q in self._qualities)
        around = Window(window.row - reach, window.col - reach, window.height + 2 * reach, window.width + 2 * reach)
        inside = around.intersection(self._grid.window)
        assert inside is not None
        ids, cells = self._truth.read(inside), self._cells(inside)
        seen = np.zeros((len(self._legend), *window.shape), dtype=bool)
        for k, quality in enumerate(self._qualities):
            claim = (ids == k) & self._kept[k][cells]
            claim |= (ids == self._mistaken[k][cells]) & (ids != NO_TRUTH)
            for number, (down, right) in enumerate(_DIRECTIONS):
                mine = claim & (self._direction[k][cells] == number) if quality.shift else claim
                moved = inside.shifted(rows=down * quality.shift, cols=right * quality.shift)
                part = moved.intersection(window)
                if part is not None:
                    to = part.shifted(rows=-window.row, cols=-window.col)
                    seen[k][to.slices] |= mine[part.shifted(rows=-moved.row, cols=-moved.col).slices]
                if not quality.shift:
                    break
        own = window.shifted(rows=-inside.row, cols=-inside.col)
        if self._rank is not None:
            ranks = self._rank[:, cells[own.slices]] * seen
            seen &= ranks == ranks.max(axis=0)
        self._measure(seen, ids[own.slices])
        return seen

    def words(self) -> str:
        """Return who speaks: a simulation, of which quality."""
        shown = {(q.precision, q.recall, q.shift) for q in self._qualities}
        if len(shown) == 1:
            precision, recall, shift = shown.pop()
            quality = f"precision {precision:g}, recall {recall:g}, shift {shift} px"
        else:
            quality = "precision, recall and shift by class"
        alone = "" if self._rank is None else ", one class a pixel"
        return f"simulated from labels: {quality}{alone}, seed {self._seed}"

    def record(self) -> Mapping[str, Any]:
        """Return the quality that was asked for and the one that was measured, by class; None where nothing can be."""
        classes = {}
        for c, quality, counts in zip(self._legend, self._qualities, self._counts.tolist(), strict=True):
            right, claimed, there = counts
            measured = {
                "precision": round(right / claimed, 4) if claimed else None,
                "recall": round(right / there, 4) if there else None,
            }
            classes[c.name] = {"asked": quality.model_dump(), "measured": measured}
        return {"simulated": True, "seed": self._seed, "quality": classes}

    def _measure(self, seen: Seen, ids: npt.NDArray[np.uint8]) -> None:
        known = ids != NO_TRUTH
        for k, claim in enumerate(seen):
            mine = ids == k
            self._counts[k] += (int((claim & mine).sum()), int((claim & known).sum()), int(mine.sum()))

    def _cells(self, window: Window) -> npt.NDArray[np.int64]:
        """Return the cell of each pixel (h, w): the one with the nearest centre."""
        rows = np.arange(window.row, window.stop_row)[:, None]
        cols = np.arange(window.col, window.stop_col)[None, :]
        best = np.full(window.shape, np.inf)
        cell = np.zeros(window.shape, dtype=np.int64)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r = np.clip(rows // CELL + down, 0, self._shape[0] - 1)
                c = np.clip(cols // CELL + right, 0, self._shape[1] - 1)
                centre = self._centres[r, c]
                away = (centre[..., 0] + r * CELL - rows - 0.5) ** 2 + (centre[..., 1] + c * CELL - cols - 0.5) ** 2
                nearer = away < best
                best = np.where(nearer, away, best)
                cell = np.where(nearer, r * self._shape[1] + c, cell)
        return cell

    def _count(self, on_progress: Callable[[int, int], None]) -> npt.NDArray[np.int64]:
        """Return the pixels of each class in each cell, (K, cells)."""
        classes, cells = len(self._legend), self._shape[0] * self._shape[1]
        sizes = np.zeros((classes, cells), dtype=np.int64)
        height, width = self._grid.shape
        for row in range(0, height, STRIP):
            for col in range(0, width, STRIP):
                window = Window(row, col, min(STRIP, height - row), min(STRIP, width - col))
                ids, cell = self._truth.read(window), self._cells(window)
                known = ids < classes
                joint = ids[known].astype(np.int64) * cells + cell[known]
                sizes += np.bincount(joint, minlength=classes * cells).reshape(classes, cells)
            on_progress(min(row + STRIP, height), 2 * height)
        return sizes

    def _choose(self, k: int, quality: Quality, sizes: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
        """Choose which segments of class k are seen, and which of other classes are taken for it."""
        mine = np.flatnonzero(sizes[k])
        kept = _up_to(rng.permutation(mine), sizes[k], quality.recall * sizes[k].sum())
        self._kept[k, kept] = True
        others = sizes.copy()
        others[k] = 0
        total = others.sum(axis=0)
        # a cell has one mistaken class at most, drawn by how much of it there is
        draw = rng.random(len(total)) * total
        taken = np.minimum((np.cumsum(others, axis=0) <= draw).sum(axis=0), len(sizes) - 1)
        size = others[taken, np.arange(len(total))]
        wrong = sizes[k, kept].sum() * (1 / quality.precision - 1)
        chosen = _up_to(rng.permutation(np.flatnonzero(size)), size, wrong)
        self._mistaken[k, chosen] = taken[chosen]


def _up_to(order: npt.NDArray[np.int64], size: npt.NDArray[np.int64], wanted: float) -> npt.NDArray[np.int64]:
    """Return members of an order whose sizes add up to about a number: those that bring the sum nearer to it."""
    chosen, total = [], 0.0
    for member in order.tolist():
        if abs(total + size[member] - wanted) < abs(total - wanted):
            chosen.append(member)
            total += size[member]
    return np.asarray(chosen, dtype=np.int64)
