"""What the numbers of a sensor mean: their range, mean and spread per band, and which bands are red, green and blue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from geosemi.errors import BandMismatch

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of unit RGB, as the backbones were trained with
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Radiometry:
    """Per-band facts of raw pixels.

    Three ranges of numbers meet here:

    *raw* as on disk · *unit* = (raw - low) / (high - low), black 0 and white 1, where colours are changed ·
    *normalised* = (raw - mean) / std, what a network sees.

    Attributes:
        low: raw value of black, one a band; padding and nodata are filled with it.
        high: raw value of white, above `low`. Raw values may lie outside low … high.
        mean: raw units.
        std: raw units, positive.
        rgb: positions of red, green and blue among the bands; None where a scene has none, then hue, saturation
            and grey are left alone.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not self.low or len({len(self.low), len(self.high), len(self.mean), len(self.std)}) > 1:
            raise ValueError("low, high, mean and std must list one number a band")
        if any(not high > low for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"high must exceed low in every band, got {self.low} and {self.high}")
        if any(not std > 0 for std in self.std):
            raise ValueError(f"std must be positive in every band, got {self.std}")
        if self.rgb is not None and (len(set(self.rgb)) < 3 or not all(0 <= b < len(self.low) for b in self.rgb)):
            raise ValueError(f"rgb must be three of the bands 0 … {len(self.low) - 1}, got {self.rgb}")

    @classmethod
    def imagenet(cls) -> Self:
        """Return the facts of 8-bit RGB for backbones that were trained on ImageNet statistics."""
        return cls(
            low=(0.0,) * 3,
            high=(255.0,) * 3,
            mean=tuple(255 * m for m in IMAGENET_MEAN),
            std=tuple(255 * s for s in IMAGENET_STD),
            rgb=(0, 1, 2),
        )

    @property
    def bands(self) -> int:
        """How many bands an image must have."""
        return len(self.low)

    def normalise(self, raw: Tensor) -> Tensor:
        """Return (raw - mean) / std of an image (…, C, H, W).

        Raises:
            BandMismatch: the image has another number of bands.
        """
        return (raw - self._column(self.mean, raw)) / self._column(self.std, raw)

    def to_unit(self, raw: Tensor) -> Tensor:
        """Return (raw - low) / (high - low) of an image (…, C, H, W): 0 is black, 1 is white, nothing is clipped.

        Raises:
            BandMismatch: the image has another number of bands.
        """
        low, high = self._column(self.low, raw), self._column(self.high, raw)
        return (raw - low) / (high - low)

    def from_unit(self, unit: Tensor) -> Tensor:
        """Return raw units of a unit image (…, C, H, W); the inverse of `to_unit`.

        Raises:
            BandMismatch: the image has another number of bands.
        """
        low, high = self._column(self.low, unit), self._column(self.high, unit)
        return unit * (high - low) + low

    def _column(self, values: Sequence[float], image: Tensor) -> Tensor:
        if image.shape[-3] != self.bands:
            raise BandMismatch(
                f"an image has {image.shape[-3]} bands, its statistics describe {self.bands}",
                hint="pick the bands that the statistics were computed on, or compute them again",
            )
        return torch.tensor(values, dtype=torch.float32, device=image.device)[:, None, None]
