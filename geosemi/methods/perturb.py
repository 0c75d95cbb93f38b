"""How features are disturbed. All numbers are drawn on the CPU, from a generator that whoever calls hands in."""

import torch
from torch import Tensor

from geosemi.data.batch import Unlabelled
from geosemi.data.keyed import keyed_generator
from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.models.segmenter import Segmenter

MIDDLE = 0.5  # probability with which a channel is dropped


def draws(purpose: str, crops: Unlabelled, progress: Progress) -> torch.Generator:
    """Return the generator of one step: it depends on the step and on where the crops were cut, and on nothing else.

    So a resumed run draws the same numbers, and ranks and seeds, which see other crops, draw others.
    """
    return keyed_generator(progress.step, purpose, *crops.place)


def require_features(network: Segmenter, method: str) -> None:
    """Refuse a network without feature maps between `encode` and `decode`.

    Raises:
        InputError: it has none.
    """
    if not network.widths:
        raise InputError(
            f"`{method}` disturbs feature maps, and `{type(network).__name__}` shows none between image and logits",
            hint="choose another `--model`, or a method that disturbs images alone, e.g. `--method fixmatch`",
        )


def channel_dropout(map_: Tensor, generator: torch.Generator, *, p: float = MIDDLE) -> Tensor:
    """Silence whole channels of a map (B, D, h, w) with probability p, each image its own; scale the others up."""
    kept = torch.rand(*map_.shape[:2], 1, 1, generator=generator) >= p
    return map_ * (kept / (1 - p)).to(map_)


def complementary_masks(pairs: int, width: int, generator: torch.Generator, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return factors for the channels of two views of the same images, each (pairs, width) of 0, 1 and 2.

    What one view loses the other sees doubled: the two sum to 2 everywhere. Pairs in `kept` are left as they are.

    Args:
        pairs: B, images.
        width: D, channels.
        generator: where the numbers come from.
        kept: (n,) int64, images whose features stay whole in both views.
    """
    first = 2.0 * (torch.rand(pairs, width, generator=generator) < MIDDLE)
    first[kept] = 1.0
    return first, 2 - first


def split_channels(features: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Complementary channel dropout of UniMatch V2 on maps (2B, D, h, w) of B first and B second views.

    Half of the pairs, ⌊B/2⌋, keep all their channels. The mask is the same for all pixels, and for all maps of one
    width: those of a transformer, whose tokens keep their channels from block to block.
    """
    pairs = len(features[0]) // 2
    kept = torch.randperm(pairs, generator=generator)[: pairs // 2]
    masks: dict[int, Tensor] = {}
    for map_ in features:
        width = map_.shape[1]
        if width not in masks:
            masks[width] = torch.cat(complementary_masks(pairs, width, generator, kept))[..., None, None]
    return [map_ * masks[map_.shape[1]].to(map_) for map_ in features]
