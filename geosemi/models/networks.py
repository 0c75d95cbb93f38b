"""Networks made of an encoder and a head: SegFormer, DeepLabv2, DeepLabv3+, UPerNet. `NETWORKS` lists them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from geosemi.errors import WeightsUnavailable
from geosemi.models.encoders import MIT, ConvNext, Encoder, PyramidTransformer, Residual
from geosemi.models.heads import DeepLabV2Head, DeepLabV3PlusHead, Head, SegformerHead, UPerHead
from geosemi.models.layers import resized
from geosemi.models.pretrained import fit_bands, locate
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import ModelSpec
from geosemi.models.tensorfile import read_tensors


@dataclass(frozen=True, slots=True)
class Network:
    """What a name in `NETWORKS` stands for.

    Attributes:
        encoder: the encoder.
        head: the head's class.
        width: channels inside the head.
        stride: of the deepest map.
        taps: stages, counted from 0, whose maps the head reads.
        window: see `Segmenter.window`: None where something pools over the whole window or attends to all of it.
    """

    encoder: Encoder
    head: type[Head]
    width: int
    stride: int = 32
    taps: tuple[int, ...] = (0, 1, 2, 3)
    window: int | None = None


class HeadedSegmenter(Segmenter):
    """An encoder and a head.

    Args:
        network: which ones.
        bands: C, channels of the image.
        classes: K, channels of the logits.
        pretrained: whether the encoder starts from weights, and so learns more slowly than the head.
    """

    def __init__(self, network: Network, *, bands: int, classes: int, pretrained: bool) -> None:
        super().__init__()
        self.bands, self.classes, self.network, self.pretrained = bands, classes, network, pretrained
        self.widths = tuple(network.encoder.widths[tap] for tap in network.taps)
        self.stride, self.window = network.stride, network.window
        self.encoder = network.encoder.build(bands, stride=network.stride)
        self.norms = nn.ModuleList(_norm(network.encoder, width) for width in self.widths)
        self.head = network.head(self.widths, width=network.width, classes=classes)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the maps that the head reads, finest first."""
        maps = self.network.encoder.maps(self.encoder, image)
        return [norm(maps[tap]) for norm, tap in zip(self.norms, self.network.taps, strict=True)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size)."""
        return resized(self.head(features), size, aligned=self.network.head.aligned)

    def pretrained_parameters(self) -> Iterable[nn.Parameter]:
        """Return the encoder's parameters; none when it is trained from scratch."""
        return self.encoder.parameters() if self.pretrained else ()

    def load_encoder(self, weights: str, *, revision: str | None = None) -> None:
        """Take over the encoder's pretrained weights from a file, a folder or the hub; a classifier in them is left.

        Raises:
            WeightsUnavailable: nothing is there, or it is another encoder.
            UnsafeInput: the file is a pickle.
            BundleError: the file cannot be read as safetensors.
        """
        path, plan = locate(weights, revision=revision), self.network.encoder
        state = plan.own_names(
            {n: t.float() if t.is_floating_point() else t for n, t in read_tensors(path).tensors.items()}
        )
        wanted = self.encoder.state_dict()
        if plan.first in state and state[plan.first].dim() == 4 and state[plan.first].shape[1] == 3:
            state[plan.first] = fit_bands(state[plan.first], self.bands)
        strange = sorted(state.keys() ^ wanted.keys())
        strange += [n for n in wanted if n in state and state[n].shape != wanted[n].shape]
        if strange:
            raise WeightsUnavailable(
                f"`{path}` is another encoder than `{plan.hub}`; the first difference is `{strange[0]}`",
                hint=f"give the weights of `{plan.hub}` or others of the same encoder, as safetensors; "
                "or choose the model that they belong to",
            )
        broken = sorted(n for n, tensor in state.items() if not torch.isfinite(tensor).all())
        if broken:
            raise WeightsUnavailable(
                f"`{path}` holds NaN or infinite numbers in `{broken[0]}`", hint="download or copy the file again"
            )
        self.encoder.load_state_dict(state, strict=True)


def _norm(encoder: Encoder, width: int) -> nn.Module:
    norm: nn.Module = LayerNorm2d(width) if isinstance(encoder, ConvNext) else nn.Identity()
    return norm


def headed(spec: ModelSpec, *, bands: int, classes: int, load: bool) -> HeadedSegmenter:
    """Build one of `NETWORKS`; `load` says whether pretrained weights are read.

    Raises:
        WeightsUnavailable: they are neither on disk nor to be had, or of another encoder.
        UnsafeInput: they are a pickle.
        BundleError: they cannot be read as safetensors.
    """
    network = NETWORKS[spec.name]
    model = HeadedSegmenter(network, bands=bands, classes=classes, pretrained=spec.weights is not None)
    if load and spec.weights is not None:
        default = spec.weights == "default"
        model.load_encoder(
            network.encoder.hub if default else spec.weights,
            revision=spec.revision or (network.encoder.revision if default else None),
        )
    return model


_R50, _R101, _WIDE = (3, 4, 6, 3), (3, 4, 23, 3), (8, 8, 4, 4)
_PVT = PyramidTransformer("timm/pvt_v2_b2.in1k", (3, 4, 6, 3), (64, 128, 320, 512), ratios=_WIDE)

NETWORKS: dict[str, Network] = {
    **{f"segformer_b{n}": Network(mit, SegformerHead, 256 if n < 2 else 768) for n, mit in enumerate(MIT)},
    "segformer_pvt_b2": Network(_PVT, SegformerHead, 768),
    "deeplabv2": Network(Residual("timm/resnet101.tv_in1k", _R101), DeepLabV2Head, 0, stride=8, taps=(3,), window=512),
    "deeplabv3plus_r50": Network(
        Residual("timm/resnet50s.gluon_in1k", _R50, deep=True), DeepLabV3PlusHead, 256, stride=16, taps=(0, 3)
    ),
    "deeplabv3plus_r101": Network(
        Residual("timm/resnet101s.gluon_in1k", _R101, deep=True), DeepLabV3PlusHead, 256, stride=16, taps=(0, 3)
    ),
    "upernet_r50": Network(Residual("timm/resnet50.tv_in1k", _R50), UPerHead, 256),
    "upernet_r101": Network(Residual("timm/resnet101.tv_in1k", _R101), UPerHead, 256),
    "upernet_convnext_tiny": Network(
        ConvNext("timm/convnext_tiny.fb_in22k", (3, 3, 9, 3), (96, 192, 384, 768)), UPerHead, 256
    ),
    "upernet_convnext_base": Network(
        ConvNext("timm/convnext_base.fb_in22k", (3, 3, 27, 3), (128, 256, 512, 1024)), UPerHead, 256
    ),
}
