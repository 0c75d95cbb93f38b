"""Numbers of the methods whose teacher is a moving average."""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import OfMethod, Thresholded
from geosemi.purify.rules import PurifySettings, Rules


class MeanTeacherSettings(OfMethod):
    """Numbers of Mean Teacher.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
        weight: of the consistency loss, once ramped up.
        ramp: share of the run over which that weight grows.
    """

    idea: ClassVar[str] = "agree with one's own moving average"
    source: ClassVar[str] = "Tarvainen and Valpola 2017"

    name: Literal["mean_teacher"] = "mean_teacher"
    ema: float = Field(default=0.99, ge=0, lt=1)
    weight: float = Field(default=1.0, ge=0)
    ramp: float = Field(default=0.1, ge=0, le=1)


class FixMatchSettings(Thresholded):
    """Numbers of FixMatch-EMA; the defaults are those of UniMatch V2's code.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
    """

    idea: ClassVar[str] = "sure pseudo-labels of weak views teach CutMixed strong views"
    source: ClassVar[str] = "Sohn 2020, as in UniMatch V2"

    name: Literal["fixmatch"] = "fixmatch"
    ema: float = Field(default=0.996, ge=0, lt=1)


class SemiEarthSettings(Thresholded):
    """Numbers of SemiEarth; where purification has a filter of its own, `threshold` holds for crops without opinions.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
        purify: how an opinion is weighed.
    """

    idea: ClassVar[str] = "fixmatch; where the teacher is unsure, an opinion decides (VLM-PP)"
    source: ClassVar[str] = "SemiEarth, arXiv 2602.00202"

    name: Literal["semiearth"] = "semiearth"
    ema: float = Field(default=0.996, ge=0, lt=1)
    purify: PurifySettings = PurifySettings()

    def rules(self) -> Rules | None:
        """Return the rules of purification, None for `off`."""
        rules = self.purify.rules()
        own = self.purify.mode == "paper" or self.purify.post_threshold is not None
        return rules if rules is None or own else replace(rules, post_threshold=self.threshold)


class UniMatchV2Settings(Thresholded):
    """Numbers of UniMatch V2; the defaults are those of its code.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
    """

    idea: ClassVar[str] = "fixmatch on two strong views with complementary channels of the features"
    source: ClassVar[str] = "Yang 2025, arXiv 2410.10777"

    name: Literal["unimatch_v2"] = "unimatch_v2"
    ema: float = Field(default=0.996, ge=0, lt=1)
