"""What methods leave around a network, and what a model's card says of it: the two directions of one mapping."""

from geosemi.models.channels import SparkSegmenter
from geosemi.models.fused import FusedSegmenter, shipped
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import ModelSpec


def around(core: Segmenter, spec: ModelSpec) -> Segmenter:
    """Return a network with all around it that its specification names."""
    model = core if spec.fusion is None else FusedSegmenter(core, spec.fusion)
    return SparkSegmenter(model) if spec.spark else model


def described(model: Segmenter, spec: ModelSpec) -> tuple[Segmenter, ModelSpec]:
    """Return the network that predicts alike and has nothing that only training needs, and its specification.

    Args:
        model: as a method predicts with it.
        spec: of the network that the method was given.
    """
    if isinstance(model, SparkSegmenter):
        inner, told = described(model.core, spec)
        return model.around(inner), told.model_copy(update={"spark": True})
    model = shipped(model)
    fusion = model.fusion if isinstance(model, FusedSegmenter) else None
    return model, spec.model_copy(update={"fusion": fusion})
