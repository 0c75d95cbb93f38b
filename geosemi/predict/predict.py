"""A scene in, a mask of the same pixels out: the loop around a scene."""

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from geosemi import __version__
from geosemi.errors import OutputError
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer, files_of, require_free
from geosemi.geo.scene import Scene, reading
from geosemi.geo.unfinished import unfinished
from geosemi.geo.writer import ControlPoints, RasterSet
from geosemi.legend import Legend
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.ahead import behind
from geosemi.predict.answers import Answers, Extra
from geosemi.predict.check import check_scene
from geosemi.predict.fingerprint import Fingerprint
from geosemi.predict.forward import choose_device, ready
from geosemi.predict.pipeline import Cut, OnProgress, map_rows
from geosemi.predict.settings import PredictSettings, cut_of
from geosemi.predict.tiles import View


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
    """

    files: tuple[Path, ...]
    legend: Legend
    pixels: tuple[int, ...]
    nodata: int
    grid: Grid
    device: str
    warnings: tuple[str, ...]
    resumed: int


def predict_scene(  # noqa: PLR0913 - the one verb of this room; all but three are options
    bundle: Bundle,
    scene: Path,
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
        scene: GeoTIFF, PNG or JPEG.
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
    layers = _free_outputs(answers, scene, [*wanted.values(), out], overwrite=overwrite)
    cut = Cut(*cut_of(settings, bundle.card.tile), settings.stitch)
    device = choose_device(settings.device)
    checked = check_scene(scene, bundle.card, bands=settings.bands)
    key = {
        "scene": _identity(checked.scene), "model": bundle.digest or uuid.uuid4().hex, "version": __version__,
        "device": device.type, "extras": [[extra, str(path)] for extra, path in wanted.items()],
        **_choices(cut, settings),
    }  # fmt: skip
    with ExitStack() as stack:
        digest = stack.enter_context(Fingerprint(scene))
        work = stack.enter_context(unfinished(out, key, resume=resume))
        points = ControlPoints.of(scene) if checked.scene.has_gcps else None
        rasters = stack.enter_context(RasterSet(layers, checked.scene.grid, work, points=points))
        begin = rasters.begin
        down, across = cut.axes(*checked.scene.grid.shape)
        forward = stack.enter_context(
            ready(bundle, device, batch=settings.batch, shape=(down.tile, across.tile), precision=settings.precision)
        )
        view = View(checked.scene.grid, partial(reading, checked.scene), _black(bundle.card))
        with behind(rasters.write, depth=2) as write:
            for rows in map_rows(view, forward, cut, answers, begin=begin, on_progress=on_progress):
                write(rows.row, rows.layers)
        files = rasters.finish(_tags(bundle, cut, settings, scene, digest.result(), command))
    counts = rasters.histogram
    classes = len(bundle.card.legend)
    return PredictionFacts(
        files, bundle.card.legend, tuple(counts[:classes].tolist()), int(counts[classes:].sum()), checked.scene.grid,
        str(device), checked.warnings, begin,
    )  # fmt: skip


def _free_outputs(answers: Answers, scene: Path, paths: list[Path], *, overwrite: bool) -> dict[Path, Layer]:
    """Return what is to be written where, the mask last; every name is free."""
    layers = dict(zip(paths, answers.layers, strict=True))
    names: set[Path] = set()
    for path, layer in zip(paths, answers.layers, strict=True):
        files = {f.resolve() for f in files_of(path, layer)}
        if files & names:
            raise OutputError(f"`{path}` would be two outputs", hint="give each a name of its own")
        names |= files
        require_free(path, layer, overwrite=overwrite, inputs=[scene])
    return layers


def _identity(scene: Scene) -> list[Any]:
    info = scene.path.stat()
    return [str(scene.path.resolve()), info.st_size, info.st_mtime_ns, list(scene.indexes)]


def _black(card: Card) -> tuple[float, ...]:
    # 8-bit black is 0; other sensors' is measured in training and travels with the model
    return tuple(card.provenance.get("black", [0.0] * len(card.bands)))


def _choices(cut: Cut, settings: PredictSettings) -> dict[str, Any]:
    choices: dict[str, Any] = {
        "tile": cut.tile, "overlap": cut.overlap, "stitch": cut.rule, "precision": settings.precision
    }  # fmt: skip
    if settings.bands is not None:
        choices["bands"] = list(settings.bands)
    return choices


def _tags(
    bundle: Bundle, cut: Cut, settings: PredictSettings, scene: Path, digest: str, command: str
) -> dict[str, str]:
    """Return what made the output; no time and no host, so that the same work gives the same bytes."""
    tags = {
        "GEOSEMI_VERSION": __version__,
        "GEOSEMI_SETTINGS": json.dumps(_choices(cut, settings)),
        "GEOSEMI_COMMAND": command,
        "MODEL_SHA256": bundle.digest or "",
        "SCENE": scene.name,
        "SCENE_SHA256": digest,
    }
    return {name: text for name, text in tags.items() if text}
