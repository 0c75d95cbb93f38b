"""Integer rectangles on a pixel grid, rows first, half open; and covers of a scene by equal rectangles."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: rows `row … row+height-1`, columns `col … col+width-1`.

    Attributes:
        row: first row, counted from the top of the scene; may be negative for a window that overhangs.
        col: first column, counted from the left.
        height: rows, at least 1.
        width: columns, at least 1.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"window must not be empty, got height={self.height}, width={self.width}")

    @property
    def stop_row(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def stop_col(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices into an array of the whole scene."""
        return (slice(self.row, self.stop_row), slice(self.col, self.stop_col))

    def shifted(self, *, rows: int = 0, cols: int = 0) -> "Window":
        """Return the window moved down by `rows` and right by `cols`."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)

    def intersection(self, other: "Window") -> "Window | None":
        """Return the rectangle that both share, or None."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.stop_row, other.stop_row) - row
        width = min(self.stop_col, other.stop_col) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def contains(self, other: "Window") -> bool:
        """Tell whether `other` lies inside this window."""
        return self.intersection(other) == other


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Return where windows of `size` begin so that they cover `0 … length-1`.

    Each overlaps the next by `overlap` or more. The last window shifts inwards, so none leaves the scene; where
    `length < size` the only start is 0.
    """
    if length <= 0 or size <= 0 or not 0 <= overlap < size:
        raise ValueError(f"need length > 0 and 0 <= overlap < size, got {length=}, {size=}, {overlap=}")
    if length <= size:
        return [0]
    regular = list(range(0, length - size, size - overlap))
    return [*regular, length - size]


def cover(height: int, width: int, size: int, overlap: int = 0) -> Iterator[Window]:
    """Yield windows in row-major order that together cover a scene.

    Every window has `size` rows and columns, or the scene's where that is smaller; edge windows shift inwards.
    """
    for row in starts(height, size, overlap):
        for col in starts(width, size, overlap):
            yield Window(row, col, min(size, height), min(size, width))
