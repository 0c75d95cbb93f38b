"""From the painted surface to the picture: sun, shadow, skylight, air, lens and sensor."""

import math

import numpy as np

from painting.canvas import MARGIN, OVERSAMPLING, STEP, Array, Canvas, blur, smooth
from painting.regimes import Regime

_GAMMA = 2.2
_EXPOSURE = 1.16
_PENUMBRA = 0.35  # metres of height over which a shadow's edge fades


def photograph(canvas: Canvas, regime: Regime) -> np.ndarray:
    """Return the scene as (H, W, 3) uint8, 1 … 255: 0 is left for nodata."""
    linear = (np.clip(canvas.colour, 0.01, 1) ** _GAMMA) * _light(canvas, regime)
    linear = shrink(_crop(linear)) * np.float32(_EXPOSURE)
    air = (np.asarray(regime.air, np.float32) / 255) ** _GAMMA
    linear = linear * (1 - regime.haze) + air * regime.haze * 0.8
    seen = np.clip(blur(linear, 0.45), 0, None) ** (1 / _GAMMA)
    grey = seen.mean(axis=-1, keepdims=True)
    seen = grey + (seen - grey) * regime.saturation
    seen = seen + _sensor(canvas.rng, seen.shape)
    return np.clip(np.rint(seen * 255), 1, 255).astype(np.uint8)


def classes(canvas: Canvas) -> np.ndarray:
    """Return the class of each scene pixel (H, W) uint8: the one that covers most of it."""
    label = _crop(canvas.label)
    votes = np.stack([shrink((label == k).astype(np.float32)) for k in range(6)])
    votes += np.asarray([1, 3, 0, 2, 4, 1], np.float32)[:, None, None] * 0.01  # ties go to the thing on top
    return votes.argmax(axis=0).astype(np.uint8)


def shrink(image: Array) -> Array:
    """Average blocks of canvas pixels into scene pixels."""
    n = OVERSAMPLING
    return sum(image[i::n, j::n] for i in range(n) for j in range(n)) / np.float32(n * n)


def _crop(image: Array) -> Array:
    edge = round(MARGIN / STEP)
    return image[edge:-edge, edge:-edge]


def _light(canvas: Canvas, regime: Regime) -> Array:
    azimuth, elevation = math.radians(regime.azimuth), math.radians(regime.elevation)
    east, south = math.sin(azimuth), -math.cos(azimuth)
    upright = 1 / np.sqrt(canvas.slope_x**2 + canvas.slope_y**2 + 1)
    facing = (-canvas.slope_x * east - canvas.slope_y * south) / math.tan(elevation)
    direct = np.clip((1 + facing) * upright, 0, 2.2) * (1 - _shadow(canvas, east, south, math.tan(elevation)))
    open_sky = 0.5 + 0.5 * upright
    open_sky = open_sky * (1 - 0.4 * smooth(_walls(canvas.height), 0.1, 3.5))
    return direct[..., None] * np.asarray(regime.sun, np.float32) + open_sky[..., None] * np.asarray(
        regime.sky, np.float32
    )


def _shadow(canvas: Canvas, east: float, south: float, rise: float) -> Array:
    """Walk from every pixel towards the sun and see whether anything rises above the ray."""
    height = canvas.height
    deepest = np.zeros_like(height)
    stride = 0.5 * math.sqrt(2) * STEP * 2
    for step in range(1, int(float(height.max()) / rise / stride) + 2):
        reach = step * stride
        rows, cols = round(south * reach / STEP), round(east * reach / STEP)
        if abs(rows) >= height.shape[0] or abs(cols) >= height.shape[1]:
            break
        here, there = zip(*(_overlap(s, n) for s, n in zip((rows, cols), height.shape, strict=True)), strict=True)
        above = height[there] - height[here] - np.float32(reach * rise)
        np.maximum(deepest[here], above, out=deepest[here])
    return blur(smooth(deepest, 0.0, _PENUMBRA), 0.9)


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Slices of the pixels that have a neighbour `shift` away, and of those neighbours."""
    return slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))


def _walls(height: Array) -> Array:
    """Return how much higher the surroundings of a pixel are on average; it darkens the foot of walls and crowns."""
    return np.clip(blur(height, 6.0) - height, 0, None)


def _sensor(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Fine noise, mostly common to the three bands."""
    common = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
    return 0.004 * common + 0.0025 * rng.standard_normal(shape, dtype=np.float32)
