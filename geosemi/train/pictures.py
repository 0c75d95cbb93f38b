"""Pictures of predictions beside their truth, for people."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geosemi.legend import Legend


@dataclass(frozen=True, slots=True)
class Panel:
    """One chip for a picture.

    Attributes:
        image: (C, S, S), 0 is black and 1 is white.
        truth: (S, S) class ids, 255 where there is none.
        guess: (S, S) class ids.
        place: title.
    """

    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int64]
    guess: npt.NDArray[np.int64]
    place: str


def draw_panels(panels: Sequence[Panel], legend: Legend, *, rgb: tuple[int, int, int] | None) -> bytes:
    """Return a PNG: for each panel a row of image, truth and prediction, the legend below."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second that runs without pictures save
    from matplotlib.patches import Patch  # noqa: PLC0415

    columns = 2 if len(panels) > 3 else 1
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6.6 * columns, 2.35 * rows + 0.7))
    axes = figure.subplots(rows, 3 * columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(legend)] = [c.rgb for c in legend]
    for number, panel in enumerate(panels):
        row, first = number % rows, 3 * (number // rows)
        visible = (panel.truth != 255)[..., None]
        guess = np.where(visible, colours[panel.guess], (colours[panel.guess] // 2 + 127)).astype(np.uint8)
        pictures = (_picture(panel.image, rgb), colours[panel.truth], guess)
        for offset, (title, pixels) in enumerate(zip((panel.place, "truth", "prediction"), pictures, strict=True)):
            axes[row, first + offset].imshow(pixels, interpolation="nearest")
            axes[row, first + offset].set_title(title, fontsize=7)
    patches = [Patch(facecolor=c.colour, edgecolor="#404040", linewidth=0.5, label=c.name) for c in legend]
    figure.legend(handles=patches, loc="lower center", ncol=min(len(patches), 8), fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.06 if rows > 1 else 0.12, 1, 1))
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=110)
    return memory.getvalue()


def _picture(image: npt.NDArray[np.float32], rgb: tuple[int, int, int] | None) -> npt.NDArray[np.float32]:
    chosen = image[list(rgb)] if rgb else np.repeat(image[:1], 3, axis=0)
    return np.clip(chosen, 0, 1).transpose(1, 2, 0)
