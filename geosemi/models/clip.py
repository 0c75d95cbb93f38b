"""CLIP's vision transformer (Radford et al., 2021, arXiv 2103.00020) as timm builds it: what its last block says.

timm is here anyway for DINOv2 (transformers takes seconds to import, and renames its modules between releases); the
tests compare with transformers' `CLIPVisionModel`. Weights may be named either way.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from geosemi.errors import WeightsUnavailable
from geosemi.models.pretrained import rename
from geosemi.models.tensorfile import read_tensors

_NAMES = (  # of transformers → timm
    (r"^vision_model\.", ""),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
)


@dataclass(frozen=True, slots=True)
class ClipSize:
    """One size of CLIP's vision transformer.

    Attributes:
        hub: repository with its weights.
        dim: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        side: of the images that it takes, in pixels.
        patch: side of a patch in pixels.
    """

    hub: str
    dim: int
    depth: int
    heads: int
    side: int
    patch: int = 14


class ClipVision(nn.Module):
    """Patch tokens of the last block, before the norm and the projection that follow it.

    Args:
        size: which one.
    """

    def __init__(self, size: ClipSize) -> None:
        super().__init__()
        self.size = size
        vit: Any = VisionTransformer(
            img_size=size.side,
            patch_size=size.patch,
            embed_dim=size.dim,
            depth=size.depth,
            num_heads=size.heads,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
            num_classes=0,
            global_pool="",
        )
        vit.norm = nn.Identity()
        self.vit = vit

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, side, side) → (B, dim, side / patch, side / patch) float32; computed in fp16 on a GPU."""
        if image.is_cuda and self.vit.cls_token.dtype == torch.float32:
            self.half()  # as released; half the memory, too
        with torch.autocast(image.device.type, enabled=False):
            tokens: Tensor = self.vit.forward_features(image.to(self.vit.cls_token.dtype))
        side = self.size.side // self.size.patch
        return tokens[:, 1:].float().transpose(1, 2).reshape(len(image), -1, side, side)

    def load(self, path: Path) -> None:
        """Take over weights named by timm or by transformers; what belongs to CLIP's text half is passed over.

        Raises:
            WeightsUnavailable: the file holds another network.
            UnsafeInput: the file is a pickle.
            BundleError: the file cannot be read as safetensors.
        """
        state, wanted = _timm_names(dict(read_tensors(path).tensors)), self.vit.state_dict()
        strange = [n for n in wanted if n not in state or state[n].shape != wanted[n].shape]
        if strange or not all(torch.isfinite(state[n]).all() for n in wanted):
            raise WeightsUnavailable(
                f"`{path}` does not hold the vision transformer of `{self.size.hub}`"
                + (f": `{strange[0]}` is missing or of another size" if strange else ": it holds NaN or infinity"),
                hint=f"give the safetensors file of `{self.size.hub}`",
            )
        self.vit.load_state_dict({name: state[name].float() for name in wanted}, strict=True)


def _timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {rename(name, _NAMES): tensor for name, tensor in state.items()}
    for name in [n for n in renamed if ".self_attn.q_proj." in n]:
        parts = [renamed.pop(name.replace(".q_proj.", f".{p}_proj."), None) for p in "qkv"]
        renamed[name.replace(".self_attn.q_proj.", ".attn.qkv.")] = torch.cat([p for p in parts if p is not None])
    for name, dims in (("cls_token", 3), ("pos_embed", 3)):
        if name in renamed and renamed[name].dim() < dims:
            renamed[name] = renamed[name].reshape(1, -1, renamed[name].shape[-1])
    return renamed
