"""A small part of a scene, mapped for good and thrown away: what one cannot know without trying it."""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from affine import Affine

from geosemi.geo.affines import composed
from geosemi.geo.grid import Grid
from geosemi.geo.scene import SceneReader, Tile
from geosemi.geo.unfinished import unfinished
from geosemi.geo.window import Window
from geosemi.geo.writer import RasterSet
from geosemi.predict.ahead import behind
from geosemi.predict.forward import Forward
from geosemi.predict.pipeline import OnProgress, map_rows
from geosemi.predict.task import Task
from geosemi.predict.tiles import View, blackened

SECONDS = 10.0  # that a trial may take, but for two windows, which it takes at least
# Windows that it takes at most, or batches, whichever is more. Six rows of four: the heap of a run grows until about
# the sixth row of windows (717 MB after three of them, 744 after six, 757 after fourteen, measured).
_WINDOWS, _BATCHES, _TALL = 24, 3, 1.5
_SHARES = (0.5, 0.25, 0.75, 0.0, 1.0)  # where in the list of windows pixels are looked for


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured.

    Attributes:
        windows: how many were mapped.
        each: seconds a window, with reading, stitching and writing.
        reading: seconds a window for reading alone.
        finishing: seconds a pixel for what comes after the last window.
        sizes: bytes a pixel of each raster, coarser levels and all.
        shape: (height, width) in pixels.
        peak: bytes, the most that this process ever held.
        device_peak: bytes on the device; 0 where that is the host.
        engine: what ran the network.
        batch: windows at once.
        notes: what a person should know, one sentence each.
    """

    windows: int
    each: float
    reading: float
    finishing: float
    sizes: tuple[float, ...]
    shape: tuple[int, int]
    peak: int
    device_peak: int
    engine: str
    batch: int
    notes: tuple[str, ...]


def try_out(task: Task, wanted: npt.NDArray[np.bool_], on_progress: OnProgress | None = None) -> Trial:
    """Map a few windows of a scene, by the code that maps all of it, into a temporary folder.

    Args:
        task: what is to be mapped.
        wanted: (rows, columns) of windows, True where something is asked for.
        on_progress: told (windows done, windows of the trial).

    Raises:
        GeosemiError: as `geosemi.predict.predict.predict_scene`.
    """
    seen = task.seen()
    with task.forward(seen) as forward, tempfile.TemporaryDirectory(prefix="geosemi-plan-") as folder:
        row, col, tile = _place(task, seen.view, wanted)
        view, taken = _part(task, seen.view, (row, col), _count(forward, tile))
        clock = _Clock(on_progress)
        out = Path(folder) / "mask.tif"
        layers = {out.with_name(f"{n}.tif"): layer for n, layer in enumerate(task.answers.layers)}
        with unfinished(out, {}) as work, RasterSet(layers, view.grid, work) as rasters:
            with behind(rasters.write, depth=2) as write:
                for rows in map_rows(view, forward, task.cut, task.answers, on_progress=clock):
                    write(rows.row, rows.layers)
            clock.stop()
            rasters.finish({})
        pixels = view.grid.height * view.grid.width
        device_peak = torch.cuda.max_memory_reserved(task.device) if task.device.type == "cuda" else 0
        return Trial(
            clock.windows, clock.each, taken.seconds / clock.windows, clock.since_stop / pixels,
            tuple(path.stat().st_size / pixels for path in layers), view.grid.shape, _peak(), device_peak,
            forward.engine, forward.batch, tuple(forward.notes),
        )  # fmt: skip


class _Clock:
    """Times windows by what is told of progress; the first ones fill the pipeline, and count only if all others do."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._tell = on_progress
        self._marks = [(0, time.perf_counter())]
        self._stop = 0.0

    def __call__(self, done: int, total: int) -> None:
        self._marks.append((done, time.perf_counter()))
        if self._tell is not None:
            self._tell(done, total)

    def stop(self) -> None:
        self._stop = time.perf_counter()

    @property
    def windows(self) -> int:
        return self._marks[-1][0]

    @property
    def each(self) -> float:
        done, begin = self._marks[1 if self._marks[1][0] < self.windows else 0]
        return (self._stop - begin) / (self.windows - done)

    @property
    def since_stop(self) -> float:
        return time.perf_counter() - self._stop


class _Part:
    """Reads a part of a scene, all of it as if it were valid, and takes the time."""

    def __init__(self, view: View, row: int, col: int) -> None:
        self._view = view
        self._row, self._col = row, col
        self._reader: SceneReader | None = None
        self.seconds = 0.0

    @contextmanager
    def reading(self) -> Iterator["_Part"]:
        with self._view.reading() as self._reader:
            yield self

    def read(self, window: Window) -> Tile:
        assert self._reader is not None
        begin = time.perf_counter()
        tile = blackened(self._reader.read(window.shifted(rows=self._row, cols=self._col)), self._view.black)
        self.seconds += time.perf_counter() - begin
        return Tile(tile.image, np.ones_like(tile.valid), window)


def _place(task: Task, view: View, wanted: npt.NDArray[np.bool_]) -> tuple[int, int, Tile]:
    """Return the number of a window in which most pixels are known, and its pixels."""
    down, across = task.cut.axes(*view.grid.shape)
    asked = np.argwhere(wanted)
    best: tuple[int, int, Tile] | None = None
    with view.reading() as reader:
        for share in _SHARES:
            row, col = asked[round(share * (len(asked) - 1))] if len(asked) else (0, 0)
            tile = reader.read(Window(down.starts[row], across.starts[col], down.tile, across.tile))
            if best is None or tile.valid.mean() > best[2].valid.mean():
                best = int(row), int(col), blackened(tile, view.black)
            if best[2].valid.mean() > 0.5:
                break
    assert best is not None
    return best


def _count(forward: Forward, tile: Tile) -> int:
    """Return how many windows can be tried in the time that there is."""
    seconds = _timed(forward, tile)
    if seconds < 0.1 * SECONDS:  # the first call may have set up a library
        seconds = _timed(forward, tile)
    most = max(_WINDOWS, _BATCHES * forward.batch)
    return min(most, max(2, int(SECONDS / seconds) * forward.batch))


def _timed(forward: Forward, tile: Tile) -> float:
    begin = time.perf_counter()
    forward([tile])[0, 0, 0, 0].item()  # a number cannot be had before a GPU is done
    return time.perf_counter() - begin


def _part(task: Task, view: View, place: tuple[int, int], count: int) -> tuple[View, _Part]:
    """Return a part of a scene around a window, about that many windows large."""
    down, across = task.cut.axes(*view.grid.shape)
    rows = min(len(down.starts), ceil(sqrt(_TALL * count)))
    cols = min(len(across.starts), ceil(count / rows))
    rows = min(len(down.starts), ceil(count / cols))
    row, height = _span(down.starts, down.tile, place[0], rows)
    col, width = _span(across.starts, across.tile, place[1], cols)
    part = _Part(view, row, col)
    grid = Grid(view.grid.crs, composed(view.grid.transform, Affine.translation(col, row)), height, width)
    return replace(view, grid=grid, reading=part.reading, wanted=None), part


def _span(starts: Sequence[int], tile: int, place: int, count: int) -> tuple[int, int]:
    """Return where `count` windows around one begin, and how many pixels they cover."""
    first = min(max(0, place - count // 2), len(starts) - count)
    return starts[first], starts[first + count - 1] + tile - starts[first]


def _peak() -> int:
    """Return the most memory that this program ever held; getrusage may count what started it (Linux)."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
