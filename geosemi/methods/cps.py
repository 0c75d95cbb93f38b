"""Cross pseudo supervision (Chen et al., CVPR 2021, arXiv 2106.01226)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.data.cutmix import draw_masks
from geosemi.methods.base import IGNORE, Method, Progress
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.perturb import draws
from geosemi.methods.pseudo import Beliefs, Pseudo, mix
from geosemi.methods.settings import CpsSettings
from geosemi.models.segmenter import Segmenter


class Cps(Method):
    """L = L_x1 + L_x2 + λ (CE(p_1, ŷ_2) + CE(p_2, ŷ_1)): two networks, no teacher, no threshold, weak views alone.

    Both have the same architecture and the same pretrained weights, if any; the rest of them starts from other numbers.

    Without CutMix they teach each other on labelled and unlabelled crops. Labelled ones count where they have truth,
    because validity beyond it is not known there; the code counts padding, too. With CutMix they label clean unlabelled
    crops, and learn the mixed labels on mixed crops. The code mixes two independent batches; here the partner is the
    reversed batch, so that a step reads no more crops than those of other methods.
    """

    needs_peer = True
    strong_views = 0

    def __init__(self, student: Segmenter, settings: CpsSettings, peer: Segmenter) -> None:
        super().__init__()
        self.student, self.peer = student, peer
        self._settings = settings
        default = 1.0 if settings.cutmix else 1.5
        self._lambda = default if settings.weight is None else settings.weight

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `cross`, each the sum of both networks."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        image, targets = self._mixed(u, progress) if self._settings.cutmix else (u.weak, None)
        both = [network(torch.cat([x.image, image])) for network in (self.student, self.peer)]
        on_x = [logits[: len(x.image)] for logits in both]
        if targets is None:
            on_u, targets = both, self._said(both, x, u)
        else:
            on_u = [logits[len(x.image) :] for logits in both]
        cross = consistency(on_u[0], targets[1]) + consistency(on_u[1], targets[0])
        return {
            "supervised": cross_entropy(on_x[0], x.label) + cross_entropy(on_x[1], x.label),
            "cross": self._weight(progress) * cross,
        }

    @torch.no_grad()
    def _mixed(self, u: Unlabelled, progress: Progress) -> tuple[Tensor, list[Pseudo]]:
        """Return mixed crops, and what student and peer said of them when they saw them clean, in train mode."""
        masks = draw_masks(
            len(u.weak),
            (u.weak.shape[-2], u.weak.shape[-1]),
            boxes=self._settings.boxes,
            area=self._settings.area,
            generator=draws("cps", u, progress),
        ).to(u.weak.device)
        said = [self.hear(_labels(network(u.weak), u.valid), u) for network in (self.student, self.peer)]
        self.noted(said[1])
        (image, first), (_, second) = (mix(u.weak, held.after, masks) for held in said)
        return image, [first, second]

    def _said(self, both: list[Tensor], x: Labelled, u: Unlabelled) -> list[Pseudo]:
        """Return what student and peer say of labelled and unlabelled crops; opinions are heard on the latter."""
        valid = torch.cat([x.label != IGNORE, u.valid])
        parts = [_labels(logits.detach(), valid).split(len(x.label)) for logits in both]
        heard = [self.hear(on_u, u) for _, on_u in parts]
        self.noted(heard[1])
        return [on_x.joined(held.after) for (on_x, _), held in zip(parts, heard, strict=True)]

    @torch.no_grad()
    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return what the peer teaches the student."""
        return self.hear(_labels(self.peer(crops.weak), crops.valid), crops)

    def networks(self) -> Mapping[str, Segmenter]:
        """Return student and peer."""
        return {"student": self.student, "peer": self.peer}

    def predictor(self) -> Segmenter:
        """Return the student: as in the paper, the first network alone."""
        return self.student

    def _weight(self, progress: Progress) -> float:
        warm_up = self._settings.warm_up
        return self._lambda * (ramp_up(progress.fraction / warm_up) if warm_up else 1.0)


def _labels(logits: Tensor, valid: Tensor) -> Pseudo:
    return Pseudo.from_logits(logits, valid, threshold=0)
