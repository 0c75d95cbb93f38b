"""Numbers of DWL."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import PseudoLabelled


class DwlSettings(PseudoLabelled):
    """Numbers of DWL; the defaults are those of its code with SegFormer on Potsdam.

    Attributes:
        alpha: α, share of the pseudo head in the main head each time that the two are blended. The code takes .5 with
            convolutional networks.
        blend_every: steps from one blend to the next. In the code an epoch: 780 steps on Potsdam, 2 389 on LoveDA.
        sharpness: κ of the weights at the start and at the end of the run.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `Thresholded`.
    """

    idea: ClassVar[str] = "a second head learns pseudo-labels, each weighed by its rank in its class"
    source: ClassVar[str] = "Huang 2024, ISPRS J. 212"

    name: Literal["dwl"] = "dwl"
    alpha: float = Field(default=1.0, ge=0, le=1)
    blend_every: int = Field(default=780, ge=1)
    sharpness: tuple[float, float] = (2.0, 22.0)
    warm_up: float = Field(default=0.002, ge=0, le=1)
