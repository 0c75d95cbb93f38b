"""Everything that is known before the first step; whatever can fail early fails here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geosemi.data.normalise import Radiometry
from geosemi.data.scenes import SceneFiles, SceneSet, find_scenes
from geosemi.data.splits import Split, make_split
from geosemi.data.statistics import Truth, find_truth, measure_radiometry
from geosemi.data.stored import load_radiometry
from geosemi.errors import ConfigError
from geosemi.methods.base import Method
from geosemi.methods.build import METHODS
from geosemi.metrics import PRESETS, Protocol
from geosemi.train.folder import SPLIT, STATISTICS
from geosemi.train.settings import RunSettings
from geosemi.train.watch import Watcher


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before the first step."""

    scenes: SceneSet
    truth: Truth
    split: Split
    radiometry: Radiometry
    protocol: Protocol


def prepare_run(settings: RunSettings, watcher: Watcher, *, begun: Path | None = None) -> Prepared:
    """Find scenes, read every label once, divide the ground, measure the bands; all that can fail early fails here.

    Args:
        settings: of the run.
        watcher: who is told how far it is.
        begun: folder of the run that is gone on with; its split and band statistics hold. None for a new run.

    Raises:
        ConfigError: the data are not those that the run was begun with.
        GeosemiError: anything else that is wrong with the data.
    """
    if settings.train.protocol not in PRESETS:
        raise ConfigError(
            f"`train.protocol` is `{settings.train.protocol}`", hint=f"choose one of {', '.join(PRESETS)}"
        )
    scenes = find_scenes(settings.data)
    if settings.method.rules() is not None or METHODS[settings.method.name].uses_opinions:
        scenes.check_opinions()
    truth = find_truth(scenes, settings.data, watcher.counted)
    split = make_split(scenes, settings.split, truth)
    trained = trained_scenes(scenes, split)
    radiometry = None
    if begun is not None:
        _require_same_split(begun, split)
        radiometry = load_radiometry(begun / STATISTICS, trained)
    if radiometry is None:
        radiometry = measure_radiometry(trained, settings.split.seed)
    if (
        settings.model.weights is not None
        and settings.model.name != "light"
        and scenes.scenes[0].scene.dtype == "uint8"
    ):
        radiometry = _pretrained_radiometry(radiometry)
    protocol = PRESETS[settings.train.protocol]
    if protocol.name == "default":
        protocol = replace(protocol, exclude_from_mean=scenes.exclude_from_mean)
    return Prepared(scenes, truth, split, radiometry, protocol)


def trained_scenes(scenes: SceneSet, split: Split) -> list[SceneFiles]:
    """Return the scenes that are trained on, with or without labels: the ground that band statistics are of."""
    used = {r.scene for r in (*split.labelled, *split.unlabelled)}
    return [s for s in scenes.scenes if s.name in used]


def _require_same_split(out: Path, split: Split) -> None:
    path = out / SPLIT
    if path.is_file() and path.read_bytes() != split.to_json():
        raise ConfigError(
            f"the data are divided in another way than when `{out}` was begun: scenes or labels were added or removed",
            hint="bring the data back as they were, or start a new run with another `--out`",
        )


def _pretrained_radiometry(measured: Radiometry) -> Radiometry:
    """Give 8-bit red, green, blue the mean and spread that the backbone was trained with; other bands keep theirs."""
    known = Radiometry.imagenet()
    mean, std = list(measured.mean), list(measured.std)
    for place, m, s in zip(measured.rgb or (), known.mean, known.std, strict=False):
        mean[place], std[place] = m, s
    return replace(measured, mean=tuple(mean), std=tuple(std))


def describe(settings: RunSettings, prepared: Prepared, method: Method, device: object) -> Iterator[str]:
    """Yield a few lines on what is about to happen, and on what the data lack."""
    split, legend = prepared.split, prepared.scenes.legend
    parameters = sum(p.numel() for p in method.predictor().parameters()) / 1e6
    yield (
        f"{settings.method.name} with {settings.model.name} ({parameters:.2f} M parameters) on {device}: "
        f"{len(split.labelled)} of {split.train_blocks} blocks labelled, {len(split.unlabelled)} unlabelled regions, "
        f"{len(split.validation)} for validation, {len(split.test)} for testing"
    )
    if settings.model.restriction:
        yield f"warning: {settings.model.restriction}"
    counts = sum(prepared.truth.classes_in(r.scene, r.window) for r in split.labelled)
    missing = [n for n, c in zip(legend.names, counts, strict=True) if c == 0]  # type: ignore[arg-type]
    if missing:
        yield (f"warning: the labelled blocks hold no pixel of {', '.join(missing)}; such a class cannot be learnt")
    if prepared.scenes.strays:
        names = ", ".join(prepared.scenes.strays[:5]) + (", …" if len(prepared.scenes.strays) > 5 else "")
        yield f"warning: {len(prepared.scenes.strays)} labels or opinions belong to no scene: {names}"
    if split.leaky:
        yield (
            "warning: split by patch as in the papers: validation patches touch training patches, scores are optimistic"
        )
    heard = [s.opinion for s in prepared.scenes.scenes if s.opinion is not None]
    if method.uses_opinions and heard:
        who = " | ".join(_shown(prepared.scenes.opinion_sources()))
        yield f"opinions on {len(heard)} of {len(prepared.scenes.scenes)} scenes, in `{heard[0].parent}`: {who}"
    elif method.uses_opinions:
        yield (
            "no opinion layers found: purification is off. Make them with "
            "`geosemi annotate SCENES --legend legend.yaml --out opinions --provider layer --layer map.gpkg`; "
            "docs/annotate.md tells who else can be asked"
        )


def _shown(sources: Sequence[str]) -> list[str]:
    return list(sources) if len(sources) < 3 else [sources[0], f"{len(sources) - 1} more"]
