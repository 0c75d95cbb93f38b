"""A bundle's network outside torch: exported to ONNX once, run by ONNX Runtime or OpenVINO on the CPU.

Both read the same file, so one export serves both, and OpenVINO's own converter, which reports its use over the
network, is never called. An export fits one shape of input and lies in the user's cache until it is deleted.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geosemi.errors import ConfigError, OutputError
from geosemi.geo.commit import write_files
from geosemi.models.bundle import Bundle
from geosemi.models.segmenter import Segmenter

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
)
"""Engine → the libraries it needs."""

_KEPT = 8  # exports in the cache; one of DINOv2-small takes 100 MB
# largest difference of the logits from eager fp32, as a share of the largest logit: an export that went wrong is far
# off. Measured on DINOv2-small and `light`: 3e-6 in fp32, 1e-2 in bf16.
_TOLERANCE = MappingProxyType({"fp32": 1e-3, "bf16": 1e-1})


def missing(engine: str) -> tuple[str, ...]:
    """Return the libraries that an engine needs and that are not installed."""
    return tuple(name for name in NEEDS[engine] if find_spec(name) is None)


def has_bf16() -> bool:
    """Tell whether OpenVINO computes in bf16 on this CPU; without, it takes fp32 unasked."""
    capabilities = import_module("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class Exported:
    """A network that is exported and loaded for each shape it meets.

    Args:
        bundle: whose network, which is on the CPU and in evaluation mode.
        engine: `onnx` or `openvino`.
        precision: `fp32`, for OpenVINO also `bf16`.
    """

    def __init__(self, bundle: Bundle, engine: str, precision: str) -> None:
        self._bundle, self._engine, self._precision = bundle, engine, precision
        self._runs: dict[tuple[int, ...], Run] = {}

    def __call__(self, image: Tensor) -> Tensor:
        """Return logits (n, K, h, w) float32 of a normalised image (n, C, h, w) float32.

        Raises:
            ConfigError: what the engine says is not what torch says.
            OutputError: the cache cannot be written.
        """
        shape = tuple(image.shape)
        if shape not in self._runs:
            self._runs[shape] = self._built(shape)
        return torch.from_numpy(self._runs[shape](np.ascontiguousarray(image.numpy())))

    def _built(self, shape: tuple[int, ...]) -> Run:
        path = exported_file(self._bundle.model, shape)
        run = load(self._engine, path, self._precision)
        sample = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            wanted = self._bundle.model(sample)
        off = float((torch.from_numpy(run(sample.numpy())) - wanted).abs().max() / wanted.abs().max())
        if not off <= _TOLERANCE[self._precision]:
            raise ConfigError(
                f"the engine `{self._engine}` does not say what torch says of this network: off by {off:.1%}",
                hint=f"take `--engine torch`; if the file `{path}` is old, delete it and try again",
            )
        return run


def load(engine: str, path: Path, precision: str) -> Run:
    """Return a function from images to logits that runs an ONNX file on the CPU.

    Args:
        engine: `onnx` or `openvino`.
        path: the file.
        precision: `fp32`, or `int8` if the file holds such a network; for `openvino` also `bf16`.
    """
    return _LOADERS[engine](path, precision)


def cache_folder() -> Path:
    """Return where exports lie: `geosemi/engines` in `$XDG_CACHE_HOME`, or in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geosemi" / "engines"


def exported_file(model: Segmenter, shape: tuple[int, ...]) -> Path:
    """Return a network's ONNX file for inputs of one shape, from the cache or made now.

    Its name holds what it was made from and the SHA-256 of its content, so that a damaged file is made again.

    Raises:
        OutputError: the cache cannot be written.
    """
    folder, key = cache_folder(), _key(model, shape)
    for path in folder.glob(f"{key}-*.onnx"):
        if path.stem == f"{key}-{_digest(path.read_bytes())}":
            path.touch()
            return path
        path.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the cache `{folder}` cannot be made: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written, or take `--engine torch`",
        ) from error
    data = _onnx(model, shape)
    path = folder / f"{key}-{_digest(data)}.onnx"
    write_files({path: data})
    for old in sorted(folder.glob("*.onnx"), key=lambda file: -file.stat().st_mtime_ns)[_KEPT:]:
        old.unlink()
    return path


def _key(model: Segmenter, shape: tuple[int, ...]) -> str:
    """Return a name for a network and a shape: of the weights themselves, for those in memory may not be the file's."""
    made_by = [version(library) for library in ("geosemi", "torch")]
    digest = hashlib.sha256(repr((type(model).__qualname__, shape, made_by)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"\0{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _onnx(model: Segmenter, shape: tuple[int, ...]) -> bytes:
    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(model, (torch.zeros(shape),), dynamo=True, verbose=False)
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def _in_onnxruntime(path: Path, _precision: str) -> Run:
    library: Any = import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would burn the CPU
    session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = session.run(None, {name: image})[0]
        return logits

    return run


def _in_openvino(path: Path, precision: str) -> Run:
    library: Any = import_module("openvino")
    settings = {
        # what a file in int8 leaves in floating point runs in bf16, where the CPU has it: DINOv2-small takes 69 ms
        # instead of 78, and the check of its cost ran like that, too
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,  # one window at a time
        "ENABLE_CPU_PINNING": False,  # reader and writer threads share the cores
    }
    compiled = library.Core().compile_model(str(path), "CPU", settings)

    def run(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = compiled(image)[0]
        return logits

    return run


_LOADERS: Mapping[str, Callable[[Path, str], Run]] = MappingProxyType(
    {"onnx": _in_onnxruntime, "openvino": _in_openvino}
)
