"""Scenes with damaged blocks, mapped all the same: what cannot be decoded is nodata, and is written down."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geosemi.errors import SceneUnreadable
from geosemi.geo.scene import RasterReader, Tile
from geosemi.geo.window import Window


@dataclass(frozen=True, slots=True, order=True)
class BadBlock:
    """A block that cannot be decoded.

    Attributes:
        row: first row of the block, as far as it lies in the scene.
        col: first column.
        height: rows.
        width: columns.
        cause: what the decoder says.
    """

    row: int
    col: int
    height: int
    width: int
    cause: str

    @property
    def window(self) -> Window:
        """Where it lies."""
        return Window(self.row, self.col, self.height, self.width)


class ForgivingReader:
    """Tiles of a scene in which damaged blocks are not valid. One per thread, as the reader it wraps.

    Where a window cannot be decoded it is halved along the borders of blocks until the damage is a block: a few bad
    blocks cost a few dozen reads, and a sound file none. Put a `ResampledReader` around it, not into it.

    Attributes:
        bad: the damaged blocks met so far, each once.
    """

    def __init__(self, reader: RasterReader) -> None:
        self._reader = reader
        self._scene = reader.scene
        self._high, self._wide = reader.block_shape
        self._bad: dict[tuple[int, int], BadBlock] = {}

    @property
    def bad(self) -> tuple[BadBlock, ...]:
        """The damaged blocks met so far, from top to bottom."""
        return tuple(sorted(self._bad.values()))

    def read(self, window: Window) -> Tile:
        """Return the pixels of a window; where blocks are damaged, the image is 0 and not valid."""
        if any(block.window.intersection(window) for block in self._bad.values()):
            return self._halved(window, None)  # what is known to be bad is not tried again
        try:
            return self._reader.read(window)
        except SceneUnreadable as error:
            return self._halved(window, error)

    def _halved(self, window: Window, error: SceneUnreadable | None) -> Tile:
        down = _border(window.row, window.stop_row, self._high)
        across = _border(window.col, window.stop_col, self._wide)
        if down is None and across is None:
            return self._one(window, error)
        if across is None or (down is not None and window.height / self._high >= window.width / self._wide):
            assert down is not None
            parts = [Window(window.row, window.col, down - window.row, window.width),
                     Window(down, window.col, window.stop_row - down, window.width)]  # fmt: skip
            return _joined([self.read(part) for part in parts], window, axis=0)
        parts = [Window(window.row, window.col, window.height, across - window.col),
                 Window(window.row, across, window.height, window.stop_col - across)]  # fmt: skip
        return _joined([self.read(part) for part in parts], window, axis=1)

    def _one(self, window: Window, error: SceneUnreadable | None) -> Tile:
        """Answer for a window within one block, which is damaged."""
        place = (window.row // self._high, window.col // self._wide)
        if place not in self._bad:
            grid = self._scene.grid
            row, col = place[0] * self._high, place[1] * self._wide
            height, width = min(self._high, grid.height - row), min(self._wide, grid.width - col)
            self._bad[place] = BadBlock(row, col, height, width, "" if error is None else error.message)
        shape = (len(self._scene.indexes), *window.shape)
        return Tile(np.zeros(shape, self._scene.dtype), np.zeros(window.shape, bool), window)


def _border(begin: int, stop: int, size: int) -> int | None:
    """Return the border between blocks nearest to the middle of `begin … stop-1`, or None where there is none."""
    border = round((begin + stop) / 2 / size) * size
    for candidate in (border, border - size, border + size):
        if begin < candidate < stop:
            return candidate
    return None


def _joined(tiles: Sequence[Tile], window: Window, *, axis: int) -> Tile:
    image = np.concatenate([tile.image for tile in tiles], axis=axis + 1)
    return Tile(image, np.concatenate([tile.valid for tile in tiles], axis=axis), window)


def report_text(blocks: Sequence[BadBlock], *, shown: int = 5) -> str:
    """Return what was left out, in one sentence; empty where nothing was."""
    if not blocks:
        return ""
    places = [f"rows {b.row}–{b.window.stop_row - 1}, columns {b.col}–{b.window.stop_col - 1}" for b in blocks[:shown]]
    more = f"; and {len(blocks) - shown} more" if len(blocks) > shown else ""
    count = "1 damaged block is" if len(blocks) == 1 else f"{len(blocks)} damaged blocks are"
    return f"{count} nodata in the mask: {'; '.join(places)}{more}"


def report_json(scene: Path | str, blocks: Sequence[BadBlock]) -> str:
    """Return what was left out as JSON: `scene`, `pixels`, and `blocks` with row, col, height, width, cause."""
    listed: list[dict[str, Any]] = [
        {"row": b.row, "col": b.col, "height": b.height, "width": b.width, "cause": b.cause} for b in blocks
    ]
    content = {"scene": str(scene), "pixels": sum(b.height * b.width for b in blocks), "blocks": listed}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
