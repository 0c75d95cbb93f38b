"""What layers draw (dropout) follows the run's seed, on a CPU and on a GPU, and leaves torch's own state alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from geosemi.data.keyed import keyed_generator


@contextmanager
def private_draws(device: torch.device) -> Iterator[None]:
    """Give torch's generators of the CPU and of this device back as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_layers(device: torch.device, seed: int, rank: int, step: int) -> None:
    """Seed torch's generators for one step of one rank, so that a resumed run draws what it would have drawn.

    A checkpoint therefore holds no state of generators, which would be rank 0's alone. `torch.manual_seed` is not used:
    it reseeds all GPUs of the process.
    """
    own = keyed_generator(seed, "layers", rank, step).initial_seed()
    torch.default_generator.manual_seed(own)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(own)
