"""What a raster file must pass before its first pixel is read: the right kind of file, sane claims, complete blocks."""

import itertools
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import Interleaving

from geosemi.errors import ResourceError, SceneUnreadable, UnsafeInput

_MAGIC = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
MAX_BANDS = 1024
MAX_BLOCK_BYTES = 512 * 2**20
_LOOKS = 4096  # a look at every block of a huge file would take seconds


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the directory of a GeoTIFF says of its blocks.

    Attributes:
        total: blocks of one band.
        looked: how many of them were looked at.
        missing: how many of those were never written (GDAL gives zeros there).
    """

    total: int
    looked: int
    missing: int

    @property
    def all_there(self) -> bool:
        """Whether every block was looked at, and none is missing."""
        return self.missing == 0 and self.looked == self.total


def driver_of(path: Path) -> str:
    """Return the GDAL driver that a regular file's first bytes ask for.

    Raises:
        SceneUnreadable: missing, not a regular file, not readable, empty, or no GeoTIFF, PNG or JPEG.
    """
    head = head_of(path)
    for magic, driver in _MAGIC.items():
        if head.startswith(magic):
            return driver
    raise SceneUnreadable(
        f"`{path}` is no GeoTIFF, PNG or JPEG (starts with {head[:16]!r})",
        hint="convert it, e.g. with `gdal_translate in.xyz out.tif`; if it was downloaded, it may be a saved web page",
    )


def head_of(path: Path) -> bytes:
    """Return the first 64 bytes of a regular file.

    Raises:
        SceneUnreadable: missing, not a regular file, not readable, or empty.
    """
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
            return file.read(64)
    except PermissionError:
        raise SceneUnreadable(f"`{path}` cannot be read: permission denied", hint="check its permissions") from None


def require_sane(name: object, dataset: Any) -> None:
    """Refuse what would be unsafe or ruinous to read.

    Raises:
        UnsafeInput: the file names another one as its overview.
        ResourceError: it claims more bands or larger blocks than is sane.
        SceneUnreadable: its samples are complex.
    """
    if dataset.count > MAX_BANDS:
        raise ResourceError(
            f"`{name}` claims {dataset.count} bands; the limit is {MAX_BANDS}",
            hint="select bands with gdal_translate -b",
        )
    if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise UnsafeInput(
            f"`{name}` names another file as its overview", hint="make a clean copy with gdal_translate if you trust it"
        )
    # GDAL also has complex integers, which numpy does not know
    if any(d.startswith("complex") for d in dataset.dtypes):
        raise SceneUnreadable(
            f"`{name}` holds complex samples", hint="only real images can be mapped; take the amplitude first"
        )
    # a chunky (pixel-interleaved) block is decoded with all its bands; PNG and JPEG come row by row
    height, width = dataset.block_shapes[0]
    block = height * width * np.dtype(dataset.dtypes[0]).itemsize * (1 if is_planar(dataset) else dataset.count)
    if block > MAX_BLOCK_BYTES:
        raise ResourceError(
            f"`{name}` stores {block / 2**20:,.0f} MB a block; the limit is {MAX_BLOCK_BYTES / 2**20:.0f} MB",
            hint="re-tile it: `gdal_translate -co TILED=YES in.tif out.tif`",
        )


def is_planar(dataset: Any) -> bool:
    """Tell whether each band is stored by itself."""
    return bool(dataset.interleaving == Interleaving.band)


def look_at_blocks(path: Path, dataset: Any) -> Blocks:
    """Refuse a GeoTIFF one of whose blocks ends behind the end of the file (an interrupted copy); count missing ones.

    Raises:
        SceneUnreadable: the file is cut off.
    """
    size = path.stat().st_size
    rows = -(-dataset.height // dataset.block_shapes[0][0])
    cols = -(-dataset.width // dataset.block_shapes[0][1])
    numbers = sorted({*range(0, rows * cols, max(1, rows * cols // _LOOKS)), rows * cols - 1})
    # planar files hold one band after the other: a cut that spares the first band shows in the last
    bands = {1, dataset.count} if is_planar(dataset) else {1}
    missing = 0
    for number, band in itertools.product(numbers, bands):
        block = f"{number % cols}_{number // cols}"
        offset = dataset.get_tag_item(f"BLOCK_OFFSET_{block}", "TIFF", bidx=band)
        length = dataset.get_tag_item(f"BLOCK_SIZE_{block}", "TIFF", bidx=band)
        missing += band == 1 and not offset
        if offset and length and int(offset) + int(length) > size:
            raise SceneUnreadable(
                f"`{path}` is cut off: a block ends at byte {int(offset) + int(length):,} but the file has {size:,}",
                hint="copy it again",
            )
    return Blocks(rows * cols, len(numbers), missing)
