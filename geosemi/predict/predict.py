"""A scene in, a mask of the same pixels out: the loop around a scene."""

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geosemi import __version__
from geosemi.geo.arrays import Array
from geosemi.geo.forgiving import report_json, report_text
from geosemi.geo.gcps import ControlPoints
from geosemi.geo.grid import Grid
from geosemi.geo.layers import files_of
from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Place, Scene
from geosemi.geo.target import url_of
from geosemi.geo.unfinished import announced, tidy, unfinished
from geosemi.geo.writer import RasterSet
from geosemi.legend import Legend
from geosemi.models.bundle import Bundle
from geosemi.predict.answers import Extra
from geosemi.predict.bands import BandFacts, map_band
from geosemi.predict.catalogue import Catalogue
from geosemi.predict.fingerprint import Fingerprint, state_of
from geosemi.predict.outputs import layers_of, require_rasters
from geosemi.predict.pipeline import OnProgress
from geosemi.predict.settings import PredictSettings
from geosemi.predict.task import Task
from geosemi.predict.workers import bands_for, map_apart, threads_of


@dataclass(frozen=True, slots=True)
class PredictionFacts:
    """What a prediction did.

    Attributes:
        files: everything that was written, the mask last.
        legend: the classes of the mask.
        pixels: pixels of each class, in the order of the legend.
        nodata: pixels without an answer.
        grid: of the scene and the mask.
        device: what it ran on; several with commas.
        warnings: what a person should know, one sentence each.
        resumed: rows that an interrupted run had finished, 0 where there was none.
        damaged: blocks of the scene that could not be decoded and are nodata.
        urls: what `geosemi.predict` uploaded; it is not among the files then.
    """

    files: tuple[Path, ...]
    legend: Legend
    pixels: tuple[int, ...]
    nodata: int
    grid: Grid
    device: str
    warnings: tuple[str, ...]
    resumed: int
    damaged: int
    urls: tuple[str, ...] = ()


def predict_scene(  # noqa: PLR0913 - the one verb of this room; all but three are options
    bundle: Bundle,
    scene: Place,
    out: Path,
    settings: PredictSettings | None = None,
    *,
    extras: Mapping[Extra, Path] | None = None,
    overwrite: bool = False,
    resume: bool | None = None,
    on_progress: OnProgress | None = None,
    command: str = "",
    stac: Path | None = None,
    taken: str | None = None,
) -> PredictionFacts:
    """Map a whole scene to a class mask on its own pixel grid.

    Memory grows with the scene's width, not with its height. The outputs get their names when they are complete, the
    mask last; what is done before is kept in a hidden folder beside it, so that a run that was killed goes on where it
    was. On a CPU the bytes are the same for every batch size and however often a run was interrupted; the number of
    threads may change last bits, so work that was begun with another number is other work.

    Args:
        bundle: the model.
        scene: GeoTIFF, PNG or JPEG, a VRT mosaic, or what `geosemi.geo.sources.find_scenes` finds.
        out: the mask, a `.tif`; its `.aux.xml` and `.qml` are written beside it.
        settings: how to cut and what to run on.
        extras: what to write besides, each to its `.tif`.
        overwrite: replace existing outputs.
        resume: None goes on with an interrupted run of the same work, True refuses an interrupted run of other work,
            False begins anew.
        on_progress: told (windows done, windows in all).
        command: for the outputs' provenance tag; no tag where empty.
        stac: also write a STAC item, a `.json`.
        taken: when the scene was taken, for that item: a date, a moment or a span; None asks the scene.

    Raises:
        OutputError: an output exists, is the scene, or cannot be written.
        InputError: the scene cannot be read, or does not fit the model.
        ConfigError: a setting does not fit the model or the machine, the interrupted run was other work, or a STAC item
            is wanted and nothing says when the scene was taken.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    wanted = dict(extras or {})
    task = Task.of(bundle, scene, settings, tuple(wanted))
    checked = task.checked
    layers = layers_of(task, out, wanted)
    key = {
        "scene": _identity(checked.scene), "model": bundle.digest or uuid.uuid4().hex, "version": __version__,
        "device": ",".join([task.device.type] * len(task.devices)),
        "threads": threads_of(task) if task.device.type == "cpu" else None,  # they decide last bits
        "outputs": [[*pair] for pair in zip((*wanted, "mask"), map(str, layers), strict=True)], **task.choices,
    }  # fmt: skip
    tidy(out)
    own = frozenset(path for path in announced(out, key) if url_of(path) is None)  # a store keeps account of its own
    require_rasters(layers, checked.scene, overwrite=overwrite, own=own)
    item = None if stac is None else Catalogue.of(stac, task, taken, overwrite=overwrite or stac.absolute() in own)
    with ExitStack() as stack:
        digest = stack.enter_context(Fingerprint(checked.scene.files))
        work = stack.enter_context(unfinished(out, key, resume=resume))
        place = checked.scene.place
        points = ControlPoints.of(place) if checked.scene.has_gcps and isinstance(place, Path | Remote) else None
        if len(task.devices) > 1:
            parts = bands_for(task, work, layers, tuple(wanted))
            found = map_apart(parts, on_progress)
            bands = [stack.enter_context(part.opened(points)) for part in parts]
        else:
            bands = [stack.enter_context(RasterSet(layers, checked.scene.grid, work, points=points))]
            found = map_band(task, bands[0], work.folder, on_progress)
        notes = {}
        if found.bad:
            notes[out.with_name(f"{out.name}.damage.json")] = report_json(checked.scene.path.name, found.bad)
        if item is not None:
            notes[item.path] = item.text(task, layers)
        tags = _tags(task, digest.result(), command)
        work.announce([*(file for path, layer in layers.items() for file in files_of(path, layer)), *notes])
        files = bands[0].finish(tags, notes, below=bands[1:])
        counts = np.sum([band.histogram for band in bands], axis=0)
    return _facts(task, files, counts, found)


def made_before(
    bundle: Bundle,
    scene: Place,
    out: Path,
    settings: PredictSettings | None = None,
    *,
    extras: Mapping[Extra, Path] | None = None,
) -> bool:
    """Tell whether an existing mask is what `predict_scene` would make: same model, settings and scene.

    Raises:
        GeosemiError: as `predict_scene`, of the scene, the model and the settings.
        SceneUnreadable: the mask is no raster.
    """
    task = Task.of(bundle, scene, settings, tuple(extras or {}))
    with Fingerprint(task.checked.scene.files) as digest:
        wanted = _tags(task, digest.result(), "")
    with open_raster(out) as file:
        found = file.dataset.tags()
    known = bool(wanted.get("MODEL_SHA256") and wanted.get("SCENE_SHA256"))
    return known and all(found.get(name) == text for name, text in wanted.items())


def _identity(scene: Scene) -> list[Any]:
    files = [[str(path.resolve()), *state_of(path)] for path in scene.files]
    # nobody knows whether an array is the one of before
    place = uuid.uuid4().hex if isinstance(scene.source, Array) else str(scene.place)
    return [files or place, list(scene.indexes), str(scene.grid)]


def _tags(task: Task, digest: str, command: str) -> dict[str, str]:
    """Return what made the output; no time and no host, so that the same work gives the same bytes."""
    tags = {
        "GEOSEMI_VERSION": __version__,
        "GEOSEMI_SETTINGS": json.dumps({k: v for k, v in task.choices.items() if k != "aoi_state"}),
        "GEOSEMI_COMMAND": command,
        "MODEL_SHA256": task.bundle.digest or "",
        "GEOSEMI_ENGINE": task.engine,
        "GEOSEMI_DEVICE": task.device.type,
        "SCENE": task.checked.scene.path.name,
        "SCENE_SHA256": digest,
    }
    return {name: text for name, text in tags.items() if text}


def _facts(task: Task, files: tuple[Path, ...], counts: npt.NDArray[np.int64], found: BandFacts) -> PredictionFacts:
    checked, legend = task.checked, task.bundle.card.legend
    said = (*checked.warnings, *found.notes, *([report_text(found.bad)] if found.bad else []))
    return PredictionFacts(
        files, legend, tuple(counts[: len(legend)].tolist()), int(counts[len(legend) :].sum()), checked.scene.grid,
        ",".join(map(str, task.devices)), said, found.kept, len(found.bad),
    )  # fmt: skip
