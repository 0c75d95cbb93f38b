"""How scenes are shown to whoever is asked, and where others' maps and labels are."""

from typing import Self

from pydantic import Field, model_validator

from geosemi.settings import Settings


class TileSettings(Settings):
    """How a scene is cut and shown.

    Attributes:
        tile: side of a tile in pixels of the scene.
        overlap: pixels that neighbouring tiles share; by what both say there, cut objects are put together.
        picture: longer side of the picture that a tile is shown as, in pixels; the model may resize it again.
        bands: bands shown as red, green and blue, by number or name; None takes those named so, else the first ones.
    """

    tile: int = Field(512, ge=64, le=8192)
    overlap: int = Field(64, ge=16)
    picture: int = Field(896, ge=224, le=4096)
    bands: tuple[int | str, ...] | None = Field(None, min_length=1, max_length=3)

    @model_validator(mode="after")
    def _overlap_below_tile(self) -> Self:
        if self.overlap > self.tile // 2:
            raise ValueError(f"must not exceed half a tile, {self.tile // 2}")
        return self


class Quality(Settings):
    """How well a simulated opinion sees a class.

    Attributes:
        precision: share of the claimed pixels that are right.
        recall: share of the class's pixels that are claimed.
        shift: pixels by which outlines lie beside the truth.
    """

    precision: float = Field(0.9, gt=0, le=1)
    recall: float = Field(0.7, ge=0, le=1)
    shift: int = Field(1, ge=0, le=64)


class Simulation(Settings):
    """What a simulated opinion is like.

    Attributes:
        qualities: one for each class.
        seed: of the random choices.
        exclusive: whether one class alone is claimed of a pixel, at random where there would be several; precision and
            recall are then lower than asked for.
    """

    qualities: tuple[Quality, ...]
    seed: int = Field(0, ge=0)
    exclusive: bool = False
