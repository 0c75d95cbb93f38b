"""Numbers of the methods whose teacher is a moving average."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import OfMethod, Thresholded
from geosemi.methods.settings.distill import DistillSettings
from geosemi.purify.rules import PurifySettings


class MeanTeacherSettings(OfMethod):
    """Numbers of Mean Teacher.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
        weight: of the consistency loss, once ramped up.
        ramp: share of the run over which that weight grows.
    """

    idea: ClassVar[str] = "agree with one's own moving average"
    source: ClassVar[str] = "Tarvainen and Valpola 2017"
    unpurified: ClassVar[str] = "its teacher says probabilities of all classes, not labels"

    name: Literal["mean_teacher"] = "mean_teacher"
    ema: float = Field(default=0.99, ge=0, lt=1)
    weight: float = Field(default=1.0, ge=0)
    ramp: float = Field(default=0.1, ge=0, le=1)


class AveragedSettings(Thresholded):
    """Numbers of methods whose averaged teacher makes pseudo-labels; the defaults are those of UniMatch V2's code.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
    """

    ema: float = Field(default=0.996, ge=0, lt=1)


class FixMatchSettings(AveragedSettings):
    """Numbers of FixMatch-EMA."""

    idea: ClassVar[str] = "sure pseudo-labels of weak views teach CutMixed strong views"
    source: ClassVar[str] = "Sohn 2020, as in UniMatch V2"

    name: Literal["fixmatch"] = "fixmatch"


class SemiEarthSettings(AveragedSettings):
    """Numbers of SemiEarth: those of FixMatch-EMA, with purification."""

    idea: ClassVar[str] = "fixmatch; where the teacher is unsure, an opinion decides (VLM-PP)"
    source: ClassVar[str] = "SemiEarth, arXiv 2602.00202"

    name: Literal["semiearth"] = "semiearth"
    purify: PurifySettings | None = PurifySettings()


class RsMtdfSettings(AveragedSettings):
    """Numbers of RS-MTDF: those of FixMatch-EMA, with two frozen teachers."""

    idea: ClassVar[str] = "fixmatch whose features learn from frozen DINOv2 and CLIP, and are fused"
    source: ClassVar[str] = "RS-MTDF, arXiv 2506.08772"

    name: Literal["rs_mtdf"] = "rs_mtdf"
    distill: DistillSettings | None = DistillSettings()


class UniMatchV2Settings(AveragedSettings):
    """Numbers of UniMatch V2."""

    idea: ClassVar[str] = "fixmatch on two strong views with complementary channels of the features"
    source: ClassVar[str] = "Yang 2025, arXiv 2410.10777"

    name: Literal["unimatch_v2"] = "unimatch_v2"
