"""Mean Teacher (Tarvainen and Valpola, 2017), in the form that remote sensing uses for segmentation."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch
from geosemi.methods.averaged import AveragedTeacher
from geosemi.methods.base import Progress
from geosemi.methods.losses import cross_entropy, ramp_up, squared_distance
from geosemi.methods.settings import MeanTeacherSettings
from geosemi.models.segmenter import Segmenter


class MeanTeacher(AveragedTeacher):
    """L = (L_x + w(t) · mean ‖softmax(p_s) − softmax(p_T)‖²) / 2: soft targets, no threshold, no CutMix."""

    def __init__(self, student: Segmenter, settings: MeanTeacherSettings) -> None:
        super().__init__(student, settings.ema)
        self._settings = settings

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        target = self.teach(u.weak).float().softmax(dim=1)
        logits = self.student(torch.cat([x.image, u.strong[0]]))
        on_x, on_u = logits.split([len(x.image), len(u.weak)])
        return {
            "supervised": cross_entropy(on_x, x.label) / 2,
            "consistency": self._weight(progress) * squared_distance(on_u, target, u.valid) / 2,
        }

    def _weight(self, progress: Progress) -> float:
        ramp = self._settings.ramp
        return self._settings.weight * (ramp_up(progress.fraction / ramp) if ramp else 1.0)
