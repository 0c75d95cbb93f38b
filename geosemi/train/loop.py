"""The loop around a method: chips → crops → losses → step → after the step, on one device or several ranks."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor

from geosemi.data.augment import Augment
from geosemi.data.batch import Batch, Chips
from geosemi.data.keyed import keyed_generator
from geosemi.errors import GeosemiError, ResourceError
from geosemi.methods.base import Method, Progress
from geosemi.metrics import Scores
from geosemi.models.segmenter import Segmenter
from geosemi.stop import StopFlag, stop_on_signals
from geosemi.train.boxed import Box, Boxed
from geosemi.train.checkpoint import State, load_newest, save_checkpoint
from geosemi.train.draws import private_draws, seed_layers
from geosemi.train.journal import Journal
from geosemi.train.optimise import make_optimizer
from geosemi.train.settings import TrainSettings
from geosemi.train.watch import Watcher

MAX_SKIPPED = 3
_TRIES, _SOON = 3, 10.0  # of a rehearsed step: how often, within how many seconds


class TrainingDiverged(GeosemiError):
    """The loss is not finite for several steps in a row."""


class ChipSource(Protocol):
    """Where chips come from, e.g. `geosemi.data.loaders.ChipLoader`."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the ground."""

    def steps(self, start: int, stop: int) -> Iterator[tuple[Chips, Chips | None]]:
        """Yield labelled and unlabelled chips of steps `start … stop-1`."""


Validate = Callable[[Segmenter, Fabric], Scores]
Keep = Callable[[Segmenter, int, Scores | None], None]
Examine = Callable[[Method, int, Fabric], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run is worth.

    Attributes:
        steps: steps trained in all.
        best: best validation mIoU, or NaN where nothing was validated.
        best_step: when it was reached.
    """

    steps: int
    best: float
    best_step: int


@dataclass
class Trainer:
    """One run of one method.

    Attributes:
        method: what learns.
        chips: what it learns from.
        augment: how chips become crops.
        settings: the loop's settings.
        folder: the run folder; checkpoints and curves go there.
        fingerprint: of all settings; a checkpoint of others is refused.
        watcher: who is told.
        validate: scores the predictor on validation ground, or None.
        keep: called with the predictor when it is the best so far (and at the end where there is no validation).
        examine: called on rank 0 with every validation, or None; it looks on and changes nothing.
    """

    method: Method
    chips: ChipSource
    augment: Augment
    settings: TrainSettings
    folder: Path
    fingerprint: str
    watcher: Watcher
    validate: Validate | None
    keep: Keep
    examine: Examine | None = None

    def fit(self, fabric: Fabric, *, resume: bool) -> Outcome:
        """Train to the end, or until somebody asks to stop.

        Raises:
            Interrupted: stopped by a signal; a checkpoint was written.
            TrainingDiverged: the loss was not finite four times in a row.
            ResourceError: the device's memory is full.
        """
        with private_draws(fabric.device):
            return self._fit(fabric, resume=resume)

    def rehearse(self, fabric: Fabric) -> list[float]:
        """Run the first step as `fit` would, and write nothing.

        Returns:
            Seconds that it took, and again while that is soon done: the first time is no measure of the others.

        Raises:
            ResourceError: the device's memory is full.
        """
        took: list[float] = []
        with private_draws(fabric.device), Journal(self.folder, 0, active=False) as journal, _naming_memory():
            model, optimizer = fabric.setup(Boxed(self.method), make_optimizer(self.method, self.settings))
            run = _Run(self, fabric, model, optimizer, journal, self.settings.total_steps(self.chips.steps_per_epoch))
            while len(took) < _TRIES and sum(took) < _SOON:
                began = time.perf_counter()
                run.first()
                took.append(time.perf_counter() - began)
        return took

    def _fit(self, fabric: Fabric, *, resume: bool) -> Outcome:
        total = self.settings.total_steps(self.chips.steps_per_epoch)
        optimizer = make_optimizer(self.method, self.settings)
        state = State(0, -1.0, self.fingerprint)
        if fabric.world_size > 1 and fabric.device.type == "cuda":  # as the papers' code; a CPU has no such layer
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.method)  # type: ignore[no-untyped-call]
        model, optimizer = fabric.setup(Boxed(self.method), optimizer)
        if resume:  # after setup, because moments are restored to the device of their parameters
            state, damage = load_newest(self.folder / "checkpoints", self.fingerprint, self.method, optimizer)
            for line in damage:
                self.watcher.note(f"passed over a checkpoint: {line}")
        self.watcher.started(total, state.step)
        with Journal(self.folder, state.step, active=fabric.is_global_zero) as journal, stop_on_signals() as stop:
            run = _Run(self, fabric, model, optimizer, journal, total)
            with _naming_memory():
                return run.steps(state, stop)


@dataclass
class _Run:
    """The parts of a run that exist only while it runs."""

    trainer: Trainer
    fabric: Fabric
    model: Any  # the method as Fabric wraps it
    optimizer: Any
    journal: Journal
    total: int

    def steps(self, state: State, stop: StopFlag) -> Outcome:
        every = self.trainer.settings.validate_every or max(1, self.total // 10)
        save_every = self.trainer.settings.save_every or every
        self.model.train()
        for chips, more in self.trainer.chips.steps(state.step, self.total):
            state = self._step(state, chips, more)
            if state.step % every == 0 or state.step == self.total:
                better = self._validate(state)
                if better is not None:
                    state = replace(state, best=better, best_step=state.step)
                self._examine(state.step)
            stopped = self._anywhere(bool(stop))
            if stopped or state.step % save_every == 0 or state.step == self.total:
                self._save(state)
            if stopped and state.step < self.total:
                raise stop.error(
                    f"stopped after step {state.step} of {self.total}; the state is saved",
                    hint="run the same command with `--resume` to go on",
                )
        return Outcome(state.step, state.best if state.best >= 0 else math.nan, state.best_step)

    def first(self) -> None:
        """Run the first step."""
        self.model.train()
        for chips, more in self.trainer.chips.steps(0, 1):
            self._step(State(0, -1.0, ""), chips, more)

    def _step(self, state: State, chips: Chips, more: Chips | None) -> State:
        settings, step = self.trainer.settings, state.step
        progress = Progress(step, self.total)
        _, within = progress.stage(self.trainer.method.restarts)
        if within.step == 0:
            self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * settings.learning_rate_factor(within.step, within.total)
        batch = self._augmented(chips, more, step)
        seed_layers(self.fabric.device, settings.seed, self.fabric.global_rank, step)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.model(Box(batch, progress))
        loss = torch.stack(list(losses.values())).sum()
        values = {name: value.detach().item() for name, value in losses.items()} | {"loss": loss.detach().item()}
        if self._anywhere(not math.isfinite(values["loss"])):
            return self._skipped(state, values, batch)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.trainer.method.after_step(progress)
        self._tell(step, values)
        return replace(state, step=step + 1, skipped=0)

    def _augmented(self, chips: Chips, more: Chips | None, step: int) -> Batch:
        augment, device = self.trainer.augment, self.fabric.device
        keys = (self.trainer.settings.seed, "augment", step, self.fabric.global_rank)
        labelled = augment.labelled(_to(chips, device), keyed_generator(*keys, "labelled"))
        if more is None:
            return Batch(labelled)
        return Batch(labelled, augment.unlabelled(_to(more, device), keyed_generator(*keys, "unlabelled")))

    def _anywhere(self, here: bool) -> bool:
        """Tell on every rank whether it holds on any: ranks that part ways wait for each other for ever."""
        if self.fabric.world_size == 1:
            return here
        count = self.fabric.all_reduce(torch.tensor(float(here), device=self.fabric.device), reduce_op="sum")
        return bool(count > 0)

    def _skipped(self, state: State, values: Mapping[str, float], batch: Batch) -> State:
        """Leave a step out whose loss is not finite; the moving average is not touched either."""
        if state.skipped >= MAX_SKIPPED:
            places = ", ".join(batch.unlabelled.place[:3]) if batch.unlabelled else "labelled chips"
            raise TrainingDiverged(
                f"the loss is not finite for {MAX_SKIPPED + 1} steps in a row, last at step {state.step} ({places})",
                hint="lower `train.lr`, or use `--set train.precision=fp32`; the last checkpoint is good",
            )
        self.trainer.watcher.note(f"step {state.step}: the loss is not finite, the step is left out")
        self._tell(state.step, values)
        return replace(state, step=state.step + 1, skipped=state.skipped + 1)

    def _tell(self, step: int, values: Mapping[str, float]) -> None:
        if not self.fabric.is_global_zero:
            return
        extra = {name: float(value) for name, value in self.trainer.method.report().items()}
        self.journal.step(step, {**values, **extra, "lr": self.optimizer.param_groups[0]["lr"]})
        self.trainer.watcher.stepped(step, values)

    def _validate(self, state: State) -> float | None:
        """Score and, if it is the best so far, keep the predictor. Return the new best."""
        if self.fabric.world_size > 1:  # rank 0's averages of batch norm are shipped, so all ranks validate with them
            for buffer in self.trainer.method.buffers():
                torch.distributed.broadcast(buffer, 0)
        trainer, predictor = self.trainer, self.trainer.method.predictor()
        if trainer.validate is None:
            if state.step == self.total and self.fabric.is_global_zero:
                trainer.keep(predictor, state.step, None)
            return None
        self.model.eval()
        with torch.no_grad():
            scores = trainer.validate(predictor, self.fabric)
        self.model.train()
        best = scores.miou > state.best
        if self.fabric.is_global_zero:
            self.journal.validation(state.step, scores)
            trainer.watcher.validated(state.step, scores, best=best)
            # without truth the score is no number; a run ships a model all the same
            if best or (state.best < 0 and state.step == self.total):
                trainer.keep(predictor, state.step, scores)
        return scores.miou if best else None

    def _examine(self, step: int) -> None:
        if self.trainer.examine is None or not self.fabric.is_global_zero:
            return
        self.model.eval()
        with torch.no_grad():
            self.trainer.examine(self.trainer.method, step, self.fabric)
        self.model.train()

    def _save(self, state: State) -> None:
        if self.fabric.is_global_zero:
            self.journal.flush()
            save_checkpoint(self.trainer.folder / "checkpoints", state, self.trainer.method, self.optimizer)
        self.fabric.barrier()


@contextmanager
def _naming_memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            "the device's memory is full", hint="lower `chips.labelled` and `chips.unlabelled`, or `augment.size`"
        ) from error


def _to(chips: Chips, device: torch.device) -> Chips:
    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return Chips(
        image=moved(chips.image),
        valid=moved(chips.valid),
        label=None if chips.label is None else moved(chips.label),
        opinion=None if chips.opinion is None else moved(chips.opinion),
        place=chips.place,
    )
