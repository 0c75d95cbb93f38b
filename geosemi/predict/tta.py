"""Test-time augmentation: one network asked several times, and the mean of what it says, as a network of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

Network = Callable[[Tensor], Tensor]
"""Normalised image (n, C, h, w) float32 → logits (n, K, h, w) float32."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at an image.

    Attributes:
        turns: quarter turns, anticlockwise.
        mirrored: whether left and right change places after turning.
        scale: sides of the view as multiples of the image's.
    """

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def there(self, image: Tensor) -> Tensor:
        """Return the view of an image (n, C, h, w)."""
        if self.scale != 1:
            height, width = (max(1, round(side * self.scale)) for side in image.shape[-2:])
            image = _resized(image, (height, width))
        turned = image.rot90(self.turns, (2, 3))
        return turned.flip(3) if self.mirrored else turned

    def back(self, answer: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return what was said of the view as said of the image, (n, K, *shape)."""
        upright = (answer.flip(3) if self.mirrored else answer).rot90(-self.turns, (2, 3))
        return upright if self.scale == 1 else _resized(upright, shape)


VIEWS: MappingProxyType[str, tuple[View, ...]] = MappingProxyType(
    {
        "none": (View(),),
        "flips": (View(), View(mirrored=True), View(2, mirrored=True), View(2)),
        "d4": tuple(View(turns, mirrored) for mirrored in (False, True) for turns in range(4)),
        "scales": tuple(View(scale=scale) for scale in (0.75, 1.0, 1.25)),
    }
)
"""Name → views: both mirrorings and their product, the whole symmetry of the square, three sizes."""


def averaged(network: Network, views: tuple[View, ...]) -> Network:
    """Return a network that says the logarithm of the mean probability over the views.

    The softmax of that logarithm is the mean again. A single view that changes nothing gives the network itself.
    """
    if views == (View(),):
        return network

    def answer(image: Tensor) -> Tensor:
        total: Tensor | None = None
        shape = (image.shape[-2], image.shape[-1])
        for view in views:
            probability = view.back(network(view.there(image)).softmax(dim=1), shape)
            total = probability if total is None else total + probability
        assert total is not None
        # no class is impossible: the logarithm of a probability that underflowed would be infinite
        return (total / len(views)).clamp_min(torch.finfo(total.dtype).tiny).log()

    return answer


def _resized(image: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size=shape, mode="bilinear", align_corners=False)
