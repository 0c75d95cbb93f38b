"""UniMatch V2 (Yang et al., TPAMI 2025, arXiv 2410.10777): FixMatch-EMA on two strong views that share channels."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch
from geosemi.methods.base import Progress
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.perturb import draws, require_features, split_channels
from geosemi.methods.pseudo import mix
from geosemi.methods.settings import UniMatchV2Settings
from geosemi.models.segmenter import Segmenter


class UniMatchV2(FixMatch):
    """L = (L_x + (L_s1 + L_s2) / 2) / 2: what one strong view loses of its channels the other sees doubled.

    Both views learn the same pseudo-labels of the averaged teacher, each mixed with a box of its own; labelled crops go
    through the student in a pass of their own, and whole. In the paper all maps come from one transformer and share one
    mask; here maps of the same width do, so that it works on pyramids, too.
    """

    strong_views = 2

    def __init__(self, student: Segmenter, settings: UniMatchV2Settings) -> None:
        require_features(student, settings.name)
        super().__init__(student, settings)

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        target = self.noted(self.beliefs(u))
        on_x = self.student(x.image)
        views = [mix(strong, target, box) for strong, box in zip(u.strong, u.boxes, strict=True)]
        features = self.student.features(torch.cat([image for image, _ in views]))
        disturbed = split_channels(features, draws("unimatch_v2", u, progress))
        on_u = self.student.logits(disturbed, (u.weak.shape[-2], u.weak.shape[-1])).chunk(2)
        losses = [consistency(logits, mixed) for logits, (_, mixed) in zip(on_u, views, strict=True)]
        weight = ramp_up(progress.fraction / self._warm_up) if self._warm_up else 1.0
        return {"supervised": cross_entropy(on_x, x.label) / 2, "consistency": weight * (losses[0] + losses[1]) / 4}
