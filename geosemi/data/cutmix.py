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


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
