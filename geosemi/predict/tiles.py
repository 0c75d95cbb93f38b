"""Tiles of a scene from top to bottom, each pixel read from the file once."""

from collections.abc import Generator, Sequence

import numpy as np

from geosemi.geo.scene import Scene, SceneReader, Tile, reading
from geosemi.geo.window import Window, starts


def tiles_of(scene: Scene, *, tile: int, overlap: int, black: Sequence[float]) -> Generator[Tile, None, None]:
    """Yield the tiles of `geosemi.geo.window.cover` in row-major order, at most `tile` pixels on a side.

    Args:
        scene: what to read.
        tile: side of the windows.
        overlap: of neighbouring windows.
        black: raw value a band that stands in for nodata, as in training.
    """
    with reading(scene) as reader:
        for band in bands_of(reader, scene.grid.shape, tile=tile, overlap=overlap):
            seen = _blackened(band, black)
            for col in starts(scene.grid.width, tile, overlap):
                yield _cut(seen, slice(None), slice(col, col + tile))


def bands_of(reader: SceneReader, shape: tuple[int, int], *, tile: int, overlap: int) -> Generator[Tile, None, None]:
    """Yield full-width tiles, one for each row of windows; what two of them share is not read again.

    PNG, JPEG and TIFFs in strips are decoded from the top only: reading a window twice would decode all above it twice.
    """
    height, width = shape
    kept: Tile | None = None
    for row in starts(height, tile, overlap):
        stop = min(row + tile, height)
        first = row if kept is None else kept.window.stop_row
        fresh = reader.read(Window(first, 0, stop - first, width))
        if kept is None or kept.window.stop_row == row:
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
    image = np.concatenate([above.image, below.image], axis=1)
    return Tile(image, np.concatenate([above.valid, below.valid]), window)


def _blackened(tile: Tile, black: Sequence[float]) -> Tile:
    """Replace nodata; a nodata value of -9999 would colour all that the network sees beside it."""
    if tile.valid.all():
        return tile
    fill = np.asarray(black).astype(tile.image.dtype)[:, None, None]
    return Tile(np.where(tile.valid, tile.image, fill), tile.valid, tile.window)
