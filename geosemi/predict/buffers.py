"""The memory that grows with a scene's width, as a sum over what is held at once; its height is nowhere in it."""

import numpy as np

from geosemi.geo.blocks import BLOCK
from geosemi.geo.resample import STRIP, ratio_of
from geosemi.predict.stitch import Axis
from geosemi.predict.task import Task


def buffers(task: Task, width: int) -> int:
    """Return the bytes of host memory that mapping a scene of that width holds at its fullest, beyond the network's.

    Args:
        task: what is to be mapped.
        width: of what the network sees, in pixels.
    """
    seen = task.checked.grid
    down, across = task.cut.axes(seen.height, width)
    host = _answers(task, down, width) + _strips(task, down, width)
    return host + (stitched(task, down, across) if task.device.type == "cpu" else 0)


def stitched(task: Task, down: Axis, across: Axis) -> int:
    """Return the bytes that stitching holds on the device: rows of votes shared with the next row of windows."""
    if task.cut.rule == "centre":
        return 0
    deepest = max(begin + down.tile - stop for begin, stop in zip(down.starts, down.bounds[1:], strict=True))
    return 4 * len(task.bundle.card.legend) * deepest * across.length


def _strips(task: Task, down: Axis, width: int) -> int:
    """Rows of the scene: those being read, those of before, and both joined; copies where pixels are hidden."""
    scene = task.checked.scene
    bands, size = len(task.bundle.card.bands), np.dtype(scene.dtype).itemsize
    pixel = bands * size + 1
    copies = 1.0
    if len(down.starts) > 1:
        copies += 1 + (down.starts[1] - down.starts[0]) / down.tile
    if scene.may_have_nodata:
        copies += 1
    held = copies * down.tile * width * pixel
    if task.settings.aoi is not None:
        held += 3 * down.tile * width
    if task.checked.grid.shape != scene.grid.shape:  # a strip of the scene in float, weighed tap by tap
        ratio = max(1.0, ratio_of(scene.grid, task.checked.grid))
        # the first strip is cut before the number of bands is known
        held += min(down.tile * width * ratio**2, STRIP) * bands * (size + 3 * (4 if size <= 2 else 8))
    return int(held)


def _answers(task: Task, down: Axis, width: int) -> int:
    """Finished rows: one being filled, two on their way to the writer, who gathers blocks and counts classes."""
    layers = task.answers.layers
    pixel = sum(len(layer.bands) * (2 if layer.dtype == "float16" else 1) for layer in layers)
    rows = max(stop - begin for begin, stop in zip(down.bounds, down.bounds[1:], strict=False))
    counted = 8  # bytes that numpy's bincount makes of one
    return 3 * rows * width * pixel + BLOCK * width * (pixel + counted)
