"""What each method may be told. This file imports no torch: a wrong config is told in a second, not in ten."""

from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from geosemi.purify.rules import PurifySettings, Rules
from geosemi.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class OfMethod(Settings):
    """Settings of one method, and what `geosemi methods` says of it.

    Attributes:
        idea: the method in one line.
        source: the paper, `–` for none.
    """

    idea: ClassVar[str]
    source: ClassVar[str]


class SupervisedSettings(OfMethod):
    """The supervised baseline has nothing to set."""

    idea: ClassVar[str] = "labels alone; the baseline"
    source: ClassVar[str] = "–"

    name: Literal["supervised"] = "supervised"


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


class FixMatchSettings(OfMethod):
    """Numbers of FixMatch-EMA; the defaults are those of UniMatch V2's code.

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on.
        ema: largest share that the teacher keeps of itself in a step.
        warm_up: share of the run over which the weight of pseudo-labels grows (exp(−5 (1 − t)²)). 0 as released, where
            the backbone is pretrained; a network that starts from scratch first calls everything the commonest class,
            is sure of it, and with 0 learns that from itself.
    """

    idea: ClassVar[str] = "sure pseudo-labels of weak views teach CutMixed strong views"
    source: ClassVar[str] = "Sohn 2020, as in UniMatch V2"

    name: Literal["fixmatch"] = "fixmatch"
    threshold: float = Field(default=0.95, ge=0, lt=1)
    ema: float = Field(default=0.996, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)


class SemiEarthSettings(OfMethod):
    """Numbers of SemiEarth.

    Attributes:
        threshold: τ of FixMatch, the last filter of pseudo-labels; where purification has a filter of its own (mode
            `paper`, or `purify.post_threshold`) that one holds for crops with opinions.
        ema: largest share that the teacher keeps of itself in a step.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `FixMatchSettings`.
        purify: how an opinion is weighed.
    """

    idea: ClassVar[str] = "fixmatch; where the teacher is unsure, an opinion decides (VLM-PP)"
    source: ClassVar[str] = "SemiEarth, arXiv 2602.00202"

    name: Literal["semiearth"] = "semiearth"
    threshold: float = Field(default=0.95, ge=0, lt=1)
    ema: float = Field(default=0.996, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)
    purify: PurifySettings = PurifySettings()

    def rules(self) -> Rules | None:
        """Return the rules of purification, None for `off`."""
        rules = self.purify.rules()
        own = self.purify.mode == "paper" or self.purify.post_threshold is not None
        return rules if rules is None or own else replace(rules, post_threshold=self.threshold)


class UniMatchV2Settings(OfMethod):
    """Numbers of UniMatch V2; the defaults are those of its code.

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on.
        ema: largest share that the teacher keeps of itself in a step.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `FixMatchSettings`.
    """

    idea: ClassVar[str] = "fixmatch on two strong views with complementary channels of the features"
    source: ClassVar[str] = "Yang 2025, arXiv 2410.10777"

    name: Literal["unimatch_v2"] = "unimatch_v2"
    threshold: float = Field(default=0.95, ge=0, lt=1)
    ema: float = Field(default=0.996, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)


class FixMatchV1Settings(OfMethod):
    """Numbers of the FixMatch that UniMatch V1 builds on.

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `FixMatchSettings`.
    """

    idea: ClassVar[str] = "fixmatch without a teacher: the student labels its own weak views"
    source: ClassVar[str] = "Sohn 2020, as in UniMatch V1"

    name: Literal["fixmatch_v1"] = "fixmatch_v1"
    threshold: float = Field(default=0.95, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)


class UniMatchSettings(OfMethod):
    """Numbers of UniMatch (V1).

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on; the paper takes 0 on Cityscapes.
        dropout: probability with which a channel of the disturbed features is dropped.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `FixMatchSettings`.
    """

    idea: ClassVar[str] = "one's own labels teach two strong views and one of disturbed features"
    source: ClassVar[str] = "Yang 2023, arXiv 2208.09910"

    name: Literal["unimatch"] = "unimatch"
    threshold: float = Field(default=0.95, ge=0, lt=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)


class CpsSettings(OfMethod):
    """Numbers of CPS; the defaults are those of its code on Pascal VOC.

    Attributes:
        cutmix: whether the networks teach each other on CutMixed crops; otherwise on labelled and unlabelled ones.
        weight: of what they teach each other; 1 with CutMix and 1.5 without if not given. Cityscapes: 5 and 6.
        boxes: of a CutMix mask.
        area: share of the crop that a box takes before it is divided by the number of boxes, lowest first.
        warm_up: share of the run over which the weight grows, as in `FixMatchSettings`.
    """

    idea: ClassVar[str] = "two networks, each learns the other's pseudo-labels, sure or not"
    source: ClassVar[str] = "Chen 2021, arXiv 2106.01226"

    name: Literal["cps"] = "cps"
    cutmix: bool = True
    weight: float | None = Field(default=None, ge=0)
    boxes: int = Field(default=3, ge=1)
    area: tuple[Share, Share] = (0.25, 0.5)
    warm_up: float = Field(default=0.0, ge=0, le=1)


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

    name: Literal["cutmix"] = "cutmix"
    threshold: float = Field(default=0.97, ge=0, lt=1)
    per_pixel: bool = False
    ema: float = Field(default=0.99, ge=0, lt=1)
    weight: float = Field(default=1.0, ge=0)
    boxes: int = Field(default=1, ge=1)
    area: tuple[Share, Share] = (0.5, 0.5)


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


MethodSettings = Annotated[
    SupervisedSettings
    | MeanTeacherSettings
    | FixMatchSettings
    | SemiEarthSettings
    | FixMatchV1Settings
    | UniMatchSettings
    | UniMatchV2Settings
    | CpsSettings
    | CutMixSettings
    | CctSettings,
    Field(discriminator="name"),
]

KINDS: MappingProxyType[str, type[OfMethod]] = MappingProxyType(
    {kind.model_fields["name"].default: kind for kind in get_args(get_args(MethodSettings)[0])}
)
"""Name → settings of each method, in the order in which they are listed."""
