"""FixMatch as the code of UniMatch V1 has it: no teacher, the student labels its own weak views."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geosemi.data.batch import Batch, Unlabelled
from geosemi.methods.base import Method, Progress
from geosemi.methods.losses import consistency, cross_entropy, ramp_up
from geosemi.methods.pseudo import Beliefs, Pseudo, mix
from geosemi.methods.settings import FixMatchV1Settings, UniMatchSettings
from geosemi.models.segmenter import Segmenter


class FixMatchV1(Method):
    """L = (L_x + L_s) / 2; a strong view learns what the student says of the weak one in the same step.

    A crop's own label is that of train mode, from one pass with the labelled crops (batch norm sees both); inside its
    CutMix box stands what the student says of the partner in eval mode. So the code; the paper does not tell.

    The code mixes with another augmentation of the very same images, because two loaders share a seed; its author
    found partners from the batch as good, and these are ours.
    """

    def __init__(self, student: Segmenter, settings: FixMatchV1Settings | UniMatchSettings) -> None:
        super().__init__()
        self.student = student
        self._threshold, self._warm_up = settings.threshold, settings.warm_up

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return `supervised` and `consistency`."""
        x, u = batch.labelled, self.require_unlabelled(batch)
        partner = self.beliefs(u).after
        on_x, on_w = self.student(torch.cat([x.image, u.weak])).split([len(x.image), len(u.weak)])
        own = self._labels(on_w, u)
        strong, target = mix(u.strong[0], own, u.boxes[0], partner)
        loss = self._weight(progress) * consistency(self.student(strong), target)
        return {"supervised": cross_entropy(on_x, x.label) / 2, "consistency": loss / 2}

    @torch.no_grad()
    def beliefs(self, crops: Unlabelled) -> Beliefs:
        """Return what the student says of weak views in eval mode."""
        training = self.student.training
        logits = self.student.eval()(crops.weak)
        self.student.train(training)
        target = Pseudo.from_logits(logits, crops.valid, threshold=self._threshold)
        return self.hear(target, crops)

    def predictor(self) -> Segmenter:
        """Return the student."""
        return self.student

    def _labels(self, weak: Tensor, crops: Unlabelled) -> Pseudo:
        own = Pseudo.from_logits(weak.detach(), crops.valid, threshold=self._threshold)
        return self.noted(self.hear(own, crops))

    def _weight(self, progress: Progress) -> float:
        return ramp_up(progress.fraction / self._warm_up) if self._warm_up else 1.0
