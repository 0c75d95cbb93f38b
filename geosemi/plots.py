"""Pictures of figures, made without a display."""

import io

import numpy as np
from matplotlib.figure import Figure

from geosemi.metrics import Scores

_CELL, _MARGIN = 0.95, 2.4  # inches
_DARK = 0.55  # share from which white text is easier to read than black


def confusion_png(scores: Scores, *, dpi: int = 120) -> bytes:
    """Return a confusion matrix as PNG: rows are truth and sum to 100 %, each cell also tells its pixels."""
    counts = scores.confusion.matrix
    names = [c.name for c in scores.classes]
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = _MARGIN + _CELL * len(names)
    figure = Figure(figsize=(side, side), dpi=dpi)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("prediction", labelpad=8)
    axes.set_ylabel("truth (a row is 100 %)", labelpad=8)
    axes.tick_params(length=0)
    for (row, col), part in np.ndenumerate(share):
        if not counts[row, col]:
            continue
        colour = "white" if part > _DARK else "#202020"
        axes.text(col, row - 0.12, f"{100 * part:.1f} %", ha="center", va="center", color=colour, fontsize=9)
        axes.text(col, row + 0.2, _short(int(counts[row, col])), ha="center", va="center", color=colour, fontsize=7)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"mIoU {scores.miou:.3f}   OA {scores.oa:.3f}   kappa {scores.kappa:.3f}", fontsize=11, loc="left", pad=10
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.2, metadata={"Software": None})
    return buffer.getvalue()


def _short(count: int) -> str:
    """Return 950, 12.3 k, 4.56 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
