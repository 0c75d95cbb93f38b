"""The int8 twin of a bundle: one ONNX file beside it that says what it costs. `geosemi.predict.quantize` makes it.

Its metadata hold a record under one key: which model it is made of, and how both did on labelled windows. Nothing runs
in int8 without that.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor

from geosemi.errors import BundleError, ConfigError
from geosemi.models.bundle import Bundle
from geosemi.predict.exported import load
from geosemi.settings import Settings

_KEY = "geosemi"


class Record(Settings):
    """How an int8 twin was made and checked.

    Attributes:
        format: rises when an older geosemi can no longer read the file.
        model: SHA-256 of the bundle, in hex.
        graph: SHA-256 of the file without this record, in hex.
        tile: side in pixels of the windows that it takes, which are square.
        engine: what ran it in the check, and what alone may run it.
        calibrated: windows that set the ranges of its numbers.
        checked: labelled windows of the check, none of them among those.
        pixels: labelled pixels in them.
        miou_fp32: mean IoU there of torch in fp32, 0 … 1.
        miou: mean IoU there of int8, 0 … 1.
        iou_fp32: IoU of each class by name; None where it is absent.
        iou: the same of int8.
        same: share of the pixels that get the label of torch in fp32.
        versions: of the libraries that made it.
    """

    format: Literal[1] = 1
    model: str
    graph: str
    tile: int = Field(ge=1)
    engine: Literal["onnx", "openvino"]
    calibrated: int = Field(ge=1)
    checked: int = Field(ge=1)
    pixels: int = Field(ge=1)
    miou_fp32: float
    miou: float
    iou_fp32: dict[str, float | None]
    iou: dict[str, float | None]
    same: float
    versions: dict[str, str]

    @property
    def cost(self) -> float:
        """What int8 costs, in points of mean IoU: percent of what could be had at most. Negative where it gains."""
        return 100 * (self.miou_fp32 - self.miou)


def int8_file(bundle: Path) -> Path:
    """Return where the int8 twin of a bundle lies: `bundle.int8.onnx` beside `bundle.safetensors`."""
    return bundle.with_name(f"{bundle.stem}.int8.onnx")


def graph_hash(model: Any) -> str:
    """Return the SHA-256 of an ONNX model without a record, in hex.

    Args:
        model: an `onnx.ModelProto`.
    """
    plain = type(model)()
    plain.CopyFrom(model)
    del plain.metadata_props[:]
    return hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def with_record(model: Any, record: Record) -> bytes:
    """Return the content of an int8 twin.

    Args:
        model: an `onnx.ModelProto`.
        record: how it was made and checked.
    """
    del model.metadata_props[:]
    model.metadata_props.add(key=_KEY, value=json.dumps(record.model_dump(), sort_keys=True))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@dataclass(frozen=True, slots=True)
class Int8:
    """The int8 twin of a bundle, as it lies on disk. Make it with `of`.

    Attributes:
        path: the file.
        digest: SHA-256 of the file, in hex.
        record: how it was made and checked.
    """

    path: Path
    digest: str
    record: Record

    @classmethod
    def of(cls, bundle: Bundle, engine: str) -> "Int8":
        """Return a bundle's int8 twin, for an engine that it was checked with.

        Raises:
            ConfigError: there is none, it is of another model, or it was checked with another engine.
            BundleError: the file is damaged, or of another geosemi.
        """
        if bundle.path is None:
            raise ConfigError(
                "int8 lies in a file beside the model, and this model is of no file", hint="load it from its bundle"
            )
        path = int8_file(bundle.path)
        make = f"geosemi quantize SCENE… --labels LABELS --model {bundle.path}"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ConfigError(
                f"the model has no int8 twin: there is no `{path}`", hint=f"make and check it: `{make}`"
            ) from error
        except OSError as error:
            raise BundleError(
                f"`{path}` cannot be read: {error.strerror}", hint="check the file and the disk"
            ) from error
        record = _record(path, data, again=f"make it again: `{make} --overwrite`")
        if record.model != bundle.digest:
            raise ConfigError(
                f"`{path}` was made of another model than `{bundle.path}`",
                hint=f"make and check it again: `{make} --overwrite`",
            )
        if record.engine != engine:
            raise ConfigError(
                f"`{path}` was checked with the engine `{record.engine}`, not with `{engine}`",
                hint=f"take `--engine {record.engine}`, or check it again: `{make} --engine {engine} --overwrite`",
            )
        return cls(path, hashlib.sha256(data).hexdigest(), record)

    def fitting(self, height: int, width: int, *, tta: str) -> "Int8":
        """Return this, if it takes such windows.

        Args:
            height: of the windows in pixels.
            width: of the windows in pixels.
            tta: one of `geosemi.predict.tta.VIEWS`.

        Raises:
            ConfigError: it does not.
        """
        tile = self.record.tile
        if (height, width) != (tile, tile):
            raise ConfigError(
                f"`{self.path}` takes windows of {tile} × {tile} pixels, not of {height} × {width}",
                hint=f"take `--tile {tile}`, and for scenes that are smaller another precision than int8",
            )
        if tta == "scales":
            raise ConfigError(
                f"`{self.path}` takes windows of one size, and `--tta scales` shows others",
                hint="choose flips or d4, or another precision than int8",
            )
        return self


class Quantised:
    """An int8 network as an engine runs it, for one shape of input.

    Args:
        path: the ONNX file.
        engine: `onnx` or `openvino`.
        tile: side of its windows in pixels.
    """

    def __init__(self, path: Path, engine: str, tile: int) -> None:
        self._path, self._tile = path, tile
        self._run = load(engine, path, "int8")

    def __call__(self, image: Tensor) -> Tensor:
        """Return logits (1, K, tile, tile) float32 of a normalised image (1, C, tile, tile) float32.

        Raises:
            ConfigError: the image has another size.
        """
        if image.shape[-2:] != (self._tile, self._tile):
            raise ConfigError(
                f"`{self._path}` takes images of {self._tile} × {self._tile} pixels, "
                f"not of {image.shape[-2]} × {image.shape[-1]}",
                hint="choose another precision than int8",
            )
        return torch.from_numpy(self._run(np.ascontiguousarray(image.numpy())))


def int8_network(bundle: Bundle, engine: str) -> Quantised:
    """Return the int8 twin of a bundle as an engine runs it.

    Raises:
        ConfigError, BundleError: as `Int8.of`.
    """
    twin = Int8.of(bundle, engine)
    return Quantised(twin.path, engine, twin.record.tile)


def _record(path: Path, data: bytes, *, again: str) -> Record:
    onnx, protobuf = import_module("onnx"), import_module("google.protobuf.message")
    try:
        model = onnx.load_model_from_string(data)
    except protobuf.DecodeError as error:
        raise BundleError(f"`{path}` is damaged: it is no ONNX file", hint=again) from error
    texts = [entry.value for entry in model.metadata_props if entry.key == _KEY]
    if len(texts) != 1:
        raise BundleError(f"`{path}` does not say what int8 costs", hint=again)
    try:
        record = Record.model_validate_json(texts[0])
    except ValidationError as error:
        raise BundleError(f"`{path}` is of another geosemi: {error.errors()[0]['msg']}", hint=again) from error
    if graph_hash(model) != record.graph:
        raise BundleError(f"`{path}` is damaged: its contents do not match their SHA-256", hint=again)
    return record
