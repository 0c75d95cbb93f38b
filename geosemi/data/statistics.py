"""What a learner must know of its scenes before the first step: band statistics, and where truth lies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from geosemi.data.keyed import keyed_generator
from geosemi.data.labels import NO_TRUTH, reading_labels
from geosemi.data.normalise import Radiometry
from geosemi.data.scenes import SceneFiles, SceneSet
from geosemi.data.settings import DataSettings
from geosemi.errors import InputError
from geosemi.geo.scene import reading
from geosemi.geo.window import Window

SAMPLE_SIDE = 256
SAMPLES = 64  # 4 M pixels: the mean of a band is then known to about a thousandth of its spread
CELL = 64
Note = Callable[[str, int, int], None]


def measure_radiometry(scenes: Sequence[SceneFiles], seed: int) -> Radiometry:
    """Measure mean, spread and range of every band on windows drawn from scenes of the training ground.

    8-bit bands run from 0 to 255 by definition; others from their 0.1th to their 99.9th percentile. Three bands, or
    four with the fourth near-infrared, are taken as red, green, blue first; band names decide where they say so.

    Raises:
        InputError: the windows hold no valid pixel.
    """
    pixels = _sample(scenes, seed)
    if pixels.shape[1] == 0:
        raise InputError("the training scenes hold no valid pixel", hint="check their nodata values and masks")
    values = pixels.astype(np.float64)
    if scenes[0].scene.dtype == "uint8":
        low, high = np.zeros(len(values)), np.full(len(values), 255.0)
    else:
        low, high = np.percentile(values, [0.1, 99.9], axis=1)
        high = np.where(high > low, high, low + 1)
    return Radiometry(
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        mean=tuple(values.mean(axis=1).tolist()),
        std=tuple(np.maximum(values.std(axis=1), 1e-6 * (high - low)).tolist()),
        rgb=find_rgb(scenes[0].scene.bands),
    )


def find_rgb(bands: Sequence[str]) -> tuple[int, int, int] | None:
    """Return the positions of red, green and blue by band name, or the first three of three or four bands."""
    names = [b.casefold() for b in bands]
    if {"red", "green", "blue"} <= set(names):
        return (names.index("red"), names.index("green"), names.index("blue"))
    # false colour (infrared, red, green) is a colour picture to jitter as well: the papers treat it so
    return (0, 1, 2) if len(bands) in (3, 4) else None


def find_truth(scenes: SceneSet, settings: DataSettings, note: Note) -> "Truth":
    """Count each class in each cell of 64 × 64 pixels of every labelled scene, reading every label once.

    This is also where a wrong label value, a shifted label grid or a vector layer with unknown classes is found: before
    the first step, not in the middle of a night.

    Raises:
        LegendError, GridMismatch, SceneUnreadable: a label file is wrong.
    """
    labelled = [s for s in scenes.scenes if s.label is not None and s.chosen is not False]
    found = {}
    for number, files in enumerate(labelled):
        note("reading labels", number, len(labelled))
        grid = files.scene.grid
        counts = np.zeros((-(-grid.height // CELL), -(-grid.width // CELL), len(scenes.legend)), dtype=np.int64)
        with reading_labels(files, scenes.legend, settings) as labels:
            for row in range(0, grid.height, CELL * 16):
                for col in range(0, grid.width, CELL * 16):
                    window = Window(row, col, min(CELL * 16, grid.height - row), min(CELL * 16, grid.width - col))
                    _count(counts, labels.read(window), window)
        found[files.name] = counts
    note("reading labels", len(labelled), len(labelled))
    return Truth(found)


@dataclass(frozen=True)
class Truth:
    """Where truth lies.

    Attributes:
        counts: scene name → (rows, columns, K) pixels of each class in each cell of 64 × 64 pixels.
    """

    counts: dict[str, npt.NDArray[np.int64]]

    def classes_in(self, scene: str, window: Window) -> npt.NDArray[np.int64]:
        """Return the pixels of each class (K,) in the cells that a window touches."""
        rows = slice(window.row // CELL, -(-window.stop_row // CELL))
        cols = slice(window.col // CELL, -(-window.stop_col // CELL))
        total: npt.NDArray[np.int64] = self.counts[scene][rows, cols].sum(axis=(0, 1))
        return total


def _count(counts: npt.NDArray[np.int64], label: npt.NDArray[np.uint8], window: Window) -> None:
    first_row, first_col = window.row // CELL, window.col // CELL
    for i in range(-(-label.shape[0] // CELL)):
        for j in range(-(-label.shape[1] // CELL)):
            cell = label[i * CELL : (i + 1) * CELL, j * CELL : (j + 1) * CELL]
            present = np.bincount(cell[cell != NO_TRUTH], minlength=counts.shape[2])
            counts[first_row + i, first_col + j] = present


def _sample(scenes: Sequence[SceneFiles], seed: int) -> npt.NDArray[np.generic]:
    generator = keyed_generator(seed, "statistics")
    areas = torch.tensor([float(s.scene.grid.height * s.scene.grid.width) for s in scenes])
    chosen = torch.multinomial(areas, SAMPLES, replacement=True, generator=generator).tolist()
    pieces = []
    for index in sorted(set(chosen)):
        grid = scenes[index].scene.grid
        with reading(scenes[index].scene) as reader:
            for _ in range(chosen.count(index)):
                height, width = min(SAMPLE_SIDE, grid.height), min(SAMPLE_SIDE, grid.width)
                u, v = torch.rand(2, generator=generator).tolist()
                row, col = int(u * (grid.height - height + 1)), int(v * (grid.width - width + 1))
                tile = reader.read(Window(row, col, height, width))
                pieces.append(tile.image[:, tile.valid])
    return np.concatenate(pieces, axis=1)
