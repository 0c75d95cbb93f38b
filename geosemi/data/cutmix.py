"""CutMix boxes: where a strong view takes its pixels from its partner. Mixing itself is the method's work."""

import math

import torch
from torch import Tensor

AREA = (0.02, 0.4)  # share of the crop
RATIO = (0.3, 1 / 0.3)  # height over width


def draw_box(size: int, generator: torch.Generator) -> tuple[slice, slice]:
    """Draw one box inside a crop of size × size; rows first.

    The area is uniform in `AREA` · size², the ratio plain uniform in `RATIO`, the corner uniform; ratio and corner
    (not the area) are drawn again until the box fits, as UniMatch does.

    Args:
        size: S, pixels.
        generator: where the numbers come from, on the CPU.
    """
    area = _uniform(*AREA, generator) * size * size
    while True:
        ratio = _uniform(*RATIO, generator)
        width, height = int(math.sqrt(area / ratio)), int(math.sqrt(area * ratio))
        left, top = (int(n) for n in torch.randint(size, (2,), generator=generator))
        if left + width <= size and top + height <= size:
            return slice(top, top + height), slice(left, left + width)


def draw_boxes(count: int, size: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return (count, size, size) bool on the CPU, True inside each crop's box; a crop has a box with `probability`."""
    inside = torch.zeros(count, size, size, dtype=torch.bool)
    for n in range(count):
        if _uniform(0, 1, generator) < probability:
            inside[(n, *draw_box(size, generator))] = True
    return inside


def draw_masks(
    count: int, size: tuple[int, int], *, boxes: int, area: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Return masks (count, *size) bool on the CPU, as CutMix-Seg (French et al., BMVC 2020) draws them, and CPS.

    Each mask is made of boxes; where two overlap, the second takes back what the first gave. A box has a share a of the
    area, uniform in `area`, and sides of a^u and a^(1−u) times those of the crop with u uniform in 0 … 1, both divided
    by the root of the number of boxes. It lies anywhere inside the crop.

    Args:
        count: masks.
        size: (H, W), pixels.
        boxes: of each mask.
        area: shares of the crop before the boxes are made smaller, 0 … 1.
        generator: where the numbers come from, on the CPU.
    """
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        for _ in range(boxes):
            share, u = _uniform(*area, generator), _uniform(0, 1, generator)
            sides = [side * share**power / math.sqrt(boxes) for side, power in zip(size, (u, 1 - u), strict=True)]
            height, width = (round(side) for side in sides)
            top = round((size[0] - height) * _uniform(0, 1, generator))
            left = round((size[1] - width) * _uniform(0, 1, generator))
            mask[top : top + height, left : left + width] ^= True
    return masks


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
