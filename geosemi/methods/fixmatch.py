"""FixMatch with a moving-average teacher: the core that UniMatch V2, RS-MTDF and SemiEarth share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch, Unlabelled
from geosemi.methods.averaged import AveragedTeacher
from geosemi.methods.base import Progress
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.pseudo import Beliefs, Pseudo, mix
from geosemi.methods.settings import AveragedSettings
from geosemi.models.segmenter import Segmenter


class FixMatch(AveragedTeacher):
    """L = (L_x + L_u) / 2; L_u is cross entropy on CutMixed strong views with trusted pseudo-labels of weak views."""

    def __init__(self, student: Segmenter, settings: AveragedSettings) -> None:
        super().__init__(student, settings.ema)
        self._threshold = settings.threshold
        self._warm_up = settings.warm_up

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        strong, target = mix(u.strong[0], self.noted(self.beliefs(u)), u.boxes[0])
        on_x, on_u = self.student(torch.cat([x.image, strong])).split([len(x.image), len(strong)])
        weight = ramp_up(progress.fraction / self._warm_up) if self._warm_up else 1.0
        return {"supervised": cross_entropy(on_x, x.label) / 2, "consistency": weight * consistency(on_u, target) / 2}

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return un-mixed pseudo-labels of the weak views, and which of them are trusted."""
        target = Pseudo.from_logits(self.teach(crops.weak), crops.valid, threshold=self._threshold)
        return self.hear(target, crops)
