"""A scene in, a mask of the same pixels out: the loop around a scene."""

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosemi import __version__
from geosemi.errors import OutputError
from geosemi.geo.forgiving import BadBlock, report_json, report_text
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer, files_of, require_free
from geosemi.geo.scene import Place, Scene
from geosemi.geo.unfinished import unfinished
from geosemi.geo.writer import ControlPoints, RasterSet
from geosemi.legend import Legend
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.ahead import behind
from geosemi.predict.answers import Answers, Extra
from geosemi.predict.check import Checked, check_scene
from geosemi.predict.fingerprint import Fingerprint, state_of
from geosemi.predict.forward import Forward, choose_device, ready
from geosemi.predict.pipeline import Cut, OnProgress, map_rows
from geosemi.predict.settings import PredictSettings, cut_of
from geosemi.predict.views import DamageLog, SceneView


@dataclass(frozen=True, slots=True)
class PredictionFacts:
    """What a prediction did.

    Attributes:
        files: everything that was written, the mask last.
        legend: the classes of the mask.
        pixels: pixels of each class, in the order of the legend.
        nodata: pixels without an answer.
        grid: of the scene and the mask.
        device: what it ran on.
        warnings: what a person should know, one sentence each.
        resumed: the row that an interrupted run had come to, 0 where there was none.
        damaged: blocks of the scene that could not be decoded and are nodata.
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
) -> PredictionFacts:
    """Map a whole scene to a class mask on its own pixel grid.

    Memory grows with the scene's width, not with its height. The outputs get their names when they are complete, the
    mask last; what is done before is kept in a hidden folder beside it, so that a run that was killed goes on where it
    was. On a CPU the bytes are the same for every batch size and however often a run was interrupted.

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

    Raises:
        OutputError: an output exists, is the scene, or cannot be written.
        InputError: the scene cannot be read, or does not fit the model.
        ConfigError: a setting does not fit the model or the machine, or the interrupted run was other work.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    settings = settings or PredictSettings()
    wanted = dict(extras or {})
    answers = Answers(bundle.card.legend, tuple(wanted))
    outputs = [*wanted.values(), out]
    layers = dict(zip(outputs, answers.layers, strict=True))
    if len(layers) < len(outputs):
        raise OutputError(f"`{out}` would be two outputs", hint="give each a name of its own")
    cut = Cut(*cut_of(settings, bundle.card.tile), settings.stitch)
    device = choose_device(settings.device)
    checked = check_scene(
        scene, bundle.card, bands=settings.bands, resolution=settings.resolution,
        expand_palette=settings.expand_palette, assume_crs=settings.assume_crs, needs_crs=settings.aoi is not None,
    )  # fmt: skip
    _require_free(layers, checked.scene, overwrite=overwrite)
    choices = _choices(cut, settings)
    key = {
        "scene": _identity(checked.scene), "model": bundle.digest or uuid.uuid4().hex, "version": __version__,
        "device": device.type, "outputs": [[*pair] for pair in zip((*wanted, "mask"), map(str, outputs), strict=True)],
        **choices,
    }  # fmt: skip
    with ExitStack() as stack:
        digest = stack.enter_context(Fingerprint(checked.scene.files))
        work = stack.enter_context(unfinished(out, key, resume=resume))
        points = ControlPoints.of(checked.scene.path) if checked.scene.has_gcps else None
        rasters = stack.enter_context(RasterSet(layers, checked.scene.grid, work, points=points))
        begin = rasters.begin
        seen = SceneView(
            checked, _black(bundle.card), aoi=settings.aoi, forgive=settings.on_bad_block == "nodata", begin=begin
        )
        down, across = cut.axes(*seen.view.grid.shape)
        forward = stack.enter_context(
            ready(
                bundle, device, batch=settings.batch, shape=(down.tile, across.tile), precision=settings.precision,
                engine=settings.engine, tta=settings.tta,
            )
        )  # fmt: skip
        damage = DamageLog(work.folder, seen)
        with behind(rasters.write, depth=2) as write:
            for rows in map_rows(seen.view, forward, cut, answers, begin=seen.begin, on_progress=on_progress):
                damage.save()
                for part in seen.back(rows):
                    write(part.row, part.layers)
        bad = damage.save()
        notes = {out.with_name(f"{out.name}.damage.json"): report_json(checked.scene.path.name, bad)} if bad else {}
        tags = _tags(bundle, choices, checked.scene, digest.result(), command)
        files = rasters.finish({**tags, "GEOSEMI_ENGINE": forward.engine}, notes)
    return _facts(bundle.card.legend, rasters, checked, files, begin=begin, bad=bad, forward=forward)


def _require_free(layers: Mapping[Path, Layer], scene: Scene, *, overwrite: bool) -> None:
    names: set[Path] = set()
    for path, layer in layers.items():
        files = {f.resolve() for f in files_of(path, layer)}
        if files & names:
            raise OutputError(f"`{path}` would be two outputs", hint="give each a name of its own")
        names |= files
        require_free(path, layer, overwrite=overwrite, inputs=scene.files)


def _identity(scene: Scene) -> list[Any]:
    files = [[str(path.resolve()), *state_of(path)] for path in scene.files]
    return [files or str(scene.place), list(scene.indexes), str(scene.grid)]


def _black(card: Card) -> tuple[float, ...]:
    # 8-bit black is 0; other sensors' is measured in training and travels with the model
    return tuple(card.provenance.get("black", [0.0] * len(card.bands)))


def _choices(cut: Cut, settings: PredictSettings) -> dict[str, Any]:
    """Return what changes the answer: the cut in full, of the rest what is not as usual."""
    usual = PredictSettings()
    rest = ("bands", "engine", "tta", "resolution", "aoi", "on_bad_block", "expand_palette", "assume_crs")
    changed = {name: getattr(settings, name) for name in rest if getattr(settings, name) != getattr(usual, name)}
    if settings.aoi is not None:
        changed["aoi"] = settings.aoi.name
        changed["aoi_state"] = state_of(settings.aoi)
    return {
        "tile": cut.tile, "overlap": cut.overlap, "stitch": cut.rule, "precision": settings.precision, **changed
    }  # fmt: skip


def _tags(bundle: Bundle, choices: dict[str, Any], scene: Scene, digest: str, command: str) -> dict[str, str]:
    """Return what made the output; no time and no host, so that the same work gives the same bytes."""
    tags = {
        "GEOSEMI_VERSION": __version__,
        "GEOSEMI_SETTINGS": json.dumps({k: v for k, v in choices.items() if k != "aoi_state"}),
        "GEOSEMI_COMMAND": command,
        "MODEL_SHA256": bundle.digest or "",
        "SCENE": scene.path.name,
        "SCENE_SHA256": digest,
    }
    return {name: text for name, text in tags.items() if text}


def _facts(
    legend: Legend,
    rasters: RasterSet,
    checked: Checked,
    files: tuple[Path, ...],
    *,
    begin: int,
    bad: tuple[BadBlock, ...],
    forward: Forward,
) -> PredictionFacts:
    counts = rasters.histogram
    said = (*checked.warnings, *forward.notes, *([report_text(bad)] if bad else []))
    return PredictionFacts(
        files, legend, tuple(counts[: len(legend)].tolist()), int(counts[len(legend) :].sum()), checked.scene.grid,
        str(forward.device), said, begin, len(bad),
    )  # fmt: skip
