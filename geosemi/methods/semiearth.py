"""SemiEarth (arXiv 2602.00202): FixMatch-EMA whose pseudo-labels an opinion purifies (VLM-PP)."""

from dataclasses import asdict

from torch import Tensor

from geosemi.data.batch import Unlabelled
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.pseudo import Pseudo
from geosemi.methods.settings import FixMatchSettings, SemiEarthSettings
from geosemi.models.segmenter import Segmenter
from geosemi.purify.fuse import Audit, purify


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
