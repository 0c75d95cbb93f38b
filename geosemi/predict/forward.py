"""One forward pass: tiles of raw pixels in, logits out, on one device, always in the same shape."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from geosemi.errors import ConfigError, ResourceError
from geosemi.geo.scene import Tile
from geosemi.geo.window import Window
from geosemi.malloc import keep_freed_memory
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.batching import Staging, batch_that_fits, lacks_memory
from geosemi.predict.engines import choose_engine, network_of, resting
from geosemi.predict.tta import VIEWS, Network, averaged


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
        hint = "choose auto, cpu, cuda, cuda:0 or mps; `all`, alone, means every GPU"
        raise ConfigError(f"`{name}` is no device", hint=hint) from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ConfigError(f"this machine has no device `{name}`", hint="leave `--device auto`, or choose cpu")
    return device


def choose_devices(name: str) -> tuple[torch.device, ...]:
    """Return the devices that `cuda:0,cuda:1`, `all` (GPUs) or a single name means on this machine.

    A CPU may be named several times: its cores are divided among as many processes.

    Raises:
        ConfigError: a name is unknown, the machine has no such device, or they are of several kinds.
    """
    if name == "all":
        count = torch.cuda.device_count()
        if not count:
            raise ConfigError("this machine has no GPU", hint="leave `--device auto`, or choose cpu")
        return tuple(torch.device("cuda", number) for number in range(count))
    parts = [part.strip() for part in name.split(",")]
    devices = tuple(choose_device(part) for part in parts if part or not any(parts))  # a last comma names nothing
    if len({device.type for device in devices}) > 1:
        raise ConfigError(f"`{name}` are devices of several kinds", hint="choose GPUs alone, or cpu: they round apart")
    return devices


class Forward:
    """A network that is ready to answer. Make it with `ready`.

    Args:
        network: from normalised images to logits, on `device`.
        card: of the bundle; its mean and std normalise.
        device: where the answers lie.
        shape: (h, w) of the tiles that the network sees.
        batch: how many it sees at once.

    Attributes:
        batch: how many it sees at once now; falls when the device's memory runs out.
        device: where the answers lie.
        engine: what runs the network, of `geosemi.predict.engines.ENGINES` without `auto`.
        notes: what a person should know, one sentence each.
    """

    def __init__(
        self, network: Network, card: Card, *, device: torch.device, shape: tuple[int, int], batch: int
    ) -> None:
        self.batch = batch
        self.device = device
        self.engine = "torch"
        self.notes: list[str] = []
        self._network, self._shape = network, shape
        self._stage = Staging(device)
        self._image: Tensor | None = None
        self._mean, self._std = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None, None] for v in (card.mean, card.std)
        )

    @torch.inference_mode()
    def __call__(self, tiles: Sequence[Tile]) -> Tensor:
        """Return logits (n, K, h, w) float32 of n ≥ 1 tiles.

        The network always sees `batch` tiles, so that the last batch of a scene takes the same path through the
        libraries as all others. If memory runs out, `batch` is halved, for this and all later calls.

        Raises:
            ResourceError: the device has too little memory for a single tile.
        """
        answers: list[Tensor] = []
        done = 0
        while done < len(tiles):
            group = tiles[done : done + self.batch]
            try:
                answers.append(self._answer(group))
            except RuntimeError as error:
                if not lacks_memory(error):
                    raise
                self._halve(error)
            else:
                done += len(group)
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def _answer(self, tiles: Sequence[Tile]) -> Tensor:
        raw = self._stage(tiles, self.batch)
        # a copy first: subtracting from bytes at once takes twice as long; kept: the heap stays as it is
        if self._image is None or self._image.shape != raw.shape:
            self._image = torch.empty(raw.shape, dtype=torch.float32, device=self.device)
        image = self._image.copy_(raw).sub_(self._mean).div_(self._std)
        # planes of their own: whoever stitches goes through them class by class (1 of 25 ms for a small network)
        return self._network(image)[: len(tiles)].contiguous()

    def _halve(self, error: RuntimeError) -> None:
        if self.batch == 1:
            height, width = self._shape
            raise ResourceError(
                f"the device `{self.device}` has too little memory for a window of {height} × {width} pixels",
                hint="choose a smaller `--tile`, or `--device cpu`",
            ) from error
        self.notes.append(f"out of memory at batch {self.batch}; went on with {self.batch // 2}")
        self.batch //= 2


@contextmanager
def ready(
    bundle: Bundle,
    device: torch.device,
    *,
    batch: int | None,
    shape: tuple[int, int],
    precision: str,
    engine: str = "torch",
    tta: str = "none",
) -> Iterator[Forward]:
    """Make a bundle's network ready on a device; afterwards it is where and how it was.

    Args:
        bundle: the model.
        device: where to run it.
        batch: tiles at once; None takes what fits. A CPU takes one at a time whatever is asked for: matrix products
            round by their size there (a vision transformer's logits differed by 3e-7 between batches of 1 and 2), and
            the outputs are to have the same bytes for every batch.
        shape: (h, w) of the tiles, all of them; a scene smaller than a window is one tile of its own size.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        engine: one of `geosemi.predict.engines.ENGINES`.
        tta: one of `geosemi.predict.tta.VIEWS`.

    Raises:
        ConfigError: the engine cannot run here.
        ResourceError: the device has too little memory for a single tile.
    """
    if device.type == "cpu":
        keep_freed_memory()
    name, note = choose_engine(engine, device, precision)
    with resting(bundle.model, device):
        network = averaged(network_of(bundle, device, engine=name, precision=precision), VIEWS[tta])
        forward = Forward(network, bundle.card, device=device, shape=shape, batch=1)
        forward.engine = name
        forward.notes.extend([note] if note else [])
        probe = partial(forward, [_blank(len(bundle.card.bands), shape)])
        if name != "torch":
            probe()  # exports and compiles, now rather than in the midst of a scene
        forward.batch = batch if batch and device.type != "cpu" else batch_that_fits(device, probe)
        yield forward


def _blank(bands: int, shape: tuple[int, int]) -> Tile:
    return Tile(np.zeros((bands, *shape), np.uint8), np.ones(shape, bool), Window(0, 0, *shape))
