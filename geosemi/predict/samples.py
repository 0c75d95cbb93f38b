"""Windows of scenes to calibrate an int8 network with, and others to check it on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.data.check import LABEL_SUFFIXES
from geosemi.data.ground import lies_on
from geosemi.data.labels import NO_TRUTH, reading_labels
from geosemi.data.matching import partner
from geosemi.data.scenes import SceneFiles
from geosemi.data.settings import DataSettings
from geosemi.errors import ConfigError, InputError
from geosemi.geo.scene import Tile, reading
from geosemi.geo.sources import SceneSource
from geosemi.geo.window import Window
from geosemi.legend import Legend
from geosemi.models.bundle import Card
from geosemi.predict.check import check_scene
from geosemi.predict.settings import QuantizeSettings
from geosemi.predict.tiles import blackened

_Place = tuple[SceneFiles, Window]


@dataclass(frozen=True, slots=True)
class Samples:
    """What a network is calibrated with, and what it is checked on; no window is in both.

    Attributes:
        calibration: tiles, whose labels are never read.
        check: tiles and their truth (h, w), class ids, 255 where there is none or the pixel is nodata.
        notes: what a person should know, one sentence each.
    """

    calibration: tuple[Tile, ...]
    check: tuple[tuple[Tile, npt.NDArray[np.uint8]], ...]
    notes: tuple[str, ...]


def labels_of(scenes: Sequence[SceneSource], labels: Path) -> tuple[Path, ...]:
    """Return the label of each scene: the one file, or those in a folder that are named like the scenes.

    Raises:
        InputError: a scene has none.
        ConfigError: one file is to be the label of several scenes, or a scene has two.
    """
    if not labels.is_dir():
        if not labels.exists():
            raise InputError(f"`{labels}` does not exist", hint="name a label, or a folder of labels")
        if len(scenes) > 1:
            raise ConfigError(f"`{labels}` cannot be the label of {len(scenes)} scenes", hint="name a folder of labels")
        return (labels,)
    found = {scene.name: partner(labels, scene.name, LABEL_SUFFIXES) for scene in scenes}
    absent = [name for name, path in found.items() if path is None]
    if absent:
        raise InputError(
            f"the folder `{labels}` holds no label of `{absent[0]}`",
            hint=f"a label is named like its scene and ends in {', '.join(LABEL_SUFFIXES)}",
        )
    return tuple(path for path in found.values() if path is not None)


def draw_samples(
    card: Card,
    settings: QuantizeSettings,
    scenes: Sequence[SceneSource],
    labels: Sequence[Path],
    calibrate: Sequence[SceneSource],
) -> Samples:
    """Draw windows and read them; the same ones every time. No two of them overlap within a scene.

    Args:
        card: what the model takes.
        settings: how many, of which size, and how labels are read.
        scenes: labelled scenes.
        labels: their labels, one each.
        calibrate: scenes to calibrate with; those on the ground of `scenes` are left out. Without any, half of the
            windows of `scenes` calibrate and the others check.

    Raises:
        InputError: a scene cannot be read or does not fit the model, no window has truth, or none is left.
        GridMismatch, LegendError: a label does not fit.
    """
    notes: dict[str, None] = {}
    labelled = [
        replace(_files(scene, card, settings, notes), label=label) for scene, label in zip(scenes, labels, strict=True)
    ]
    others = [_files(scene, card, settings, notes) for scene in calibrate]
    tile = settings.tile or card.tile
    here = _shuffled(labelled, tile)
    there = _shuffled(_elsewhere(others, labelled, notes), tile) if others else here[1::2]
    check = list(_with_truth(here if others else here[::2], card, settings))
    calibration = list(_with_pixels(there, card, settings.windows))
    for found, what, hint in (
        (check, "has truth", "check the labels, or choose a smaller `--tile`"),
        (calibration, "is left to calibrate with", "name further scenes, which need no labels: `--calibrate SCENE`"),
    ):
        if not found:
            raise InputError(f"no window of {tile} × {tile} pixels of `{scenes[0].name}` {what}", hint=hint)
    return Samples(tuple(calibration), tuple(check), tuple(notes))


def _files(source: SceneSource, card: Card, settings: QuantizeSettings, notes: dict[str, None]) -> SceneFiles:
    checked = check_scene(source.place, card, bands=settings.bands)
    notes.update(dict.fromkeys(f"{source.name}: {warning}" for warning in checked.warnings))
    return SceneFiles(source.name, checked.scene, None)


def _elsewhere(others: list[SceneFiles], labelled: list[SceneFiles], notes: dict[str, None]) -> list[SceneFiles]:
    places = {files.scene.place for files in labelled}
    shared = lies_on([files.scene.grid for files in others], [files.scene.grid for files in labelled])
    taken = [same or files.scene.place in places for files, same in zip(others, shared, strict=True)]
    if any(taken):
        names = ", ".join(files.name for files, left in zip(others, taken, strict=True) if left)
        notes[f"not calibrated with, for labelled scenes lie on the same ground: {names}"] = None
    return [files for files, left in zip(others, taken, strict=True) if not left]


def _shuffled(scenes: Sequence[SceneFiles], tile: int) -> list[_Place]:
    """Return windows side by side, as many as fit, in an order that is random and always the same."""
    places = [
        (files, Window(row, col, tile, tile))
        for files in scenes
        for row in range(0, files.scene.grid.height - tile + 1, tile)
        for col in range(0, files.scene.grid.width - tile + 1, tile)
    ]
    return [places[i] for i in np.random.default_rng(0).permutation(len(places))]


def _with_pixels(places: Sequence[_Place], card: Card, count: int) -> Iterator[Tile]:
    """Yield up to so many tiles that hold more than nodata."""
    for files, window in places:
        with reading(files.scene) as reader:
            tile = reader.read(window)
        if tile.valid.any():
            yield blackened(tile, card.black)
            count -= 1
        if not count:
            return


def _with_truth(
    places: Sequence[_Place], card: Card, settings: QuantizeSettings
) -> Iterator[tuple[Tile, npt.NDArray[np.uint8]]]:
    known = [place for place, truth in _truths(places, card.legend, settings) if (truth != NO_TRUTH).any()]
    rank = {_key(place): number for number, place in enumerate(places)}
    drawn = sorted(known, key=lambda place: rank[_key(place)])[: settings.windows]
    for (files, window), truth in _truths(drawn, card.legend, settings):
        with reading(files.scene) as reader:
            tile = reader.read(window)
        yield blackened(tile, card.black), np.where(tile.valid, truth, np.uint8(NO_TRUTH))


def _truths(
    places: Sequence[_Place], legend: Legend, settings: QuantizeSettings
) -> Iterator[tuple[_Place, npt.NDArray[np.uint8]]]:
    """Yield windows and their truth, scene by scene, so that each label is opened once."""
    rules = DataSettings(label_column=settings.label_column, label_outside=settings.label_outside)
    for _, group in groupby(sorted(places, key=_key), key=lambda place: place[0].name):
        windows = list(group)
        with reading_labels(windows[0][0], legend, rules) as truth:
            yield from ((place, truth.read(place[1])) for place in windows)


def _key(place: _Place) -> tuple[str, int, int]:
    return (place[0].name, place[1].row, place[1].col)
