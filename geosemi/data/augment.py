"""Weak and strong augmentation, on the chips' device.

The recipe is UniMatch's, which SemiEarth and RS-MTDF share byte for byte: random rescale, pad, crop, flip (the weak
view); on top of it colour jitter, grey, blur and CutMix (the strong views). Order matters and is kept.

All numbers are drawn on the CPU from one generator, so a step sees the same crops on every device.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from geosemi.data.batch import Chips, Labelled, Unlabelled
from geosemi.data.cutmix import draw_boxes
from geosemi.data.normalise import Radiometry
from geosemi.data.photometric import Draws, strong_colours
from geosemi.data.settings import AugmentSettings
from geosemi.errors import InputError

IGNORE = 255  # label of pixels without truth, in every batch


@dataclass(frozen=True, slots=True)
class Geometry:
    """One chip's way to its crop: rescale to height × width, pad, cut at (top, left), flip, turn.

    Attributes:
        height: pixels after the rescale.
        width: pixels after the rescale.
        top: first row of the crop.
        left: first column of the crop.
        mirror: flip left-right.
        upend: flip up-down.
        turns: quarter turns, counter-clockwise.
    """

    height: int
    width: int
    top: int
    left: int
    mirror: bool
    upend: bool
    turns: int

    @classmethod
    def draw(cls, height: int, width: int, settings: AugmentSettings, generator: torch.Generator) -> Self:
        """Draw the geometry of a chip of height × width pixels."""

        def whole(low: int, high: int) -> int:
            return int(torch.randint(low, high + 1, (), generator=generator))

        def happens(probability: float) -> bool:
            return float(torch.rand((), generator=generator)) < probability

        long = max(height, width)
        factor = whole(round(settings.scale[0] * long), round(settings.scale[1] * long)) / long
        tall, wide = max(1, round(height * factor)), max(1, round(width * factor))
        return cls(
            height=tall,
            width=wide,
            top=whole(0, max(0, tall - settings.size)),
            left=whole(0, max(0, wide - settings.size)),
            mirror=happens(settings.flip),
            upend=happens(settings.vertical_flip),
            turns=whole(0, 3) if settings.rotate90 else 0,
        )

    def image(self, chip: Tensor, size: int) -> Tensor:
        """Return the crop (C, size, size) of an image (C, h, w), smooth; padding is 0."""
        scaled = vision.resize(chip, [self.height, self.width], InterpolationMode.BILINEAR, antialias=True)
        return self._cut(scaled, size)

    def layers(self, chip: Tensor, size: int) -> Tensor:
        """Return the crop (L, size, size) of uint8 layers (L, h, w), no new values; padding is 0."""
        # nearest-exact takes pixel centres, as PIL does and as the image's own rescale does; `nearest` shifts by half
        # a pixel when it enlarges, and labels would lie beside their objects.
        scaled = vision.resize(chip, [self.height, self.width], InterpolationMode.NEAREST_EXACT)
        return self._cut(scaled, size)

    def _cut(self, scaled: Tensor, size: int) -> Tensor:
        piece = scaled[:, self.top : self.top + size, self.left : self.left + size]
        down, right = size - piece.shape[-2], size - piece.shape[-1]
        if down or right:
            piece = torch.nn.functional.pad(piece, (0, right, 0, down))
        flipped = [axis for axis, yes in ((-1, self.mirror), (-2, self.upend)) if yes]
        return torch.rot90(piece.flip(flipped), self.turns, (-2, -1))


@dataclass(frozen=True, slots=True)
class Augment:
    """Turns raw chips into what a method sees.

    Attributes:
        radiometry: what raw numbers mean; nodata and padding become its black before normalisation.
        settings: the recipe.
        ignore: the legend's ignore value, which becomes 255.
    """

    radiometry: Radiometry
    settings: AugmentSettings
    ignore: int = IGNORE

    def labelled(self, chips: Chips, generator: torch.Generator) -> Labelled:
        """Return weakly augmented crops with truth.

        Args:
            chips: raw chips with labels, perhaps with opinions.
            generator: on the CPU; see `geosemi.data.keyed`.

        Raises:
            InputError: the chips have no labels.
            BandMismatch: the radiometry describes another number of bands.
        """
        if chips.label is None:
            raise InputError(f"`{chips.place[0]}` has no label", hint="list it among the unlabelled scenes")
        layers = chips.label.masked_fill(chips.label == self.ignore, IGNORE).to(torch.uint8)[:, None]
        if chips.opinion is not None:
            layers = torch.cat([layers, chips.opinion.to(torch.uint8)], dim=1)
        unit, valid, layers = self._weak(chips, layers, generator)
        opinion = None if chips.opinion is None else layers[:, 1:].bool() & valid[:, None]
        return Labelled(self._normalised(unit), layers[:, 0].long().masked_fill(~valid, IGNORE), opinion)

    def unlabelled(self, chips: Chips, generator: torch.Generator) -> Unlabelled:
        """Return weakly and strongly augmented crops and CutMix boxes; labels, if any, are not looked at.

        Args:
            chips: raw chips.
            generator: on the CPU; see `geosemi.data.keyed`.

        Raises:
            BandMismatch: the radiometry describes another number of bands.
        """
        settings = self.settings
        layers = chips.valid[:, None][:, :0] if chips.opinion is None else chips.opinion
        unit, valid, layers = self._weak(chips, layers, generator)
        strong, boxes = [], []
        for _ in range(settings.views):
            draws = Draws.draw(len(unit), settings.strong, generator)
            strong.append(self._normalised(strong_colours(unit, draws, self.radiometry.rgb)))
            boxes.append(draw_boxes(len(unit), settings.size, settings.cutmix, generator).to(unit.device))
        opinion = None if chips.opinion is None else layers.bool() & valid[:, None]
        return Unlabelled(self._normalised(unit), tuple(strong), tuple(boxes), valid, opinion, chips.place)

    def _weak(self, chips: Chips, layers: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return crops of the unit image (B, C, S, S), of its validity (B, S, S) and of layers (B, L, S, S)."""
        size = self.settings.size
        # Nodata is blackened before the rescale, or -9999 and NaN would leak into their neighbours.
        unit = self.radiometry.to_unit(chips.image).masked_fill(~chips.valid[:, None], 0)
        layers = torch.cat([chips.valid[:, None].to(torch.uint8), layers.to(torch.uint8)], dim=1)
        images, pieces = [], []
        for image, layer in zip(unit, layers, strict=True):
            geometry = Geometry.draw(image.shape[-2], image.shape[-1], self.settings, generator)
            images.append(geometry.image(image, size))
            pieces.append(geometry.layers(layer, size))
        crops = torch.stack(pieces)
        return torch.stack(images), crops[:, 0].bool(), crops[:, 1:]

    def _normalised(self, unit: Tensor) -> Tensor:
        return self.radiometry.normalise(self.radiometry.from_unit(unit))
