"""What a method sees: tensors, already augmented and normalised. Dictionaries of TorchGeo stop before this file."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Chips:
    """Raw square pieces of scenes as they come from disk, before augmentation.

    Attributes:
        image: (B, C, S, S) float32, raw units of the sensor.
        valid: (B, S, S) bool, False on nodata and padding.
        label: (B, S, S) int64, class ids or the legend's ignore value; None for unlabelled scenes.
        opinion: (B, K, S, S) bool, or None where no opinion layer exists.
        place: where each piece lies, `path@row,col`, for messages.
    """

    image: Tensor
    valid: Tensor
    label: Tensor | None
    opinion: Tensor | None
    place: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Weakly augmented crops with truth.

    Attributes:
        image: (B, C, H, W) float32, normalised.
        label: (B, H, W) int64, class ids; 255 where there is no truth (padding, nodata, unlabelled pixels).
        opinion: (B, K, H, W) bool, or None: only methods that hold opinions against truth get them here.
    """

    image: Tensor
    label: Tensor
    opinion: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Crops without truth, seen weakly and strongly augmented; all share the weak view's geometry.

    Attributes:
        weak: (B, C, H, W) float32, normalised.
        strong: strong views of the same crops, each (B, C, H, W), normalised, not yet mixed.
        boxes: for each strong view (B, H, W) bool, True inside the box that CutMix takes from its partner.
        valid: (B, H, W) bool, False on nodata and padding.
        opinion: (B, K, H, W) bool, or None.
        place: where each crop was cut, for messages.
    """

    weak: Tensor
    strong: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    valid: Tensor
    opinion: Tensor | None
    place: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's input. `unlabelled` is None where a method trains on labels alone."""

    labelled: Labelled
    unlabelled: Unlabelled | None = None
