"""From the maps of an encoder to logits: the heads of SegFormer, DeepLabv2, DeepLabv3+ and UPerNet.

Each returns logits at the size of the finest map that it reads. Whether corners are aligned in the last enlargement is
part of what was published, so each says so.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from geosemi.models.layers import conv_bn_relu, resized, size_of

_DROPOUT = 0.1  # of whole channels before the classifier, as published for SegFormer and UPerNet


class Head(nn.Module):
    """Logits (B, K, h, w) of maps (B, C_i, h_i, w_i), finest first.

    Args:
        widths: C_i, channels of the maps.
        width: channels inside.
        classes: K, channels of the logits.
    """

    aligned: ClassVar[bool] = False
    """Whether the logits are enlarged with aligned corners."""


class SegformerHead(Head):
    """The all-MLP head (Xie et al., NeurIPS 2021, arXiv 2105.15203, section 3.2).

    Every map is projected to `width` (768 for MiT-B2 … B5, 256 for B0 and B1) and enlarged to the finest; the deepest
    stands first in what is fused, so that published weights would fit.
    """

    def __init__(self, widths: Sequence[int], *, width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)  # a linear layer a pixel
        self.fuse = conv_bn_relu(len(widths) * width, width)
        self.drop = nn.Dropout2d(_DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits at 1/4 of the image's size."""
        size = size_of(features[0])
        levels = [resized(project(x), size) for project, x in zip(self.project, features, strict=True)]
        logits: Tensor = self.classify(self.drop(self.fuse(torch.cat(levels[::-1], dim=1))))
        return logits


class DeepLabV2Head(Head):
    """Four dilated 3×3 classifiers side by side, summed (Chen et al., TPAMI 2018, arXiv 1606.00915, ASPP-L)."""

    aligned = True
    rates: ClassVar[tuple[int, ...]] = (6, 12, 18, 24)

    def __init__(self, widths: Sequence[int], *, width: int, classes: int) -> None:  # noqa: ARG002 - nothing inside
        super().__init__()
        self.classify = nn.ModuleList(
            nn.Conv2d(widths[-1], classes, 3, padding=rate, dilation=rate) for rate in self.rates
        )
        for convolution in self.classify:
            nn.init.normal_(convolution.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits at 1/8 of the image's size."""
        return torch.stack([classify(features[-1]) for classify in self.classify]).sum(dim=0)


class DeepLabV3PlusHead(Head):
    """Dilated and pooled context, and a fine map for outlines (Chen et al., ECCV 2018, arXiv 1802.02611).

    As in UniMatch: plain (not separable) convolutions, dilations 6, 12 and 18, 48 channels of the fine map, no dropout.
    """

    aligned = True
    rates: ClassVar[tuple[int, ...]] = (6, 12, 18)
    fine: ClassVar[int] = 48

    def __init__(self, widths: Sequence[int], *, width: int, classes: int) -> None:
        super().__init__()
        deep = widths[-1]
        self.branches = nn.ModuleList(
            [conv_bn_relu(deep, width), *(conv_bn_relu(deep, width, size=3, dilation=rate) for rate in self.rates)]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(deep, width))
        self.project = conv_bn_relu(width * (len(self.branches) + 1), width)
        self.reduce = conv_bn_relu(widths[0], self.fine)
        self.fuse = nn.Sequential(
            conv_bn_relu(width + self.fine, width, size=3),
            conv_bn_relu(width, width, size=3),
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits at 1/4 of the image's size."""
        fine, deep = features[0], features[-1]
        context = [branch(deep) for branch in self.branches]
        context.append(self.pool(deep).expand(-1, -1, *size_of(deep)))
        path = resized(self.project(torch.cat(context, dim=1)), size_of(fine), aligned=True)
        logits: Tensor = self.classify(self.fuse(torch.cat([path, self.reduce(fine)], dim=1)))
        return logits


class UPerHead(Head):
    """Pooled context at four scales, fused top-down (Xiao et al., ECCV 2018, arXiv 1807.10221), 256 wide as in S5."""

    scales: ClassVar[tuple[int, ...]] = (1, 2, 3, 6)

    def __init__(self, widths: Sequence[int], *, width: int, classes: int) -> None:
        super().__init__()
        *fine, deep = widths
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), conv_bn_relu(deep, width)) for scale in self.scales
        )
        self.context = conv_bn_relu(deep + len(self.scales) * width, width, size=3)
        self.lateral = nn.ModuleList(conv_bn_relu(channels, width) for channels in fine)
        self.smooth = nn.ModuleList(conv_bn_relu(width, width, size=3) for _ in fine)
        self.fuse = conv_bn_relu(len(widths) * width, width, size=3)
        self.drop = nn.Dropout2d(_DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits at 1/4 of the image's size."""
        *fine, deep = features
        pooled = [resized(pool(deep), size_of(deep)) for pool in self.pools]
        levels: list[Tensor] = [self.context(torch.cat([deep, *pooled], dim=1))]
        for lateral, x in zip(list(self.lateral)[::-1], fine[::-1], strict=True):
            levels.append(lateral(x) + resized(levels[-1], size_of(x)))
        smooth = [block(level) for block, level in zip(self.smooth, levels[:0:-1], strict=True)]  # finest first
        joined = torch.cat([smooth[0], *(resized(x, size_of(smooth[0])) for x in (*smooth[1:], levels[0]))], dim=1)
        logits: Tensor = self.classify(self.drop(self.fuse(joined)))
        return logits
