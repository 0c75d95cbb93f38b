"""What maps an image to logits, in two steps that methods may reach between."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn


class Segmenter(nn.Module, ABC):
    """A network from pixels to per-class logits.

    Attributes:
        classes: K, channels of the logits.
        bands: C, channels of the image.
        widths: channels of each feature map that `encode` returns, finest first.
        stride: sides of the image that `encode` takes must be multiples of this.
    """

    classes: int
    bands: int
    widths: tuple[int, ...]
    stride: int
    window: int | None = 512
    """Side of the windows that a whole scene is best mapped with, in pixels; None: as large as the training crops.

    A convolution does not mind a larger window than it was trained on, and gains context at its rim; a vision
    transformer has learnt the positions of the training crop.
    """

    @abstractmethod
    def encode(self, image: Tensor) -> list[Tensor]:
        """Return feature maps of (B, C, H, W), finest first; H and W are multiples of `stride`."""

    @abstractmethod
    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size) from the maps of `encode`."""

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of a normalised image (B, C, H, W) of any size.

        The image is padded to the stride by repeating its edge, and the logits are cropped back.
        """
        return self.logits(self.features(image), (image.shape[-2], image.shape[-1]))

    def features(self, image: Tensor) -> list[Tensor]:
        """Return what `encode` makes of an image (B, C, H, W) of any size, padded as in `forward`."""
        down, right = -image.shape[-2] % self.stride, -image.shape[-1] % self.stride
        return self.encode(F.pad(image, (0, right, 0, down), mode="replicate") if down or right else image)

    def logits(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, H, W) of the `features` of an image of `size` (H, W), as they are or changed."""
        height, width = size
        padded = (height + -height % self.stride, width + -width % self.stride)
        return self.decode(features, padded)[..., :height, :width]

    def pretrained_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters that came with weights and learn slowly; none by default."""
        return ()
