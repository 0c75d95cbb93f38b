"""The dense prediction head of DPT (Ranftl et al., 2021, "Vision Transformers for Dense Prediction", section 3).

Four maps of one size, from shallow to deep, become a pyramid and are fused from the deepest up. No batch norm and no
dropout: train and eval mode give the same logits. Bilinear interpolation aligns corners throughout, as published.

The published head carries a residual unit in its deepest fusion block that is never called (73,856 parameters at
width 64). It has no place here: every trainable parameter gets a gradient.
"""

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn


class DptHead(nn.Module):
    """Logits from four maps of a vision transformer.

    Args:
        dim: channels of each map.
        channels: channels of the four pyramid levels, finest first.
        width: channels of the fused map.
        classes: K, channels of the logits.
    """

    def __init__(self, *, dim: int, channels: tuple[int, int, int, int], width: int, classes: int) -> None:
        super().__init__()
        c1, c2, _, c4 = channels
        self.project = nn.ModuleList(nn.Conv2d(dim, c, 1) for c in channels)
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(c1, c1, 4, stride=4),
                nn.ConvTranspose2d(c2, c2, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(c4, c4, 3, stride=2, padding=1),
            ]
        )
        self.adapt = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1, bias=False) for c in channels)
        self.fuse = nn.ModuleList(_Fusion(width, takes_level=level < 3) for level in range(4))
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size) from four maps (B, dim, h, w), shallow first."""
        steps = zip(self.project, self.resize, self.adapt, features, strict=True)
        levels: list[Tensor] = [adapt(resize(project(x))) for project, resize, adapt, x in steps]
        targets = [(2 * levels[0].shape[-2], 2 * levels[0].shape[-1])]
        targets += [(level.shape[-2], level.shape[-1]) for level in levels[:-1]]

        path = self.fuse[3](levels[3], targets[3])
        for i in (2, 1, 0):
            path = self.fuse[i](path, targets[i], levels[i])
        logits: Tensor = self.classify(F.relu(self.smooth(path)))
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


class _Fusion(nn.Module):
    """Add a level to the path from above, refine, enlarge."""

    def __init__(self, width: int, *, takes_level: bool) -> None:
        super().__init__()
        self.level_unit = _ResidualUnit(width) if takes_level else None
        self.path_unit = _ResidualUnit(width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, path: Tensor, size: tuple[int, int], level: Tensor | None = None) -> Tensor:
        """(B, width, h, w) → (B, width, *size)."""
        if self.level_unit is not None and level is not None:
            path = path + self.level_unit(level)
        path = F.interpolate(self.path_unit(path), size=size, mode="bilinear", align_corners=True)
        mixed: Tensor = self.mix(path)
        return mixed


class _ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3×3 with bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) → the same shape."""
        change: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + change
