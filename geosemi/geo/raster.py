"""The one place where rasters are opened.

GDAL chooses a driver by content: a text file named `scene.tif` that holds VRT or WMS XML reads other files and the
network, and a genuine GeoTIFF can name a URL as its overviews. Therefore: regular files only, the driver is forced by
the file's magic bytes, side files are ignored, overviews are never used, block sizes and band counts are checked before
the first read, and warnings that GDAL only logs (a damaged JPEG tile reads as wrong pixels) become errors. A URL opens
only where it comes as a `Remote`, which is made from what the user typed, and then GDAL may fetch that URL alone.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # some metadata getters raise it bare; rasterio.errors does not name it
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from geosemi.errors import InputError, SceneUnreadable
from geosemi.geo.gate import Blocks, driver_of, is_planar, look_at_blocks, require_sane
from geosemi.geo.grid import Grid
from geosemi.geo.remote import Remote
from geosemi.geo.roomy import roomy
from geosemi.geo.window import Window

_SAFE: dict[str, Any] = {
    "GDAL_PAM_ENABLED": "NO",  # no .aux.xml is read, and none is written beside an input
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .ovr, .msk, .tfw beside the file
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # a net under the rest: no URL opens
    # bytes, not MB: rasterio hands the number to GDALSetCacheMax; reading is sequential, more only adds memory
    "GDAL_CACHEMAX": 32 * 2**20,
}
_NETWORK: dict[str, Any] = {
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_TIME": 60,  # a server that sends nothing for a minute has gone
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
_DAMAGE = (
    "JPEGLib",
    "LZWDecode",
    "ZIPDecode",
    "PixarLog",
    "LZMA",
    "ZSTD",
    "TIFFFillTile",
    "TIFFFillStrip",
    "TIFFReadEncoded",
)
_CODEC = "convert it where it was made: `gdal_translate -co COMPRESS=DEFLATE in.tif out.tif`"


class RasterFile:
    """An open raster: grid, bands and window reads, with every failure named after the file. One per thread."""

    def __init__(self, path: Path | Remote, dataset: Any, log: "_DamageLog", blocks: Blocks | None = None) -> None:
        self.path = path
        self.dataset = dataset
        self.blocks = blocks
        self._log = log
        gcps, _ = dataset.gcps
        self.has_gcps = bool(gcps)
        try:
            self.grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
        except InputError as error:
            raise SceneUnreadable(f"`{path}`: {error.message}", hint=error.hint) from error

    @property
    def count(self) -> int:
        """Number of bands, an alpha band included."""
        return int(self.dataset.count)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Common dtype of the bands."""
        return np.dtype(np.result_type(*self.dataset.dtypes))

    @property
    def nodata(self) -> float | None:
        """The declared nodata value of the first band."""
        return self.nodatas[0]

    @property
    def nodatas(self) -> tuple[float | None, ...]:
        """The declared nodata value of each band."""
        return tuple(None if value is None else float(value) for value in self.dataset.nodatavals)

    @property
    def alpha(self) -> int | None:
        """Index (1-based) of an alpha band, or None."""
        interp = self.dataset.colorinterp
        return interp.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in interp else None

    @property
    def has_internal_mask(self) -> bool:
        """Whether the file carries a mask band of its own."""
        flags = self.dataset.mask_flag_enums[0]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    @property
    def band_names(self) -> tuple[str, ...]:
        """Descriptions of the bands, or `band_1`, `band_2`, … where there are none."""
        return tuple(d or f"band_{i}" for i, d in enumerate(self.dataset.descriptions, start=1))

    @property
    def tags(self) -> dict[str, str]:
        """Metadata of the whole file."""
        return dict(self.dataset.tags())

    @property
    def block_shape(self) -> tuple[int, int]:
        """(height, width) of the blocks that are decoded at once."""
        height, width = self.dataset.block_shapes[0]
        return int(height), int(width)

    @property
    def palette(self) -> npt.NDArray[np.uint8] | None:
        """Colours (256, 4) of the first band's values, as red, green, blue, alpha; None where it has no palette."""
        if self.dataset.colorinterp[0] != ColorInterp.palette or self.dtype != np.uint8:
            return None
        colours = np.zeros((256, 4), dtype=np.uint8)
        for value, colour in self.dataset.colormap(1).items():
            colours[value] = colour
        return colours

    @property
    def samples(self) -> str:
        """What is unusual about the numbers: `CMYK`, `CIELAB`, `min-is-white`, `1-bit`, …; mostly empty."""
        whole = self.dataset.tags(ns="IMAGE_STRUCTURE")
        if whole.get("SOURCE_COLOR_SPACE") in ("CMYK", "CIELAB"):
            return str(whole["SOURCE_COLOR_SPACE"])
        if whole.get("MINISWHITE") == "YES":
            return "min-is-white"
        bits = self.dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "8")
        return f"{bits}-bit" if bits.isdigit() and int(bits) < 8 else ""

    @property
    def images(self) -> int:
        """How many images the file holds; the first is the one that is read."""
        return max(1, len(self.dataset.subdatasets))

    def read(self, window: Window, bands: Sequence[int] | int) -> npt.NDArray[Any]:
        """Read pixels 1:1. `bands` are 1-based; returns (C, h, w), or (h, w) for one int.

        Raises:
            SceneUnreadable: a block cannot be decoded; the message names file and window.
        """
        if not self.grid.window.contains(window):
            raise ValueError(f"{window} leaves the raster of {self.grid.height} × {self.grid.width} pixels")
        indexes = bands if isinstance(bands, int) else list(bands)
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        shape = window.shape if isinstance(bands, int) else (len(bands), *window.shape)
        kind = self.dataset.dtypes[(bands if isinstance(bands, int) else bands[0]) - 1]
        return self._checked(window, lambda: self.dataset.read(indexes, window=where, out=roomy(shape, kind)))

    def read_internal_mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Read the file's own mask band, (h, w), True where valid."""
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        return self._checked(window, lambda: self.dataset.read_masks(1, window=where)) > 0

    def written(self, window: Window, bands: Sequence[int]) -> npt.NDArray[np.bool_] | None:
        """Tell where blocks of one of the bands were ever written, (h, w); None means everywhere.

        GDAL gives zeros for blocks that are not there, as an interrupted program leaves them.
        """
        if self.blocks is None or self.blocks.all_there:
            return None
        high, wide = self.block_shape
        top, left = window.row // high, window.col // wide
        rows, cols = -(-window.stop_row // high) - top, -(-window.stop_col // wide) - left
        there = np.array([[self._is_written(top + r, left + c, bands) for c in range(cols)] for r in range(rows)])
        if there.all():
            return None
        inside = there.repeat(high, axis=0).repeat(wide, axis=1)
        return inside[
            window.row - top * high : window.stop_row - top * high,
            window.col - left * wide : window.stop_col - left * wide,
        ]

    def _is_written(self, row: int, col: int, bands: Sequence[int]) -> bool:
        stored = bands if is_planar(self.dataset) else (1,)
        tag = f"BLOCK_OFFSET_{col}_{row}"
        return any(self.dataset.get_tag_item(tag, "TIFF", bidx=band) for band in stored)

    def _checked(self, window: Window, read: Any) -> npt.NDArray[Any]:
        self._log.records.clear()
        try:
            pixels: npt.NDArray[Any] = read()
        except RasterioError as error:
            raise self._damaged(window, str(error.__cause__ or error)) from error
        if self._log.records:
            raise self._damaged(window, self._log.records[0])
        return pixels

    def _damaged(self, window: Window, cause: str) -> SceneUnreadable:
        where = f"rows {window.row}–{window.stop_row - 1}, columns {window.col}–{window.stop_col - 1}"
        again = "copy the file again; it is damaged"
        return SceneUnreadable(
            f"`{self.path}` cannot be decoded at {where} ({_printable(cause)})",
            hint=f"{again}, or the connection broke" if isinstance(self.path, Remote) else again,
        )


class _DamageLog(logging.Handler):
    """Collects this thread's GDAL log records that mean damaged pixels."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.thread == self._thread and any(word in message for word in _DAMAGE):
            self.records.append(message)


@contextmanager
def open_raster(path: Path | Remote | str) -> Iterator[RasterFile]:
    """Open a GeoTIFF, PNG or JPEG for reading in this thread; behind a URL, a GeoTIFF.

    Raises:
        SceneUnreadable: missing, not a regular file, not a raster, cut off, damaged, or out of reach.
        UnsafeInput: the file points at other files.
        ResourceError: it claims more bands or larger blocks than is sane.
    """
    path = Path(path) if isinstance(path, str) else path
    driver = "GTiff" if isinstance(path, Remote) else driver_of(path)
    log = _DamageLog()
    logger = logging.getLogger("rasterio._err")
    if not logger.isEnabledFor(logging.WARNING):  # a program that silences rasterio must not silence damage
        logger.setLevel(logging.WARNING)
    logger.addHandler(log)
    try:
        with rasterio.Env(**_options(path)):
            try:
                dataset = rasterio.open(_place(path), driver=driver)
            except (RasterioError, ValueError) as error:
                raise _unopened(path, _printable(str(error))) from error
            with dataset:
                require_sane(path, dataset)
                blocks = look_at_blocks(path, dataset) if isinstance(path, Path) and driver == "GTiff" else None
                yield RasterFile(path, dataset, log, blocks)
    except CPLE_BaseError as error:
        raise SceneUnreadable(
            f"`{path}` has a damaged directory ({_printable(str(error))})", hint="the file is damaged; copy it again"
        ) from error
    finally:
        logger.removeHandler(log)


def _options(path: Path | Remote) -> dict[str, Any]:
    if isinstance(path, Path):
        return _SAFE
    return {**_SAFE, **_NETWORK, "CPL_VSIL_CURL_ALLOWED_FILENAME": path.vsi}


def _place(path: Path | Remote) -> str:
    return path.vsi if isinstance(path, Remote) else os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def _unopened(path: Path | Remote, cause: str) -> SceneUnreadable:
    if isinstance(path, Remote):
        cause = cause.replace(path.vsi, str(path))  # the query may hold a signature
        hint = "check the address and the connection; a bucket wants its usual keys"
        if "not recognized" in cause:  # so GDAL also says where a whole file comes instead of the range it asked for
            hint = (
                "check the address and the connection; it must be a GeoTIFF, and the server must answer byte ranges "
                "(Python's own http.server does not): else download the file and give its path"
            )
        return SceneUnreadable(f"`{path}` cannot be opened ({cause})", hint=hint)
    hint = _CODEC if "codec" in cause else "the file is damaged; copy it again"
    return SceneUnreadable(f"`{path}` cannot be opened ({cause})", hint=hint)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
