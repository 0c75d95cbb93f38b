"""UniMatch (Yang et al., CVPR 2023, arXiv 2208.09910), also called UniMatch V1."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch
from geosemi.methods.base import Progress
from geosemi.methods.fixmatch_v1 import FixMatchV1
from geosemi.methods.losses import consistency, cross_entropy
from geosemi.methods.perturb import channel_dropout, draws, require_features
from geosemi.methods.pseudo import mix
from geosemi.methods.settings import UniMatchSettings
from geosemi.models.segmenter import Segmenter


class UniMatch(FixMatchV1):
    """L = (L_x + L_s1 / 4 + L_s2 / 4 + L_fp / 2) / 2: two strong views, and a weak one with dropped channels.

    As in the code, disturbed features are decoded in one pass with the whole ones. There, those of labelled crops come
    along and are thrown away; here they stay out. There, the decoder reads two maps of the encoder and both lose
    channels; here, all that it reads do, each its own.
    """

    strong_views = 2

    def __init__(self, student: Segmenter, settings: UniMatchSettings) -> None:
        require_features(student, settings.name)
        super().__init__(student, settings)
        self._dropout = settings.dropout

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised`, `consistency` of the strong views and `features` of the disturbed one."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        partner = self.beliefs(u).after
        on_x, on_w, on_fp = self._decode_twice(batch, draws("unimatch", u, progress))
        own = self._labels(on_w, u)
        views = [mix(strong, own, box, partner) for strong, box in zip(u.strong, u.boxes, strict=True)]
        on_s = self.student(torch.cat([image for image, _ in views])).chunk(2)
        losses = [consistency(logits, target) for logits, (_, target) in zip(on_s, views, strict=True)]
        weight = self._weight(progress)
        return {
            "supervised": cross_entropy(on_x, x.label) / 2,
            "consistency": weight * (losses[0] + losses[1]) / 8,
            "features": weight * consistency(on_fp, own) / 4,
        }

    def _decode_twice(self, batch: Batch, generator: torch.Generator) -> list[Tensor]:
        """Return logits of labelled and of weak crops, and of weak crops with dropped channels."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        features = self.student.features(torch.cat([x.image, u.weak]))
        dropped = [channel_dropout(map_[len(x.image) :], generator, p=self._dropout) for map_ in features]
        both = [torch.cat(pair) for pair in zip(features, dropped, strict=True)]
        logits = self.student.logits(both, (u.weak.shape[-2], u.weak.shape[-1]))
        return list(torch.split(logits, [len(x.image), len(u.weak), len(u.weak)]))
