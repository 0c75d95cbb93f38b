"""LSST, linear sampling self-training (Lu et al., TGRS 60, 2022): three stages in one run."""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.methods.base import IGNORE, Method, Progress
from geosemi.methods.perturb import draws
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.settings import LsstSettings
from geosemi.models.ema import frozen_copy
from geosemi.models.segmenter import Segmenter


class Lsst(Method):
    """Supervised; then the network becomes a teacher, and its first weights start again on labels and pseudo-labels.

    Of each crop and class the teacher's surest fifth is learnt, ranked by the largest logit: every class teaches, the
    rare ones too. L is cross entropy over all labelled and pseudo-labelled pixels together. A CutMix box is no mix here
    but a cutout: it is filled with noise and teaches nothing.

    `teacher` holds the student's first weights until the first stage ends; then the two change places.
    """

    def __init__(self, student: Segmenter, settings: LsstSettings) -> None:
        super().__init__()
        self.student = student
        self.teacher = frozen_copy(student)
        self.retraining: Tensor
        self.register_buffer("retraining", torch.zeros((), dtype=torch.bool))
        self.restarts = (settings.pretraining,)
        self._share = settings.share

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`, 0 in the first stage."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        if progress.stage(self.restarts)[0] and not self.retraining:
            self._change_places()
        held = self.beliefs(u)
        if held is None:
            self._facts = {"trusted": torch.zeros(())}
            none = torch.zeros((), device=x.image.device)
            return {"supervised": _total(self.student(x.image), x.label) / _count(x), "consistency": none}
        image, label = self._cut_out(u, self.noted(held), progress)
        on_x, on_u = self.student(torch.cat([x.image, image])).split([len(x.image), len(image)])
        count = (_count(x, least=0) + (label != IGNORE).sum()).clamp(min=1)
        return {"supervised": _total(on_x, x.label) / count, "consistency": _total(on_u, label) / count}

    @torch.no_grad()
    def beliefs(self, crops: Unlabelled) -> Beliefs | None:
        """Return the teacher's surest labels of weak views; None in the first stage.

        Where an opinion moved a pixel's confidence, the logit that it is ranked by moves as far as its log-odds.
        """
        if not self.retraining:
            return None
        logits = self.teacher.eval()(crops.weak).float()
        score, held = logits.amax(dim=1), self.hear(Pseudo.from_logits(logits, crops.valid, threshold=0), crops)
        if held.after is held.before:
            only = self._surest(held.before, score)
            return Beliefs(only, only)
        odds = [torch.logit(said.confidence, eps=1e-6) for said in (held.before, held.after)]
        after = self._surest(held.after, score + odds[1] - odds[0])
        return Beliefs(self._surest(held.before, score), after, held.facts)

    def networks(self) -> Mapping[str, Segmenter]:
        """Return the student, and the teacher where it has been trained."""
        return {"student": self.student} | ({"teacher": self.teacher} if self.retraining else {})

    def predictor(self) -> Segmenter:
        """Return the student: in the first stage the one that is to become the teacher."""
        return self.student

    @torch.no_grad()
    def _change_places(self) -> None:
        theirs = self.teacher.state_dict()
        for name, mine in self.student.state_dict().items():
            learnt = mine.clone()
            mine.copy_(theirs[name])
            theirs[name].copy_(learnt)
        self.retraining.fill_(value=True)

    def _surest(self, said: Pseudo, score: Tensor) -> Pseudo:
        kept = surest(score, said.label, said.trusted, classes=self.student.classes, share=self._share)
        return replace(said, trusted=kept)

    @staticmethod
    def _cut_out(u: Unlabelled, target: Pseudo, progress: Progress) -> tuple[Tensor, Tensor]:
        """Return strong views with noise in the boxes, and labels, 255 where nothing is learnt."""
        strong, box = u.strong[0], u.boxes[0]
        noise = torch.randn(strong.shape, generator=draws("lsst", u, progress)).to(strong)
        return torch.where(box[:, None], noise, strong), target.label.masked_fill(box | ~target.trusted, IGNORE)


def surest(score: Tensor, label: Tensor, counted: Tensor, *, classes: int, share: float) -> Tensor:
    """Return (B, H, W) bool: of each image and class the ⌊share · n + ½⌋ counted pixels with the highest score.

    Args:
        score: (B, H, W), finite; of equal ones the first comes first.
        label: (B, H, W) int64, 0 … K − 1.
        counted: (B, H, W) bool, which pixels take part.
        classes: K.
        share: 0 … 1; with .2, a class of two pixels keeps none, one of three keeps one.
    """
    kinds = torch.where(counted, label, classes).flatten(1)
    order = score.flatten(1).argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, kinds.gather(1, order).argsort(dim=1, stable=True))  # by class, then by score
    kinds = kinds.gather(1, order)
    counts = F.one_hot(kinds, classes + 1).sum(dim=1)
    rank = torch.arange(kinds.shape[1], device=kinds.device) - (counts.cumsum(dim=1) - counts).gather(1, kinds)
    wanted = (share * counts.double() + 0.5).long()
    kept = (rank < wanted.gather(1, kinds)) & (kinds < classes)
    return torch.zeros_like(kept).scatter(1, order, kept).view(label.shape)


def _total(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="sum")


def _count(x: Labelled, *, least: int = 1) -> Tensor:
    return (x.label != IGNORE).sum().clamp(min=least)
