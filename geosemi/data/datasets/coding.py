"""How a label file says its classes: by colour or by number. Whatever is in no table becomes 255 and is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

IGNORE = 255


@dataclass(frozen=True, slots=True)
class Decoded:
    """Labels in class ids.

    Attributes:
        ids: (h, w) uint8, class ids, 255 where there is no truth.
        unknown: how many pixels held a colour or number that no table knows; they are 255 in `ids`.
    """

    ids: npt.NDArray[np.uint8]
    unknown: int


class Coding(Protocol):
    """How raw label pixels become class ids."""

    @property
    def bands(self) -> int:
        """How many bands a label file has at least."""

    def decode(self, raw: npt.NDArray[Any]) -> Decoded:
        """Turn (bands, h, w) raw label pixels into class ids."""


@dataclass(frozen=True, slots=True)
class Colours:
    """Classes written as colours.

    Attributes:
        table: (red, green, blue), 0 … 255 → class id, or 255 for a colour that means "no truth". At most 8 colours.
        tolerance: how far each channel may lie from the table, in grey levels. 8 repairs what image editors and lossy
            copies did to the ISPRS labels (their stray colours lie within 5) and cannot confuse two classes, whose
            colours differ by 255 somewhere. 127 is the same as thresholding every channel at 128.
    """

    table: Mapping[tuple[int, int, int], int]
    tolerance: int = 8
    _hits: npt.NDArray[np.uint8] = field(init=False, repr=False, compare=False)
    _ids: npt.NDArray[np.uint8] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        colours = np.array(list(self.table), dtype=np.int64)
        if len(colours) > 8 or _closest(colours) <= 2 * self.tolerance:
            raise ValueError(f"a table holds at most 8 colours, more than {2 * self.tolerance} apart: {self.table}")
        # bit i of _hits[channel, value]: the value is near colour i there. A pixel is colour i where all three agree.
        near = np.abs(np.arange(256)[None, :, None] - colours.T[:, None, :]) <= self.tolerance
        object.__setattr__(self, "_hits", np.packbits(near, axis=2, bitorder="little")[:, :, 0])
        ids = np.full(256, IGNORE, dtype=np.uint8)
        for i, value in enumerate(self.table.values()):
            ids[1 << i] = value
        object.__setattr__(self, "_ids", ids)

    @property
    def bands(self) -> int:
        """Red, green and blue."""
        return 3

    def decode(self, raw: npt.NDArray[Any]) -> Decoded:
        """Turn (3, h, w) uint8 colours into class ids."""
        bits = self._hits[0][raw[0]] & self._hits[1][raw[1]] & self._hits[2][raw[2]]
        return Decoded(self._ids[bits], int(np.count_nonzero(bits == 0)))


@dataclass(frozen=True, slots=True)
class Codes:
    """Classes written as numbers.

    Attributes:
        table: raw value, 0 … 255 → class id, or 255 for a value that means "no truth".
    """

    table: Mapping[int, int]

    @property
    def bands(self) -> int:
        """One number a pixel."""
        return 1

    def decode(self, raw: npt.NDArray[Any]) -> Decoded:
        """Turn (1, h, w) uint8 numbers into class ids."""
        ids = np.full(256, IGNORE, dtype=np.uint8)
        known = np.zeros(256, dtype=bool)
        for value, number in self.table.items():
            ids[value], known[value] = number, True
        return Decoded(ids[raw[0]], int(np.count_nonzero(~known[raw[0]])))


def _closest(colours: npt.NDArray[np.int64]) -> int:
    """Return the smallest distance between two colours, measured in the channel where they differ most."""
    apart = np.abs(colours[:, None] - colours[None]).max(axis=2)
    return int(apart[~np.eye(len(colours), dtype=bool)].min(initial=255))
