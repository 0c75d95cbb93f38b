"""What a run may be told about its data: where they are, how they are divided, read and changed.

All settings of a room stand in one file that imports no torch: a wrong config is told in a second, not in ten.
"""

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from geosemi.settings import Settings


class DataSettings(Settings):
    """Where scenes and labels are. Relative paths are relative to `root`.

    A folder means all rasters in it; a glob (`2024/**/*.tif`) means what it matches. A label belongs to the scene with
    the same file name up to the suffix, and is a raster on the scene's grid or a vector layer in any crs.
    """

    dataset: str = Field("scenes", description="`scenes`, or the name of a data set that `geosemi prepare` knows")
    root: Path = Field(Path(), description="folder that the other paths start from")
    images: str = Field("images", description="folder or glob of scenes that may have labels")
    labels: str = Field("labels", description="folder of label rasters or vector layers")
    unlabelled: str | None = Field("unlabelled", description="folder or glob of scenes without labels; may be absent")
    opinions: str | None = Field("opinions", description="folder of opinion rasters, one a scene; may be absent")
    legend: Path = Field(Path("legend.yaml"), description="the classes")
    label_column: str | None = Field(None, description="class column of vector labels; found by name if not given")
    label_outside: str | None = Field(None, description="class of pixels that no label polygon covers")
    bands: tuple[int, ...] | None = Field(None, description="1-based bands to use; all if not given")
    validation: tuple[str, ...] = Field((), description="names or globs of scenes kept for validation")
    test: tuple[str, ...] = Field((), description="names or globs of scenes kept for testing, never seen in training")
    lists: Path | None = Field(None, description="folder with labeled.txt, unlabeled.txt, val.txt (two columns a line)")


class SplitSettings(Settings):
    """How scenes are divided, and how much of the training ground may show its labels."""

    ratio: float = Field(5.0, gt=0, le=100, description="percent of the training blocks whose labels are used")
    unit: Literal["scene", "block", "patch"] = Field(
        "scene", description="what is divided; `patch` leaks, as in the papers"
    )
    block: int = Field(256, ge=32, description="side of a block in pixels: the unit of labelling")
    validation: float = Field(0.2, ge=0, lt=1, description="share of the ground for validation where none is named")
    test: float = Field(0.2, ge=0, lt=1, description="share of the ground for testing where none is named")
    seed: int = Field(42, ge=0, description="chooses blocks and scenes; the same for every method that is compared")


class LoaderSettings(Settings):
    """How chips are read."""

    size: int = Field(256, ge=32, description="side of a chip in pixels, before augmentation")
    labelled: int = Field(4, ge=1, description="labelled chips a step and device")
    unlabelled: int = Field(4, ge=1, description="unlabelled chips a step and device")
    workers: int = Field(0, ge=0, description="processes that read; 0 reads in the training process")


class PhotometricSettings(Settings):
    """How far a strong view departs from the weak one. The defaults are UniMatch's.

    Attributes:
        jitter: probability of colour jitter.
        brightness: factor is uniform in 1 ± this; contrast and saturation likewise.
        hue: shift is uniform in ± this, as a share of the colour circle.
        grey: probability of losing all colour.
        blur: probability of Gaussian blur.
        sigma: range of the blur's standard deviation, pixels.
    """

    jitter: float = Field(default=0.8, ge=0, le=1)
    brightness: float = Field(default=0.5, ge=0, le=1)
    contrast: float = Field(default=0.5, ge=0, le=1)
    saturation: float = Field(default=0.5, ge=0, le=1)
    hue: float = Field(default=0.25, ge=0, le=0.5)
    grey: float = Field(default=0.2, ge=0, le=1)
    blur: float = Field(default=0.5, ge=0, le=1)
    sigma: tuple[float, float] = (0.1, 2.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.sigma[0] <= self.sigma[1] < math.inf:
            raise ValueError(f"`sigma` is a range of positive numbers, lowest first, got {self.sigma}")
        return self


class AugmentSettings(Settings):
    """What happens between a chip and a crop.

    Attributes:
        size: S, side of the crops, pixels.
        scale: range of the random rescale, as a factor of the chip's long side.
        flip: probability of a left-right flip.
        vertical_flip: probability of an up-down flip; 0 as in the papers' code, 0.5 is natural for nadir images.
        rotate90: whether crops are turned by a random quarter turn; off as in the papers' code.
        strong: colour changes of the strong views.
        views: strong views a crop. FixMatch and its kin use the first only; UniMatch uses both.
        cutmix: probability that a strong view has a CutMix box.
    """

    size: int = Field(default=128, ge=8)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = Field(default=0.5, ge=0, le=1)
    vertical_flip: float = Field(default=0.0, ge=0, le=1)
    rotate90: bool = False
    strong: PhotometricSettings = PhotometricSettings()
    views: int = Field(default=2, ge=1, le=2)
    cutmix: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"`scale` is a range of positive numbers, lowest first, got {self.scale}")
        return self
