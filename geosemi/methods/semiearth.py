"""SemiEarth (arXiv 2602.00202): FixMatch-EMA whose pseudo-labels an opinion purifies (VLM-PP)."""

from dataclasses import asdict, replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from geosemi.data.batch import Unlabelled
from geosemi.methods.fixmatch import FixMatch, FixMatchSettings
from geosemi.methods.pseudo import Pseudo
from geosemi.models.segmenter import Segmenter
from geosemi.purify.fuse import Audit, purify
from geosemi.purify.rules import PurifySettings, Rules
from geosemi.settings import Settings


class SemiEarthSettings(Settings):
    """Numbers of SemiEarth.

    Attributes:
        threshold: τ of FixMatch, the last filter of pseudo-labels; where purification has a filter of its own (mode
            `paper`, or `purify.post_threshold`) that one holds for crops with opinions.
        ema: largest share that the teacher keeps of itself in a step.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `FixMatchSettings`.
        purify: how an opinion is weighed.
    """

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


class SemiEarth(FixMatch):
    """FixMatch; where there are opinions, pseudo-labels are purified before they are mixed."""

    def __init__(self, student: Segmenter, settings: SemiEarthSettings) -> None:
        super().__init__(
            student, FixMatchSettings(threshold=settings.threshold, ema=settings.ema, warm_up=settings.warm_up)
        )
        self._rules = settings.rules()
        self.uses_opinions = self._rules is not None

    def believe(self, crops: Unlabelled) -> Pseudo:
        """Return purified, un-mixed pseudo-labels; without an opinion layer those of FixMatch, bit for bit."""
        target = super().believe(crops)
        if crops.opinion is None or self._rules is None:
            return target
        pure = purify(target.label, target.confidence, opinion=crops.opinion, valid=crops.valid, rules=self._rules)
        trusted = pure.keep & (pure.confidence >= self._rules.post_threshold) & crops.valid
        target = Pseudo(pure.label, pure.confidence, trusted, crops.valid)
        self._facts = {"trusted": target.trusted_share, **_facts(pure.audit)}
        return target


def _facts(audit: Audit) -> dict[str, Tensor]:
    return {f"purify/{name}": share for name, share in asdict(audit).items()}
