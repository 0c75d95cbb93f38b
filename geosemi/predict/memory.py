"""A scene in, its mask as arrays out: for programs that go on with the pixels. Memory holds the whole mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from geosemi.errors import ConfigError
from geosemi.geo.forgiving import BadBlock, report_text
from geosemi.geo.layers import Layer
from geosemi.geo.scene import Place, Scene
from geosemi.models.bundle import Bundle
from geosemi.predict.answers import Extra
from geosemi.predict.pipeline import OnProgress, map_rows
from geosemi.predict.settings import PredictSettings
from geosemi.predict.task import Task


@dataclass(frozen=True, slots=True)
class Mapped:
    """A scene that was mapped.

    Attributes:
        pixels: (H, W) or (K, H, W) for each extra by its name, and for `class`, the last.
        layers: what their values mean.
        scene: what was mapped; its grid is that of the pixels.
        warnings: what a person should know, one sentence each.
        damaged: blocks of the scene that could not be decoded and are nodata.
    """

    pixels: Mapping[str, npt.NDArray[Any]]
    layers: Mapping[str, Layer]
    scene: Scene
    warnings: tuple[str, ...]
    damaged: tuple[BadBlock, ...]


def map_scene(
    bundle: Bundle,
    scene: Place,
    settings: PredictSettings | None = None,
    *,
    extras: Sequence[Extra] = (),
    on_progress: OnProgress | None = None,
) -> Mapped:
    """Map a whole scene to arrays on its own pixel grid; the same pixels that `predict_scene` writes.

    Args:
        bundle: the model.
        scene: as `predict_scene` takes it.
        settings: how to cut and what to run on.
        extras: what is wanted besides the classes.
        on_progress: told (windows done, windows in all).

    Raises:
        InputError: the scene cannot be read, or does not fit the model.
        ConfigError: a setting does not fit the model or the machine.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    task = Task.of(bundle, scene, settings, extras)
    if len(task.devices) > 1:
        raise ConfigError("several devices write to files only", hint="name an output, or one device")
    seen = task.seen()
    pixels = task.answers.empty(*task.checked.scene.grid.shape)
    with task.forward(seen) as forward:
        for rows in map_rows(seen.view, forward, task.cut, task.answers, on_progress=on_progress):
            for part in seen.back(rows):
                for whole, layer in zip(pixels, part.layers, strict=True):
                    whole[..., part.row : part.row + layer.shape[-2], :] = layer
    names = (*extras, "class")
    said = (*task.checked.warnings, *forward.notes, *([report_text(seen.bad)] if seen.bad else []))
    return Mapped(
        dict(zip(names, pixels, strict=True)), dict(zip(names, task.answers.layers, strict=True)),
        task.checked.scene, said, seen.bad,
    )  # fmt: skip
