"""A network that learnt to speak as its teachers do, and reads its own translations (RS-MTDF, arXiv 2506.08772).

F is the deepest feature map. A translator for each teacher maps its tokens to those of the teacher; a linear layer
maps them back, and F' = keep · F + (1 − keep) · mean of what came back takes the place of F, in training and
afterwards. Where a teacher looks at a square of its own size, its branch reads a second pass of the same encoder over
the image resized to it.

The layer back and the resizing of its map are both linear, and bilinear weights sum to one: so the map is brought to
the network's channels first and to its size afterwards, which is the same and costs less.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.models.fusion import FusionSpec
from geosemi.models.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Translated:
    """One pass that gradients will follow.

    Attributes:
        image: (B, C, H, W) that the encoder saw, normalised as the network wants it, padded to its stride.
        said: for each branch, what its translator made of the features, (B, D, h, w).
    """

    image: Tensor
    said: tuple[Tensor, ...]


class FusedSegmenter(Segmenter):
    """A network, translators to its teachers, and the way back.

    Args:
        core: the network; its deepest map is the last that `encode` returns.
        fusion: of which teachers, and how much.
    """

    def __init__(self, core: Segmenter, fusion: FusionSpec) -> None:
        super().__init__()
        self.core, self.fusion = core, fusion
        self.classes, self.bands, self.widths, self.stride = core.classes, core.bands, core.widths, core.stride
        # an image resized to a square shows its ground at the scale of its window
        self.window = core.window if all(b.side is None for b in fusion.branches) else None
        width, hidden = core.widths[-1], fusion.hidden
        self.translators = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, branch.dim))
            for branch in fusion.branches
        )
        self.back = nn.ModuleList(nn.Linear(b.dim, width) for b in fusion.branches if fusion.keep < 1)
        self._passes: list[Translated] | None = None

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the network, the deepest one joined by what its translators said."""
        *features, deep = self.core.encode(image)
        watched = self._passes is not None and torch.is_grad_enabled()
        if not self.back and not watched:
            return [*features, deep]
        said = tuple(self._translate(image, deep))
        if self._passes is not None and watched:
            self._passes.append(Translated(image, said))
        return [*features, self._joined(deep, said)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size)."""
        return self.core.decode(features, size)

    def pretrained_parameters(self) -> Iterable[nn.Parameter]:
        """Return those of the network itself."""
        return self.core.pretrained_parameters()

    @contextmanager
    def watched(self) -> Iterator[list[Translated]]:
        """Collect every pass with gradient, until the end of the block; a pass without teaches nothing."""
        self._passes = []
        try:
            yield self._passes
        finally:
            self._passes = None

    def _translate(self, image: Tensor, deep: Tensor) -> Iterator[Tensor]:
        seen: dict[int | None, Tensor] = {None: deep}
        for branch, translator in zip(self.fusion.branches, self.translators, strict=True):
            if branch.side is not None and branch.side not in seen:
                seen[branch.side] = self.core.features(resized(image, branch.side, branch.side))[-1]
            yield _by_token(translator, seen[branch.side])

    def _joined(self, deep: Tensor, said: tuple[Tensor, ...]) -> Tensor:
        if not self.back:
            return deep
        share = (1 - self.fusion.keep) / len(self.back)
        height, width = deep.shape[-2:]
        home = [resized(_by_token(back, map_), height, width) for back, map_ in zip(self.back, said, strict=True)]
        return self.fusion.keep * deep + share * torch.stack(home).sum(dim=0)


def shipped(network: Segmenter) -> Segmenter:
    """Return the network that predicts alike and has nothing that only training needs."""
    return network.core if isinstance(network, FusedSegmenter) and not network.back else network


def resized(map_: Tensor, height: int, width: int) -> Tensor:
    """Return an image or map (B, C, H, W) of another size: bilinear, corners aligned, as in the released code."""
    if map_.shape[-2:] == (height, width):
        return map_
    return F.interpolate(map_, size=(height, width), mode="bilinear", align_corners=True)


def _by_token(layer: nn.Module, map_: Tensor) -> Tensor:
    tokens: Tensor = layer(map_.movedim(1, -1))
    return tokens.movedim(-1, 1)
