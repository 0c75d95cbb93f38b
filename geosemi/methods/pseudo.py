"""Machine truth: what a teacher says about unlabelled pixels, which of it is trusted, and how CutMix moves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pseudo:
    """Pseudo-labels of B crops of H × W pixels.

    Attributes:
        label: (B, H, W) int64, a class everywhere.
        confidence: (B, H, W) float32, 0 … 1.
        trusted: (B, H, W) bool, True where a student learns from the label; True on valid pixels only.
        valid: (B, H, W) bool, False on nodata and padding.
    """

    label: Tensor
    confidence: Tensor
    trusted: Tensor
    valid: Tensor

    @classmethod
    def from_logits(cls, logits: Tensor, valid: Tensor, *, threshold: float) -> Self:
        """Take the likeliest class and its probability; trust it from `threshold` on.

        Args:
            logits: (B, K, H, W), of the un-mixed weak view.
            valid: (B, H, W) bool.
            threshold: τ, 0 … 1.
        """
        confidence, label = logits.float().softmax(dim=1).max(dim=1)
        return cls(label, confidence, (confidence >= threshold) & valid, valid)

    def split(self, first: int) -> tuple[Self, Self]:
        """Return those of the first crops, and those of the others."""
        parts = [(t[:first], t[first:]) for t in self._fields()]
        return type(self)(*(a for a, _ in parts)), type(self)(*(b for _, b in parts))

    def joined(self, others: Self) -> Self:
        """Return these and those of other crops."""
        return type(self)(*(torch.cat(pair) for pair in zip(self._fields(), others._fields(), strict=True)))

    def _fields(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.label, self.confidence, self.trusted, self.valid

    @property
    def trusted_share(self) -> Tensor:
        """Trusted pixels as a share of the valid ones, a scalar."""
        return self.trusted.sum() / self.valid.sum().clamp(min=1)


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Un-mixed pseudo-labels before and after an opinion was heard; the same object where there is none.

    Attributes:
        before: what would be learnt from the teacher alone, under the same last filter.
        after: what is learnt from.
        facts: scalars worth a line in the run's curves.
    """

    before: Pseudo
    after: Pseudo
    facts: Mapping[str, Tensor] = field(default_factory=dict)


def mix(image: Tensor, target: Pseudo, box: Tensor, partner: Pseudo | None = None) -> tuple[Tensor, Pseudo]:
    """CutMix: inside its box, each crop and its pseudo-label come from the partner, which is the reversed batch.

    The receiving crop's box decides. The middle crop of an odd batch is its own partner; a batch of one stays as it is.

    Args:
        image: (B, C, H, W), a strong view.
        target: of the same crops, un-mixed.
        box: (B, H, W) bool.
        partner: of the same crops, un-mixed: how they are labelled where they are the partner; as `target` if None.
    """
    pairs = zip(target._fields(), (partner or target)._fields(), strict=True)
    mixed = Pseudo(*(torch.where(box, inside.flip(0), outside) for outside, inside in pairs))
    return torch.where(box[:, None], image.flip(0), image), mixed
