"""How a scene is cut, what it runs on, and what int8 may cost."""

from pathlib import Path
from typing import Annotated, Literal

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
        batch: windows in one forward pass; None takes 1 on a CPU, on CUDA what
            fits into its memory, at most 32, and 8 elsewhere. It never changes the result on a CPU.
        device: `auto` takes a GPU where there is one; else `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: of the forward pass; probabilities are blended in float32 always. `int8` wants the file that
            `geosemi.predict.quantize` makes, and an engine that runs it.
        bands: bands of the scene in the order of the model's, as 1-based numbers or names; None takes all, or matches
            them by name.
        engine: what runs the network, see docs/engines.md.
        tta: views of each window whose answers are averaged: `flips` (4), `d4` (8), `scales` (3).
        resolution: `native` maps the pixels as they are; `model`, or a size in metres, resamples them first. The mask
            lies on the scene's own pixels in any case.
        aoi: polygons in any crs; what lies outside is nodata, and windows outside are skipped.
        on_bad_block: `stop` at a block that cannot be decoded, or make it `nodata` and write down which.
        expand_palette: read a palette image as the colours that it stands for.
        assume_crs: where a scene without a coordinate system lies, e.g. `EPSG:25833`.
    """

    tile: int | None = Field(None, ge=16, le=16384)
    overlap: int | None = Field(None, ge=0)
    stitch: Literal["blend", "centre"] = "blend"
    batch: int | None = Field(None, ge=1, le=1024)
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    bands: tuple[int | str, ...] | None = None
    engine: Literal["auto", "torch", "compile", "onnx", "openvino"] = "torch"
    tta: Literal["none", "flips", "d4", "scales"] = "none"
    resolution: Literal["native", "model"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "native"
    aoi: Path | None = None
    on_bad_block: Literal["stop", "nodata"] = "stop"
    expand_palette: bool = False
    assume_crs: str | None = None


class QuantizeSettings(Settings):
    """Settings of `quantize`.

    Attributes:
        max_cost: points of mean IoU that int8 may cost.
        windows: at most so many to calibrate with, and at most so many to check on.
        tile: side of the windows in pixels; None takes the size that the model maps best with.
        engine: what runs int8.
        bands: as in `PredictSettings`.
        label_column: the class column of vector labels; None finds it by its name.
        label_outside: the class of pixels that no label polygon covers; None leaves them without truth.
    """

    max_cost: float = Field(1.0, ge=0, le=100)
    windows: int = Field(64, ge=1)
    tile: int | None = Field(None, ge=16, le=16384)
    engine: Literal["onnx", "openvino"] = "openvino"
    bands: tuple[int | str, ...] | None = None
    label_column: str | None = None
    label_outside: str | None = None


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
