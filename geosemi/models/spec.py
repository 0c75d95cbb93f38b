"""Which network is meant. This file imports no torch: a wrong config is told in a second, not in ten."""

from typing import Literal, Self

from pydantic import model_validator

from geosemi.settings import Settings

BUNDLE = "bundle.safetensors"  # what training calls its best model in a run folder
ModelName = Literal["light", "dinov2_small", "dinov2_base", "dinov2_large"]


class ModelSpec(Settings):
    """Which network, and what it starts from.

    Attributes:
        name: one of `MODELS`; `light` trains on a CPU, the others want a GPU.
        weights: what the backbone starts from. `default`: the model's usual weights (none for `light`, the DINOv2
            backbone of the same size from the Hugging Face hub for the others). None: train from scratch. Else a
            `.safetensors` file, a folder with `model.safetensors`, or a hub id such as `facebook/dinov2-small`.
        revision: commit of the hub repository; None takes its main branch.
    """

    name: ModelName = "light"
    weights: str | None = "default"
    revision: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "light" and self.weights not in {None, "default"}:
            raise ValueError("`light` has no pretrained weights; leave `weights` out, or choose a DINOv2 model")
        if self.revision is not None and (self.name == "light" or self.weights is None):
            raise ValueError("`revision` is a commit of pretrained weights, and there are none")
        return self
