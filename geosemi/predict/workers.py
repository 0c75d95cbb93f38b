"""Several processes map bands of one scene, each on a device of its own.

The bytes are those of one process with as many threads.

What a process needs it makes anew from names: the model from its file, the scene from its place. It tells of its
progress through a pipe, and looks there whether it should stop. A process whose parent died finds the pipe closed, and
ends too; until then the lock on its folder makes another run wait.
"""

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from geosemi.errors import ConfigError, GeosemiError, Interrupted, ResourceError
from geosemi.geo.arrays import Array
from geosemi.geo.gcps import ControlPoints
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer
from geosemi.geo.scene import Place
from geosemi.geo.unfinished import Unfinished, folder_of, unfinished
from geosemi.geo.writer import RasterSet
from geosemi.models.bundle import BUNDLE, Bundle
from geosemi.predict.answers import Extra
from geosemi.predict.bands import BandFacts, bands_of, map_band
from geosemi.predict.pipeline import OnProgress
from geosemi.predict.settings import PredictSettings
from geosemi.predict.task import Task

_GRACE = 60.0  # seconds in which a process is to end its window and its files


@dataclass(frozen=True, slots=True)
class Band:
    """What one process is to do.

    Attributes:
        bundle: file of the model.
        scene: where the scene is.
        settings: how; its device is one.
        extras: what is wanted besides the classes.
        layers: final name → what it means.
        grid: of the scene.
        rows: of the scene.
        name: of its unfinished work.
        threads: of torch, on a CPU.
    """

    bundle: Path
    scene: Place
    settings: PredictSettings
    extras: tuple[Extra, ...]
    layers: Mapping[Path, Layer]
    grid: Grid
    rows: range
    name: Path
    threads: int

    @contextmanager
    def opened(self, points: ControlPoints | None = None, *, keep: bool = False) -> Iterator[RasterSet]:
        """Yield what is on disk of the band; keep it afterwards too, where somebody else finishes it.

        Raises:
            OutputError: another process is at it, or the disk fails.
        """
        key = {"rows": [self.rows.start, self.rows.stop]}  # the folder around it knows the rest
        with (
            unfinished(self.name, key, keep=keep, patience=_GRACE) as work,
            RasterSet(self.layers, self.grid, work, points=points, rows=self.rows) as rasters,
        ):
            yield rasters


def threads_of(task: Task) -> int:
    """Return the threads of torch that a process of the task has: several on a CPU share them."""
    return max(1, torch.get_num_threads() // len(task.devices))


def bands_for(task: Task, work: Unfinished, layers: Mapping[Path, Layer], extras: Sequence[Extra]) -> list[Band]:
    """Return a band for each device, from top to bottom; fewer where the scene is too small.

    Raises:
        ConfigError: the scene is an array, which only the process that holds it can read.
    """
    place = task.checked.scene.place
    if isinstance(place, Array):
        raise ConfigError("an array cannot be mapped on several devices", hint="choose one, or write it to a GeoTIFF")
    work.record("bands")  # begun: what they leave is kept if they are not finished
    path = task.bundle.path
    if path is None:
        path = work.folder / BUNDLE
        task.bundle.save(path)
    grid = task.checked.scene.grid
    threads = threads_of(task)
    return [
        Band(
            path, place, task.settings.model_copy(update={"device": str(device)}), tuple(extras), layers, grid, rows,
            work.folder / f"band{number}", threads,
        )
        for number, (device, rows) in enumerate(
            zip(task.devices, bands_of(grid.height, len(task.devices)), strict=False)
        )
    ]  # fmt: skip


def map_apart(bands: Sequence[Band], on_progress: OnProgress | None = None) -> BandFacts:
    """Map all bands, each in a process of its own; what is on disk afterwards is `unfinished` work of its name.

    Args:
        bands: of `bands_for`.
        on_progress: told (windows done, windows in all); what it raises stops all processes.

    Raises:
        GeosemiError: as `map_band`; the other processes were stopped.
        ResourceError: a process died.
    """
    fresh = multiprocessing.get_context("spawn")  # CUDA cannot be used after a fork
    processes: list[tuple[BaseProcess, Connection]] = []
    try:
        for band in bands:
            ours, theirs = fresh.Pipe()
            process: BaseProcess = fresh.Process(target=_serve, args=(band, theirs), name=band.name.name, daemon=True)
            process.start()
            theirs.close()  # so that its death closes the pipe
            processes.append((process, ours))
        return _listen(bands, processes, on_progress)
    finally:
        for _, pipe in processes:
            with suppress(OSError):  # it ended by itself
                pipe.send("stop")
        for process, pipe in processes:
            process.join(_GRACE)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()


def _listen(
    bands: Sequence[Band], processes: Sequence[tuple[BaseProcess, Connection]], on_progress: OnProgress | None
) -> BandFacts:
    """Hear from all processes until they are done."""
    steps: dict[int, tuple[int, int]] = {}
    facts: dict[int, BandFacts] = {}
    numbers = {pipe: number for number, (_, pipe) in enumerate(processes)}
    while len(facts) < len(bands):
        for pipe in wait([pipe for pipe, number in numbers.items() if number not in facts]):
            assert isinstance(pipe, Connection)
            number = numbers[pipe]
            said = _said(pipe, processes[number][0], bands[number])
            if isinstance(said, BandFacts):
                facts[number] = said
                continue
            steps[number] = said
            done, total = (sum(pair[i] for pair in steps.values()) for i in (0, 1))
            if on_progress is not None:  # those that were not heard of yet will have as much to do
                on_progress(done, total * len(bands) // len(steps))
    return BandFacts.joined(facts[number] for number in sorted(facts))


def _said(pipe: Connection, process: BaseProcess, band: Band) -> "BandFacts | tuple[int, int]":
    try:
        said = pipe.recv()
    except EOFError:
        process.join(_GRACE)
        raise ResourceError(
            f"the process on `{band.settings.device}` died (exit code {process.exitcode})",
            hint="if memory ran out, choose a smaller `--tile`; the same command goes on where it was",
        ) from None
    if isinstance(said, GeosemiError):
        raise said
    if isinstance(said, BandFacts):
        return said
    done, total = said
    return done, total


def _serve(band: Band, pipe: Connection) -> None:
    """Map a band; the main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to stop

    def tell(done: int, total: int) -> None:
        pipe.send((done, total))
        if pipe.poll():
            raise Interrupted("stopped", hint="run the same command again to go on")

    try:
        torch.set_num_threads(band.threads)
        task = Task.of(Bundle.load(band.bundle), band.scene, band.settings, band.extras)
        with band.opened(keep=True) as rasters:
            facts = map_band(task, rasters, folder_of(band.name), tell)
        pipe.send(facts)
    except GeosemiError as error:
        with suppress(OSError):
            pipe.send(error)
    except BrokenPipeError:
        pass  # nobody is there any more
