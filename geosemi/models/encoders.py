"""Encoders of timm: residual networks, ConvNeXt, and the pyramid transformers of SegFormer.

Each keeps timm's names of its tensors, so that timm's checkpoints load as they are and a bundle does not depend on how
another library numbers its modules.

MiT, the encoder of SegFormer, is timm's `PyramidVisionTransformerV2` with other numbers: overlapping patches, attention
with reduced keys, a depthwise 3×3 convolution inside the MLP, layer norms with the same ε. A test holds its features
against transformers' `SegformerModel`. The MiT of segmentation_models_pytorch is not used: that file stands under
NVIDIA's source code licence, which forbids commercial use; timm's descends from the Apache-2.0 code of PVTv2.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.models.convnext import ConvNeXt
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from geosemi.models.layers import BatchNorm2d
from geosemi.models.pretrained import rename

_DROP_PATH = 0.1  # of the last block, linear from 0: as published for MiT, and as in S5
_EXPANSION = Bottleneck.expansion


@dataclass(frozen=True, slots=True)
class Encoder(ABC):
    """How an encoder is built, and what its weights are called.

    Attributes:
        hub: repository with the pretrained weights.
        depths: blocks of the four stages.
        dims: channels of the four stages, before a residual network's expansion.
        revision: commit of the repository; None takes its main branch.
    """

    hub: str
    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    revision: str | None = None

    @property
    @abstractmethod
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four maps, finest first."""

    @property
    @abstractmethod
    def first(self) -> str:
        """Name of the weight that reads the image."""

    @abstractmethod
    def build(self, bands: int, *, stride: int) -> nn.Module:
        """Return the network without classifier; `stride` is that of its deepest map."""

    @abstractmethod
    def maps(self, network: nn.Module, image: Tensor) -> list[Tensor]:
        """Return the outputs of the four stages of a network from `build`, finest first."""

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a checkpoint's tensors by the names of `build`, without its classifier."""
        return {name: tensor for name, tensor in state.items() if not name.startswith(("fc.", "head.", "classifier."))}


@dataclass(frozen=True, slots=True)
class Residual(Encoder):
    """ResNet (He et al., 2016) with bottlenecks; strides beyond `stride` become dilations.

    Attributes:
        deep: three 3×3 convolutions (64, 64, 128 channels) read the image, not one of 7×7: the ResNet of UniMatch.
    """

    dims: tuple[int, int, int, int] = (64, 128, 256, 512)
    deep: bool = False

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """256, 512, 1024 and 2048."""
        a, b, c, d = self.dims
        return a * _EXPANSION, b * _EXPANSION, c * _EXPANSION, d * _EXPANSION

    @property
    def first(self) -> str:
        """Name of the weight that reads the image."""
        return "conv1.0.weight" if self.deep else "conv1.weight"

    def build(self, bands: int, *, stride: int) -> nn.Module:
        """Return the network without classifier."""
        network: nn.Module = ResNet(
            Bottleneck,
            self.depths,
            num_classes=0,
            in_chans=bands,
            output_stride=stride,
            stem_width=64,
            stem_type="deep" if self.deep else "",
            channels=self.dims,
            norm_layer=BatchNorm2d,
            zero_init_last=False,  # from scratch a branch that starts as zero has weights that learn nothing at first
        )
        return network

    def maps(self, network: nn.Module, image: Tensor) -> list[Tensor]:
        """Return maps at 1/4, 1/8, 1/16 and 1/32, as far as strides are no dilations."""
        return _intermediates(network, image.contiguous(memory_format=torch.channels_last))[1:]


@dataclass(frozen=True, slots=True)
class ConvNext(Encoder):
    """ConvNeXt (Liu et al., CVPR 2022); each map goes through a layer norm of its own, as for segmentation there."""

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """As `dims`."""
        return self.dims

    @property
    def first(self) -> str:
        """Name of the weight that reads the image."""
        return "stem.0.weight"

    def build(self, bands: int, *, stride: int) -> nn.Module:
        """Return the network without classifier."""
        network = ConvNeXt(
            in_chans=bands,
            num_classes=0,
            output_stride=stride,
            depths=self.depths,
            dims=self.dims,
            drop_path_rate=_DROP_PATH,
        )
        network.head = nn.Identity()  # holds a norm even without classes
        built: nn.Module = network
        return built

    def maps(self, network: nn.Module, image: Tensor) -> list[Tensor]:
        """Return maps at 1/4, 1/8, 1/16 and 1/32."""
        return _intermediates(network, image)


@dataclass(frozen=True, slots=True)
class PyramidTransformer(Encoder):
    """MiT of SegFormer and PVTv2 (Wang et al., 2021), which differ in the width of their first MLPs.

    Attributes:
        ratios: width of the MLPs of each stage, in its channels.
        heads: attention heads of each stage.
    """

    ratios: tuple[int, int, int, int] = (4, 4, 4, 4)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    reductions: ClassVar[tuple[int, int, int, int]] = (8, 4, 2, 1)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """As `dims`."""
        return self.dims

    @property
    def first(self) -> str:
        """Name of the weight that reads the image."""
        return "patch_embed.proj.weight"

    def build(self, bands: int, *, stride: int) -> nn.Module:
        """Return the network without classifier; its deepest map is always at 1/32."""
        if stride != 32:
            raise ValueError(f"a pyramid transformer has stride 32, not {stride}")
        network: nn.Module = PyramidVisionTransformerV2(
            in_chans=bands,
            num_classes=0,
            depths=self.depths,
            embed_dims=self.dims,
            num_heads=self.heads,
            sr_ratios=self.reductions,
            mlp_ratios=self.ratios,
            drop_path_rate=_DROP_PATH,
        )
        return network

    def maps(self, network: nn.Module, image: Tensor) -> list[Tensor]:
        """Return maps at 1/4, 1/8, 1/16 and 1/32, each through its stage's layer norm."""
        return _intermediates(network, image)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Understand timm's names, those of NVIDIA's checkpoints, and those of the hub's `SegformerModel`."""
        return Encoder.own_names(self, _join_keys({_mit_name(name): tensor for name, tensor in state.items()}))


def _intermediates(network: nn.Module, image: Tensor) -> list[Tensor]:
    maps: list[Tensor] = network.forward_intermediates(image, intermediates_only=True)  # type: ignore[operator]
    return maps


_STAGES = r"^(patch_embed|block|norm)([1-4])\."
_MIT_NAMES = (  # of the hub's `SegformerModel` → NVIDIA's, whose stages count from 1
    (r"^(segformer\.)?encoder\.patch_embeddings\.(\d)\.layer_norm\.", r"patch_embed<\2>.norm."),
    (r"^(segformer\.)?encoder\.patch_embeddings\.(\d)\.", r"patch_embed<\2>."),
    (r"^(segformer\.)?encoder\.block\.(\d)\.", r"block<\2>."),
    (r"^(segformer\.)?encoder\.layer_norm\.(\d)\.", r"norm<\2>."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"\.attention\.self\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.self\.sr\.", ".attn.sr."),
    (r"\.attention\.self\.layer_norm\.", ".attn.norm."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attn\.query\.", ".attn.q."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
)


def _mit_name(name: str) -> str:
    """Return timm's name of a tensor of MiT."""
    name = rename(name, _MIT_NAMES)
    name = re.sub(r"^(\w+)<(\d)>", lambda m: f"{m[1]}{int(m[2]) + 1}", name)

    def staged(match: re.Match[str]) -> str:
        stage = int(match[2]) - 1
        if match[1] == "patch_embed":
            return f"stages.{stage}.downsample." if stage else "patch_embed."
        return f"stages.{stage}.{'blocks' if match[1] == 'block' else 'norm'}."

    name = re.sub(_STAGES, staged, name)
    return re.sub(r"^decode_head\..*", "head.", name)


def _join_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put keys and values, which the hub's checkpoints keep apart, into one tensor."""
    for name in [n for n in state if ".attn.key." in n]:
        key, value = state.pop(name), state.pop(name.replace(".key.", ".value."), None)
        state[name.replace(".key.", ".kv.")] = key if value is None else torch.cat([key, value])
    return state


_B2, _B5, _MIT_DIMS = (3, 4, 6, 3), (3, 6, 40, 3), (64, 128, 320, 512)


def _mit(size: int, revision: str, depths: tuple[int, int, int, int], *, narrow: bool = False) -> PyramidTransformer:
    dims = (32, 64, 160, 256) if narrow else _MIT_DIMS
    return PyramidTransformer(f"smp-hub/mit_b{size}.imagenet", depths, dims, revision)


MIT = (  # in safetensors, under the names of NVIDIA's release; the commits are those of segmentation_models_pytorch 0.6
    _mit(0, "9ce53d104d92d75aabb00aae70677aaab67e7c84", (2, 2, 2, 2), narrow=True),
    _mit(1, "a04bf4f13a549bce677cf79b04852e7510782817", (2, 2, 2, 2)),
    _mit(2, "868ab6f13871dcf8c3d9f90ee4519403475b65ef", _B2),
    _mit(3, "32558d12a65f1daa0ebcf4f4053c4285e2c1cbda", (3, 4, 18, 3)),
    _mit(4, "3a3454e900a4b4f11dd60eeb59101a9a1a36b017", (3, 8, 27, 3)),
    _mit(5, "ced04d96c586b6297fd59a7a1e244fc78fdb6531", _B5),
)
