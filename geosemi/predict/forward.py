"""One forward pass: tiles of raw pixels in, probabilities out, on one device, always in the same shape."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from geosemi.errors import ConfigError, ResourceError
from geosemi.geo.scene import Tile
from geosemi.models.bundle import Bundle
from geosemi.predict.malloc import keep_freed_memory

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means on this machine.

    Raises:
        ConfigError: the name is unknown, or the machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"`{name}` is no device", hint="choose auto, cpu, cuda, cuda:0 or mps") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ConfigError(f"this machine has no device `{name}`", hint="leave `--device auto`, or choose cpu")
    return device


class Forward:
    """A network that is ready to answer. Make it with `ready`."""

    def __init__(self, bundle: Bundle, device: torch.device, *, batch: int, tile: int, precision: str) -> None:
        self.device = device
        self.batch = batch
        self._model = bundle.model
        self._tile = tile
        self._half = _HALF.get(precision)
        self._mean, self._std = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None, None]
            for v in (bundle.card.mean, bundle.card.std)
        )

    @torch.inference_mode()
    def __call__(self, tiles: Sequence[Tile]) -> Tensor:
        """Return probabilities (n, K, S, S) float32 of up to `batch` tiles, each padded to S × S.

        The network always sees `batch` tiles of the trained size, so that the last batch of a scene takes the same
        path through the libraries as all others.

        Raises:
            ResourceError: the device has too little memory.
        """
        padded = [tile.padded(self._tile, self._tile).image for tile in tiles]
        images = np.stack(padded + [padded[-1]] * (self.batch - len(tiles)))
        if images.dtype != np.uint8:  # bytes travel to a GPU as they are; torch knows few of the other kinds
            images = images.astype(np.float32)
        try:
            raw = torch.from_numpy(images).to(self.device)
            image = raw.float().sub_(self._mean).div_(self._std)
            with torch.autocast(self.device.type, self._half) if self._half else nullcontext():
                logits: Tensor = self._model(image)
            return logits[: len(tiles)].float().softmax(dim=1)
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"the device `{self.device}` has too little memory for {self.batch} windows of {self._tile} pixels",
                hint="choose a smaller `--batch`, then a smaller `--tile`",
            ) from error


@contextmanager
def ready(bundle: Bundle, device: torch.device, *, batch: int | None, tile: int, precision: str) -> Iterator[Forward]:
    """Put a bundle's network on a device, in evaluation mode; afterwards it is where and how it was."""
    model = bundle.model
    home = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = [(module, module.training) for module in model.modules()]
    if device.type == "cpu":
        keep_freed_memory()
    try:
        model.to(device).eval()
        yield Forward(bundle, device, batch=batch or (1 if device.type == "cpu" else 8), tile=tile, precision=precision)
    finally:
        model.to(home)
        for module, mode in training:
            module.training = mode
