"""Numbers of CutMix-Seg and of CPS, which draw masks of their own."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import OfMethod, PseudoLabelled
from geosemi.settings import Share


class CutMixSettings(OfMethod):
    """Numbers of CutMix-Seg; the defaults are those of its code on Pascal VOC.

    Attributes:
        threshold: confidence of the teacher; the loss is multiplied with the share of pixels that reach it.
        per_pixel: whether pixels below the threshold are left out instead.
        ema: largest share that the teacher keeps of itself in a step.
        weight: of the consistency loss.
        boxes: of a mask.
        area: share of the crop that a box takes before it is divided by the number of boxes, lowest first.
    """

    idea: ClassVar[str] = "mean_teacher on crops mixed from two; soft targets, mixed alike"
    source: ClassVar[str] = "French 2020, arXiv 1906.01916"
    unpurified: ClassVar[str] = "its teacher says probabilities of all classes, not labels"

    name: Literal["cutmix"] = "cutmix"
    threshold: float = Field(default=0.97, ge=0, lt=1)
    per_pixel: bool = False
    ema: float = Field(default=0.99, ge=0, lt=1)
    weight: float = Field(default=1.0, ge=0)
    boxes: int = Field(default=1, ge=1)
    area: tuple[Share, Share] = (0.5, 0.5)


class CpsSettings(PseudoLabelled):
    """Numbers of CPS; the defaults are those of its code on Pascal VOC.

    Attributes:
        cutmix: whether the networks teach each other on CutMixed crops; otherwise on labelled and unlabelled ones.
        weight: of what they teach each other; 1 with CutMix and 1.5 without if not given. Cityscapes: 5 and 6.
        boxes: of a CutMix mask.
        area: share of the crop that a box takes before it is divided by the number of boxes, lowest first.
        warm_up: share of the run over which the weight grows, as in `Thresholded`.
    """

    idea: ClassVar[str] = "two networks, each learns the other's pseudo-labels, sure or not"
    source: ClassVar[str] = "Chen 2021, arXiv 2106.01226"

    name: Literal["cps"] = "cps"
    cutmix: bool = True
    weight: float | None = Field(default=None, ge=0)
    boxes: int = Field(default=3, ge=1)
    area: tuple[Share, Share] = (0.25, 0.5)
    warm_up: float = Field(default=0.0, ge=0, le=1)
