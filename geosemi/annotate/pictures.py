"""Tiles of a scene as pictures that a model can see: three bands, eight bits, a size that it takes without resizing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from geosemi.geo.bandnames import find_band
from geosemi.geo.scene import Scene, SceneReader, Tile
from geosemi.geo.window import Window, cover

RGB = npt.NDArray[np.uint8]
_SAMPLES, _SIDE = 4, 256  # windows along an axis, and their side, on which the range of values is measured
_PERCENTILES = (2.0, 98.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which values of each band are black and white.

    Attributes:
        low: one a band; shown as 0.
        high: one a band; shown as 255.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def measure(cls, reader: SceneReader, scene: Scene) -> "Stretch":
        """Return 0 and 255 for bytes, else the 2nd and 98th percentile of each band on windows all over the scene."""
        bands = len(scene.bands)
        if scene.dtype == "uint8":
            return cls((0.0,) * bands, (255.0,) * bands)
        values: list[list[npt.NDArray[np.float64]]] = [[] for _ in range(bands)]
        for window in _spread(*scene.grid.shape):
            tile = reader.read(window)
            for band, plane in enumerate(tile.image):
                values[band].append(plane[tile.valid].astype(np.float64))
        low, high = [], []
        for parts in values:
            known = np.concatenate(parts)
            first, last = np.percentile(known, _PERCENTILES) if len(known) else (0.0, 1.0)
            low.append(float(first))
            high.append(float(last) if last > first else float(first) + 1)
        return cls(tuple(low), tuple(high))

    def show(self, tile: Tile) -> RGB:
        """Return a picture (h, w, 3); nodata is black, one band is grey."""
        shape = (-1, 1, 1)
        low, high = np.reshape(self.low, shape), np.reshape(self.high, shape)
        if tile.image.dtype == np.uint8:
            seen = tile.image
        else:
            share = (tile.image.astype(np.float32) - low) / (high - low)
            seen = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
        seen = np.where(tile.valid, seen, np.uint8(0))
        return np.ascontiguousarray(np.moveaxis(seen if len(seen) == 3 else np.repeat(seen[:1], 3, axis=0), 0, -1))


def visible(scene: Scene, bands: Sequence[int | str] | None = None) -> Scene:
    """Return the scene with the bands that people see: those chosen, those named by the three colours, or the first.

    Raises:
        BandMismatch: a chosen band does not exist.
    """
    if bands is not None:
        return scene.select(bands)
    found = [find_band(colour, scene.bands) for colour in ("red", "green", "blue")]
    if all(place is not None for place in found):
        return scene.select([scene.indexes[place] for place in found if place is not None])
    return scene.select(scene.indexes[: 3 if len(scene.indexes) >= 3 else 1])


def tiles_of(scene: Scene, tile: int, overlap: int) -> list[Window]:
    """Return the tiles of a scene in row-major order."""
    return list(cover(*scene.grid.shape, tile, overlap))


def picture_shape(window: Window, longer: int, multiple: int) -> tuple[int, int]:
    """Return (height, width) of a tile's picture: its longer side as wanted, both a multiple of what a model takes."""
    scale = longer / max(window.shape)
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in window.shape)
    return height, width


def resized(rgb: RGB, shape: tuple[int, int]) -> RGB:
    """Return a picture (h, w, 3) at another (height, width): bicubic, averaged where it shrinks."""
    if rgb.shape[:2] == shape:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _spread(height: int, width: int) -> Iterator[Window]:
    # of a small scene the windows are all of it, each pixel once
    tall, wide = min(_SIDE, -(-height // _SAMPLES)), min(_SIDE, -(-width // _SAMPLES))
    rows = np.unique(np.linspace(0, height - tall, _SAMPLES).astype(int))
    cols = np.unique(np.linspace(0, width - wide, _SAMPLES).astype(int))
    for row in rows.tolist():
        for col in cols.tolist():
            yield Window(row, col, tall, wide)
