"""A network that remembers what went through it, and losses worked pixel by pixel: the slow twins of methods."""

import math

import torch
from torch import Tensor, nn

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.methods.base import IGNORE
from geosemi.models.segmenter import Segmenter

CLASSES = 3


class Witness(Segmenter):
    """Logits from two maps of six channels, none of whose values is 0; notes every call of `encode` and `decode`."""

    def __init__(self, seed: int = 0, *, widths: tuple[int, ...] = (6, 6)) -> None:
        super().__init__()
        self.classes = self.bands = CLASSES
        self.widths, self.stride = widths, 1
        generator = torch.Generator().manual_seed(seed)
        self.scale = nn.Parameter(1 + torch.rand(2, 6, 1, 1, generator=generator))
        self.images: list[tuple[bool, Tensor]] = []
        self.maps: list[list[Tensor]] = []
        self.changed: list[list[Tensor]] = []
        self.said: list[Tensor] = []

    def encode(self, image: Tensor) -> list[Tensor]:
        self.images.append((self.training, image))
        twice = torch.cat([image, image.flip(1) + 0.5], dim=1)
        maps = [scale * twice + 1e-3 for scale in self.scale]
        self.maps.append([m.detach() for m in maps])
        return maps

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        self.changed.append([f.detach() for f in features])
        fine, deep = features
        logits = fine[:, :3] + 0.5 * fine[:, 3:] + deep[:, :3].tanh() * deep[:, 3:]
        self.said.append(logits.detach())
        return logits


def noise(seed: int, *, count: int = 4, side: int = 5, views: int = 2) -> Batch:
    """Crops, labels, boxes and holes at random."""
    generator = torch.Generator().manual_seed(seed)

    def random() -> Tensor:
        return 2 * torch.randn(count, CLASSES, side, side, generator=generator)

    def coin(share: float) -> Tensor:
        return torch.rand(count, side, side, generator=generator) < share

    label = torch.randint(CLASSES, (count, side, side), generator=generator).masked_fill(coin(0.2), IGNORE)
    crops = Unlabelled(
        random(),
        tuple(random() for _ in range(views)),
        tuple(coin(0.4) for _ in range(views)),
        coin(0.8),
        None,
        tuple(f"scene.tif@{seed},{n}" for n in range(count)),
    )
    return Batch(Labelled(random(), label), crops)


def log_softmax(logits: list[float]) -> list[float]:
    """Natural logarithms of the probabilities of one pixel."""
    top = max(logits)
    total = top + math.log(sum(math.exp(v - top) for v in logits))
    return [v - total for v in logits]


def believed(logits: list[float], threshold: float) -> tuple[int, bool]:
    """The likeliest class of one pixel, and whether it is likely enough."""
    logs = log_softmax(logits)
    label = max(range(len(logs)), key=logs.__getitem__)
    return label, math.exp(logs[label]) >= threshold


def pixels(image: Tensor) -> list[list[list[list[float]]]]:
    """(B, K, H, W) → [b][row][column][k]."""
    return image.movedim(1, -1).tolist()  # type: ignore[no-any-return]


def slow_supervised(logits: Tensor, label: Tensor) -> float:
    """Cross entropy over the pixels with truth."""
    total, count = 0.0, 0
    for said, truth in zip(pixels(logits), label.tolist(), strict=True):
        for row, line in zip(said, truth, strict=True):
            for values, k in zip(row, line, strict=True):
                if k != IGNORE:
                    total -= log_softmax(values)[k]
                    count += 1
    return total / max(1, count)


def slow_consistency(
    logits: Tensor, own: Tensor, *, partner: Tensor, box: Tensor, valid: Tensor, threshold: float
) -> float:
    """Cross entropy on trusted pixels over the count of valid ones, mixed pixel by pixel.

    Args:
        logits: of the mixed crops.
        own: logits that label each crop outside its box.
        partner: logits that label it inside, of the reversed batch.
        box: inside the box.
        valid: of the un-mixed crops.
        threshold: confidence from which a pixel counts.
    """
    said, outside, inside = pixels(logits), pixels(own), pixels(partner)
    total, count = 0.0, 0
    last = len(said) - 1
    for n, mask in enumerate(box.tolist()):
        for row, line in enumerate(mask):
            for column, moved in enumerate(line):
                source = last - n if moved else n
                if not valid[source, row, column]:
                    continue
                count += 1
                label, sure = believed((inside if moved else outside)[source][row][column], threshold)
                if sure:
                    total -= log_softmax(said[n][row][column])[label]
    return total / max(1, count)
