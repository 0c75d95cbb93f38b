"""SemiEarth (arXiv 2602.00202): FixMatch-EMA whose pseudo-labels an opinion purifies (VLM-PP)."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.methods.base import Progress
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.settings import FixMatchSettings, SemiEarthSettings
from geosemi.models.segmenter import Segmenter
from geosemi.purify.fuse import purify
from geosemi.purify.rules import Rules
from geosemi.purify.trust import Reliability


class SemiEarth(FixMatch):
    """FixMatch; where there are opinions, pseudo-labels are purified before they are mixed."""

    def __init__(self, student: Segmenter, settings: SemiEarthSettings) -> None:
        super().__init__(
            student, FixMatchSettings(threshold=settings.threshold, ema=settings.ema, warm_up=settings.warm_up)
        )
        self._rules = settings.rules()
        self.uses_opinions = self._rules is not None
        self.judges_opinions = settings.purify.trust == "measured"
        self._reliability = Reliability(student.classes) if self.judges_opinions else None

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`; with `trust: measured`, judge the opinion of labelled crops first."""
        if self._rules is not None:
            self._judge(batch.labelled, self._rules)
        return super().forward(batch, progress)

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return un-mixed pseudo-labels, purified; without an opinion layer those of FixMatch, bit for bit."""
        held = super().beliefs(crops)
        if crops.opinion is None or self._rules is None:
            return held
        target, filtered = held.after, self._rules.post_threshold
        trust = None if self._reliability is None else self._reliability.weights()
        pure = purify(
            target.label, target.confidence, opinion=crops.opinion, valid=crops.valid, rules=self._rules, trust=trust
        )
        trusted = pure.keep & (pure.confidence >= filtered) & crops.valid
        facts = {f"purify/{name}": share for name, share in asdict(pure.audit).items()}
        if trust is not None:
            facts |= {f"trust/{k}": weight for k, weight in enumerate(trust.unbind())}
        before = replace(target, trusted=(target.confidence >= filtered) & crops.valid)
        return Beliefs(before, Pseudo(pure.label, pure.confidence, trusted, crops.valid), facts)

    @torch.no_grad()
    def _judge(self, crops: Labelled, rules: Rules) -> None:
        if self._reliability is None or crops.opinion is None:
            return
        confidence, label = self.teach(crops.image).float().softmax(dim=1).max(dim=1)
        self._reliability.observe(label, confidence, opinion=crops.opinion, truth=crops.label, tau=rules.tau_conf)
