"""What a finished run is worth: whole test scenes, mapped and held against truth; else the last validation."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geosemi.benchmark.footing import TESTED
from geosemi.benchmark.settings import Ground
from geosemi.data.ground import lies_on
from geosemi.data.matching import RASTER_SUFFIXES, partner
from geosemi.data.scenes import SceneSet, find_scenes
from geosemi.errors import InputError
from geosemi.evaluate import compare
from geosemi.geo.burn import VECTOR_SUFFIXES
from geosemi.geo.scene import Place, Scene
from geosemi.geo.sources import find_scenes as find_rasters
from geosemi.geo.window import Window
from geosemi.legend import Legend
from geosemi.metrics import PRESETS, Confusion, Protocol, score
from geosemi.models.bundle import Bundle
from geosemi.models.spec import BUNDLE
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings
from geosemi.train.folder import SPLIT, VALIDATION
from geosemi.train.settings import RunSettings
from geosemi.train.verdict import read_json

MAPS = "maps"
VALIDATED = "validation, last step"


@dataclass(frozen=True, slots=True)
class Tested:
    """A scene to map and score.

    Attributes:
        name: of its map.
        scene: the raster.
        labels: its truth.
        windows: what of it counts; None for all.
    """

    name: str
    scene: Place
    labels: Path
    windows: tuple[Window, ...] | None = None


def score_run(
    folder: Path, settings: RunSettings, test: Ground | None, *, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Return the figures of a finished run, as JSON has them.

    Test scenes are mapped whole by the model that was best on the validation ground, which shares none with them. Where
    there are none, the validation of the last step counts: the best of many steps on one ground flatters.

    Args:
        folder: the run folder; maps are written below it.
        settings: of the run.
        test: scenes outside of its data, or None for those that the split kept.
        on_progress: told (windows done, windows in all) of each scene.

    Raises:
        GeosemiError: scenes or labels cannot be read.
    """
    scenes = find_scenes(settings.data)
    protocol = PRESETS[settings.train.protocol]
    if protocol.name == "default":
        protocol = replace(protocol, exclude_from_mean=scenes.exclude_from_mean)
    tested = list(_outside(test) if test else _kept(folder, settings))
    if not tested:
        return _last_validation(folder, protocol)
    total = _mapped(folder, settings, scenes.legend, tested, on_progress)
    if not total.matrix.any():
        raise InputError("the test scenes have no truth", hint="check the labels of the benchmark's `test`")
    told = {"ground": TESTED, "scenes": [t.name for t in tested], "seen": _seen(folder, scenes, tested) if test else {}}
    told["beside"] = [] if test else _beside(folder, "test")
    return told | score(total, scenes.legend, protocol).to_dict()


def _seen(folder: Path, scenes: SceneSet, tested: list[Tested]) -> dict[str, list[str]]:
    """Return which scenes from outside the run met after all, by the part of the split that shows their ground."""
    split, found = read_json(folder / SPLIT), {}
    by_name = {s.name: s.scene for s in scenes.scenes}
    grids = [Scene.open(t.scene).grid for t in tested]
    for part in ("labelled", "unlabelled", "validation"):
        regions = [(by_name[name], Window(*window)) for name, *window in split.get(part, []) if name in by_name]
        shared = lies_on(grids, [scene.grid.crop(window) for scene, window in regions])
        # pictures without a place share no ground; the same file is the same all the same
        files = {scene.path.resolve() for scene, _ in regions}
        same = [isinstance(t.scene, Path) and t.scene.resolve() in files for t in tested]
        found[part] = [t.name for t, a, b in zip(tested, shared, same, strict=True) if a or b]
    return {part: names for part, names in found.items() if names}


def _beside(folder: Path, part: str) -> list[str]:
    """Return the scenes of a part of the split of which other windows were trained on."""
    split = read_json(folder / SPLIT)
    scenes = {name: {scene for scene, *_ in split.get(name, [])} for name in (part, "labelled", "unlabelled")}
    return sorted(scenes[part] & (scenes["labelled"] | scenes["unlabelled"]))


def _mapped(
    folder: Path,
    settings: RunSettings,
    legend: Legend,
    tested: list[Tested],
    on_progress: Callable[[int, int], None] | None,
) -> Confusion:
    maps = folder / MAPS
    maps.mkdir(exist_ok=True)
    bundle = Bundle.load(folder / BUNDLE)
    how = PredictSettings(device="cpu" if settings.train.device == "cpu" else "auto", bands=settings.data.bands)
    total = Confusion(len(legend))
    for each in tested:
        mask = maps / f"{each.name}.tif"
        predict_scene(bundle, each.scene, mask, how, overwrite=True, on_progress=on_progress)
        column, outside = settings.data.label_column, settings.data.label_outside
        total.merge(compare(mask, each.labels, legend, windows=each.windows, column=column, outside=outside))
    return total


def _outside(test: Ground) -> Iterator[Tested]:
    for source in find_rasters([test.images]):
        labels = partner(test.labels, source.name, (*RASTER_SUFFIXES, *VECTOR_SUFFIXES))
        if labels is None:
            raise InputError(
                f"`{source.name}` has no label in `{test.labels}`", hint="test scenes need one of the same name"
            )
        yield Tested(source.name, source.place, labels)


def _kept(folder: Path, settings: RunSettings) -> Iterator[Tested]:
    """Yield what the split of the run kept; blocks and patches are windows of scenes, which are mapped whole."""
    found: dict[str, list[Window]] = {}
    for scene, *window in read_json(folder / SPLIT).get("test", []):
        found.setdefault(scene, []).append(Window(*window))
    for each in find_scenes(settings.data).scenes if found else ():
        if each.name in found and each.label is not None:
            yield Tested(each.name.replace("/", "_"), each.scene.path, each.label, tuple(found[each.name]))


def _last_validation(folder: Path, protocol: Protocol) -> dict[str, Any]:
    path = folder / VALIDATION
    rows: list[Mapping[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    if not rows:
        raise InputError(
            f"`{folder}` has neither test scenes nor a validation", hint="keep scenes for testing: `split.test`"
        )
    last = rows[-1]
    classes = {c.removeprefix("iou "): {"iou": _number(v), "f1": _number(last.get(f"f1 {c[4:]}"))}
               for c, v in last.items() if c.startswith("iou ")}  # fmt: skip
    means = {name: _number(last.get(name)) for name in ("miou", "mf1", "oa", "kappa")}
    told = {"ground": VALIDATED, "beside": _beside(folder, "validation"), "step": int(last["step"])}
    return {**told, "protocol": protocol.name, **means, "classes": classes}


def _number(text: str | None) -> float | None:
    return None if text in (None, "", "nan") else float(str(text))
