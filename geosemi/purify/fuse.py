"""Can a pseudo-label be believed: the teacher's view and an opinion become one, pixel by pixel. Pure tensor functions.

Sizes: B images, K classes, H × W pixels. ŷ is the teacher's class, c its confidence, v the opinion's score of a class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geosemi.purify.rules import Fusion, Rules


@dataclass(frozen=True, slots=True)
class Audit:
    """What purification met and did, as shares of the valid pixels, each a scalar tensor.

    The low-confidence pixels split into agreeing, conflicting, ambiguous and silent ones.

    Attributes:
        low: confidence below τ.
        agreeing: low, and the teacher's class is among the opinion's.
        conflicting: low, and the opinion has one other class.
        ambiguous: low, and several other classes cover the pixel.
        silent: low, and the opinion says nothing.
        dropped: kept out of the loss, because nobody knows: the ambiguous pixels, in rules with `drop`.
        replaced: the opinion's class took the place of the teacher's.
        passing_before: would pass the last filter without purification.
        passing_after: pass it now.
        refined_passing: pass it now and were low before.
        changed: training sees something else than without purification: the pixel came in, fell out, or has another
            label. If this stays 0, purification teaches nothing.
    """

    low: Tensor
    agreeing: Tensor
    conflicting: Tensor
    ambiguous: Tensor
    silent: Tensor
    dropped: Tensor
    replaced: Tensor
    passing_before: Tensor
    passing_after: Tensor
    refined_passing: Tensor
    changed: Tensor


@dataclass(frozen=True, slots=True)
class Purified:
    """Pseudo-labels after purification.

    Attributes:
        label: (B, H, W) int64.
        confidence: (B, H, W) float32, 0 … 1; train where it reaches `Rules.post_threshold`.
        keep: (B, H, W) bool, False where nobody knows and the pixel must not be trained on.
        audit: what happened.
    """

    label: Tensor
    confidence: Tensor
    keep: Tensor
    audit: Audit


def purify(
    label: Tensor, confidence: Tensor, *, opinion: Tensor, valid: Tensor, rules: Rules, trust: Tensor | None = None
) -> Purified:
    """Weigh a teacher's pseudo-labels against an opinion (Eqs. 5 to 11 of the paper, under one reading of them).

    Pixels of at least τ confidence, and those on which the opinion is silent, stay as they are; mode `released`
    differs, since its softmax speaks for class 0 wherever an image has a detection somewhere.

    Args:
        label: (B, H, W) int64, ŷ.
        confidence: (B, H, W) float32, c.
        opinion: (B, K, H, W) bool, True where a class was seen.
        valid: (B, H, W) bool; only these pixels count in the audit.
        rules: how to weigh.
        trust: (K,) float32, 0 … 1: what the opinion's score of each class is multiplied with; a class of 0 is not
            heard at all. None trusts all fully.
    """
    if trust is not None:
        opinion = opinion & (trust > 0)[:, None, None]
    scores = evidence(opinion, rules) if trust is None else evidence(opinion, rules) * trust[:, None, None]
    best, first = scores.max(dim=1)
    own = scores.gather(1, label[:, None])[:, 0]
    low = confidence < rules.tau_conf
    spoken = opinion.any(dim=1)
    agrees = low & opinion.gather(1, label[:, None])[:, 0]
    differs = low & spoken & ~agrees
    ambiguous = differs & (opinion.sum(dim=1) > 1)
    if rules.evidence == "softmax":
        # As released: an opinion speaks where v > .1, for K < 10 on silent pixels too; what is not replaced is fused.
        speaks = low & (best > 0.1)
        replaced = speaks & (label != first) & (confidence < rules.conflict_max_conf)
        fused, dropped = speaks & ~replaced, torch.zeros_like(low)
    else:
        dropped = ambiguous if rules.ambiguous == "drop" else torch.zeros_like(low)
        replaced = differs & ~dropped & (confidence < rules.conflict_max_conf)
        fused = agrees
    joint = fuse(confidence, own, tau=rules.tau_conf, fusion=rules.fusion)
    after = torch.where(replaced, best, torch.where(fused, joint, confidence))
    passed, passes = confidence >= rules.post_threshold, ~dropped & (after >= rules.post_threshold)
    changed = (passed != passes) | (passes & replaced)
    groups = (low, agrees, differs & ~ambiguous, ambiguous, low & ~spoken, dropped, replaced)
    shares = _shares(torch.stack([*groups, passed, passes, passes & low, changed]), valid)
    audit = Audit(*shares)  # in the order of its attributes
    return Purified(torch.where(replaced, first, label), after, ~dropped, audit)


def evidence(opinion: Tensor, rules: Rules) -> Tensor:
    """Return the score v of every class (B, K, H, W) float32, from class bits (B, K, H, W).

    In `softmax` an image without any bit has only zeros, as an answer that names nothing had in the released code.
    """
    bits = opinion.float()
    if rules.evidence == "softmax":
        return (rules.gamma * bits).softmax(dim=1) * opinion.flatten(1).any(dim=1)[:, None, None, None]
    share = bits / bits.sum(dim=1, keepdim=True).clamp(min=1)
    return rules.gamma * share if rules.evidence == "gamma" else share


def fuse(confidence: Tensor, score: Tensor, *, tau: float, fusion: Fusion) -> Tensor:
    """Return the joint confidence of a teacher (c, below τ) and an opinion (v) that name the same class.

    `eq10` is the paper's c²/τ + v (1 - c/τ): it falls until c = v/2, so a surer teacher may end less sure.
    `noisy_or` is 1 - (1 - c)(1 - v), two independent witnesses: it grows with both.
    """
    if fusion == "eq10":
        alpha = confidence / tau
        return alpha * confidence + (1 - alpha) * score
    if fusion == "noisy_or":
        return 1 - (1 - confidence) * (1 - score)
    return torch.maximum(confidence, score)


def _shares(pixels: Tensor, valid: Tensor) -> Tensor:
    """Return the share of the valid pixels (B, H, W) in each of N sets (N, B, H, W): one pass instead of N."""
    return (pixels & valid).flatten(1).sum(dim=1) / valid.sum().clamp(min=1)
