"""A bundle's network in int8, made by NNCF and let through only where labelled windows show what it costs."""

import contextlib
import io
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geosemi.data.labels import NO_TRUTH
from geosemi.errors import BundleError, ConfigError
from geosemi.geo.commit import naming_disk, private_folder, require_writable, write_files
from geosemi.geo.scene import Tile
from geosemi.geo.sources import SceneSource
from geosemi.metrics import Confusion, Scores, score
from geosemi.models.bundle import Bundle
from geosemi.predict.engines import resting
from geosemi.predict.exported import exported_file, missing
from geosemi.predict.forward import Forward, ready
from geosemi.predict.int8 import Quantised, Record, graph_hash, int8_file, with_record
from geosemi.predict.samples import Samples, draw_samples
from geosemi.predict.settings import QuantizeSettings

OnProgress = Callable[[int, int], None]
"""Told how many windows went through a network, and of how many."""

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class QuantizeFacts:
    """What was made, and how it did on labelled windows.

    Attributes:
        path: the file.
        record: what it says of itself.
        fp32: figures of torch in fp32.
        int8: figures of int8.
        seconds: the fastest window of torch in fp32, and of int8; others were disturbed by the machine.
        notes: what a person should know, one sentence each.
    """

    path: Path
    record: Record
    fp32: Scores
    int8: Scores
    seconds: tuple[float, float]
    notes: tuple[str, ...]


def quantize(
    bundle: Bundle,
    scenes: Sequence[SceneSource],
    labels: Sequence[Path],
    settings: QuantizeSettings | None = None,
    *,
    calibrate: Sequence[SceneSource] = (),
    overwrite: bool = False,
    on_progress: OnProgress = lambda _done, _total: None,
) -> QuantizeFacts:
    """Make a bundle's int8 twin, check it on labelled windows, and write it beside the bundle.

    Both networks run as `predict_scene` runs them, window by window without overlap. Weights and what flows through
    convolutions and matrix products become 8-bit numbers, in ranges that windows of `calibrate` show; see
    docs/engines.md.

    Args:
        bundle: the model, of a file.
        scenes: labelled scenes to check on; best those that training did not see.
        labels: their labels, one each; see `geosemi.predict.samples.labels_of`.
        settings: how much it may cost, and on how many windows that is measured.
        calibrate: scenes to calibrate with, which need no labels. Without any, half of the windows of `scenes` do that
            and the others are checked.
        overwrite: replace an existing twin.
        on_progress: told (windows done, windows in all).

    Raises:
        ConfigError: int8 costs more than it may; a library is not installed; the bundle is of no file.
        InputError: a scene or a label does not fit, or no window is left.
        OutputError: the twin exists, or cannot be written.
    """
    settings = settings or QuantizeSettings()
    if bundle.path is None or bundle.digest is None:
        raise ConfigError("int8 lies in a file beside the model, and this model is of no file", hint="save it first")
    _require_installed(settings.engine)
    out = int8_file(bundle.path)
    require_writable(out, overwrite=overwrite, inputs=[bundle.path])
    samples = draw_samples(bundle.card, settings, scenes, labels, calibrate)
    tile = settings.tile or bundle.card.tile
    progress = _Progress(on_progress, _passes(bundle) * len(samples.calibration) + len(samples.check))
    with resting(bundle.model, _CPU):
        model = _quantised(bundle, samples.calibration, tile, progress)
        with private_folder(out) as folder:
            part = folder / "graph.onnx"
            naming_disk(out, partial(part.write_bytes, model.SerializeToString()))
            check = _check(bundle, Quantised(part, settings.engine, tile), samples, progress)
    record = Record(
        model=bundle.digest, graph=graph_hash(model), tile=tile, engine=settings.engine,
        calibrated=len(samples.calibration), checked=len(samples.check), pixels=int(check.fp32.confusion.matrix.sum()),
        miou_fp32=check.fp32.miou, miou=check.int8.miou, iou_fp32=_plain(check.fp32), iou=_plain(check.int8),
        same=check.same, versions=_versions(settings.engine),
    )  # fmt: skip
    _require_cheap(record, settings.max_cost)
    write_files({out: with_record(model, record)})
    progress.finish()
    return QuantizeFacts(out, record, check.fp32, check.int8, check.seconds, samples.notes)


class _Progress:
    """Counts windows; NNCF may look at one more often than announced, so the end is told by `finish`."""

    def __init__(self, tell: OnProgress, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def step(self) -> None:
        self._done = min(self._done + 1, self._total - 1)
        self._tell(self._done, self._total)

    def finish(self) -> None:
        self._tell(self._total, self._total)


def _is_transformer(bundle: Bundle) -> bool:
    return bundle.card.spec.name.startswith(("dinov2", "segformer"))


def _passes(bundle: Bundle) -> int:
    return 2 if _is_transformer(bundle) else 1  # NNCF smooths the activations of transformers in a pass of its own


def _require_installed(engine: str) -> None:
    absent = (*missing(engine), *(name for name in ("nncf",) if find_spec(name) is None))
    if absent:
        raise ConfigError(
            f"int8 needs {', '.join(f'`{library}`' for library in absent)}, not installed here",
            hint='pip install "geosemi[engines]"',
        )


def _quantised(bundle: Bundle, tiles: Sequence[Tile], side: int, progress: _Progress) -> Any:
    """Return the network in int8 as an `onnx.ModelProto`."""
    card = bundle.card
    path = exported_file(bundle.model, (1, len(card.bands), side, side))
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (card.mean, card.std))
    with _quietly():
        nncf, onnx = import_module("nncf"), import_module("onnx")
        model = onnx.load_model(str(path))
        name = model.graph.input[0].name

        def seen(tile: Tile) -> dict[str, npt.NDArray[np.float32]]:
            progress.step()
            return {name: ((tile.image.astype(np.float32) - mean) / std)[None]}

        kind = nncf.ModelType.TRANSFORMER if _is_transformer(bundle) else None
        return nncf.quantize(model, nncf.Dataset(tiles, seen), subset_size=len(tiles), model_type=kind)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep NNCF's bars off the terminal, and keep it from reporting its use over the network.

    It does without the library that reports where that cannot be imported.
    """
    reporter = "openvino_telemetry"
    before = {reporter: sys.modules[reporter]} if reporter in sys.modules else {}
    sys.modules[reporter] = None  # type: ignore[assignment]  # what `import` takes for a missing library
    logger = logging.getLogger("torch.utils.cpp_extension")  # NNCF loads it, and it complains of a missing GPU
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        del sys.modules[reporter]
        sys.modules.update(before)
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class _Check:
    fp32: Scores
    int8: Scores
    same: float
    seconds: tuple[float, float]


def _check(bundle: Bundle, network: Quantised, samples: Samples, progress: _Progress) -> _Check:
    """Compare both networks with the truth, and with each other."""
    card, shape = bundle.card, samples.check[0][1].shape
    tables = (Confusion(len(card.legend)), Confusion(len(card.legend)))
    spent: tuple[list[float], list[float]] = ([], [])
    same = pixels = 0
    int8 = Forward(network, card, device=_CPU, shape=(shape[0], shape[1]), batch=1)
    with ready(bundle, _CPU, batch=None, shape=(shape[0], shape[1]), precision="fp32") as fp32:
        for tile, truth in samples.check:
            ids = []
            for forward, table, seconds in zip((fp32, int8), tables, spent, strict=True):
                begin = time.perf_counter()
                logits = forward([tile])
                seconds.append(time.perf_counter() - begin)
                ids.append(logits[0].argmax(0).numpy())
                table.add(ids[-1], truth, ignore=NO_TRUTH)
            same += int((ids[0] == ids[1])[tile.valid].sum())
            pixels += int(tile.valid.sum())
            progress.step()
    fp32_scores, int8_scores = (score(table, card.legend) for table in tables)
    return _Check(fp32_scores, int8_scores, same / pixels, (min(spent[0]), min(spent[1])))


def _require_cheap(record: Record, limit: float) -> None:
    if record.cost <= limit:
        return
    change = f"{100 * record.miou_fp32:.2f} to {100 * record.miou:.2f}"
    raise BundleError(
        f"int8 costs this model {record.cost:.2f} points of mIoU, from {change} on {record.checked} windows; "
        f"`--max-cost` is {limit:g}",
        hint="stay with `--precision bf16`, calibrate on more ground with `--calibrate` and `--windows`, or allow it",
        faults=[f"{name}: IoU {_percent(record.iou_fp32[name])} to {_percent(v)}" for name, v in record.iou.items()],
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _plain(scores: Scores) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in scores.iou.items()}


def _versions(engine: str) -> dict[str, str]:
    runtime = {"onnx": "onnxruntime"}.get(engine, engine)
    return {name: version(name) for name in ("geosemi", "torch", "onnx", "nncf", runtime)}
