"""DWL, decouple and weight (Huang et al., ISPRS Journal 212, 2024)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.data.batch import Batch, Unlabelled
from geosemi.methods.base import Method, Progress
from geosemi.methods.heads import decoder_of
from geosemi.methods.losses import cross_entropy, ramp_up
from geosemi.methods.perturb import require_features
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.settings import DwlSettings
from geosemi.models.segmenter import Segmenter

RANKS = 20  # thresholds of a class
ELEMENTS = 50  # steps that the memory of a class reaches back
BINS = 1024  # .03 of a logit each
SIDE = 64  # of the maps that are remembered
_EPS = 1e-7  # probabilities nearer to 0 or 1 than single precision tells apart


class Dwl(Method):
    """L = L_x + mean w · CE(h(x_s), ŷ): the main head labels weak views, the pseudo head h learns them on strong ones.

    Both heads share the encoder. No pixel is left out: w is 2 σ(κ r) − 1, r the rank of its confidence among those
    remembered of its class, κ rising from 2 to 22. From time to time the main head takes over what h has learnt.

    With several ranks, all weigh by the memory of the first, as torch hands out its buffers before every step.
    """

    needs_peer = True

    def __init__(self, student: Segmenter, settings: DwlSettings, peer: Segmenter) -> None:
        require_features(student, settings.name, does="shares")
        super().__init__()
        self.student = student
        self.pseudo_head = decoder_of(peer)
        self.memory = RankMemory(student.classes)
        self.blended: Tensor
        self.register_buffer("blended", torch.zeros((), dtype=torch.int64))
        self._settings = settings

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        self._blend(progress)
        said = self._labels(u)
        self.memory.remember(said)
        target = self.noted(self.hear(said, u))
        weight = rank_weight(self.memory.rank(target), self._kappa(progress)) * target.trusted
        self._facts = {**self._facts, "weight": weight.sum() / u.valid.sum().clamp(min=1)}
        features = self.student.features(torch.cat([x.image, u.strong[0]]))
        size = (u.weak.shape[-2], u.weak.shape[-1])
        on_x = self.student.logits([map_[: len(x.image)] for map_ in features], size)
        on_u = self.pseudo_head.logits([map_[len(x.image) :] for map_ in features], size)
        each = F.cross_entropy(on_u.float(), target.label, reduction="none")
        loss = (weight * each).sum() / u.valid.sum().clamp(min=1)
        return {"supervised": cross_entropy(on_x, x.label), "consistency": self._share(progress) * loss}

    @torch.no_grad()
    def _labels(self, crops: Unlabelled) -> Pseudo:
        return Pseudo.from_logits(self.student(crops.weak), crops.valid, threshold=0)

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return what the main head says of weak views; all valid pixels are trusted, each as far as it weighs."""
        return self.hear(self._labels(crops), crops)

    def predictor(self) -> Segmenter:
        """Return the encoder with the main head."""
        return self.student

    def _kappa(self, progress: Progress) -> float:
        first, last = self._settings.sharpness
        return first + (last - first) * progress.fraction

    def _share(self, progress: Progress) -> float:
        warm_up = self._settings.warm_up
        return ramp_up(progress.fraction / warm_up) if warm_up else 1.0

    @torch.no_grad()
    def _blend(self, progress: Progress) -> None:
        """Blend the heads where one is due, before the step: a validation sees the main head as it was trained."""
        due = progress.step // self._settings.blend_every
        if due <= int(self.blended):
            return
        main = dict(self.student.named_parameters())
        for name, learnt in self.pseudo_head.named_parameters():
            main[name].lerp_(learnt, self._settings.alpha)
        self.blended.fill_(due)


class RankMemory(nn.Module):
    """How sure the last steps were of each class: the last 50 steps in which it was seen, as histograms of the logit.

    The code keeps all values and sorts them in every step. Counts in bins of .03 of a logit give the same ranks but for
    values in one bin, take the same room whatever the batch, and need no sort. Logits, for confidences crowd below 1.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        counts = torch.zeros(classes, ELEMENTS, BINS, dtype=torch.int32)
        counts[:, 0, -1] = 1  # as in the code, each class starts with one value of 1
        self.counts: Tensor
        self.place: Tensor
        self.register_buffer("counts", counts)
        self.register_buffer("place", torch.ones(classes, dtype=torch.int64))  # where the next step goes

    def remember(self, said: Pseudo) -> None:
        """Note the confidences of valid pixels, of maps brought to 64 × 64, in place of the oldest of their class."""
        classes, steps, bins = self.counts.shape
        small = [min(SIDE, side) for side in said.label.shape[-2:]]

        def shrunk(values: Tensor) -> Tensor:
            return F.interpolate(values[:, None].float(), small, mode="nearest")[:, 0]

        index = shrunk(said.label).long() * bins + _bins(shrunk(said.confidence))
        index = torch.where(shrunk(said.valid) > 0, index, classes * bins)
        found = torch.bincount(index.flatten(), minlength=classes * bins + 1)[:-1].view(classes, bins).int()
        seen, every = found.any(dim=1), torch.arange(classes, device=found.device)
        slot = self.place % steps
        self.counts[every, slot] = torch.where(seen[:, None], found, self.counts[every, slot])
        self.place += seen

    def rank(self, target: Pseudo) -> Tensor:
        """Return for each pixel (B, H, W) the share of its class's thresholds that lie below it: 0, .05 … 1."""
        bins = torch.arange(BINS, device=self.counts.device).expand(len(self.counts), -1).contiguous()
        below = torch.searchsorted(self.thresholds(), bins) / RANKS
        return below[target.label, _bins(target.confidence)]

    def thresholds(self) -> Tensor:
        """Return the bins (K, 20) of order statistics at equal distances, the last of which is the maximum."""
        total = self.counts.sum(dim=1, dtype=torch.int64).cumsum(dim=1)
        steps = torch.arange(1, RANKS + 1, device=total.device)
        return torch.searchsorted(total, steps * (total[:, -1:] - 1) // RANKS, right=True)


def rank_weight(rank: Tensor, kappa: float) -> Tensor:
    """Return 2 σ(κ r) − 1 for r = `rank`, 0 … 1: near the rank itself for κ = 2, near 1 for most for κ = 22."""
    return 2 * torch.sigmoid(kappa * rank) - 1


def _bins(confidence: Tensor) -> Tensor:
    """Return the bin, 0 … 1023, of each confidence, 0 … 1."""
    span = torch.logit(torch.tensor(1 - _EPS, dtype=torch.float64)).item()
    logit = torch.logit(confidence.float(), eps=_EPS)
    return ((logit / span + 1) / 2 * BINS).long().clamp(0, BINS - 1)
