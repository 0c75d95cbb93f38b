"""Frozen teachers around any method (RS-MTDF); `rs_mtdf` is `fixmatch` with two of them.

The teachers look at exactly the images that a network saw with gradient in a step. They are in no checkpoint, no
bundle, no moving average and no gradient exchange between devices, and nothing that they said outlives the step.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from geosemi.data.normalise import IMAGENET_MEAN, IMAGENET_STD, Radiometry
from geosemi.errors import ConfigError
from geosemi.methods.settings.distill import DistillSettings, TeacherSettings
from geosemi.models.frozen import Frozen
from geosemi.models.fused import FusedSegmenter, Translated, resized
from geosemi.models.fusion import FusionSpec
from geosemi.models.segmenter import Segmenter

# mean and spread of unit red, green, blue; CLIP's are those of its own training images (Radford et al., 2021)
_COLOURS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def prepared(network: Segmenter, settings: DistillSettings) -> FusedSegmenter:
    """Return a network with translators to the teachers, drawn from torch's state.

    Raises:
        ConfigError: it shows no feature maps.
    """
    # imported here: timm takes 1.4 s of CPU, which nobody pays who has no teachers
    from geosemi.models.teachers import branch_of  # noqa: PLC0415

    if not network.widths:
        raise ConfigError(
            f"`distill` teaches feature maps, and `{type(network).__name__}` shows none between image and logits",
            hint="choose another `--model`, or leave `distill` out",
        )
    branches = tuple(branch_of(teacher.name) for teacher in settings.teachers)
    keep = settings.keep if settings.fuse else 1.0
    return FusedSegmenter(network, FusionSpec(branches=branches, hidden=settings.hidden, keep=keep))


class Distiller(nn.Module):
    """Compares what the translators of a method's networks say with what the teachers say.

    Args:
        settings: which teachers, and how much they count.
        bands: C, of the images.
        radiometry: how those were normalised; None: as three bands of ImageNet.

    Raises:
        ConfigError: `bands` names one that the images have not.
        WeightsUnavailable: a teacher's weights are neither here nor to be had.
    """

    def __init__(self, settings: DistillSettings, *, bands: int, radiometry: Radiometry | None) -> None:
        from geosemi.models.teachers import build_teacher  # noqa: PLC0415 - as above

        super().__init__()
        self._weight = settings.weight
        self._teachers = nn.ModuleList(
            Frozen(build_teacher(t.name, t.weights, revision=t.revision)) for t in settings.teachers
        )
        self._bands = _colours(settings, bands, radiometry)
        self._scales = [_mapping(teacher, self._bands, radiometry) for teacher in settings.teachers]
        self._watch: ExitStack | None = None
        self._passes: list[list[Translated]] = []

    def begin(self, method: nn.Module) -> None:
        """Watch all networks of a method that learn, until `finish`."""
        self.end()
        self._watch = ExitStack()
        for network in method.modules():
            if isinstance(network, FusedSegmenter) and any(p.requires_grad for p in network.parameters()):
                self._passes.append(self._watch.enter_context(network.watched()))

    def finish(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a method's losses with `distill` among them: (2 L + weight · L_dis) / 3."""
        found = [self.distance(passes) for passes in self._passes if passes]
        self.end()
        distance = torch.stack(found).sum() if found else next(iter(losses.values())) * 0
        return {name: loss * 2 / 3 for name, loss in losses.items()} | {"distill": self._weight * distance / 3}

    def end(self) -> None:
        """Forget the step."""
        if self._watch is not None:
            self._watch.close()
        self._watch, self._passes = None, []

    def distance(self, passes: Sequence[Translated]) -> Tensor:
        """Return L_dis: the mean over teachers of the mean squared difference, over all images of one network."""
        images = sum(len(one.image) for one in passes)
        terms = []
        for one in passes:
            shown = one.image[:, list(self._bands)]
            for teacher, (scale, shift), said in zip(self._teachers, self._scales, one.said, strict=True):
                wanted = teacher(shown * scale.to(shown) + shift.to(shown)).float()
                ours = resized(said.float(), wanted.shape[-2], wanted.shape[-1])
                terms.append(F.mse_loss(ours, wanted) * len(one.image))
        return torch.stack(terms).sum() / (images * len(self._teachers))


def _colours(settings: DistillSettings, bands: int, radiometry: Radiometry | None) -> tuple[int, int, int]:
    """Return positions of the bands that teachers see as red, green and blue.

    Raises:
        ConfigError: one of them does not exist.
    """
    if settings.bands is not None:
        if max(settings.bands) > bands:
            raise ConfigError(
                f"`method.distill.bands` names band {max(settings.bands)}, the images have {bands}",
                hint="count from 1 among the bands that the network sees",
            )
        red, green, blue = settings.bands
        return red - 1, green - 1, blue - 1
    if radiometry is not None and radiometry.rgb is not None:
        return radiometry.rgb
    return 0, min(1, bands - 1), min(2, bands - 1)


def _mapping(
    teacher: TeacherSettings, bands: tuple[int, int, int], radiometry: Radiometry | None
) -> tuple[Tensor, Tensor]:
    """Return scale and shift (3, 1, 1) from what the network sees of the bands to what the teacher wants to see."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in _COLOURS[teacher.normalise])
    known = radiometry or Radiometry.imagenet()
    at = list(bands) if radiometry is not None else [0, 1, 2]
    # unit colour = (normalised · std + mean − black) / (white − black)
    low, high, centre, spread = (
        torch.tensor(values, dtype=torch.float64)[at] for values in (known.low, known.high, known.mean, known.std)
    )
    scale = spread / (high - low) / std
    shift = ((centre - low) / (high - low) - mean) / std
    return scale.float()[:, None, None], shift.float()[:, None, None]
