"""Purification around any method that learns from pseudo-labels; `semiearth` is `fixmatch` with it."""

from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from geosemi.data.batch import Labelled, Unlabelled
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.purify.fuse import purify
from geosemi.purify.rules import Rules
from geosemi.purify.trust import Reliability


class Purifier(nn.Module):
    """Weighs un-mixed pseudo-labels against the opinion of the same crops.

    Args:
        rules: how; their `post_threshold` is the last filter.
        classes: K.
        measured: whether the opinion is held against truth, and heard as far as it has been right.
    """

    def __init__(self, rules: Rules, *, classes: int, measured: bool) -> None:
        super().__init__()
        self.rules = rules
        self.reliability = Reliability(classes) if measured else None

    def forward(self, target: Pseudo, opinion: Tensor | None) -> Beliefs:
        """Return pseudo-labels before and after an opinion (B, K, H, W) bool; the same object where there is none."""
        if opinion is None:
            return Beliefs(target, target)
        trust = None if self.reliability is None else self.reliability.weights()
        pure = purify(
            target.label, target.confidence, opinion=opinion, valid=target.valid, rules=self.rules, trust=trust
        )
        filtered = self.rules.post_threshold
        trusted = pure.keep & (pure.confidence >= filtered) & target.valid
        facts = {f"purify/{name}": share for name, share in asdict(pure.audit).items()}
        if trust is not None:
            facts |= {f"trust/{k}": weight for k, weight in enumerate(trust.unbind())}
        before = replace(target, trusted=(target.confidence >= filtered) & target.valid)
        return Beliefs(before, Pseudo(pure.label, pure.confidence, trusted, target.valid), facts)

    @torch.no_grad()
    def judge(self, said: Pseudo, crops: Labelled) -> None:
        """Count who is right on labelled crops: the opinion, or pseudo-labels made of them."""
        if self.reliability is not None and crops.opinion is not None:
            self.reliability.observe(
                said.label, said.confidence, opinion=crops.opinion, truth=crops.label, tau=self.rules.tau_conf
            )


def as_unlabelled(crops: Labelled) -> Unlabelled:
    """Return labelled crops as a method sees unlabelled ones: without truth, strong views and opinion."""
    valid = torch.ones_like(crops.label, dtype=torch.bool)
    return Unlabelled(crops.image, (), (), valid, None, ("labelled",) * len(valid))
