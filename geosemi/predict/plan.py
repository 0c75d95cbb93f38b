"""What mapping a scene will take, before it is mapped: windows, memory, time, bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.geo.blocks import BLOCK
from geosemi.geo.commit import require_writable
from geosemi.geo.grid import Grid
from geosemi.geo.pyramid import level_shapes
from geosemi.geo.scene import Place
from geosemi.geo.window import Window
from geosemi.models.bundle import Bundle
from geosemi.predict.answers import Extra
from geosemi.predict.bands import bands_of
from geosemi.predict.buffers import buffers, stitched
from geosemi.predict.pipeline import OnProgress
from geosemi.predict.settings import PredictSettings
from geosemi.predict.stitch import Axis
from geosemi.predict.task import Task
from geosemi.predict.trial import Trial, try_out

_GROWN, _HEAD = 1.01, 2**16  # noise grows by deflate's and our frames; tags and the table of classes


@dataclass(frozen=True, slots=True)
class Plan:
    """What mapping a scene will take.

    Attributes:
        scene: its name.
        grid: of the scene, and of what is written.
        seen: grid of what the network sees; another one where the scene is resampled.
        down: windows from top to bottom.
        across: windows from left to right.
        skipped: (rows, columns) of windows, True where nothing is asked for; windows of nodata, which are skipped too,
            show only when they are read.
        devices: what it runs on, a process each.
        memory: bytes that the processes will hold at their fullest, together.
        growing: what part of it grows with the scene's width.
        device_memory: bytes on each device; 0 where that is the host.
        seconds: about how long it takes.
        size: bytes that will be written, about.
        limit: bytes that will be written at most.
        trial: what was measured on some of the windows.
        warnings: what a person should know, one sentence each.
    """

    scene: str
    grid: Grid
    seen: Grid
    down: Axis
    across: Axis
    skipped: npt.NDArray[np.bool_]
    devices: tuple[str, ...]
    memory: int
    growing: int
    device_memory: int
    seconds: float
    size: int
    limit: int
    trial: Trial
    warnings: tuple[str, ...]


def plan_scene(
    bundle: Bundle,
    scene: Place,
    settings: PredictSettings | None = None,
    extras: Sequence[Extra] = (),
    *,
    tile_grid: Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Tell what `predict_scene` will take, from the sizes of its buffers and from a trial on a few windows.

    Args:
        bundle: the model.
        scene: as `predict_scene` takes it.
        settings: how to cut and what to run on.
        extras: what is to be written besides the mask.
        tile_grid: a `.gpkg` to which the windows are written.
        overwrite: replace an existing tile grid.
        on_progress: told (windows done, windows of the trial).

    Raises:
        OutputError: the tile grid exists or cannot be written.
        GeosemiError: as `predict_scene`.
    """
    if tile_grid is not None:
        require_writable(tile_grid, overwrite=overwrite)
    task = Task.of(bundle, scene, settings, extras)
    seen = task.checked.grid
    down, across = task.cut.axes(*seen.shape)
    skipped = _skipped(task, down, across)
    plan = _plan(task, skipped, try_out(task, ~skipped, on_progress))
    if tile_grid is not None:
        # after the trial: geopandas would count as memory of the run
        from geosemi.predict.tilegrid import write_tile_grid  # noqa: PLC0415

        write_tile_grid(
            tile_grid, seen, down.starts, across.starts, shape=(down.tile, across.tile), skipped=skipped,
            overwrite=overwrite,
        )  # fmt: skip
    return plan


def _plan(task: Task, skipped: npt.NDArray[np.bool_], trial: Trial) -> Plan:
    checked, seen = task.checked, task.checked.grid
    down, across = task.cut.axes(*seen.shape)
    pixels = checked.scene.grid.height * checked.scene.grid.width
    growing = buffers(task, seen.width)
    on_device = 0
    if trial.device_peak:
        small = task.cut.axes(*trial.shape)
        on_device = trial.device_peak + stitched(task, down, across) - stitched(task, *small)
    left_out = int(skipped.sum())
    processes = len(bands_of(checked.scene.grid.height, len(task.devices)))
    seconds = (skipped.size - left_out) * trial.each + left_out * trial.reading
    if checked.metres is not None and checked.scene.may_have_nodata:
        seconds += skipped.size * trial.reading  # nodata is hidden on the scene's own pixels, which are read again
    seconds = seconds / processes + pixels * trial.finishing
    return Plan(
        checked.scene.path.name, checked.scene.grid, seen, down, across, skipped,
        tuple(map(str, task.devices[:processes])), processes * (trial.peak + growing - buffers(task, trial.shape[1])),
        processes * growing, on_device, seconds,
        int(pixels * sum(trial.sizes)), _limit(task), trial, (*checked.warnings, *trial.notes),
    )  # fmt: skip


def _limit(task: Task) -> int:
    """Return the size of the rasters if nothing in them could be compressed; blocks at the rim are whole ones."""
    blocks = sum(-(-h // BLOCK) * -(-w // BLOCK) for h, w in level_shapes(*task.checked.scene.grid.shape, BLOCK))
    layers = task.answers.layers
    pixel = sum(len(layer.bands) * np.dtype(layer.dtype).itemsize for layer in layers)
    return int(blocks * BLOCK**2 * pixel * _GROWN) + len(layers) * _HEAD


def _skipped(task: Task, down: Axis, across: Axis) -> npt.NDArray[np.bool_]:
    """Return which windows hold no pixel of the area of interest, (rows, columns)."""
    found = np.zeros((len(down.starts), len(across.starts)), dtype=bool)
    inside = task.seen().view.wanted
    if inside is not None:
        for number, row in enumerate(down.starts):
            band = inside(Window(row, 0, down.tile, across.length))
            found[number] = [not band[:, col : col + across.tile].any() for col in across.starts]
    return found
