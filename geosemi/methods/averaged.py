"""What the methods with a teacher share: a student, and its moving average."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.methods.base import Method, Progress
from geosemi.models.ema import ema_ratio, frozen_copy, update_ema
from geosemi.models.segmenter import Segmenter


class AveragedTeacher(Method):
    """A student and a teacher that is the moving average of its weights.

    Args:
        student: trained; the teacher starts as its copy.
        ema: largest share that the teacher keeps of itself in a step, 0 … 1.
    """

    def __init__(self, student: Segmenter, ema: float) -> None:
        super().__init__()
        self.student = student
        self.teacher = frozen_copy(student)
        self._ema = ema

    @torch.no_grad()
    def teach(self, image: Tensor) -> Tensor:
        """Return the teacher's logits (B, K, H, W) of weak views (B, C, H, W), in eval mode, without gradient."""
        self.teacher.eval()  # whoever called train() on the method reached the teacher too
        logits: Tensor = self.teacher(image)
        return logits

    def after_step(self, progress: Progress) -> None:
        """Move the teacher towards the student: ρ = min(1 − 1/(t + 1), ema)."""
        update_ema(self.teacher, self.student, ema_ratio(progress.step, ceiling=self._ema))

    def networks(self) -> Mapping[str, Segmenter]:
        """Return student and teacher."""
        return {"student": self.student, "teacher": self.teacher}

    def predictor(self) -> Segmenter:
        """Return the teacher.

        The authors pick their best step by the student; at the end of long runs both are within tenths of mIoU. The
        average is steadier from one step to the next, which counts in short runs on few labels.
        """
        return self.teacher
