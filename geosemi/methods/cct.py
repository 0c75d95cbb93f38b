"""Cross-consistency training (Ouali et al., CVPR 2020, arXiv 2003.09005)."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.data.batch import Batch
from geosemi.methods.base import Method, Progress
from geosemi.methods.losses import cross_entropy, ramp_up, squared_distance
from geosemi.methods.perturb import adversarial, channel_dropout, draws, feature_drop, feature_noise, require_features
from geosemi.methods.settings import CctSettings
from geosemi.models.segmenter import Segmenter

WIDTH = 32  # channels inside an auxiliary decoder
Disturb = Callable[[Tensor, "AuxiliaryDecoder", torch.Generator], Tensor]


class Cct(Method):
    """L = L_x + w(t) / M · Σ_m mean (softmax(aux_m(disturbed z)) − softmax(main))², mean over pixels and classes.

    z is the deepest map of the unlabelled weak view. The encoder learns from everything, the main decoder from truth
    alone, each auxiliary decoder from one kind of disturbance. Of the paper's seven kinds, guided CutOut, context and
    object masks take class 0 for a background without objects, and are left out: 20 auxiliary decoders instead of 30.
    """

    strong_views = 0

    def __init__(self, student: Segmenter, settings: CctSettings) -> None:
        require_features(student, settings.name)
        super().__init__()
        self.student = student
        self._weight, self._ramp = settings.weight, settings.ramp
        self._disturb = _disturbances(settings)
        self.auxiliary = nn.ModuleList(AuxiliaryDecoder(student.widths[-1], student.classes) for _ in self._disturb)

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        features = self.student.features(torch.cat([x.image, u.weak]))
        logits = self.student.logits(features, (u.weak.shape[-2], u.weak.shape[-1]))
        target = logits[len(x.image) :].detach().float().softmax(dim=1)
        deepest, generator = features[-1][len(x.image) :], draws("cct", u, progress)
        distances = []
        for disturb, decoder in zip(self._disturb, self.auxiliary, strict=True):
            said = decoder(disturb(deepest, decoder, generator))  # type: ignore[arg-type]
            distances.append(squared_distance(self._enlarged(said, u.weak), target, u.valid))
        weight = self._weight * (ramp_up(progress.fraction / self._ramp) if self._ramp else 1.0)
        return {
            "supervised": cross_entropy(logits[: len(x.image)], x.label),
            "consistency": weight * torch.stack(distances).mean() / self.student.classes,
        }

    def _enlarged(self, logits: Tensor, image: Tensor) -> Tensor:
        """Return logits (B, K, h, w) of a padded image at the size of the image itself."""
        height, width = image.shape[-2:]
        padded = [side + -side % self.student.stride for side in (height, width)]
        return F.interpolate(logits, padded, mode="bilinear", align_corners=False)[..., :height, :width]

    def predictor(self) -> Segmenter:
        """Return the student: the encoder with the main decoder."""
        return self.student


class AuxiliaryDecoder(nn.Module):
    """Logits eight times as large as a map: 1×1 convolutions and pixel shuffles, which start as nearest neighbours.

    The paper's are K channels wide; with the few classes of land cover, K rectified channels are easily all silent.

    Args:
        channels: of the map.
        classes: K, channels of the logits.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, WIDTH, 1, bias=False)
        nn.init.kaiming_normal_(self.project.weight, nonlinearity="relu")
        self.enlarge = nn.ModuleList(_shuffled(WIDTH, outputs) for outputs in (WIDTH, WIDTH, classes))

    def forward(self, map_: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, K, 8 h, 8 w)."""
        path: Tensor = self.project(map_)
        for enlarge in self.enlarge:
            path = F.pixel_shuffle(enlarge(path.relu()), 2)
        return path


def _shuffled(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a convolution for a pixel shuffle by 2 whose four sub-pixels start equal (ICNR; Aitken et al., 2017)."""
    convolution = nn.Conv2d(inputs, 4 * outputs, 1)
    one = nn.init.kaiming_normal_(torch.empty(outputs, inputs, 1, 1), nonlinearity="relu")
    with torch.no_grad():
        convolution.weight.copy_(one.repeat_interleave(4, dim=0))
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def _disturbances(settings: CctSettings) -> list[Disturb]:
    """Return what happens before each auxiliary decoder."""

    def alone(change: Callable[[Tensor, torch.Generator], Tensor]) -> Disturb:
        return lambda map_, _, generator: change(map_, generator)

    return [
        *[alone(partial(feature_drop, keep=settings.keep))] * settings.feature_drop,
        *[alone(partial(feature_noise, size=settings.noise))] * settings.feature_noise,
        *[alone(channel_dropout)] * settings.dropout,
        *[partial(adversarial, xi=settings.xi, epsilon=settings.epsilon)] * settings.adversarial,
    ]
