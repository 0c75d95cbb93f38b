"""Several runs at once, each slot a process of its own; what fails is told at the end and stops nothing else."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from geosemi.benchmark.plan import Run
from geosemi.benchmark.runs import LOG
from geosemi.errors import OutputError
from geosemi.methods.build import own_sources

_LOOK = 0.2  # seconds between looks at the stop flag
_LOCK = ".running"
Event = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended with an error.

    Attributes:
        run: which one.
        message: what was wrong.
        hint: the way out.
    """

    run: Run
    message: str
    hint: str


class Onlooker(Protocol):
    """Somebody who is told how runs go."""

    def progress(self, number: int, step: int, total: int) -> None:
        """Run `number` finished `step` of `total` steps."""

    def finished(self, number: int, failure: Failure | None) -> None:
        """Run `number` is done, or failed."""


@dataclass
class _Slot:
    """A worker process, the device that it is given, and the lock that it holds as long as it lives."""

    command: Sequence[str]
    environment: Mapping[str, str]
    held: int
    process: subprocess.Popen[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def started(self) -> subprocess.Popen[str]:
        if self.process is None or self.process.poll() is not None:
            # a session of its own: Ctrl-C reaches this process alone, which tells the workers once
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
                env={**os.environ, **self.environment},
                start_new_session=True,
                pass_fds=[self.held],
            )
        return self.process

    def close(self) -> None:
        """End it: at once where it is idle, with a checkpoint where it trains."""
        with self.lock:
            if self.process is not None and self.process.stdin is not None and not self.process.stdin.closed:
                self.process.stdin.close()


def work_off(
    runs: Sequence[Run],
    out: Path,
    held: int,
    *,
    jobs: int,
    cards: int,
    onlooker: Onlooker,
    stopped: Callable[[], bool],
) -> list[Failure]:
    """Train and score runs.

    Args:
        runs: what is left to do.
        out: folder of the benchmark.
        held: what `alone_in` gave.
        jobs: how many at once.
        cards: GPUs; several are dealt out to the slots in turn.
        onlooker: told of every step, in this thread.
        stopped: looked at often; where it holds, runs in progress are saved and no other begins.

    Returns:
        The runs that failed. Fewer are done than asked for where somebody stopped.

    Raises:
        ConfigError: a method was registered where no other process can find it.
    """
    left: deque[int] = deque(range(len(runs)))
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    # here and not where a process starts: what it refuses is the caller's to hear, and threads have none
    command = [sys.executable, "-m", "geosemi.benchmark.worker", *own_sources()]
    slots = [_Slot(command, _environment(n, jobs, cards), held) for n in range(min(jobs, len(runs)))]
    threads = [threading.Thread(target=_attend, args=(s, left, runs, out, events), daemon=True) for s in slots]
    for thread in threads:
        thread.start()
    failures: list[Failure] = []
    open_slots, closing = len(threads), False
    while open_slots:
        if stopped() and not closing:
            closing = True
            left.clear()
            for slot in slots:
                slot.close()
        try:
            event = events.get(timeout=_LOOK)
        except queue.Empty:
            continue
        if event is None:
            open_slots -= 1
            continue
        number, facts = event
        if "step" in facts:
            onlooker.progress(number, facts["step"], facts["total"])
        elif "done" in facts:
            onlooker.finished(number, None)
        elif "failed" in facts and not closing:
            failures.append(Failure(runs[number], facts["failed"], facts["hint"]))
            onlooker.finished(number, failures[-1])
    return failures


def _environment(number: int, jobs: int, cards: int) -> dict[str, str]:
    told = {}
    if "OMP_NUM_THREADS" not in os.environ:
        told["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    if cards > 1:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(cards)))).split(",")
        told["CUDA_VISIBLE_DEVICES"] = shown[number % cards]
    return told


def _attend(
    slot: _Slot, left: deque[int], runs: Sequence[Run], out: Path, events: "queue.SimpleQueue[Event | None]"
) -> None:
    """Give a slot runs until none is left."""
    try:
        while True:
            try:
                number = left.popleft()
            except IndexError:
                return
            _hand(slot, number, runs[number], out, events)
    finally:
        slot.close()
        if slot.process is not None:
            slot.process.wait()
        events.put(None)


def _hand(slot: _Slot, number: int, run: Run, out: Path, events: "queue.SimpleQueue[Event | None]") -> None:
    folder = out / run.name
    with slot.lock:
        process = slot.started()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(_job(run, folder)) + "\n")
        process.stdin.flush()
    except (ValueError, OSError):  # closed meanwhile: somebody stopped
        return
    for line in process.stdout:
        facts = json.loads(line)
        events.put((number, facts))
        if not facts.keys() & {"step", "mapped"}:
            return
    code = process.wait()
    what = f"its process ended with exit code {code}" if code >= 0 else f"its process was killed by signal {-code}"
    events.put((number, {"failed": what, "hint": f"see `{folder / LOG}`; run the same command to try again"}))


def _job(run: Run, folder: Path) -> dict[str, Any]:
    told = {
        "dataset": run.dataset,
        "arm": run.arm,
        "ratio": run.ratio,
        "seed": run.seed,
        "method": run.settings.method.name,
        "model": run.settings.model.name,
        "fingerprint": run.fingerprint,
    }
    test = None if run.test is None else run.test.model_dump(mode="json")
    return {"folder": str(folder), "settings": run.settings.model_dump(mode="json"), "test": test, "run": told}


@contextmanager
def alone_in(out: Path) -> Iterator[int]:
    """Hold a folder, so that two benchmarks do not train the same runs.

    Yields:
        The descriptor of the lock, for workers: those of a killed benchmark hold it until they have saved.

    Raises:
        OutputError: another process holds it, or it cannot be made.
    """
    import fcntl  # noqa: PLC0415 - POSIX alone; other commands run elsewhere, too

    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / _LOCK).open("a")
    except OSError as error:
        raise OutputError(
            f"the folder `{out}` cannot be made: {error.strerror}", hint="choose another `--out`"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another benchmark runs in `{out}`, or one that was killed is still saving",
                hint="wait for it, stop it, or choose another `--out`",
            ) from error
        yield file.fileno()


class Clock:
    """How long the rest will take, from how long steps of each arm took.

    Args:
        runs: all that are to be worked off.
        jobs: how many at once.
    """

    def __init__(self, runs: Sequence[Run], jobs: int) -> None:
        self._runs, self._jobs = runs, jobs
        self._left: dict[int, tuple[int, int]] = {}
        self._seen: dict[int, tuple[float, int]] = {}
        self._pace: dict[str, float] = {}

    def progress(self, number: int, step: int, total: int) -> None:
        """Note how far a run is."""
        now = time.monotonic()
        first = self._seen.setdefault(number, (now, step))
        if step > first[1]:
            self._pace[self._runs[number].arm] = (now - first[0]) / (step - first[1])
        self._left[number] = (step, total)

    def seconds(self, waiting: Sequence[int], running: Sequence[int]) -> float | None:
        """Return the seconds that are left, None where nothing is known yet."""
        if not self._pace:
            return None
        common = sum(self._pace.values()) / len(self._pace)
        lengths = [total for _, total in self._left.values()]
        usual = sum(lengths) / len(lengths)
        total = 0.0
        for number in (*waiting, *running):
            step, of = self._left.get(number, (0, self._runs[number].settings.train.steps or usual))
            total += (of - step) * self._pace.get(self._runs[number].arm, common)
        return total / self._jobs
