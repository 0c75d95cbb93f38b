"""What runs a bundle's network: torch as it is or compiled, ONNX Runtime, or OpenVINO.

Every choice follows a rule that a reader can see, never a timing: the same command on the same machine gives the same
bytes.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import MappingProxyType

import torch
from torch import Tensor, nn

from geosemi.errors import ConfigError
from geosemi.models.bundle import Bundle
from geosemi.predict.exported import Exported, has_bf16, missing
from geosemi.predict.int8 import int8_network
from geosemi.predict.tta import Network

ENGINES = ("auto", "torch", "compile", "onnx", "openvino")
_INSTALL = 'pip install "geosemi[engines]"'
_SLOW = "fp16 takes ten times as long as fp32 on a CPU; bf16 is faster than both"
_HALF = MappingProxyType({"bf16": torch.bfloat16, "fp16": torch.float16})
# of the engines outside torch
_PRECISIONS = MappingProxyType({"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8")})


def choose_engine(name: str, device: torch.device, precision: str) -> tuple[str, str | None]:
    """Return which engine runs, and what a person should know about it.

    `auto` is `openvino` where all of this holds: the device is a CPU, OpenVINO is installed, the precision is fp32, or
    bf16 and this CPU has it. Else it is `torch`. In int8 it is `openvino`, or `onnx` where that alone is installed.

    Raises:
        ConfigError: the engine is not installed, or does not run on that device or in that precision.
    """
    if name == "auto" and precision != "int8":
        return _automatic(device, precision)
    if name == "auto":
        name = "onnx" if missing("openvino") and not missing("onnx") else "openvino"
    if name in _PRECISIONS:
        _require(name, device, precision)
        if precision == "bf16" and not has_bf16():
            return name, "this CPU has no bf16; OpenVINO computes in fp32"
    elif precision == "int8":
        raise ConfigError(
            f"the engine `{name}` has no precision int8", hint="add `--engine auto`, which takes openvino or onnx"
        )
    elif device.type == "cpu" and precision == "fp16":
        return name, _SLOW
    return name, None


def _automatic(device: torch.device, precision: str) -> tuple[str, str]:
    if device.type != "cpu":
        return "torch", "engine torch: the device is no CPU"
    if precision not in _PRECISIONS["openvino"]:
        return "torch", f"engine torch: OpenVINO has no {precision}; {_SLOW}"
    if missing("openvino"):
        return "torch", f"engine torch: OpenVINO, which is faster on a CPU, is not installed ({_INSTALL})"
    if precision == "bf16" and not has_bf16():
        return "torch", "engine torch: this CPU has no bf16"
    return "openvino", "engine openvino: it is installed and the device is a CPU"


def _require(name: str, device: torch.device, precision: str) -> None:
    if absent := missing(name):
        raise ConfigError(
            f"the engine `{name}` needs {', '.join(f'`{library}`' for library in absent)}, not installed here",
            hint=f"{_INSTALL}, or leave `--engine torch`",
        )
    if device.type != "cpu":
        raise ConfigError(
            f"the engine `{name}` runs on the CPU, not on `{device}`",
            hint="add `--device cpu`, or leave `--engine torch`",
        )
    if precision not in _PRECISIONS[name]:
        raise ConfigError(
            f"the engine `{name}` has no precision {precision}",
            hint=f"choose {' or '.join(_PRECISIONS[name])}, or `--engine torch`",
        )


def network_of(bundle: Bundle, device: torch.device, *, engine: str, precision: str) -> Network:
    """Return a bundle's network as an engine runs it; hold `resting` around its use.

    Args:
        bundle: the model.
        device: where images and logits lie.
        engine: as `choose_engine` said.
        precision: `fp32`, `bf16`, `fp16` or `int8`.

    Raises:
        ConfigError: the network is to be compiled and this machine has no compiler, or it has no int8 twin.
    """
    if precision == "int8":
        return int8_network(bundle, engine)
    if engine in _PRECISIONS:
        return Exported(bundle, engine, precision)
    return _in_torch(bundle, device, precision, compiled=engine == "compile")


@contextmanager
def resting(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a network on a device, in evaluation mode; afterwards it is where and how it was."""
    home = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = [(module, module.training) for module in model.modules()]
    try:
        model.to(device).eval()
        yield
    finally:
        model.to(home)
        for module, mode in training:
            module.training = mode


def layout(device: torch.device, half: torch.dtype | None) -> torch.memory_format:
    """Return how an image lies in memory; the weights stay as they are, convolutions follow the image.

    Channels last on CPUs: a small convolutional network takes 24 ms a window instead of 29, in bf16 11 instead of 20,
    and one of transformers loses nothing. On CUDA it is what tensor cores read, which work in half precision.
    """
    wide = device.type == "cpu" or (device.type == "cuda" and half is not None)
    return torch.channels_last if wide else torch.contiguous_format


def _in_torch(bundle: Bundle, device: torch.device, precision: str, *, compiled: bool) -> Network:
    half = _HALF.get(precision)
    order = layout(device, half)
    model = _compiled(bundle.model) if compiled else bundle.model

    def answer(image: Tensor) -> Tensor:
        with torch.autocast(device.type, half) if half else nullcontext():
            logits: Tensor = model(image.contiguous(memory_format=order))
        return logits.float()

    return answer


def _compiled(model: nn.Module) -> Network:
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise ConfigError(
            f"the engine `compile` needs a C++ compiler, and there is no `{compiler}`",
            hint="install one (Debian: `apt install g++`), or leave `--engine torch`",
        )
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415 - 2 s of imports for those who compile

    compiled = torch.compile(model, dynamic=False)

    def answer(image: Tensor) -> Tensor:
        try:
            logits: Tensor = compiled(image)
        except TorchDynamoException as error:
            raise ConfigError(
                f"torch cannot compile this network here: {str(error).strip().splitlines()[0]}",
                hint="leave `--engine torch`",
            ) from error
        return logits

    return answer
