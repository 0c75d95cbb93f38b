"""A process that works off runs of a benchmark, one after another: `python -m geosemi.benchmark.worker [SOURCE …]`.

Sources are files or modules that register methods of one's own; they are run as the asking process ran them, but under
another name than `__main__`.

Jobs come as lines of JSON on stdin, and what happens goes as lines of JSON to stdout; what else is printed goes to the
run's `log.txt`. The end of stdin, which the death of the asking process is too, stops it like Ctrl-C: the run in
progress saves a checkpoint. A process of its own, because a crash of one run must not take the others with it.
"""

import json
import os
import queue
import runpy
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from geosemi import __version__
from geosemi.benchmark.runs import LOG, write_result
from geosemi.benchmark.scoring import score_run
from geosemi.benchmark.settings import Ground
from geosemi.errors import GeosemiError, Interrupted
from geosemi.metrics import Scores
from geosemi.stop import StopFlag, stop_on_signals
from geosemi.train.folder import CHECKPOINTS, FACTS, checkpoints
from geosemi.train.run import train
from geosemi.train.settings import RunSettings
from geosemi.train.verdict import read_json

Tell = Callable[[Mapping[str, Any]], None]
_WARMING = 3  # steps that are not timed


class Teller:
    """A watcher of a run that reports its steps, and how long they take."""

    def __init__(self, tell: Tell, stop: StopFlag) -> None:
        self._tell, self._stop, self._last = tell, stop, 0.0
        self._warmed = 0
        self.seconds: list[float] = []
        self.done = self.total = 0

    def started(self, total: int, done: int) -> None:
        """Report how long the run is."""
        self.total, self.done = total, done
        self._tell({"step": done, "total": total})
        self._last = 0.0

    def note(self, text: str) -> None:
        """Write it to the log."""
        sys.stderr.write(f"{text}\n")

    def counted(self, what: str, done: int, total: int) -> None:
        """Stop here, where somebody wishes it: reading a city's labels takes minutes, and nothing is lost yet."""
        if self._stop:
            raise self._stop.error(f"stopped at {what}, {done} of {total}", hint="run the same command to go on")

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:  # noqa: ARG002 - of the interface
        """Report a step; the first ones warm caches up, and one after a validation would count it."""
        now = time.perf_counter()
        self._warmed += 1
        if self._last and self._warmed > _WARMING:
            self.seconds.append(now - self._last)
        self._last = now
        self.done = step + 1
        self._tell({"step": self.done, "total": self.total})

    def validated(self, step: int, scores: Scores, *, best: bool) -> None:
        """Write it to the log."""
        self._last = 0.0
        sys.stderr.write(f"step {step}: mIoU {scores.miou:.3f}{' best so far' if best else ''}\n")
        sys.stderr.flush()


def work(job: Mapping[str, Any], tell: Tell, stop: StopFlag) -> None:
    """Train a run, or go on with it, and score it.

    Args:
        job: `folder`, `settings`, `test`, and `run`, which is written beside the figures.
        tell: told of every step.
        stop: looked at before training, between training and scoring, and while scenes are mapped.

    Raises:
        Interrupted: somebody asked to stop; the same job goes on later.
        GeosemiError: whatever is wrong with the run.
    """
    folder, settings = Path(job["folder"]), RunSettings.model_validate(job["settings"])
    test = None if job["test"] is None else Ground.model_validate(job["test"])
    teller = Teller(tell, stop)
    began = time.perf_counter()
    if not (folder / FACTS).is_file():
        train(settings, folder, resume=bool(checkpoints(folder / CHECKPOINTS)), watcher=teller)

    def mapped(done: int, total: int) -> None:
        tell({"mapped": done, "of": total})
        if stop:
            raise stop.error("stopped while test scenes were mapped", hint="run the same command to go on")

    mapped(0, 1)
    figures = score_run(folder, settings, test, on_progress=mapped)
    facts = read_json(folder / FACTS)
    told = {name: facts.get(name) for name in ("steps", "best_step", "labelled_blocks", "train_blocks", "leaky")}
    seconds = statistics.median(teller.seconds) if teller.seconds else None
    told |= {"seconds_per_step": seconds, "seconds": time.perf_counter() - began, "version": __version__}
    write_result(folder, {**job["run"], **told}, figures)


class _Jobs:
    """Jobs from stdin; its end is a wish to stop."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._working, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        while (line := self._lines.get()) is not None:
            self._working.set()
            if self._ended.is_set():
                return
            yield json.loads(line)
            self._working.clear()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        self._ended.set()
        self._lines.put(None)
        if self._working.is_set():
            os.kill(os.getpid(), signal.SIGTERM)


def serve(sources: Sequence[str] = ()) -> int:
    """Work off jobs until stdin ends; return the exit code."""
    report, known = os.dup(1), False

    def tell(facts: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # nobody asks any more; the end of stdin says so, too
            os.write(report, json.dumps(dict(facts)).encode() + b"\n")

    with stop_on_signals() as stop:
        for job in _Jobs():
            _print_to(Path(job["folder"]))
            if not known:  # here, because what goes wrong belongs into the log
                known = _learn(sources)
            try:
                work(job, tell, stop)
            except Interrupted as error:
                tell({"stopped": error.message})
                return error.exit_code
            except GeosemiError as error:
                sys.stderr.write(f"{error.message}\n")
                tell({"failed": error.message, "hint": error.hint})
            else:
                tell({"done": job["folder"]})
            if stop:
                break
    return 0


def _learn(sources: Sequence[str]) -> bool:
    """Register methods of one's own, once."""
    for source in sources:
        if source.endswith(".py"):
            sys.path.insert(0, str(Path(source).parent))
            runpy.run_path(source, run_name="geosemi_own_methods")
        else:
            import_module(source)
    return True


def _print_to(folder: Path) -> None:
    """Send stdout and stderr, those of libraries too, to the log of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
