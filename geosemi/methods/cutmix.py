"""CutMix-Seg (French et al., BMVC 2020, arXiv 1906.01916): Mean Teacher on crops that are mixed from two."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch
from geosemi.data.cutmix import draw_masks
from geosemi.methods.averaged import AveragedTeacher
from geosemi.methods.base import Progress
from geosemi.methods.losses import cross_entropy, squared_distance
from geosemi.methods.perturb import draws
from geosemi.methods.settings import CutMixSettings
from geosemi.models.segmenter import Segmenter


class CutMix(AveragedTeacher):
    """L = L_x + λ s · mean ‖softmax(p_S(mix(u_s))) − mix(q)‖², q the teacher's probabilities of clean crops.

    s is the share of pixels of which the teacher is sure, one number for the batch: while it is sure of little, all
    pixels teach a little. Every crop is mixed, with a mask that takes half of it. The code mixes two independent
    batches; here the partner is the reversed batch, so that a step reads no more crops than those of other methods.
    The code keeps `ema` of the teacher from the first step on; here it starts as all averages of this project do.
    """

    def __init__(self, student: Segmenter, settings: CutMixSettings) -> None:
        super().__init__(student, settings.ema)
        self._settings = settings
        self._facts: dict[str, Tensor] = {}

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        settings, size = self._settings, (u.weak.shape[-2], u.weak.shape[-1])
        generator = draws("cutmix", u, progress)
        masks = draw_masks(len(u.weak), size, boxes=settings.boxes, area=settings.area, generator=generator)
        box = masks.to(u.weak.device)

        def mixed(pixels: Tensor) -> Tensor:
            return torch.where(box if pixels.ndim == box.ndim else box[:, None], pixels.flip(0), pixels)

        target, valid = mixed(self.teach(u.weak).float().softmax(dim=1)), mixed(u.valid)
        sure = (target.amax(dim=1) >= settings.threshold) & valid
        share = sure.sum() / valid.sum().clamp(min=1)
        self._facts = {"trusted": share}
        on_x, on_u = self.student(torch.cat([x.image, mixed(u.strong[0])])).split([len(x.image), len(u.weak)])
        loss = share * squared_distance(on_u, target, sure if settings.per_pixel else valid)
        return {"supervised": cross_entropy(on_x, x.label), "consistency": settings.weight * loss}

    def report(self) -> Mapping[str, Tensor]:
        """Return `trusted`, the share of valid mixed pixels of which the teacher is sure."""
        return self._facts
