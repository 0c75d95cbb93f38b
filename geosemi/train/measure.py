"""How right are networks and pseudo-labels, where truth is known: in all, inside of objects and near their borders."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

NEAR = 3  # pixels from a class boundary, as far as published outlines and label edges are off
NO_TRUTH = 255


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says of pixels.

    Attributes:
        label: (B, H, W) int64, class ids.
        trusted: (B, H, W) bool, where it counts.
    """

    label: Tensor
    trusted: Tensor


class Tally:
    """Counts of one speaker: truth against what was said, near class boundaries and inside, chips added one by one.

    Attributes:
        said: zone → (K, K) int64, rows are truth, columns what was said with trust.
        known: zone → (K,) int64, pixels of each true class, trusted or not.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.said = {zone: np.zeros((classes, classes), dtype=np.int64) for zone in ("near", "inside")}
        self.known = {zone: np.zeros(classes, dtype=np.int64) for zone in ("near", "inside")}

    def add(self, said: Said, truth: Tensor, near: Tensor) -> None:
        """Count chips.

        Args:
            said: what is judged.
            truth: (B, H, W) int64, 255 where it is not known.
            near: (B, H, W) bool, from `near_boundary`.
        """
        for zone, where in (("near", near), ("inside", ~near)):
            known = (truth != NO_TRUTH) & where
            trusted = known & said.trusted
            pairs = truth[trusted] * self.classes + said.label[trusted]
            self.said[zone] += _counts(pairs, self.classes**2).reshape(self.classes, self.classes)
            self.known[zone] += _counts(truth[known], self.classes)

    def zones(self) -> Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Return `said` and `known` of `all`, `near` and `inside`."""
        both = (self.said["near"] + self.said["inside"], self.known["near"] + self.known["inside"])
        return {"all": both, **{zone: (self.said[zone], self.known[zone]) for zone in ("near", "inside")}}


def figures(said: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the figures of a tally; NaN where nothing was counted.

    Returns:
        `known` and `said`, pixels; `share`, said of known; `precision`, right of said; `miou`, mean IoU over the
        classes that are true or said, pixels that nobody spoke of left out; then `precision 0`, `recall 0`,
        `precision 1` and so on.
    """
    hits = np.diagonal(said)
    columns, rows = said.sum(axis=0), said.sum(axis=1)
    union = columns + rows - hits
    iou = _ratio(hits, union)
    out = {
        "known": float(known.sum()),
        "said": float(said.sum()),
        "share": float(_ratio(said.sum(), known.sum())),
        "precision": float(_ratio(hits.sum(), said.sum())),
        "miou": float(iou[union > 0].mean()) if (union > 0).any() else float("nan"),
    }
    for k, (precision, recall) in enumerate(zip(_ratio(hits, columns), _ratio(hits, known), strict=True)):
        out |= {f"precision {k}": float(precision), f"recall {k}": float(recall)}
    return out


def near_boundary(truth: Tensor, radius: int = NEAR) -> Tensor:
    """Return the pixels (B, H, W) bool with another known class at most `radius` rows and columns away.

    Args:
        truth: (B, H, W) int64, 255 where it is not known; the edge of the known is no boundary.
        radius: pixels.
    """
    unknown, side = truth == NO_TRUTH, 2 * radius + 1

    def highest(values: Tensor) -> Tensor:
        return max_pool2d(values.float()[:, None], side, stride=1, padding=radius)[:, 0]

    top = highest(truth.masked_fill(unknown, -NO_TRUTH))
    bottom = -highest((-truth).masked_fill(unknown, -NO_TRUTH))
    return ~unknown & (top != bottom)


def _counts(ids: Tensor, length: int) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = torch.bincount(ids.flatten(), minlength=length).cpu().numpy()
    return found


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> npt.NDArray[np.float64]:
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    out = np.full(np.broadcast(top, bottom).shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
