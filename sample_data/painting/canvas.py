"""The surface that everything is painted on: colour, height, slope and class of every half pixel.

Coordinates are metres from the scene's upper left corner, x to the east and y to the south. The canvas is wider than
the scene on every side, so that things outside throw their shadows in and nothing ends at the edge. It has twice the
scene's resolution, which is where smooth edges come from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # of floats
Colour = tuple[float, float, float]

PIXEL = 0.25  # metres
OVERSAMPLING = 2
STEP = PIXEL / OVERSAMPLING
MARGIN = 12.0  # metres painted around the scene

ROAD, BUILDING, GRASS, TREE, CAR, WATER = range(6)

# wavelengths in metres, and how fast the power falls with frequency
_NOISES = {
    "grain": (0.9, 0.25, 0.3),
    "fine": (3.0, 0.25, 1.0),
    "medium": (14.0, 1.2, 1.4),
    "coarse": (60.0, 5.0, 1.6),
}


@dataclass(frozen=True)
class Patch:
    """A rectangle of the canvas with the coordinates of its pixels: x is (1, w), y is (h, 1)."""

    rows: slice
    cols: slice
    x: Array
    y: Array

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return (self.y.shape[0], self.x.shape[1])


class Canvas:
    """Colour (h, w, 3) in 0 … 1, height in metres, slopes, class and what is already built on."""

    def __init__(self, rng: np.random.Generator, *, height: float, width: float) -> None:
        self.rng = rng
        self.height_m, self.width_m = height, width
        rows, cols = (round((side + 2 * MARGIN) / STEP) for side in (height, width))
        self.xs = (((np.arange(cols) + 0.5) * STEP) - MARGIN).astype(np.float32)
        self.ys = (((np.arange(rows) + 0.5) * STEP) - MARGIN).astype(np.float32)
        self.colour = np.zeros((rows, cols, 3), np.float32)
        self.height = np.zeros((rows, cols), np.float32)
        self.slope_x = np.zeros((rows, cols), np.float32)
        self.slope_y = np.zeros((rows, cols), np.float32)
        self.label = np.full((rows, cols), GRASS, np.uint8)
        self.taken = np.zeros((rows, cols), bool)
        self._noises = {kind: fractal(rng, (rows, cols), *spec) for kind, spec in _NOISES.items()}

    @property
    def whole(self) -> Patch:
        """All of the canvas."""
        return Patch(slice(0, len(self.ys)), slice(0, len(self.xs)), self.xs[None, :], self.ys[:, None])

    def around(self, x: float, y: float, radius: float) -> Patch | None:
        """Return the square of half side `radius` around a point, or None if it lies outside."""
        rows, cols = (
            slice(max(0, int((c - radius + MARGIN) / STEP)), min(n, int((c + radius + MARGIN) / STEP) + 1))
            for c, n in ((y, len(self.ys)), (x, len(self.xs)))
        )
        if rows.stop <= rows.start or cols.stop <= cols.start:
            return None
        return Patch(rows, cols, self.xs[None, cols], self.ys[rows, None])

    def noise(self, kind: str, patch: Patch) -> Array:
        """Return noise of mean 0 and deviation 1 for a patch, another one each time."""
        field = self._noises[kind]
        rows, cols = (
            (np.arange(n) + self.rng.integers(size)) % size for n, size in zip(patch.shape, field.shape, strict=True)
        )
        return field[np.ix_(rows, cols)]

    def tint(self, patch: Patch, alpha: Array, colour: Array | Colour) -> None:
        """Blend a colour over a patch."""
        cover = alpha[..., None]
        target = self.colour[patch.rows, patch.cols]
        target += (np.asarray(colour, np.float32) - target) * cover

    def build(
        self,
        patch: Patch,
        alpha: Array,
        colour: Array | Colour,
        *,
        label: int,
        height: Array | float = 0.0,
        slope: tuple[Array | float, Array | float] = (0.0, 0.0),
    ) -> None:
        """Put a thing on a patch: its colour is blended, the rest replaced where it covers half a pixel or more."""
        self.tint(patch, alpha, colour)
        hard = alpha >= 0.5
        for target, value in (
            (self.label, label),
            (self.height, height),
            (self.slope_x, slope[0]),
            (self.slope_y, slope[1]),
        ):
            view = target[patch.rows, patch.cols]
            view[hard] = np.broadcast_to(value, hard.shape)[hard]

    def is_free(self, patch: Patch, mask: npt.NDArray[np.bool_]) -> bool:
        """Tell whether nothing stands on the masked pixels of a patch yet."""
        return not bool((self.taken[patch.rows, patch.cols] & mask).any())

    def take(self, patch: Patch, mask: npt.NDArray[np.bool_]) -> None:
        """Mark the masked pixels of a patch as built on."""
        self.taken[patch.rows, patch.cols] |= mask


def cover(distance: Array) -> Array:
    """Turn a signed distance in metres (negative inside) into coverage 0 … 1, smooth over one canvas pixel."""
    return np.clip(0.5 - distance / STEP, 0, 1)


def smooth(value: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(first: Array | Colour, second: Array | Colour, share: Array) -> Array:
    """Blend two colours by a share (h, w) of the second."""
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return a + (b - a) * share[..., None]


def fractal(rng: np.random.Generator, shape: tuple[int, int], largest: float, smallest: float, power: float) -> Array:
    """Return periodic noise with wavelengths (metres) between two limits, mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape).astype(np.float32))
    frequency = np.hypot(np.fft.fftfreq(shape[0], STEP)[:, None], np.fft.rfftfreq(shape[1], STEP)[None, :])
    frequency[0, 0] = 1e-9
    gain = np.where((frequency > 1 / largest) & (frequency < 1 / smallest), frequency**-power, 0)
    field = np.fft.irfft2(spectrum * gain, s=shape)
    return (field / field.std()).astype(np.float32)


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur of the first two axes; `sigma` in pixels."""
    reach = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, pad, mode="edge")
        n = image.shape[axis]
        image = sum(np.float32(k) * np.take(padded, range(i, i + n), axis) for i, k in enumerate(kernel))
    return image
