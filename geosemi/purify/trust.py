"""How far is each class of an opinion to be trusted: opinion and teacher, held against the same truth.

On labelled crops truth is known, and the opinion is the same as elsewhere. Counted are pixels on which the teacher is
unsure and the opinion names a class: the pixels that purification would change. Of them, how often is the opinion
right, and how often is the teacher?
"""

import torch
from torch import Tensor, nn

MEMORY = 0.98  # share of a count that is kept when a class is met again: about the last 50 meetings count
FEW = 200.0  # pixels; a class that was met on fewer of them is not judged


class Reliability(nn.Module):
    """Counts, for each of K classes, who was right on unsure labelled pixels where the opinion names the class.

    The counts are buffers, so a run that is resumed goes on with them. The teacher has learnt from these very labels,
    which makes it look better than it is elsewhere: the judgement leans towards the teacher.

    Args:
        classes: K.
    """

    said: Tensor
    right: Tensor
    teacher: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for name in ("said", "right", "teacher"):
            self.register_buffer(name, torch.zeros(classes))

    @torch.no_grad()
    def observe(self, label: Tensor, confidence: Tensor, *, opinion: Tensor, truth: Tensor, tau: float) -> None:
        """Count one batch.

        Args:
            label: (B, H, W) int64, the teacher's class.
            confidence: (B, H, W) float32, 0 … 1.
            opinion: (B, K, H, W) bool.
            truth: (B, H, W) int64, 255 where it is not known.
            tau: confidence below which a teacher is unsure.
        """
        unsure = (confidence < tau) & (truth != 255)
        claimed = opinion & unsure[:, None]
        classes = torch.arange(opinion.shape[1], device=opinion.device)[:, None, None]
        met = self._count(claimed)
        found = (
            met,
            self._count(claimed & (truth[:, None] == classes)),
            self._count(claimed & (label == truth)[:, None]),
        )
        keep = torch.where(met > 0, MEMORY, 1.0)  # a class that is not met is not forgotten
        for count, more in zip((self.said, self.right, self.teacher), found, strict=True):
            count.mul_(keep).add_(more)

    def weights(self) -> Tensor:
        """Return the trust in each class (K,) float32.

        1 where the opinion is at least as often right as the teacher, falling to 0 where it is half as often right;
        1 for classes that were hardly met.
        """
        ratio = self.right / self.teacher.clamp(min=1e-6)
        return torch.where(self.said < FEW, 1.0, (2 * ratio - 1).clamp(0, 1))

    @staticmethod
    def _count(pixels: Tensor) -> Tensor:
        return pixels.sum(dim=(0, 2, 3)).float()
