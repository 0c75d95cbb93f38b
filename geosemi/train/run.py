"""A whole training run: find the data, divide it, train, and leave a folder that a stranger can predict with.

The run folder holds `config.yaml` (the resolved settings), `split.json` (who was trained and validated on),
`statistics.json` (of the bands), the curves, the audit, `checkpoints/`, `bundle.safetensors` (the best predictor),
`validation.png` and `run.json` (how it came to be).
"""

import json
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from geosemi import __version__
from geosemi.data.augment import Augment
from geosemi.data.loaders import ChipLoader, count_chips, validation_chips
from geosemi.data.normalise import Radiometry
from geosemi.data.stored import save_radiometry
from geosemi.errors import ConfigError, OutputError
from geosemi.geo.commit import write_files
from geosemi.malloc import keep_freed_memory
from geosemi.methods.base import Method
from geosemi.methods.build import build_method
from geosemi.metrics import Confusion, Scores, score
from geosemi.models.around import described
from geosemi.models.build import build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import BUNDLE
from geosemi.train.audit import Examiner, told_classes
from geosemi.train.device import require_device
from geosemi.train.folder import (
    CHECKPOINTS,
    FACTS,
    SPLIT,
    STATISTICS,
    fingerprint,
    require_free,
    require_same_settings,
    write_config,
)
from geosemi.train.loop import Outcome, Trainer
from geosemi.train.pictures import Panel, draw_panels
from geosemi.train.prepared import Prepared, describe, prepare_run, trained_scenes
from geosemi.train.settings import RunSettings
from geosemi.train.verdict import conclude
from geosemi.train.watch import Silent, Watcher

_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_PANELS = 6
_TOLD = ("geosemi", "torch", "torchvision", "torchgeo", "lightning", "timm", "rasterio", "numpy")  # versions


def train(settings: RunSettings, out: Path, *, resume: bool = False, watcher: Watcher | None = None) -> Path:
    """Train one method on one split and return the path of the shipped model.

    Args:
        settings: everything the run is told.
        out: the run folder; made if missing, refused if it holds another run and `resume` is False.
        resume: go on from the newest checkpoint; on a CPU the result is the same, bit for bit, as without a stop.
        watcher: who is told how it goes.

    Raises:
        GeosemiError: anything that is wrong with settings, data or disk, before the first step where possible.
    """
    watcher = watcher if watcher and is_first_rank() else Silent()
    require_free(out, resume=resume)
    if resume:
        require_same_settings(out, settings)
    fabric = make_fabric(settings)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    prepared = prepare_run(settings, watcher, begun=out if resume else None)
    _make_folder(out)
    fabric.launch()
    method = build(settings, prepared)
    chips = find_chips(settings, prepared, method, fabric)
    if fabric.is_global_zero and not resume:  # a refused resume must not rewrite what the run was trained with
        _write_folder(out, settings, prepared)
    for line in describe(settings, prepared, method, fabric.device) if fabric.is_global_zero else ():
        watcher.note(line)
    trainer = Trainer(
        method=method,
        chips=chips,
        augment=Augment(prepared.radiometry, settings.augment.model_copy(update={"views": method.strong_views})),
        settings=settings.train,
        folder=out,
        fingerprint=fingerprint(settings),
        watcher=watcher,
        validate=Validator(settings, prepared) if prepared.split.validation else None,
        keep=lambda model, step, scores: _keep(out, settings, prepared, model, step, scores),
        examine=Examiner(out, settings, prepared, resume=resume) if settings.train.audit_chips else None,
    )
    outcome = trainer.fit(fabric, resume=resume)
    if fabric.is_global_zero:
        shipped = Bundle.load(out / BUNDLE)
        _draw(out, shipped, settings, prepared, fabric)
        _write_facts(out, shipped.card, prepared, method, outcome)
        warning = conclude(out, prepared.scenes.legend, settings.method)
        if warning:
            watcher.note(f"warning: {warning}")
    fabric.barrier()
    return out / BUNDLE


def is_first_rank() -> bool:
    """Tell whether this process speaks for the run: other ranks are copies of it, started with the same command."""
    return int(rank_zero_only.rank) == 0


def make_fabric(settings: RunSettings) -> Fabric:
    """Choose the device.

    Raises:
        ConfigError: it is not there, or cannot compute in the precision asked for.
    """
    train = settings.train
    require_device(train)
    try:
        return Fabric(accelerator=train.device, devices=train.devices, precision=_PRECISION[train.precision])
    except (MisconfigurationException, RuntimeError) as error:
        raise ConfigError(
            f"cannot train on {train.devices} × `{train.device}`: {error}",
            hint="use `--device cpu`, or fewer devices: `--set train.devices=1`",
        ) from error


def build(settings: RunSettings, prepared: Prepared) -> Method:
    """Return the method that a run trains, with its networks."""

    def network(seed: int) -> Segmenter:
        bands, classes = len(prepared.scenes.bands), len(prepared.scenes.legend)
        return build_segmenter(settings.model, bands=bands, classes=classes, seed=seed)

    seed = settings.train.seed
    return build_method(settings.method, network(seed), another=network, seed=seed, radiometry=prepared.radiometry)


def find_chips(settings: RunSettings, prepared: Prepared, method: Method, fabric: Fabric) -> ChipLoader:
    """Return what this rank's chips come from.

    Raises:
        ConfigError: the method needs unlabelled ground, and there is none.
    """
    if method.needs_unlabelled and not prepared.split.unlabelled:
        raise ConfigError(
            f"`{settings.method.name}` needs unlabelled ground, and there is none",
            hint="add unlabelled scenes, lower `--ratio`, or use `--method supervised`",
        )
    return ChipLoader(
        prepared.scenes,
        prepared.split,
        settings.data,
        settings.chips,
        seed=settings.train.seed,
        unlabelled=method.needs_unlabelled,
        opinions=method.uses_opinions,
        judged=method.judges_opinions,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
    )


class Validator:
    """Scores a predictor on the validation ground, every rank its share of the chips."""

    def __init__(self, settings: RunSettings, prepared: Prepared) -> None:
        self._settings, self._prepared = settings, prepared

    def __call__(self, model: Segmenter, fabric: Fabric) -> Scores:
        """Return the scores of all ranks together, under the run's protocol."""
        prepared, settings = self._prepared, self._settings
        legend = prepared.scenes.legend
        confusion = Confusion(len(legend))
        every = validation_chips(
            prepared.scenes,
            prepared.split.validation,
            settings.data,
            size=settings.augment.size,
            batch=settings.chips.labelled + settings.chips.unlabelled,
        )
        for number, (chips, own) in enumerate(every):
            if number % fabric.world_size != fabric.global_rank:
                continue
            label = predict_chips(model, chips.image.to(fabric.device), prepared.radiometry, fabric).cpu()
            assert chips.label is not None
            # what fills up a chip is counted nowhere: in some protocols predictions without truth are false positives
            other = ~(own & chips.valid)
            confusion.add(label.masked_fill(other, 255).numpy(), chips.label.masked_fill(other, 255).numpy())
        if fabric.world_size > 1:
            counts = fabric.all_reduce(torch.from_numpy(confusion.counts).to(fabric.device), reduce_op="sum")
            confusion.counts = counts.cpu().numpy()
        return score(confusion, legend, prepared.protocol)


def predict_chips(model: Segmenter, image: torch.Tensor, radiometry: Radiometry, fabric: Fabric) -> torch.Tensor:
    """Return class ids (B, S, S) of raw chips (B, C, S, S)."""
    with torch.no_grad(), fabric.autocast():
        ids: torch.Tensor = model(radiometry.normalise(image)).argmax(dim=1)
    return ids


def _keep(
    out: Path, settings: RunSettings, prepared: Prepared, model: Segmenter, step: int, scores: Scores | None
) -> None:
    model, spec = described(model, settings.model)
    resolutions = [m for s in prepared.scenes.scenes if (m := s.scene.grid.metres_per_pixel())]
    card = Card(
        spec=spec,
        legend=prepared.scenes.legend,
        bands=prepared.scenes.bands,
        mean=prepared.radiometry.mean,
        std=prepared.radiometry.std,
        tile=model.window or settings.augment.size,
        resolution=statistics.median(resolutions) if resolutions else None,
        version=__version__,
        provenance={
            "method": settings.method.name,
            "dataset": settings.data.dataset,
            "ratio": settings.split.ratio,
            "labelled_blocks": len(prepared.split.labelled),
            "dtype": prepared.scenes.scenes[0].scene.dtype,
            "crop": settings.augment.size,
            "black": list(prepared.radiometry.low),  # what nodata looked like in training
            "step": step,
            "seed": settings.train.seed,
            "validation": scores.to_dict() if scores else None,
            "settings_sha256": fingerprint(settings),
        },
    )
    Bundle(model, card).save(out / BUNDLE)


def _draw(out: Path, shipped: Bundle, settings: RunSettings, prepared: Prepared, fabric: Fabric) -> None:
    """Draw what the shipped model makes of a few chips, spread over the validation ground; only those are read."""
    regions, size = prepared.split.validation, settings.augment.size
    total = count_chips(regions, size)
    count = min(_PANELS, total)
    if not count:
        return
    chosen = {i * total // count for i in range(count)}
    model = shipped.model.to(fabric.device)
    panels = []
    for chips, _ in validation_chips(prepared.scenes, regions, settings.data, size=size, batch=1, only=chosen):
        label = predict_chips(model, chips.image.to(fabric.device), prepared.radiometry, fabric).cpu()
        assert chips.label is not None
        image = prepared.radiometry.to_unit(chips.image)
        panels.append(Panel(image[0].numpy(), chips.label[0].numpy(), label[0].numpy(), chips.place[0]))
    picture = draw_panels(panels, prepared.scenes.legend, rgb=prepared.radiometry.rgb)
    write_files({out / "validation.png": picture})


def _write_facts(out: Path, card: Card, prepared: Prepared, method: Method, outcome: Outcome) -> None:
    facts = {
        "version": __version__,
        "command": " ".join(["geosemi", *sys.argv[1:]]),
        "torch": torch.__version__,
        "software": {"python": platform.python_version()} | {name: version(name) for name in _TOLD},
        "classes": told_classes(prepared.scenes.legend),
        "validation": card.provenance["validation"],
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "best_miou": outcome.best if outcome.best == outcome.best else None,
        "labelled_blocks": len(prepared.split.labelled),
        "train_blocks": prepared.split.train_blocks,
        "leaky": prepared.split.leaky,
        "opinions": prepared.scenes.opinion_sources() if method.uses_opinions else [],
    }
    write_files({out / FACTS: json.dumps(facts, indent=1).encode()})


def _make_folder(out: Path) -> None:
    try:
        (out / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder `{out}` cannot be made: {error.strerror}", hint="choose another `--out`"
        ) from error


def _write_folder(out: Path, settings: RunSettings, prepared: Prepared) -> None:
    write_config(out, settings)
    prepared.split.save(out / SPLIT)
    save_radiometry(out / STATISTICS, prepared.radiometry, trained_scenes(prepared.scenes, prepared.split))
