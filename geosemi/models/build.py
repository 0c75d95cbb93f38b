"""Which networks there are, and how one is built: `MODELS` is the whole registry."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, Self

import torch
from pydantic import model_validator

from geosemi.models.light import LightSegmenter
from geosemi.models.segmenter import Segmenter
from geosemi.settings import Settings

ModelName = Literal["light"]


class ModelSpec(Settings):
    """Which network, and what it starts from.

    Attributes:
        name: one of `MODELS`; `light` trains on a CPU, the others want a GPU.
        weights: what the backbone starts from. `default`: the model's usual weights (none for `light`, the DINOv2
            backbone of the same size from the Hugging Face hub for the others). None: train from scratch. Else a
            `.safetensors` file, a folder with `model.safetensors`, or a hub id such as `facebook/dinov2-small`.
        revision: commit of the hub repository; None takes its main branch. For hub ids only.
    """

    name: ModelName = "light"
    weights: str | None = "default"
    revision: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "light" and self.weights not in {None, "default"}:
            raise ValueError("`light` has no pretrained weights; leave `weights` out, or choose a DINOv2 model")
        if self.revision is not None and self.weights is None:
            raise ValueError("`revision` needs `weights`")
        return self

    @property
    def from_scratch(self) -> "ModelSpec":
        """The same network without pretrained weights."""
        return self.model_copy(update={"weights": None, "revision": None})


def _light(spec: ModelSpec, bands: int, classes: int) -> Segmenter:  # noqa: ARG001 - light has nothing to choose
    return LightSegmenter(bands=bands, classes=classes)


MODELS: MappingProxyType[str, Callable[[ModelSpec, int, int], Segmenter]] = MappingProxyType({"light": _light})
"""Name → builder of (spec, bands, classes)."""


def build_segmenter(spec: ModelSpec, *, bands: int, classes: int, seed: int) -> Segmenter:
    """Build a network on the CPU, in train mode.

    The same arguments give the same weights, bit for bit; torch's global generator is left as it was.

    Args:
        spec: which network.
        bands: C ≥ 1, channels of the image.
        classes: K ≥ 1, channels of the logits.
        seed: of all weights that are not pretrained.

    Raises:
        WeightsUnavailable: pretrained weights are neither on disk nor to be had.
        ValueError: bands or classes below 1.
    """
    if bands < 1 or classes < 1:
        raise ValueError(f"a network needs bands and classes, got bands={bands}, classes={classes}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        return MODELS[spec.name](spec, bands, classes).train()


def skeleton(spec: ModelSpec, *, bands: int, classes: int) -> Segmenter:
    """Build a network whose weights are uninitialised memory, for a state that is loaded next; reads no weights."""
    with torch.device("meta"):  # skips the initialisation: 4 s for the large network
        model = MODELS[spec.name](spec.from_scratch, bands, classes)
    return model.to_empty(device="cpu")
