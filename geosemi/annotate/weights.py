"""What all models that are loaded share: the device, their revision, and what to say where they are not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from geosemi.errors import ConfigError, WeightsUnavailable


def on_device(device: str) -> torch.device:
    """Return a device that this machine has; `auto` is a GPU where there is one.

    Raises:
        ConfigError: it has not.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = device.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(kind, False)
    if not there or (number and (not number.isdecimal() or int(number) >= max(torch.cuda.device_count(), 1))):
        raise ConfigError(f"`--device {device}` is not there", hint="leave `--device` out to use what is there")
    return torch.device(device)


@contextmanager
def loading(weights: str) -> Iterator[None]:
    """Name the weights in what goes wrong.

    Raises:
        WeightsUnavailable: they are neither on disk nor to be had, or cannot be read.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise WeightsUnavailable(
            f"`{weights}` cannot be loaded ({cause})",
            hint="give a folder that holds it, or fetch it where there is a network: `hf download NAME`",
        ) from error


def revision_of(model: Any, asked: str | None) -> str:
    """Return the commit that a model's weights are of; of a folder the one asked for, or nothing."""
    return str(getattr(model.config, "_commit_hash", None) or asked or "")
