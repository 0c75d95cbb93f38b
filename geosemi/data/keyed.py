"""Randomness as an argument: one generator for one named purpose, whatever ran before it."""

import hashlib

import torch


def keyed_generator(seed: int, *key: int | str) -> torch.Generator:
    """Return a CPU generator that depends on the seed and the key alone, not on the order of calls or the device.

    So a resumed run, another number of loader threads or a GPU draws the same numbers:
    `keyed_generator(seed, "augment", step)`.

    Args:
        seed: of the run.
        key: what the numbers are for; 1 and "1" differ, and so do ("ab", "c") and ("a", "bc").

    Returns:
        A fresh generator. Torch seeds its CPU generator with 32 bits, so among a few ten thousand keys two may share
        a stream: harmless for augmentation and sampling.
    """
    parts = [f"{type(part).__name__}:{len(str(part))}:{part}" for part in (seed, *key)]
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:4], "little"))
    return generator
