"""Boxes become class bits: tile by tile through a segmenter or filled as they are, and row by row to the writer."""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi.annotate.boxes import Box
from geosemi.annotate.pictures import RGB, Stretch
from geosemi.geo.commit import naming_disk
from geosemi.geo.scene import SceneReader, Tile
from geosemi.geo.unfinished import Unfinished
from geosemi.geo.window import Window

Bits = npt.NDArray[np.unsignedinteger]


class Refiner(Protocol):
    """Turns boxes on a picture into pixels."""

    @property
    def name(self) -> str:
        """Who it is, with the revision of its weights: part of the record."""

    def masks(self, rgb: RGB, boxes: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.bool_], float]]:
        """Yield a mask (h, w) and its predicted quality 0 … 1 for each box.

        Args:
            rgb: (h, w, 3) uint8, the pixels of the tile; embedded once for all boxes.
            boxes: (N, 4), left, top, right, bottom in pixels of the picture.
        """


@dataclass(frozen=True, slots=True)
class Drawn:
    """The class bits of a tile.

    Attributes:
        bits: (h, w).
        scores: quality of each box's mask, 0 … 1; empty where boxes are filled.
    """

    bits: Bits
    scores: tuple[float, ...] = ()


def fill(boxes: Sequence[Box], window: Window, dtype: Any) -> Bits:
    """Return class bits (h, w) of a window: a pixel is in a box where its centre is."""
    bits = np.zeros(window.shape, dtype=dtype)
    for box in boxes:
        rows = _span(box.top - window.row, box.bottom - window.row)
        cols = _span(box.left - window.col, box.right - window.col)
        bits[rows, cols] |= bits.dtype.type(1 << box.id)
    return bits


def refine(boxes: Sequence[Box], tile: Tile, stretch: Stretch, refiner: Refiner, dtype: Any) -> Drawn:
    """Return class bits (h, w) of a tile, and how good each mask is said to be."""
    bits = np.zeros(tile.window.shape, dtype=dtype)
    scores = []
    if boxes:
        window = tile.window
        corner = np.array([window.col, window.row] * 2, dtype=np.float32)
        edges = np.array([box.edges for box in boxes], dtype=np.float32) - corner
        for box, (mask, score) in zip(boxes, refiner.masks(stretch.show(tile), edges), strict=True):
            bits |= mask.astype(bits.dtype) << bits.dtype.type(box.id)
            scores.append(round(float(score), 4))
    return Drawn(bits, tuple(scores))


@dataclass
class Canvas:
    """Draws all tiles of a scene, and gives rows of class bits from top to bottom.

    Attributes:
        reader: gives the visible bands.
        stretch: what is black and white.
        refiner: makes masks of boxes, or None to fill them.
        work: keeps the masks of tiles, which take long.
        dtype: of the class bits.
        hidden: whether pixels can be nodata.
    """

    reader: SceneReader
    stretch: Stretch
    refiner: Refiner | None
    work: Unfinished
    dtype: Any
    hidden: bool

    def rows(
        self,
        tiles: Sequence[Window],
        boxes: Sequence[Sequence[Box]],
        shape: tuple[int, int],
        on_tile: Callable[[int], None],
    ) -> Iterator[tuple[int, Bits, list[tuple[float, ...]]]]:
        """Yield (first row, class bits (h, W), scores of the tiles that were drawn for them).

        Args:
            tiles: in row-major order.
            boxes: those of each tile; without a refiner, all that touch it.
            shape: (height, width) of the scene.
            on_tile: told how many tiles are drawn.
        """
        kept = {number: tuple(scores) for number, scores in self.work.done}
        strip = np.zeros((0, shape[1]), dtype=self.dtype)
        begin, number = 0, 0
        bands = [list(band) for _, band in groupby(tiles, key=lambda window: window.row)]
        for band, following in zip(bands, [*bands[1:], None], strict=True):
            strip = np.pad(strip, ((0, band[0].stop_row - begin - len(strip)), (0, 0)))
            scores = []
            for window in band:
                drawn = self._tile(number, window, boxes[number], kept.get(number))
                strip[window.row - begin : window.stop_row - begin, window.col : window.stop_col] |= drawn.bits
                scores.append(drawn.scores)
                number += 1
                on_tile(number)
            stop = shape[0] if following is None else following[0].row
            yield begin, strip[: stop - begin], scores
            strip, begin = strip[stop - begin :], stop

    def _tile(self, number: int, window: Window, boxes: Sequence[Box], scores: tuple[float, ...] | None) -> Drawn:
        if self.refiner is None:
            bits = fill(boxes, window, self.dtype) if boxes else np.zeros(window.shape, dtype=self.dtype)
            return Drawn(self._visible(bits, self.reader.read(window)) if self.hidden and boxes else bits)
        path = self.work.folder / f"tile-{number}"
        if scores is not None and (found := _load(path, window, self.dtype)) is not None:
            return Drawn(found, scores)
        if not boxes:
            return Drawn(np.zeros(window.shape, dtype=self.dtype))
        tile = self.reader.read(window)
        drawn = refine(boxes, tile, self.stretch, self.refiner, self.dtype)
        drawn = Drawn(self._visible(drawn.bits, tile), drawn.scores)
        naming_disk(path, lambda: path.write_bytes(zlib.compress(drawn.bits.tobytes(), 1)))
        self.work.record([number, list(drawn.scores)])
        return drawn

    def _visible(self, bits: Bits, tile: Tile) -> Bits:
        shown: Bits = np.where(tile.valid, bits, bits.dtype.type(0))
        return shown


def _load(path: Path, window: Window, dtype: Any) -> Bits | None:
    """Return the class bits of a tile that was drawn before, or None where the disk lost them."""
    try:
        return np.frombuffer(zlib.decompress(path.read_bytes()), dtype=dtype).reshape(window.shape)
    except (OSError, zlib.error, ValueError):
        return None


def _span(begin: float, end: float) -> slice:
    """Return the pixels whose centres lie in begin ≤ x < end."""
    return slice(max(0, math.ceil(begin - 0.5)), max(0, math.ceil(end - 0.5)))


def digest_of(boxes: Sequence[Sequence[Box]]) -> str:
    """Return a checksum of what is drawn."""
    content = json.dumps([[(b.id, *b.edges) for b in tile] for tile in boxes])
    return f"{zlib.crc32(content.encode()):08x}"
