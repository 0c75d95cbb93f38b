"""The walk of a pixel: read → batch → forward → stitch → finished rows. Reading runs ahead in a thread of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from geosemi.geo.scene import Tile
from geosemi.predict.ahead import ahead
from geosemi.predict.answers import Answers
from geosemi.predict.forward import Forward
from geosemi.predict.stitch import Axis, Rolling, Rows, Rule, make_stitch, windows_for
from geosemi.predict.tiles import View, tiles_of

OnProgress = Callable[[int, int], None]
"""Told how many windows are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a scene is cut into windows, and what becomes of their overlap.

    Attributes:
        tile: side of the windows in pixels.
        overlap: pixels that neighbouring windows share at least.
        rule: how they are stitched.
    """

    tile: int
    overlap: int
    rule: Rule

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """Return the windows down and across a scene."""
        down, across = (Axis.of(n, self.tile, self.overlap, self.rule) for n in (height, width))
        return down, across


def map_rows(
    view: View,
    forward: Forward,
    cut: Cut,
    answers: Answers,
    *,
    rows: range | None = None,
    begin: int = 0,
    on_progress: OnProgress | None = None,
) -> Iterator[Rows]:
    """Yield rows of a scene.

    Windows without a valid pixel never reach the network, nor do those that have no say on these rows.

    Args:
        view: the scene.
        forward: the network.
        cut: how the scene is cut into windows.
        answers: what is made of a pixel.
        rows: that this call answers for; None for all.
        begin: the first of them that was not done before.
        on_progress: told (windows done, windows in all) of these rows.

    Raises:
        SceneUnreadable: the file is damaged somewhere.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    down, across = axes = cut.axes(*view.grid.shape)
    rows = range(down.length) if rows is None else rows
    wanted = range(max(begin, rows.start), rows.stop)
    if not wanted:
        return
    every, rest = (windows_for(down, cut.rule, part) for part in (rows, wanted))
    total, done = (len(part) * len(across.starts) for part in (every, range(every.start, rest.start)))
    stitch = make_stitch(cut.rule, axes, classes=len(answers.legend), device=forward.device)
    rolling = Rolling(stitch, answers, wanted, rest.start)
    starts = down.starts[rest.start : rest.stop]
    tiles = tiles_of(view, starts, across.starts, height=down.tile, width=across.tile)
    for group in _grouped(ahead(tiles, depth=2 * forward.batch), forward):
        done += len(group)
        while group:  # nothing may hold the last answers while the next are computed: they would take other room
            yield from rolling.add(*group.pop(0))
        if on_progress is not None:
            on_progress(done, total)


def _grouped(tiles: Iterator[Tile], forward: Forward) -> Iterator[list[tuple[Tile, Tensor | None]]]:
    """Yield tiles in order with their logits (K, S, S), or None where no pixel is valid; so many that a batch fills."""
    group: list[Tile] = []
    valid: list[bool] = []
    for tile in tiles:
        group.append(tile)
        valid.append(bool(tile.valid.any()))
        if sum(valid) == forward.batch:
            yield _answered(group, valid, forward)
            group, valid = [], []
    if group:
        yield _answered(group, valid, forward)


def _answered(group: list[Tile], valid: list[bool], forward: Forward) -> list[tuple[Tile, Tensor | None]]:
    seen = [tile for tile, known in zip(group, valid, strict=True) if known]
    logits = iter(forward(seen)) if seen else iter(())
    return [(tile, next(logits) if known else None) for tile, known in zip(group, valid, strict=True)]
