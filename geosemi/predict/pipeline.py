"""The walk of a pixel: read → batch → forward → blend → finished rows. Reading runs ahead in a thread of its own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from geosemi.geo.scene import Scene, Tile
from geosemi.geo.window import starts
from geosemi.predict.ahead import ahead
from geosemi.predict.blend import Blend, Rows
from geosemi.predict.forward import Forward
from geosemi.predict.tiles import tiles_of

OnProgress = Callable[[int, int], None]
"""Told how many windows are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a scene is mapped.

    Attributes:
        tile: side of the windows in pixels.
        overlap: pixels that neighbouring windows share.
        classes: K.
        ignore: what nodata becomes in the mask.
        black: raw value a band that the network sees on nodata.
        confidence: whether the winner's probability is wanted.
    """

    tile: int
    overlap: int
    classes: int
    ignore: int
    black: tuple[float, ...]
    confidence: bool


def map_rows(scene: Scene, forward: Forward, cut: Cut, on_progress: OnProgress | None = None) -> Iterator[Rows]:
    """Yield all rows of a scene's mask from top to bottom.

    Windows without a valid pixel never reach the network.

    Raises:
        SceneUnreadable: the file is damaged somewhere.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    height, width = scene.grid.shape
    total = len(starts(height, cut.tile, cut.overlap)) * len(starts(width, cut.tile, cut.overlap))
    blend = Blend(
        scene.grid.shape, classes=cut.classes, tile=cut.tile, overlap=cut.overlap, ignore=cut.ignore,
        device=forward.device, confidence=cut.confidence,
    )  # fmt: skip
    tiles = ahead(tiles_of(scene, tile=cut.tile, overlap=cut.overlap, black=cut.black), depth=2 * forward.batch)
    for seen, group in _grouped(tiles, forward.batch):
        for tile, probability in zip(group, _answered(group, forward, cut.tile), strict=True):
            yield from blend.close(tile.window.row)
            inside = probability[:, : tile.window.height, : tile.window.width]
            blend.add(tile.window, inside, torch.from_numpy(tile.valid).to(forward.device))
        if on_progress is not None:
            on_progress(seen, total)
    yield from blend.close(height)


def _grouped(tiles: Iterator[Tile], size: int) -> Iterator[tuple[int, list[Tile]]]:
    """Yield how many tiles have been seen, and up to `size` of them that hold a valid pixel."""
    group: list[Tile] = []
    seen = 0
    for seen, tile in enumerate(tiles, start=1):
        if tile.valid.any():
            group.append(tile)
        if len(group) == size:
            yield seen, group
            group = []
    yield seen, group


def _answered(group: list[Tile], forward: Forward, side: int) -> Iterable[Tensor]:
    """Return probabilities (K, side, side) of each tile; the network sees them padded."""
    return forward([tile.padded(side, side) for tile in group]).softmax(dim=1) if group else ()
