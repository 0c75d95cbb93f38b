"""Losses of dense predictions: finite scalars, 0 where no pixel counts. B images, K classes, H × W pixels."""

import math

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from geosemi.methods.base import IGNORE
from geosemi.methods.pseudo import Pseudo


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy with human truth, averaged over the pixels that have any.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) int64, 255 where there is no truth.
    """
    total = F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="sum")
    return total / (label != IGNORE).sum().clamp(min=1)


def consistency(logits: Tensor, target: Pseudo) -> Tensor:
    """Cross entropy with machine truth on trusted pixels, averaged over the *valid* ones of the whole batch.

    While few pixels are trusted the loss is small: the denominator counts all that could be, as in UniMatch's code.

    Args:
        logits: (B, K, H, W).
        target: of (B, H, W).
    """
    each = F.cross_entropy(logits.float(), target.label, reduction="none")
    return (each * target.trusted).sum() / target.valid.sum().clamp(min=1)


def squared_distance(logits: Tensor, probabilities: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid pixels of ‖softmax(logits) − probabilities‖², summed over classes; 0 … 2.

    Args:
        logits: (B, K, H, W), the student's.
        probabilities: (B, K, H, W), the teacher's; sum to 1 over K.
        valid: (B, H, W) bool.
    """
    each = (logits.float().softmax(dim=1) - probabilities).square().sum(dim=1)
    return (each * valid).sum() / valid.sum().clamp(min=1)


def ramp_up(fraction: float) -> float:
    """Return exp(−5 (1 − t)²) for t = `fraction` clipped to 0 … 1: .007 first, 1 at the end (Laine and Aila, 2017)."""
    return math.exp(-5 * (1 - min(max(fraction, 0.0), 1.0)) ** 2)
