"""The one place where rasters are opened.

GDAL chooses a driver by content: a text file named `scene.tif` that holds VRT or WMS XML reads other files and the
network, and a genuine GeoTIFF can name a URL as its overviews. Therefore: regular files only, the driver is forced by
the file's magic bytes, side files are ignored, overviews are never used, block sizes and band counts are checked before
the first read, and warnings that GDAL only logs (a damaged JPEG tile reads as wrong pixels) become errors.
"""

import itertools
import logging
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError  # some metadata getters raise it bare; rasterio.errors does not name it
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import RasterioError

from geosemi.errors import ResourceError, SceneUnreadable, UnsafeInput
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window

_MAGIC = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
_SAFE: dict[str, Any] = {
    "GDAL_PAM_ENABLED": "NO",  # no .aux.xml is read, and none is written beside an input
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no .ovr, .msk, .tfw beside the file
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",  # a net under the rest: no URL opens
    # bytes, not MB: rasterio hands the number to GDALSetCacheMax; reading is sequential, more only adds memory
    "GDAL_CACHEMAX": 64 * 2**20,
}
MAX_BANDS = 1024
MAX_BLOCK_BYTES = 512 * 2**20
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


class RasterFile:
    """An open raster: grid, bands and window reads, with every failure named after the file. One per thread."""

    def __init__(self, path: Path, dataset: Any, log: "_DamageLog") -> None:
        self.path = path
        self.dataset = dataset
        self._log = log
        gcps, _ = dataset.gcps
        self.has_gcps = bool(gcps)
        self.grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)

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
        return None if self.dataset.nodata is None else float(self.dataset.nodata)

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

    def read(self, window: Window, bands: Sequence[int] | int) -> npt.NDArray[Any]:
        """Read pixels 1:1. `bands` are 1-based; returns (C, h, w), or (h, w) for one int.

        Raises:
            SceneUnreadable: a block cannot be decoded; the message names file and window.
        """
        if not self.grid.window.contains(window):
            raise ValueError(f"{window} leaves the raster of {self.grid.height} × {self.grid.width} pixels")
        indexes = bands if isinstance(bands, int) else list(bands)
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        return self._checked(window, lambda: self.dataset.read(indexes, window=where))

    def read_internal_mask(self, window: Window) -> npt.NDArray[np.bool_]:
        """Read the file's own mask band, (h, w), True where valid."""
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        return self._checked(window, lambda: self.dataset.read_masks(1, window=where)) > 0

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
        return SceneUnreadable(
            f"`{self.path}` cannot be decoded at {where} ({_printable(cause)})",
            hint="copy the file again; it is damaged",
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
def open_raster(path: Path | str) -> Iterator[RasterFile]:
    """Open a GeoTIFF, PNG or JPEG for reading in this thread.

    Raises:
        SceneUnreadable: missing, not a regular file, not a raster, cut off or damaged.
        UnsafeInput: the file points at other files.
        ResourceError: it claims more bands or larger blocks than is sane.
    """
    path = Path(path)
    driver = _driver_of(path)
    log = _DamageLog()
    logger = logging.getLogger("rasterio._err")
    if not logger.isEnabledFor(logging.WARNING):  # a program that silences rasterio must not silence damage
        logger.setLevel(logging.WARNING)
    logger.addHandler(log)
    try:
        with rasterio.Env(**_SAFE):
            try:
                dataset = rasterio.open(os.path.abspath(path), driver=driver)  # noqa: PTH100 - resolve() would follow links
            except (RasterioError, ValueError) as error:
                raise SceneUnreadable(
                    f"`{path}` cannot be opened ({_printable(str(error))})", hint="the file is damaged; copy it again"
                ) from error
            with dataset:
                _gate(path, dataset)
                yield RasterFile(path, dataset, log)
    except CPLE_BaseError as error:
        raise SceneUnreadable(
            f"`{path}` has a damaged directory ({_printable(str(error))})", hint="the file is damaged; copy it again"
        ) from error
    finally:
        logger.removeHandler(log)


def _driver_of(path: Path) -> str:
    try:
        info = path.stat()
    except FileNotFoundError:
        hint = "the link's target is gone" if path.is_symlink() else "check the path"
        raise SceneUnreadable(f"`{path}` does not exist", hint=hint) from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise SceneUnreadable(f"`{path}` cannot be read: {cause}", hint="check the path and its permissions") from error
    if not stat.S_ISREG(info.st_mode):
        raise SceneUnreadable(f"`{path}` is not a regular file", hint="give the path of a raster file")
    if info.st_size == 0:
        raise SceneUnreadable(f"`{path}` is empty (0 bytes)", hint="copy it again")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except PermissionError:
        raise SceneUnreadable(f"`{path}` cannot be read: permission denied", hint="check its permissions") from None
    for magic, driver in _MAGIC.items():
        if head.startswith(magic):
            return driver
    raise SceneUnreadable(
        f"`{path}` is no GeoTIFF, PNG or JPEG (starts with {head!r})",
        hint="convert it, e.g. with `gdal_translate in.xyz out.tif`; if it was downloaded, it may be a saved web page",
    )


def _gate(path: Path, dataset: Any) -> None:
    """Refuse what would be unsafe or ruinous to read, before the first read."""
    if dataset.count > MAX_BANDS:
        raise ResourceError(
            f"`{path}` claims {dataset.count} bands; the limit is {MAX_BANDS}",
            hint="select bands with gdal_translate -b",
        )
    if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise UnsafeInput(
            f"`{path}` names another file as its overview", hint="make a clean copy with gdal_translate if you trust it"
        )
    # GDAL also has complex integers, which numpy does not know
    if any(d.startswith("complex") for d in dataset.dtypes):
        raise SceneUnreadable(
            f"`{path}` holds complex samples", hint="only real images can be mapped; take the amplitude first"
        )
    # a chunky (pixel-interleaved) block is decoded with all its bands; PNG and JPEG come row by row
    height, width = dataset.block_shapes[0]
    block = height * width * np.dtype(dataset.dtypes[0]).itemsize * (1 if _is_planar(dataset) else dataset.count)
    if block > MAX_BLOCK_BYTES:
        raise ResourceError(
            f"`{path}` stores {block / 2**20:,.0f} MB a block; the limit is {MAX_BLOCK_BYTES / 2**20:.0f} MB",
            hint="re-tile it: `gdal_translate -co TILED=YES in.tif out.tif`",
        )
    if dataset.driver == "GTiff":
        _require_complete(path, dataset)


def _is_planar(dataset: Any) -> bool:
    return bool(dataset.interleaving == Interleaving.band)


def _require_complete(path: Path, dataset: Any) -> None:
    """Refuse a GeoTIFF whose last stored block ends behind the end of the file (an interrupted copy)."""
    size = path.stat().st_size
    rows = -(-dataset.height // dataset.block_shapes[0][0])
    cols = -(-dataset.width // dataset.block_shapes[0][1])
    step = max(1, rows * cols // 4096)  # a look at every block of a huge file would take seconds
    # planar files hold one band after the other: a cut that spares the first band shows in the last
    bands = {1, dataset.count} if _is_planar(dataset) else {1}
    for number, band in itertools.product([*range(0, rows * cols, step), rows * cols - 1], bands):
        block = f"{number % cols}_{number // cols}"
        offset = dataset.get_tag_item(f"BLOCK_OFFSET_{block}", "TIFF", bidx=band)
        length = dataset.get_tag_item(f"BLOCK_SIZE_{block}", "TIFF", bidx=band)
        if offset and length and int(offset) + int(length) > size:
            raise SceneUnreadable(
                f"`{path}` is cut off: a block ends at byte {int(offset) + int(length):,} but the file has {size:,}",
                hint="copy it again",
            )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
