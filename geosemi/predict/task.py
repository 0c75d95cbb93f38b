"""What is to be mapped, with what, checked before the first slow step; and the network and the pixels made ready."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from geosemi.geo.scene import Place
from geosemi.models.bundle import Bundle
from geosemi.predict.answers import Answers, Extra
from geosemi.predict.check import Checked, check_scene
from geosemi.predict.engines import choose_engine
from geosemi.predict.fingerprint import state_of
from geosemi.predict.forward import Forward, choose_devices, ready
from geosemi.predict.int8 import Int8
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
        devices: what the network runs on, one process each.
    """

    bundle: Bundle
    checked: Checked
    settings: PredictSettings
    answers: Answers
    cut: Cut
    devices: tuple[torch.device, ...]

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
        devices = choose_devices(settings.device)
        checked = check_scene(
            scene, bundle.card, bands=settings.bands, resolution=settings.resolution,
            expand_palette=settings.expand_palette, assume_crs=settings.assume_crs, needs_crs=settings.aoi is not None,
        )  # fmt: skip
        return cls(bundle, checked, settings, answers, cut, devices)

    @property
    def device(self) -> torch.device:
        """What this process uses; all are of one type."""
        return self.devices[0]

    @property
    def engine(self) -> str:
        """What runs the network.

        Raises:
            ConfigError: the engine cannot run here.
        """
        return choose_engine(self.settings.engine, self.device, self.settings.precision)[0]

    @property
    def int8(self) -> Int8:
        """The file that runs in int8.

        Raises:
            ConfigError: there is none that was checked with this engine, or it takes other windows.
            BundleError: it is damaged.
        """
        down, across = self.cut.axes(*self.checked.grid.shape)
        return Int8.of(self.bundle, self.engine).fitting(down.tile, across.tile, tta=self.settings.tta)

    def seen(self, rows: range | None = None) -> SceneView:
        """Return the scene as the network is to see it; `rows` of it, or all.

        Raises:
            InputError: the area of interest cannot be read, or does not lie on the scene.
        """
        return SceneView(
            self.checked, self.bundle.card.black, aoi=self.settings.aoi,
            forgive=self.settings.on_bad_block == "nodata", rows=rows,
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
        if self.settings.precision == "int8":
            changed["int8_sha256"] = self.int8.digest  # made anew, it answers otherwise
        return {**cut, "precision": self.settings.precision, **changed}
