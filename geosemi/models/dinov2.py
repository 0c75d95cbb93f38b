"""DINOv2 vision transformers with a DPT head (Oquab et al., 2023; Ranftl et al., 2021).

The network of UniMatch V2 and of the methods built on it: patches of 14 pixels, four tapped blocks, each through the
encoder's final layer norm, class token dropped, then the head of `dpt.py`.

An image whose sides are no multiples of 14 is padded at its lower and right rim, and the logits are cropped back. The
papers resize such images to the nearest multiple instead (512 → 518, 500 → 504): that changes the ground size of a
pixel by an amount that depends on the window, so windows of one scene would be seen at different scales.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from timm.models import VisionTransformer
from torch import Tensor, nn

from geosemi.errors import WeightsUnavailable
from geosemi.models.dpt import DptHead
from geosemi.models.pretrained import locate, read_backbone
from geosemi.models.segmenter import Segmenter

PATCH = 14
GRID = 37  # patches a side of the position table: pretrained at 518 pixels


@dataclass(frozen=True, slots=True)
class DinoSize:
    """One size of DINOv2 and the DPT head that goes with it.

    Attributes:
        hub: repository with the pretrained backbone.
        dim: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        taps: blocks whose outputs are used, counted from 0.
        channels: channels of the head's four pyramid levels, finest first.
        width: channels of the head's fused map.
    """

    hub: str
    dim: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    width: int


SIZES = {
    "dinov2_small": DinoSize("facebook/dinov2-small", 384, 12, 6, (2, 5, 8, 11), (48, 96, 192, 384), 64),
    "dinov2_base": DinoSize("facebook/dinov2-base", 768, 12, 12, (2, 5, 8, 11), (96, 192, 384, 768), 128),
    "dinov2_large": DinoSize("facebook/dinov2-large", 1024, 24, 16, (4, 11, 17, 23), (256, 512, 1024, 1024), 256),
}


class DinoSegmenter(Segmenter):
    """DINOv2 + DPT.

    Args:
        size: one of `SIZES`.
        bands: C, channels of the image.
        classes: K, channels of the logits.
        pretrained: whether the backbone starts from weights, and so learns more slowly than the head.
    """

    window = None

    def __init__(self, size: DinoSize, *, bands: int, classes: int, pretrained: bool) -> None:
        super().__init__()
        self.bands, self.classes, self.size, self.pretrained = bands, classes, size, pretrained
        self.widths, self.stride = (size.dim,) * 4, PATCH
        self.backbone: nn.Module = make_backbone(size, bands=bands)
        self.head = DptHead(dim=size.dim, channels=size.channels, width=size.width, classes=classes)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the tapped blocks' outputs (B, dim, H/14, W/14), shallow first."""
        return tapped(self.backbone, image, self.size.taps)

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size)."""
        logits: Tensor = self.head(features, size)
        return logits

    def pretrained_parameters(self) -> Iterable[nn.Parameter]:
        """Return the backbone's parameters; none when it is trained from scratch."""
        return self.backbone.parameters() if self.pretrained else ()

    def load_backbone(self, weights: str, *, revision: str | None = None) -> None:
        """Take over the backbone's pretrained weights from a file, a folder or the hub.

        Raises:
            WeightsUnavailable: nothing is there, or it is no backbone of this size.
            UnsafeInput: the file is a pickle.
            BundleError: the file cannot be read as safetensors.
        """
        load_backbone(self.backbone, self.size, weights, bands=self.bands, revision=revision)


def make_backbone(size: DinoSize, *, bands: int) -> nn.Module:
    """Return a DINOv2 vision transformer with weights drawn at random."""
    backbone: nn.Module = VisionTransformer(
        img_size=GRID * PATCH,
        patch_size=PATCH,
        in_chans=bands,
        num_classes=0,
        global_pool="",
        embed_dim=size.dim,
        depth=size.depth,
        num_heads=size.heads,
        init_values=1.0,  # of LayerScale
        dynamic_img_size=True,
    )
    return backbone


def tapped(backbone: nn.Module, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """Return outputs (B, dim, H/14, W/14) of some blocks after the final norm, without class token, shallow first."""
    vit: Any = backbone
    grid = vit.patch_embed(image)  # (B, h, w, dim)
    height, width = grid.shape[1:3]
    tokens = torch.cat([vit.cls_token.expand(len(grid), -1, -1), grid.flatten(1, 2)], dim=1)
    tokens = tokens + positions(vit.pos_embed, height=height, width=width)
    features = []
    for number, block in enumerate(vit.blocks):
        tokens = block(tokens)
        if number in taps:
            features.append(vit.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, (height, width)))
    return features


def load_backbone(backbone: nn.Module, size: DinoSize, weights: str, *, bands: int, revision: str | None) -> None:
    """Take over pretrained weights from a file, a folder or the hub.

    Raises:
        WeightsUnavailable: nothing is there, or it is no backbone of this size.
        UnsafeInput: the file is a pickle.
        BundleError: the file cannot be read as safetensors.
    """
    path = locate(weights, revision=revision)
    state, wanted = read_backbone(path, bands=bands), backbone.state_dict()
    strange = sorted(state.keys() ^ wanted.keys())
    strange += [n for n in wanted if n in state and state[n].shape != wanted[n].shape]
    if strange:
        dim = state["patch_embed.proj.weight"].shape[0]
        raise WeightsUnavailable(
            f"`{path}` is another backbone than `{size.hub}`: its tokens have {dim} channels, wanted are "
            f"{size.dim}; the first difference is `{strange[0]}`",
            hint="choose the model of that size (`dinov2_small`, `dinov2_base`, `dinov2_large`), or other weights; "
            "variants with registers are not supported",
        )
    backbone.load_state_dict(state, strict=True)


def positions(table: Tensor, *, height: int, width: int) -> Tensor:
    """Fit a position table (1, 1 + g², dim) to a grid of patches: (1, 1 + height · width, dim).

    Bicubic with DINOv2's offset: the scale is (side + 0.1) / g, not side / g, because the weights were trained so. On
    an aerial image, without the offset the last features differ by 2.0 % (9 × 9 patches) and 1.4 % (18 × 18), with
    antialiasing by 12.7 % and 6.9 %.
    """
    side = int((table.shape[1] - 1) ** 0.5)
    if (height, width) == (side, side):
        return table
    grid = table[:, 1:].transpose(1, 2).reshape(1, -1, side, side).float()  # bicubic in half precision moves the table
    scale = ((height + 0.1) / side, (width + 0.1) / side)
    fitted = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], fitted.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
