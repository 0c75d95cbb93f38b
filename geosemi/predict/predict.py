"""A scene in, a mask of the same pixels out: the loop around a scene."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geosemi import __version__
from geosemi.errors import OutputError
from geosemi.geo.grid import Grid
from geosemi.geo.writer import (
    CogWriter,
    ControlPoints,
    Layer,
    confidence_layer,
    files_of,
    mask_layer,
    require_free,
    write_cogs,
)
from geosemi.legend import Legend
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.ahead import behind
from geosemi.predict.blend import Rows
from geosemi.predict.check import Checked, check_scene
from geosemi.predict.fingerprint import Fingerprint
from geosemi.predict.forward import choose_device, ready
from geosemi.predict.pipeline import Cut, OnProgress, map_rows
from geosemi.predict.settings import PredictSettings, cut_of


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
    """

    files: tuple[Path, ...]
    legend: Legend
    pixels: tuple[int, ...]
    nodata: int
    grid: Grid
    device: str
    warnings: tuple[str, ...]


def predict_scene(  # noqa: PLR0913 - the one verb of this room; all but three are options
    bundle: Bundle,
    scene: Path,
    out: Path,
    settings: PredictSettings | None = None,
    *,
    confidence: Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    command: str = "",
) -> PredictionFacts:
    """Map a whole scene to a class mask on its own pixel grid.

    Memory grows with the scene's width, not with its height (but for the compressed outputs). The outputs get their
    names when they are complete, the mask last. On a CPU the bytes are the same for every batch size.

    Args:
        bundle: the model.
        scene: GeoTIFF, PNG or JPEG.
        out: the mask, a `.tif`; its `.aux.xml` and `.qml` are written beside it.
        settings: how to cut and what to run on.
        confidence: also write the winner's probability there, as `.tif`.
        overwrite: replace existing outputs.
        on_progress: told (windows done, windows in all).
        command: for the outputs' provenance tag; no tag where empty.

    Raises:
        OutputError: an output exists, is the scene, or cannot be written.
        InputError: the scene cannot be read, or does not fit the model.
        ConfigError: a setting does not fit the model or the machine.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    settings = settings or PredictSettings()
    layers = _free_outputs(bundle.card, scene, out, confidence, overwrite=overwrite)
    cut = _cut(bundle.card, settings, confidence=confidence is not None)
    device = choose_device(settings.device)
    checked = check_scene(scene, bundle.card, bands=settings.bands)
    with ExitStack() as stack:
        digest = stack.enter_context(Fingerprint(scene))
        sink = stack.enter_context(_Sink(layers, checked, len(bundle.card.legend)))
        forward = stack.enter_context(
            ready(bundle, device, batch=settings.batch, shape=(cut.tile, cut.tile), precision=settings.precision)
        )
        with behind(sink.write, depth=2) as write:
            for rows in map_rows(checked.scene, forward, cut, on_progress):
                write(rows)
        files = write_cogs(sink.writers, _tags(bundle, cut, settings, scene, digest.result(), command))
    return PredictionFacts(
        files, bundle.card.legend, sink.pixels, sink.nodata, checked.scene.grid, str(device), checked.warnings
    )


def _free_outputs(card: Card, scene: Path, out: Path, confidence: Path | None, *, overwrite: bool) -> dict[Path, Layer]:
    """Return what is to be written where, the mask last; every name is free."""
    layers = {} if confidence is None else {confidence: confidence_layer()}
    if confidence is not None and confidence.resolve() in {f.resolve() for f in files_of(out, mask_layer(card.legend))}:
        raise OutputError(f"`{confidence}` would be both mask and confidence", hint="give each a name of its own")
    layers[out] = mask_layer(card.legend)
    for path, layer in layers.items():
        require_free(path, layer, overwrite=overwrite, inputs=[scene])
    return layers


def _cut(card: Card, settings: PredictSettings, *, confidence: bool) -> Cut:
    tile, overlap = cut_of(settings, card.tile)
    # 8-bit black is 0; other sensors' is measured in training and travels with the model
    black = card.provenance.get("black", [0.0] * len(card.bands))
    return Cut(tile, overlap, len(card.legend), card.legend.ignore, tuple(black), confidence)


class _Sink:
    """Where finished rows go: into the rasters, and into a count."""

    def __init__(self, layers: dict[Path, Layer], checked: Checked, classes: int) -> None:
        points = ControlPoints.of(checked.scene.path) if checked.scene.has_gcps else None
        self._stack = ExitStack()
        self._counts = np.zeros(256, dtype=np.int64)
        self._classes = classes
        self.writers = [
            self._stack.enter_context(CogWriter(path, checked.scene.grid, layer, points=points))
            for path, layer in layers.items()
        ]

    def __enter__(self) -> "_Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, rows: Rows) -> None:
        """Write rows to the confidence, if there is one, and to the mask."""
        if rows.confidence is not None:
            self.writers[0].write_rows(rows.row, rows.confidence)
        self.writers[-1].write_rows(rows.row, rows.classes)
        self._counts += np.bincount(rows.classes.ravel(), minlength=256)

    @property
    def pixels(self) -> tuple[int, ...]:
        """Pixels of each class."""
        return tuple(self._counts[: self._classes].tolist())

    @property
    def nodata(self) -> int:
        """Pixels without a class."""
        return int(self._counts[self._classes :].sum())


def _tags(
    bundle: Bundle, cut: Cut, settings: PredictSettings, scene: Path, digest: str, command: str
) -> dict[str, str]:
    """Return what made the output; no time and no host, so that the same work gives the same bytes."""
    choices: dict[str, object] = {"tile": cut.tile, "overlap": cut.overlap, "precision": settings.precision}
    if settings.bands is not None:
        choices["bands"] = list(settings.bands)
    tags = {
        "GEOSEMI_VERSION": __version__,
        "GEOSEMI_SETTINGS": json.dumps(choices),
        "GEOSEMI_COMMAND": command,
        "MODEL_SHA256": bundle.digest or "",
        "SCENE": scene.name,
        "SCENE_SHA256": digest,
    }
    return {name: text for name, text in tags.items() if text}
