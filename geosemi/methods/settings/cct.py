"""Numbers of CCT."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from geosemi.methods.settings.base import OfMethod
from geosemi.settings import Share


class CctSettings(OfMethod):
    """Numbers of CCT; the defaults are those of its code, without the disturbances that need objects on a background.

    Attributes:
        weight: of the consistency loss, once ramped up.
        ramp: share of the run over which that weight grows.
        feature_drop: auxiliary decoders whose features lose what stands out most.
        feature_noise: auxiliary decoders whose features are multiplied with noise.
        dropout: auxiliary decoders whose features lose half of their channels.
        adversarial: auxiliary decoders whose features are moved where it hurts most (VAT).
        keep: range of the share of the maximum above which `feature_drop` silences a place.
        noise: largest relative change of `feature_noise`.
        epsilon: length of the adversarial step, in the norm of an image's features.
        xi: length of the step with which its direction is found. The code's 1e-6 drowns in single precision: the
            cosine with the direction in double precision is .1, with 1e-2 it is above .999.
    """

    idea: ClassVar[str] = "decoders of disturbed features agree with the main decoder"
    source: ClassVar[str] = "Ouali 2020, arXiv 2003.09005"
    unpurified: ClassVar[str] = "its main decoder says probabilities of all classes, not labels"

    name: Literal["cct"] = "cct"
    weight: float = Field(default=30.0, ge=0)
    ramp: float = Field(default=0.1, ge=0, le=1)
    feature_drop: int = Field(default=6, ge=0)
    feature_noise: int = Field(default=6, ge=0)
    dropout: int = Field(default=6, ge=0)
    adversarial: int = Field(default=2, ge=0)
    keep: tuple[Share, Share] = (0.7, 0.9)
    noise: float = Field(default=0.3, ge=0)
    epsilon: float = Field(default=2.0, ge=0)
    xi: float = Field(default=1e-2, gt=0)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.feature_drop + self.feature_noise + self.dropout + self.adversarial:
            raise ValueError("`cct` needs at least one auxiliary decoder")
        return self
