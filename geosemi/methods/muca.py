"""MUCA, re-interpreted: multi-scale uncertainty consistency and cross-teacher-student attention (Wang et al., 2025)."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.data.batch import Batch, Unlabelled
from geosemi.methods.averaged import AveragedTeacher
from geosemi.methods.base import Progress
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.perturb import channel_dropout, draws, require_features
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.settings import MucaSettings
from geosemi.models.channels import ChannelAttention
from geosemi.models.segmenter import Segmenter

RAMP = 1 / 3  # share of the run over which the teacher may grow less certain


class Muca(AveragedTeacher):
    """L = L_x + λ(t) (L_logits + Σ L_level) + .25 CE(p_a, ŷ); λ(t) = 3 e^(−5 (1 − t)²).

    p_a is what the student says after its maps have attended to the teacher's, ŷ the teacher's likeliest class.

    The student sees the strong view, the averaged teacher the weak one. L_logits is the Huber distance of their logits,
    L_level half of that of their maps where the teacher is certain: where the entropy of what it says on average, with
    changing channels silenced, is below a threshold that grows from half a coin's entropy to a whole one's.

    The released code measures entropy over channels, which leaves its masks empty, and draws its attention anew in
    every step; this is the idea of the paper and not that code.
    """

    def __init__(self, student: Segmenter, settings: MucaSettings) -> None:
        require_features(student, settings.name, does="compares")
        super().__init__(student, settings.ema)
        self.across = nn.ModuleList(Across(width, settings.heads) for width in student.widths)
        self._settings = settings

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised`, `consistency` of the logits, `features` of all levels and `attention`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        generator, size = draws("muca", u, progress), (u.weak.shape[-2], u.weak.shape[-1])
        theirs, said, entropy = self._ask(u, generator)
        target = self.noted(self.hear(Pseudo.from_logits(said, u.valid, threshold=0), u))
        certain = (entropy < certainty(progress)) & u.valid
        self._facts = {**self._facts, "certain": certain.sum() / u.valid.sum().clamp(min=1)}
        both = self.student.features(torch.cat([x.image, u.strong[0]]))
        on_x, on_u = torch.split(self.student.logits(both, size), [len(x.image), len(u.weak)])
        mine = [map_[len(x.image) :] for map_ in both]
        levels = [
            masked_huber(own, their, certain, self.student.stride) for own, their in zip(mine, theirs, strict=True)
        ]
        triples = zip(self.across, mine, theirs, strict=True)
        with unmoved(self.student):
            attended = self.student.logits([across(own, their, generator) for across, own, their in triples], size)
        weight = self._settings.weight * ramp_up(progress.fraction)
        return {
            "supervised": cross_entropy(on_x, x.label),
            "consistency": weight * _mean(_huber(on_u, said), u.valid),
            "features": weight * torch.stack(levels).sum(),
            "attention": self._attention(progress) * consistency(attended, target),
        }

    def _attention(self, progress: Progress) -> float:
        warm_up = self._settings.warm_up
        return self._settings.attention * (ramp_up(progress.fraction / warm_up) if warm_up else 1.0)

    @torch.no_grad()
    def _ask(self, crops: Unlabelled, generator: torch.Generator) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the teacher's maps and logits of weak views, and the entropy (B, H, W) of what it says on average."""
        self.teacher.eval()
        size = (crops.weak.shape[-2], crops.weak.shape[-1])
        features = self.teacher.features(crops.weak)
        mean = torch.zeros((), device=crops.weak.device)
        for _ in range(self._settings.passes):
            disturbed = [channel_dropout(map_, generator, p=self._settings.dropout) for map_ in features]
            mean = mean + self.teacher.logits(disturbed, size).float().softmax(dim=1) / self._settings.passes
        return features, self.teacher.logits(features, size).float(), -torch.xlogy(mean, mean).sum(dim=1)

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return the teacher's labels of weak views; all valid pixels are trusted."""
        return self.hear(Pseudo.from_logits(self.teach(crops.weak), crops.valid, threshold=0), crops)


class Across(nn.Module):
    """A student's map, and what it finds in the teacher's by attention among channels.

    Args:
        channels: C, of both maps.
        heads: each as wide as the map.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.own, self.their = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attend = ChannelAttention(channels, width=heads * channels, heads=heads)

    def forward(self, own: Tensor, their: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, h, w) twice → (B, C, h, w)."""
        asking, told = (n(m.flatten(2).transpose(1, 2)) for n, m in ((self.own, own), (self.their, their)))
        found: Tensor = self.attend(asking, told[:, None], generator)
        return own + found.transpose(1, 2).reshape(own.shape)


@contextmanager
def unmoved(network: nn.Module) -> Iterator[None]:
    """Keep the averages of batch norm as they are: what is decoded here is not what the network will be shown."""
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm2d, nn.SyncBatchNorm))]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def certainty(progress: Progress) -> float:
    """Return the entropy, in nats, below which a teacher is certain: (½ + ½ ramp) ln 2."""
    return (0.5 + 0.5 * ramp_up(progress.fraction / RAMP)) * math.log(2)


def masked_huber(own: Tensor, their: Tensor, certain: Tensor, stride: int) -> Tensor:
    """Return Σ m d / (2 Σ m): d the Huber distance of two maps at a position, m the certain share of its pixels.

    Args:
        own: (B, C, h, w), the student's.
        their: (B, C, h, w), the teacher's.
        certain: (B, H, W) bool, of the image.
        stride: to a multiple of which the image was padded before it was encoded.
    """
    height, width = certain.shape[-2:]
    padded = F.pad(certain[:, None].float(), (0, -width % stride, 0, -height % stride))
    return _mean(_huber(own, their), F.interpolate(padded, own.shape[-2:], mode="area")[:, 0]) / 2


def _huber(own: Tensor, their: Tensor) -> Tensor:
    """Return (B, H, W): the mean over channels of d²/2 where |d| ≤ 1, |d| − ½ elsewhere."""
    return F.huber_loss(own.float(), their.float(), reduction="none").mean(dim=1)


def _mean(each: Tensor, weight: Tensor) -> Tensor:
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)
