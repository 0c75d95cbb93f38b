"""What is to be mapped, with what, checked before the first slow step; and the network and the pixels made ready."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from geosemi.geo.scene import Place
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.answers import Answers, Extra
from geosemi.predict.check import Checked, check_scene
from geosemi.predict.fingerprint import state_of
from geosemi.predict.forward import Forward, choose_device, ready
from geosemi.predict.pipeline import Cut
from geosemi.predict.settings import PredictSettings, cut_of
from geosemi.predict.views import SceneView


@dataclass(frozen=True, slots=True)
class Task:
    """A scene that fits a model, and how it is to be mapped. Make it with `of`.

    Attributes:
        bundle: the model.
        checked: the scene.
        settings: as they were asked for.
        answers: what is made of a pixel.
        cut: how the scene is cut into windows.
        device: what the network runs on.
    """

    bundle: Bundle
    checked: Checked
    settings: PredictSettings
    answers: Answers
    cut: Cut
    device: torch.device

    @classmethod
    def of(
        cls, bundle: Bundle, scene: Place, settings: PredictSettings | None = None, extras: Sequence[Extra] = ()
    ) -> "Task":
        """Look at everything that can be wrong with a scene, a model and settings.

        Raises:
            InputError: the scene cannot be read, or does not fit the model.
            ConfigError: a setting does not fit the model or the machine.
        """
        settings = settings or PredictSettings()
        answers = Answers(bundle.card.legend, tuple(extras))
        cut = Cut(*cut_of(settings, bundle.card.tile), settings.stitch)
        device = choose_device(settings.device)
        checked = check_scene(
            scene, bundle.card, bands=settings.bands, resolution=settings.resolution,
            expand_palette=settings.expand_palette, assume_crs=settings.assume_crs, needs_crs=settings.aoi is not None,
        )  # fmt: skip
        return cls(bundle, checked, settings, answers, cut, device)

    def seen(self, begin: int = 0) -> SceneView:
        """Return the scene as the network is to see it, from a row of the scene on.

        Raises:
            InputError: the area of interest cannot be read, or does not lie on the scene.
        """
        return SceneView(
            self.checked, _black(self.bundle.card), aoi=self.settings.aoi,
            forgive=self.settings.on_bad_block == "nodata", begin=begin,
            nodata=tuple(layer.nodata for layer in self.answers.layers),
        )  # fmt: skip

    @contextmanager
    def forward(self, seen: SceneView) -> Iterator[Forward]:
        """Have the network ready for windows of the scene.

        Raises:
            ConfigError: the engine cannot run here.
            ResourceError: the device has too little memory for a single window.
        """
        down, across = self.cut.axes(*seen.view.grid.shape)
        with ready(
            self.bundle, self.device, batch=self.settings.batch, shape=(down.tile, across.tile),
            precision=self.settings.precision, engine=self.settings.engine, tta=self.settings.tta,
        ) as forward:  # fmt: skip
            yield forward

    @property
    def choices(self) -> dict[str, Any]:
        """What changes the answer, as JSON: the cut in full, of the settings those that are not as usual."""
        usual = PredictSettings()
        rest = ("bands", "engine", "tta", "resolution", "aoi", "on_bad_block", "expand_palette", "assume_crs")
        pairs = {name: (getattr(self.settings, name), getattr(usual, name)) for name in rest}
        changed = {name: value for name, (value, default) in pairs.items() if value != default}
        if self.settings.aoi is not None:
            changed["aoi"] = self.settings.aoi.name
            changed["aoi_state"] = state_of(self.settings.aoi)
        cut = {"tile": self.cut.tile, "overlap": self.cut.overlap, "stitch": self.cut.rule}
        return {**cut, "precision": self.settings.precision, **changed}


def _black(card: Card) -> tuple[float, ...]:
    # 8-bit black is 0; other sensors' is measured in training and travels with the model
    return tuple(card.provenance.get("black", [0.0] * len(card.bands)))
