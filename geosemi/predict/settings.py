"""How a scene is cut, and what it runs on."""

from typing import Literal

from pydantic import Field

from geosemi.errors import ConfigError
from geosemi.settings import Settings


class PredictSettings(Settings):
    """Settings of `predict_scene`; None leaves a choice to the model or to the device.

    Attributes:
        tile: side of the square windows in pixels; None takes the size that the model maps best with.
        overlap: pixels that neighbouring windows share; None takes a quarter of the tile.
        stitch: what becomes of the overlap. `blend`: probabilities weighted by a ramp, without a seam. `centre`: each
            pixel from the window where it lies deepest; with an overlap of twice the receptive field exactly what one
            pass over the whole scene would say.
        batch: windows in one forward pass; None takes 1 on a CPU, 8 elsewhere. It never changes the result on a CPU.
        device: `auto` takes a GPU where there is one; else `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: of the forward pass; probabilities are blended in float32 always.
        bands: 1-based bands of the scene in the order of the model's; None takes all, or matches them by name.
    """

    tile: int | None = Field(None, ge=16, le=16384)
    overlap: int | None = Field(None, ge=0)
    stitch: Literal["blend", "centre"] = "blend"
    batch: int | None = Field(None, ge=1, le=1024)
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    bands: tuple[int, ...] | None = None


def cut_of(settings: PredictSettings, trained: int) -> tuple[int, int]:
    """Return (tile, overlap) in pixels for a model trained on tiles of `trained`.

    Raises:
        ConfigError: the overlap does not fit into that tile.
    """
    tile = settings.tile or trained
    overlap = tile // 4 if settings.overlap is None else settings.overlap
    if overlap >= tile:
        raise ConfigError(
            f"windows of {tile} pixels cannot overlap by {overlap}",
            hint=f"choose an overlap below {tile}, e.g. {tile // 4}",
        )
    return tile, overlap
