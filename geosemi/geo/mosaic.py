"""Several rasters as one: rectangles of member files laid onto one grid, each member opened by the one opener.

GDAL's own VRT driver never runs: a VRT can name raw files, URLs and code. What a `.vrt` or a STAC item says is turned
into a `Mosaic`, and the pixels come from the members, read 1:1.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geosemi.errors import SceneUnreadable
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.window import Window

_OPEN = 32  # members that stay open at once; reading goes from the top down, so few are needed at a time
MAX_SHRINK = 8.0


class Box(NamedTuple):
    """A rectangle in pixels, not always of whole ones: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A band of a member, laid onto a band of the mosaic; pixels of another size come from the nearest one.

    Attributes:
        member: the file.
        band: 1-based, of the member.
        source: which part of the member.
        target: where it goes in the mosaic.
        nodata: value of the member that leaves the mosaic as it is.
    """

    member: Path | Remote
    band: int
    source: Box
    target: Box
    nodata: float | None = None


@dataclass(frozen=True)
class Mosaic:
    """What several files look like together; nothing is kept open.

    Attributes:
        path: the file that says so.
        grid: of the whole.
        dtype: numpy dtype name, the members' too.
        names: of the bands.
        nodatas: declared nodata value of each band.
        pieces: for each band, what lies on it; later ones cover earlier ones.
        alpha: 1-based band that is alpha, or None.
        palette: colours (256, 4) of the first band's values, or None.
        local: whether `path` is a file here, and not only the name of a document behind a URL.
    """

    path: Path
    grid: Grid
    dtype: str
    names: tuple[str, ...]
    nodatas: tuple[float | None, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    alpha: int | None = None
    palette: tuple[tuple[int, int, int, int], ...] | None = None
    local: bool = True

    @property
    def name(self) -> str:
        """Name of the file that describes it."""
        return self.path.name

    @property
    def stem(self) -> str:
        """That name without its suffix."""
        return self.path.stem

    @property
    def members(self) -> tuple[Path | Remote, ...]:
        """Every file that pixels come from, once."""
        return tuple(dict.fromkeys(piece.member for band in self.pieces for piece in band))

    @cached_property
    def frames(self) -> tuple[npt.NDArray[np.float64], ...]:
        """For each band, (pieces, 4): left, top, right, bottom of each target; to find those in a window quickly."""
        return tuple(
            np.array([(t.x, t.y, t.x + t.width, t.y + t.height) for t in (p.target for p in band)]).reshape(-1, 4)
            for band in self.pieces
        )

    def __str__(self) -> str:
        return str(self.path)


class MosaicFile:
    """An open mosaic, with the interface of a `RasterFile`. One per thread; use as a context manager."""

    has_gcps = False
    has_internal_mask = True  # what no member covers
    samples = ""
    images = 1
    blocks = None
    block_shape = (256, 256)

    def __init__(self, mosaic: Mosaic) -> None:
        self.mosaic = mosaic
        self.path = mosaic.path
        self.grid = mosaic.grid
        self.count = len(mosaic.names)
        self.dtype = np.dtype(mosaic.dtype)
        self.band_names = mosaic.names
        self.nodatas = mosaic.nodatas
        self.nodata = mosaic.nodatas[0]
        self.alpha = mosaic.alpha
        self.palette = None if mosaic.palette is None else np.array(mosaic.palette, dtype=np.uint8)
        self._stack = ExitStack()
        self._open: dict[Path | Remote, RasterFile] = {}
        self._covered: tuple[Window, npt.NDArray[np.bool_]] | None = None

    def __enter__(self) -> "MosaicFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, window: Window, bands: Sequence[int] | int) -> npt.NDArray[Any]:
        """Read pixels; `bands` are 1-based; (C, h, w), or (h, w) for one int. What nothing covers is nodata, or 0.

        Raises:
            SceneUnreadable: a member cannot be opened or decoded, or is not what the mosaic says.
        """
        if not self.grid.window.contains(window):
            raise ValueError(f"{window} leaves the mosaic of {self.grid.height} × {self.grid.width} pixels")
        if isinstance(bands, int):
            single: npt.NDArray[Any] = self._compose(window, [bands])[0][0]
            return single
        image, covered = self._compose(window, bands)
        self._covered = (window, covered)
        return image

    def read_internal_mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return where every band has a member, (h, w); of the bands last read, if it was this window."""
        if self._covered is None or self._covered[0] != window:
            self.read(window, range(1, self.count + 1))
        assert self._covered is not None
        return self._covered[1]

    def written(self, window: Window, bands: Sequence[int]) -> None:
        """Tell where blocks were written, as `RasterFile.written`: what is missing in members counts as uncovered."""

    def _compose(self, window: Window, bands: Sequence[int]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        image = np.empty((len(bands), *window.shape), dtype=self.dtype)
        covered = np.zeros(image.shape, dtype=bool)
        seen: dict[tuple[object, ...], _Patch | None] = {}  # one look into a member serves all bands
        for plane, band in enumerate(bands):
            fill = self.nodatas[band - 1]
            image[plane] = 0 if fill is None or np.isnan(fill) else fill
            for piece in self._pieces(window, band):
                key = (piece.member, piece.source, piece.target)
                if key not in seen:
                    seen[key] = self._patch(window, piece, bands)
                if (patch := seen[key]) is not None:
                    patch.lay(image[plane], covered[plane], piece)
        everywhere: npt.NDArray[np.bool_] = np.logical_and.reduce(covered)
        return image, everywhere

    def _pieces(self, window: Window, band: int) -> list[Piece]:
        left, top, right, bottom = self.mosaic.frames[band - 1].T
        near = (left < window.stop_col) & (right > window.col) & (top < window.stop_row) & (bottom > window.row)
        return [self.mosaic.pieces[band - 1][i] for i in np.flatnonzero(near)]

    def _patch(self, window: Window, piece: Piece, bands: Sequence[int]) -> "_Patch | None":
        """Read what all bands need of a member in a window; None where the piece misses the window's pixels."""
        file = self._member(piece.member)
        rows = _nearest(window.row, window.stop_row, piece.target.y, piece.target.height, piece.source.y,
                        piece.source.height, file.grid.height)  # fmt: skip
        cols = _nearest(window.col, window.stop_col, piece.target.x, piece.target.width, piece.source.x,
                        piece.source.width, file.grid.width)  # fmt: skip
        if rows is None or cols is None:
            return None
        (to_rows, from_rows), (to_cols, from_cols) = rows, cols
        inner = Window(int(from_rows[0]), int(from_cols[0]), int(from_rows[-1] - from_rows[0]) + 1,
                       int(from_cols[-1] - from_cols[0]) + 1)  # fmt: skip
        key = (piece.member, piece.source, piece.target)
        wanted = sorted(
            {p.band for b in bands for p in self._pieces(window, b) if (p.member, p.source, p.target) == key}
        )
        if wanted[-1] > file.count:
            raise SceneUnreadable(
                f"`{self.path}` wants band {wanted[-1]} of `{piece.member}`, which has {file.count}",
                hint="make the mosaic again, e.g. with gdalbuildvrt",
            )
        pick = np.ix_(from_rows - inner.row, from_cols - inner.col)
        planes = file.read(inner, wanted)
        there = _there(file, inner, wanted)
        return _Patch(
            (to_rows, to_cols),
            {band: plane[pick] for band, plane in zip(wanted, planes, strict=True)},
            None if there is None else there[pick],
        )

    def _member(self, member: Path | Remote) -> RasterFile:
        if member in self._open:
            return self._open[member]
        if len(self._open) == _OPEN:  # all at once: what was opened last must be closed first
            self._stack.close()
            self._open.clear()
        file = self._stack.enter_context(open_raster(member))
        if file.dtype != self.dtype:
            raise SceneUnreadable(
                f"`{member}` holds {file.dtype}, but `{self.path}` says {self.dtype}",
                hint="make the mosaic again, e.g. with gdalbuildvrt",
            )
        self._open[member] = file
        return file


@dataclass(frozen=True, slots=True)
class _Patch:
    """Pixels of a member, where they belong in a window."""

    at: tuple[slice, slice]
    planes: dict[int, npt.NDArray[Any]]
    there: npt.NDArray[np.bool_] | None

    def lay(self, image: npt.NDArray[Any], covered: npt.NDArray[np.bool_], piece: Piece) -> None:
        plane = self.planes[piece.band]
        shown = self.there
        if piece.nodata is not None:
            own = ~np.isnan(plane) if np.isnan(piece.nodata) else plane != piece.nodata
            shown = own if shown is None else shown & own
        if shown is None:
            image[self.at] = plane
            covered[self.at] = True
        else:
            image[self.at][shown] = plane[shown]
            covered[self.at] |= shown


def _there(file: RasterFile, window: Window, bands: Sequence[int]) -> npt.NDArray[np.bool_] | None:
    """Tell where a member has pixels, by its own mask, its alpha (unless that is a band here) and its blocks."""
    there = file.written(window, bands)
    if file.has_internal_mask:
        mask = file.read_internal_mask(window)
        there = mask if there is None else there & mask
    if file.alpha is not None and file.alpha not in bands:
        seen = file.read(window, file.alpha) > 0
        there = seen if there is None else there & seen
    return there


def _nearest(
    begin: int, stop: int, target: float, length: float, source: float, span: float, limit: int
) -> tuple[slice, npt.NDArray[np.int64]] | None:
    """Return which of the pixels `begin … stop-1` a piece covers, and the nearest pixels of the member, along one axis.

    A pixel belongs to the piece where its centre does. The slice counts from `begin`.
    """
    centres = np.arange(begin, stop) + 0.5
    inside = (centres >= target) & (centres < target + length)
    # the small step keeps 0.49999… of a division from falling into the pixel before
    places = np.floor(source + (centres - target) * (span / length) + 1e-9).astype(np.int64)
    inside &= (places >= 0) & (places < limit)
    if not inside.any():
        return None
    first, last = np.flatnonzero(inside)[[0, -1]]
    return slice(int(first), int(last) + 1), places[first : last + 1]
