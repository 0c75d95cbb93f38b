"""Tiles of a scene from top to bottom, each pixel read from the file once."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geosemi.geo.grid import Grid
from geosemi.geo.roomy import roomy
from geosemi.geo.scene import SceneReader, Tile
from geosemi.geo.window import Window


@dataclass(frozen=True, slots=True)
class View:
    """A scene as the network sees it.

    Attributes:
        grid: of the pixels that are mapped.
        reading: opens a reader of these pixels, in the thread that reads.
        black: raw value a band that stands in for nodata, as in training.
        wanted: tells of a window which pixels (h, w) are asked for; None for all.
    """

    grid: Grid
    reading: Callable[[], AbstractContextManager[SceneReader]]
    black: Sequence[float]
    wanted: Callable[[Window], npt.NDArray[np.bool_]] | None = None


def tiles_of(
    view: View, rows: Sequence[int], cols: Sequence[int], *, height: int, width: int
) -> Generator[Tile, None, None]:
    """Yield tiles in row-major order. A pixel is valid in them where it is known and asked for.

    Args:
        view: what to read.
        rows: first rows of the windows, rising.
        cols: first columns.
        height: of the windows.
        width: of the windows.
    """
    with view.reading() as reader:
        for band in bands_of(reader, rows, height=height, width=view.grid.width):
            seen = blackened(band, view.black)
            if view.wanted is not None:
                seen = Tile(seen.image, seen.valid & view.wanted(seen.window), seen.window)
            for col in cols:
                yield _cut(seen, slice(None), slice(col, col + width))


def bands_of(reader: SceneReader, rows: Sequence[int], *, height: int, width: int) -> Generator[Tile, None, None]:
    """Yield full-width tiles of a height, one for each row of windows; what two of them share is not read again.

    PNG, JPEG and TIFFs in strips are decoded from the top only: reading a window twice would decode all above it twice.
    """
    kept: Tile | None = None
    for row in rows:
        first = row if kept is None else max(row, kept.window.stop_row)
        fresh = reader.read(Window(first, 0, row + height - first, width))
        if kept is None or first == row:
            kept = fresh
        else:
            kept = _joined(_cut(kept, slice(row - kept.window.row, None), slice(None)), fresh)
        yield kept


def _cut(tile: Tile, rows: slice, cols: slice) -> Tile:
    image, valid = tile.image[:, rows, cols], tile.valid[rows, cols]
    window = tile.window.shifted(rows=rows.start or 0, cols=cols.start or 0)
    return Tile(image, valid, Window(window.row, window.col, *valid.shape))


def _joined(above: Tile, below: Tile) -> Tile:
    window = Window(above.window.row, 0, above.window.height + below.window.height, above.window.width)
    image = roomy((above.image.shape[0], *window.shape), above.image.dtype)
    np.concatenate([above.image, below.image], axis=1, out=image)
    valid = roomy(window.shape, bool)
    np.concatenate([above.valid, below.valid], out=valid)
    return Tile(image, valid, window)


def blackened(tile: Tile, black: Sequence[float]) -> Tile:
    """Replace nodata; a nodata value of -9999 would colour all that the network sees beside it."""
    if tile.valid.all():
        return tile
    fill = np.asarray(black).astype(tile.image.dtype)[:, None, None]
    return Tile(np.where(tile.valid, tile.image, fill), tile.valid, tile.window)
