"""Which networks there are, and how one is built: `MODELS` is the whole registry."""

from collections.abc import Callable
from types import MappingProxyType
from typing import get_args

import torch

from geosemi.models.around import around
from geosemi.models.light import LightSegmenter
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import ModelName, ModelSpec


def _light(spec: ModelSpec, bands: int, classes: int, *, load: bool) -> Segmenter:  # noqa: ARG001 - nothing to choose
    return LightSegmenter(bands=bands, classes=classes)


def _dinov2(spec: ModelSpec, bands: int, classes: int, *, load: bool) -> Segmenter:
    # imported here: timm takes 1.4 s of CPU, which nobody pays who maps with `light`
    from geosemi.models.dinov2 import SIZES, DinoSegmenter  # noqa: PLC0415

    size = SIZES[spec.name]
    model = DinoSegmenter(size, bands=bands, classes=classes, pretrained=spec.weights is not None)
    if load and spec.weights is not None:
        model.load_backbone(size.hub if spec.weights == "default" else spec.weights, revision=spec.revision)
    return model


def _headed(spec: ModelSpec, bands: int, classes: int, *, load: bool) -> Segmenter:
    from geosemi.models.networks import headed  # noqa: PLC0415 - timm, as above

    return headed(spec, bands=bands, classes=classes, load=load)


_OWN = {"light": _light, "dinov2_small": _dinov2, "dinov2_base": _dinov2, "dinov2_large": _dinov2}
MODELS: MappingProxyType[str, Callable[..., Segmenter]] = MappingProxyType(
    {name: _OWN.get(name, _headed) for name in get_args(ModelName)}
)
"""Name → builder (spec, bands, classes, *, load), where `load` says whether pretrained weights are read."""


def build_segmenter(spec: ModelSpec, *, bands: int, classes: int, seed: int) -> Segmenter:
    """Build a network on the CPU, in train mode.

    The same arguments give the same weights, bit for bit; torch's global generator is left as it was.

    Args:
        spec: which network.
        bands: C ≥ 1, channels of the image.
        classes: K ≥ 1, channels of the logits.
        seed: of all weights that are not pretrained.

    Raises:
        WeightsUnavailable: pretrained weights are neither on disk nor to be had, or of another network.
        UnsafeInput: the weights are a pickle.
        BundleError: the weights cannot be read as safetensors.
        ValueError: bands or classes below 1.
    """
    if bands < 1 or classes < 1:
        raise ValueError(f"a network needs bands and classes, got bands={bands}, classes={classes}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        return around(MODELS[spec.name](spec, bands, classes, load=True), spec).train()


def skeleton(spec: ModelSpec, *, bands: int, classes: int) -> Segmenter:
    """Build a network whose weights are uninitialised memory, for a state that is loaded next; reads no weights."""
    with torch.device("meta"):  # skips the initialisation
        model = around(MODELS[spec.name](spec, bands, classes, load=False), spec)
    return model.to_empty(device="cpu")
