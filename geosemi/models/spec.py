"""Which network is meant. This file imports no torch: a wrong config is told in a second, not in ten."""

from typing import Literal, Self

from pydantic import model_validator

from geosemi.models.fusion import FusionSpec
from geosemi.settings import Settings

BUNDLE = "bundle.safetensors"  # what training calls its best model in a run folder
ModelName = Literal[
    "light",
    "dinov2_small",
    "dinov2_base",
    "dinov2_large",
    "segformer_b0",
    "segformer_b1",
    "segformer_b2",
    "segformer_b3",
    "segformer_b4",
    "segformer_b5",
    "segformer_pvt_b2",
    "deeplabv2",
    "deeplabv3plus_r50",
    "deeplabv3plus_r101",
    "upernet_r50",
    "upernet_r101",
    "upernet_convnext_tiny",
    "upernet_convnext_base",
]
_NVIDIA = ("nvidia/", "smp-hub/mit_")  # hub repositories with weights of NVIDIA's SegFormer


class ModelSpec(Settings):
    """Which network, and what it starts from.

    Attributes:
        name: one of `MODELS`; `light` trains on a CPU, the others want a GPU.
        weights: what the backbone starts from. `default`: the model's usual weights (none for `light`; for the others
            those that docs/models.md names, from the Hugging Face hub). None: train from scratch. Else a
            `.safetensors` file, a folder with `model.safetensors`, or a hub id such as `facebook/dinov2-small`.
        revision: commit of the hub repository; None takes its main branch.
        fusion: what frozen teachers left in it; written into bundles by training with `method.distill`.
        spark: whether its deepest map is rebuilt from its own channels; written into bundles by `allspark`.
    """

    name: ModelName = "light"
    weights: str | None = "default"
    revision: str | None = None
    fusion: FusionSpec | None = None
    spark: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "light" and self.weights not in {None, "default"}:
            raise ValueError("`light` has no pretrained weights; leave `weights` out, or choose another model")
        if self.revision is not None and (self.name == "light" or self.weights is None):
            raise ValueError("`revision` is a commit of pretrained weights, and there are none")
        return self

    @property
    def restriction(self) -> str | None:
        """What the licence of the pretrained weights forbids, in one sentence; None where nothing is known to be."""
        weights = self.weights or ""
        default = weights == "default" and self.name.startswith("segformer_b")
        if not default and not weights.startswith(_NVIDIA):
            return None
        other = "`timm/pvt_v2_b5.in1k`" if self.name == "segformer_b5" else "the model `segformer_pvt_b2`"
        return (
            f"the pretrained weights of `{self.name}` are NVIDIA's, for non-commercial use only, and so may be what is "
            f"trained from them; free of that are {other} (Apache-2.0) and `model.weights: null`"
        )
