"""Where a run computes: what this machine has, said before anything else is tried."""

import torch

from geosemi.errors import ConfigError
from geosemi.train.settings import TrainSettings


def has_gpu() -> bool:
    """Tell whether torch can compute on a GPU of this machine."""
    return torch.cuda.is_available()


def require_device(settings: TrainSettings) -> None:
    """Check that the device is there and computes in the precision asked for.

    Raises:
        ConfigError: it is not, or does not.
    """
    device, cards = settings.device, torch.cuda.device_count()
    if device == "cuda" and not has_gpu():
        built = "finds no CUDA GPU on this machine" if torch.version.cuda else "is a build without CUDA"
        raise ConfigError(
            f"`--device cuda`: the installed torch {torch.__version__} {built}",
            hint="leave `--device` out to use what is there, or install torch for your GPU (see pytorch.org)",
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "`--device mps`: this machine has no Apple GPU that torch can use",
            hint="leave `--device` out to use what is there",
        )
    if settings.devices > cards and (device == "cuda" or (device == "auto" and has_gpu())):
        raise ConfigError(
            f"`train.devices` is {settings.devices}, and this machine has {cards} GPU{'s' if cards > 1 else ''}",
            hint=f"use `--set train.devices={cards}`",
        )
    if settings.precision == "fp16" and (device == "cpu" or (device == "auto" and not _has_accelerator())):
        raise ConfigError("a CPU cannot train in fp16", hint="use `--set train.precision=bf16`, or fp32")


def _has_accelerator() -> bool:
    return has_gpu() or torch.backends.mps.is_available()
