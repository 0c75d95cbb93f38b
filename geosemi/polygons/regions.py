"""Runs of equal pixels, and how they connect, without a loop over pixels."""

from dataclasses import dataclass

import numpy as np

from geosemi.geo.corners import Bytes, Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of equal pixels along the rows of a block, in row-major order.

    Attributes:
        start: flat position of each run's first pixel in the block.
        length: pixels.
        value: of its pixels.
        above, below: pairs of runs that lie above each other (some pair twice, where a third run parts their contact).
        contact: columns that each pair shares.
    """

    start: Ints
    length: Ints
    value: Bytes
    above: Ints
    below: Ints
    contact: Ints


def find_runs(block: Bytes) -> Runs:
    """Find the runs of a block, (h, W) uint8."""
    height, width = block.shape
    begins = np.ones(block.shape, dtype=bool)
    np.not_equal(block[:, 1:], block[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    # as in a merge of two sorted lists: who lies above whom changes only where a run begins in either row
    run_of = np.cumsum(begins.ravel(), dtype=np.int32)
    change = np.flatnonzero(begins[:-1] | begins[1:])
    return Runs(
        start=start,
        length=np.diff(start, append=height * width),
        value=block.ravel()[start],
        above=run_of[change].astype(np.int64) - 1,
        below=run_of[change + width].astype(np.int64) - 1,
        contact=np.diff(change, append=(height - 1) * width),
    )


def united(count: int, one: Ints, other: Ints) -> Ints:
    """Return the smallest member of the set of each of `count` elements, after joining pairs (union-find).

    Roots of pairs are hooked to the smaller one, all at once, and paths are halved until nothing changes: a few rounds
    of array arithmetic, ten times as fast as a loop over pairs.
    """
    parent = np.arange(count)
    while len(one):
        low, high = np.minimum(one, other), np.maximum(one, other)
        np.minimum.at(parent, high, low)
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
        one, other = parent[low], parent[high]
        apart = one != other
        one, other = one[apart], other[apart]
    return parent
