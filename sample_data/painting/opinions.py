"""Simulated opinions: what a vision-language model with a segmenter might say, drawn from the truth and then spoilt.

Such a model errs by objects, not by pixels: it misses whole cars, takes a grey roof for a road, and draws outlines a
little beside the truth. So the truth is cut into segments, whole segments are silenced until the wanted recall is left,
outlines are shifted or swollen, and whole segments of other classes are claimed until the wanted precision is left.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize, shapes

Mask = npt.NDArray[np.bool_]

CELL = 40  # pixels: lawns and roads are cut into pieces of about this size
SIMULATED = "simulated"


@dataclass(frozen=True)
class Skill:
    """How well one class is seen: shares of pixels, 0 … 1."""

    precision: float
    recall: float


# in the order of the legend; large calm surfaces are named rightly more often than cars are found
SKILLS = (
    Skill(0.90, 0.60),
    Skill(0.92, 0.68),
    Skill(0.92, 0.58),
    Skill(0.88, 0.58),
    Skill(0.84, 0.52),
    Skill(0.93, 0.66),
)
# classes that are taken for a class: road for grey roofs, trees for grass and the other way round, shade for water
_CONFUSED = {0: (1, 2, 4), 1: (0, 4), 2: (3, 0), 3: (2, 5), 4: (0, 1), 5: (3, 2)}


def simulate(truth: npt.NDArray[np.uint8], rng: np.random.Generator) -> Mask:
    """Return (K, h, w) bool: what is claimed to be seen where, given the true classes (h, w)."""
    segments = _segments(truth, rng)
    return np.stack([_claim(truth, segments, k, skill, rng) for k, skill in enumerate(SKILLS)])


def measure(seen: Mask, truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count pixels (K, 3) where truth is known: claimed rightly, claimed, there to be claimed."""
    known = truth != 255
    counts = [
        (int((claim & (truth == k)).sum()), int((claim & known).sum()), int((truth == k).sum()))
        for k, claim in enumerate(seen)
    ]
    return np.asarray(counts, np.int64)


def _segments(truth: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Number connected pieces of one class, large ones cut along the borders of irregular cells, from 1."""
    height, width = truth.shape
    rows, cols = np.mgrid[0:height, 0:width]
    seeds = [
        (r + rng.uniform(-0.45, 0.45) * CELL, c + rng.uniform(-0.45, 0.45) * CELL)
        for r in np.arange(CELL / 2, height, CELL)
        for c in np.arange(CELL / 2, width, CELL)
    ]
    nearest = np.full(truth.shape, np.inf)
    cell = np.zeros(truth.shape, np.int32)
    for number, (r, c) in enumerate(seeds):
        away = (rows - r) ** 2 + (cols - c) ** 2
        cell = np.where(away < nearest, number, cell)
        nearest = np.minimum(nearest, away)
    small = np.isin(truth, (1, 4))  # roofs and cars are objects by themselves
    key = truth.astype(np.int32) * (len(seeds) + 1) + np.where(small, 0, cell + 1)
    pieces = [geometry for geometry, _ in shapes(key, connectivity=4)]
    burnt = rasterize(zip(pieces, range(1, len(pieces) + 1), strict=True), out_shape=truth.shape, dtype="int32")
    return np.asarray(burnt, np.int32)


def _claim(
    truth: npt.NDArray[np.uint8], segments: npt.NDArray[np.int32], k: int, skill: Skill, rng: np.random.Generator
) -> Mask:
    """Claim whole segments of class k until its recall is reached, then wrong ones until its precision is."""
    mine = truth == k
    total = int(mine.sum())
    claim = np.zeros(truth.shape, bool)
    for number in rng.permutation(np.unique(segments[mine])):
        missing = skill.recall * total - (claim & mine).sum()
        if missing <= 0:
            break
        piece = segments == number
        if piece.sum() > 1.3 * missing:
            continue
        piece = _spoil(piece, rng)
        if (piece & mine).any():
            claim |= piece
    claim &= truth != 255
    wrong = np.unique(segments[np.isin(truth, _CONFUSED[k])])
    for number in rng.permutation(wrong):
        right, claimed = int((claim & mine).sum()), int(claim.sum())
        allowed = right / skill.precision - claimed  # false pixels still missing
        if allowed <= 0:
            break
        piece = segments == number
        if 25 < piece.sum() <= allowed * 1.3:
            claim |= piece
    return claim


def _spoil(piece: Mask, rng: np.random.Generator) -> Mask:
    """Shift a segment by up to two pixels, swell it by one, or replace a small one by its bounding box."""
    fate = rng.random()
    if fate < 0.45:
        return piece
    rows, cols = np.nonzero(piece)
    if fate < 0.55 and len(rows) < 3000 and len(rows) > 0.75 * np.ptp(rows) * np.ptp(cols):
        boxed = np.zeros_like(piece)
        boxed[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] = True
        return boxed
    far = 1 if len(rows) < 400 else 2
    down, right = rng.integers(-far, far + 1, 2)
    moved = _shift(piece, int(down), int(right))
    if fate > 0.85 and len(rows) >= 400:
        moved = moved | _shift(moved, 1, 0) | _shift(moved, -1, 0) | _shift(moved, 0, 1) | _shift(moved, 0, -1)
    return moved


def _shift(mask: Mask, down: int, right: int) -> Mask:
    """Move a mask; what leaves the raster is lost, nothing enters at the other side."""
    reach = 2
    padded = np.pad(mask, reach)
    h, w = mask.shape
    return padded[reach - down : reach - down + h, reach - right : reach - right + w]
