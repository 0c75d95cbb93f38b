"""What runs a bundle's network: torch as it is, or compiled for this machine.

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
from geosemi.predict.tta import Network

ENGINES = ("torch", "compile")
_HALF = MappingProxyType({"bf16": torch.bfloat16, "fp16": torch.float16})


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


def in_torch(bundle: Bundle, device: torch.device, precision: str, *, compiled: bool) -> Network:
    """Return the network as torch runs it; hold `resting` around its use.

    Raises:
        ConfigError: it is to be compiled and this machine has no compiler, or torch cannot compile it.
    """
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
