"""How features are disturbed. All numbers are drawn on the CPU, from a generator that whoever calls hands in."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
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


def require_features(network: Segmenter, method: str, *, does: str = "disturbs") -> None:
    """Refuse a network without feature maps between `encode` and `decode`; `does` is what a method does with them.

    Raises:
        InputError: it has none.
    """
    if not network.widths:
        raise InputError(
            f"`{method}` {does} feature maps, and `{type(network).__name__}` shows none between image and logits",
            hint="choose another `--model`, or a method that needs images alone, e.g. `--method fixmatch`",
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


def feature_drop(map_: Tensor, generator: torch.Generator, *, keep: tuple[float, float]) -> Tensor:
    """Silence the places of a map (B, D, h, w) that stand out: whose mean over channels reaches γ times the maximum.

    γ is uniform in `keep`, one number for all images; the maximum is that of each image.
    """
    gamma = keep[0] + (keep[1] - keep[0]) * torch.rand((), generator=generator).item()
    attention = map_.detach().mean(dim=1, keepdim=True)
    return map_ * (attention < gamma * attention.amax(dim=(2, 3), keepdim=True))


def feature_noise(map_: Tensor, generator: torch.Generator, *, size: float) -> Tensor:
    """Multiply a map (B, D, h, w) with 1 + n, n uniform in ± size, the same for all images."""
    noise = size * (2 * torch.rand(map_.shape[1:], generator=generator) - 1)
    return map_ * (1 + noise).to(map_)


def adversarial(
    map_: Tensor, decoder: Callable[[Tensor], Tensor], generator: torch.Generator, *, xi: float, epsilon: float
) -> Tensor:
    """Move a map (B, D, h, w) where it changes most what a decoder says of it (VAT; Miyato et al., 2018).

    The direction is the gradient of KL(p(z) ‖ p(z + ξ d)) for a random unit d, one step of the power iteration.

    Args:
        map_: z, finite.
        decoder: logits (B, K, H, W) of a map.
        generator: where d comes from.
        xi: ξ, small against z and large against its precision.
        epsilon: length of the move, for each image.
    """
    still = map_.detach().float()
    start = _unit(torch.rand(map_.shape, generator=generator) - 0.5).to(still)
    with torch.enable_grad(), torch.autocast(map_.device.type, enabled=False):
        direction = start.requires_grad_()
        before = decoder(still).detach().softmax(dim=1)
        after = decoder(still + xi * direction).log_softmax(dim=1)
        (gradient,) = torch.autograd.grad(F.kl_div(after, before, reduction="sum"), direction)
    return map_ + epsilon * _unit(gradient).to(map_)


def _unit(map_: Tensor) -> Tensor:
    """Scale each image's map to norm 1; one of zeros stays."""
    norm: Tensor = torch.linalg.vector_norm(map_, dim=(1, 2, 3), keepdim=True)
    return map_ / norm.clamp(min=1e-20)
