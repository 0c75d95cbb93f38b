"""A run that is only tried: everything is built and one step is run, and nothing is written."""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric

from geosemi.data.augment import Augment
from geosemi.methods.base import Method
from geosemi.train.folder import fingerprint, require_free, require_same_settings
from geosemi.train.loop import Trainer
from geosemi.train.prepared import describe, prepare_run
from geosemi.train.run import build, find_chips, make_fabric
from geosemi.train.settings import RunSettings
from geosemi.train.watch import Silent, Watcher

_ENOUGH = 2  # crops of a kind: what batch normalisation and mixing with a neighbour need


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run would be.

    Attributes:
        lines: on method, network, device and ground, and warnings, as a run begins with them.
        network: parameters of the network that would be shipped.
        trainable: parameters that the method trains, its heads and peers with them.
        frozen: parameters that it only asks: averages, teachers.
        chips: labelled and unlabelled ones of the step that was run, on one device.
        full: the same of a step of the run.
        steps: of the whole run.
        seconds: of that step.
        memory: peak in bytes: of the GPU, or of this process on a CPU, reading and libraries with it.
        device: where the step was run.
    """

    lines: tuple[str, ...]
    network: int
    trainable: int
    frozen: int
    chips: tuple[int, int]
    full: tuple[int, int]
    steps: int
    seconds: float
    memory: int
    device: str


def try_run(settings: RunSettings, out: Path, *, resume: bool = False, watcher: Watcher | None = None) -> Trial:
    """Build what `train` would build and run one step of it; no file is written, no folder made.

    One device stands for all of them, and no processes are started to read. On a CPU, networks that are made for GPUs
    run their step with two crops of a kind at most.

    Args:
        settings: everything the run is told.
        out: the run folder; nothing is written there.
        resume: look at it as `train` would that goes on with a run; the step is the first one all the same.
        watcher: who is told how the preparation goes.

    Raises:
        GeosemiError: what `train` would raise before or in its first step.
    """
    watcher = watcher or Silent()
    require_free(out, resume=resume)
    if resume:
        require_same_settings(out, settings)
    alone = _alone(settings)
    fabric = make_fabric(alone)
    prepared = prepare_run(settings, watcher, begun=out if resume else None)
    fabric.launch()
    method = build(settings, prepared)
    epoch = find_chips(alone, prepared, method, fabric).steps_per_epoch // settings.train.devices
    tried = _cut(alone, fabric)
    chips = find_chips(tried, prepared, method, fabric)
    trainer = Trainer(
        method=method,
        chips=chips,
        augment=Augment(prepared.radiometry, settings.augment.model_copy(update={"views": method.strong_views})),
        settings=settings.train,
        folder=out,
        fingerprint=fingerprint(settings),
        watcher=Silent(),
        validate=None,
        keep=lambda *_: None,
    )
    trained = {id(p): p.numel() for p in method.parameters() if p.requires_grad}
    seconds = min(trainer.rehearse(fabric))
    return Trial(
        lines=tuple(describe(settings, prepared, method, fabric.device)),
        network=sum(p.numel() for p in method.predictor().parameters()),
        trainable=sum(trained.values()),
        frozen=sum(p.numel() for p in method.parameters() if id(p) not in trained),
        chips=_counts(tried, method),
        full=_counts(settings, method),
        steps=settings.train.total_steps(max(1, epoch)),
        seconds=seconds,
        memory=_peak(fabric),
        device=str(fabric.device),
    )


def _alone(settings: RunSettings) -> RunSettings:
    """Take one device, and no worker processes, each of which would take seconds to start for a single step."""
    train = settings.train.model_copy(update={"devices": 1})
    return settings.model_copy(update={"train": train, "chips": settings.chips.model_copy(update={"workers": 0})})


def _cut(settings: RunSettings, fabric: Fabric) -> RunSettings:
    """Leave of a batch what one step needs, where the full one could be more than this machine has memory for."""
    if settings.model.name == "light" or fabric.device.type != "cpu":
        return settings
    fewer = {kind: min(_ENOUGH, getattr(settings.chips, kind)) for kind in ("labelled", "unlabelled")}
    return settings.model_copy(update={"chips": settings.chips.model_copy(update=fewer)})


def _counts(settings: RunSettings, method: Method) -> tuple[int, int]:
    chips = settings.chips
    return (chips.labelled, chips.unlabelled) if method.needs_unlabelled else (2 * chips.labelled, 0)


def _peak(fabric: Fabric) -> int:
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated(fabric.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes
