"""Reading a mask band by band: class ids, and the confidence that goes with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio

from geosemi.errors import GridMismatch, LegendError
from geosemi.geo.corners import OUTSIDE, Bytes
from geosemi.geo.grid import Grid
from geosemi.geo.layers import CONFIDENCE_BAND, NO_CONFIDENCE_BANDS, SCALE_TAG
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.style import LEGEND_TAG
from geosemi.geo.window import Window
from geosemi.legend import Legend

_LEAST_CACHE = 16 * 2**20
ReadRows = Callable[[int, int], Bytes]


@contextmanager
def open_mask(path: Path, legend: Legend) -> Iterator[tuple[Grid, ReadRows]]:
    """Open a mask; yield its grid, and a function (first row, rows) → (rows, W) uint8 class ids, OUTSIDE for none.

    Raises:
        LegendError: the file is no mask, or (when read) holds a value that is no class.
        GridMismatch: it is placed by ground control points only.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    with open_raster(path) as file:
        _require_mask(file)
        with rasterio.Env(GDAL_CACHEMAX=_cache_bytes(file)):
            yield file.grid, lambda row, rows: _class_rows(file, Window(row, 0, rows, file.grid.width), legend)


@contextmanager
def open_confidence(path: Path | None, grid: Grid, mask: Path) -> Iterator[ReadRows | None]:
    """Open the confidence of a mask on this grid, as `geosemi predict --confidence` writes it; None for no path.

    Raises:
        GridMismatch: it lies elsewhere.
        LegendError: it is no confidence raster, or says that it is another amount, such as entropy.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    if path is None:
        yield None
        return
    with open_raster(path) as file:
        if file.count != 1 or file.dtype != np.uint8:
            raise LegendError(
                f"`{file.path}` has {file.count} band(s) of {file.dtype.name}, confidence is one band of uint8",
                hint="give the file that `geosemi predict --confidence` wrote: 0 … 254 for 0 … 1, 255 for none",
            )
        _require_confidence(file)
        grid.require_same(file.grid, mine=str(mask), theirs=str(path))
        yield lambda row, rows: file.read(Window(row, 0, rows, file.grid.width), 1)


def _require_confidence(file: RasterFile) -> None:
    """Refuse a raster that says of itself that it is something else; of other programs' rasters nothing is asked."""
    (name,) = file.band_names
    is_ours = SCALE_TAG in file.tags
    if LEGEND_TAG in file.tags or name in NO_CONFIDENCE_BANDS or (is_ours and name != CONFIDENCE_BAND):
        what = "class" if LEGEND_TAG in file.tags else name
        raise LegendError(
            f"the band of `{file.path}` is `{what}`, not confidence",
            hint="give the file that `geosemi predict --confidence` wrote",
        )


def _cache_bytes(file: RasterFile) -> int:
    """Return what GDAL may keep of decoded blocks: rows are read once, so more would only grow with the raster."""
    height, _ = file.dataset.block_shapes[0]
    row_of_blocks = file.grid.width * min(int(height), file.grid.height) * file.dtype.itemsize
    return max(_LEAST_CACHE, 3 * row_of_blocks)  # of the mask, its internal mask and the confidence


def _require_mask(file: RasterFile) -> None:
    if file.count != 1 or file.dtype.kind not in "iu":
        raise LegendError(
            f"`{file.path}` has {file.count} band(s) of {file.dtype.name}, a mask has one band of whole numbers",
            hint="give the mask that `geosemi predict` wrote, or pick its band with gdal_translate -b",
        )
    if file.has_gcps:  # polygons cannot carry control points: they would lie in pixel coordinates
        raise GridMismatch(
            f"`{file.path}` is placed by ground control points only, which polygons cannot be",
            hint="warp it first: `gdalwarp -r near mask.tif warped.tif`",
        )


def _class_rows(file: RasterFile, window: Window, legend: Legend) -> Bytes:
    """Read rows as class ids, (h, w) uint8, OUTSIDE where there is no class."""
    pixels = file.read(window, 1)
    empty = pixels == legend.ignore
    if file.nodata is not None:
        empty |= pixels == file.nodata
    if file.has_internal_mask:
        empty |= ~file.read_internal_mask(window)
    strange = ~empty & ((pixels < 0) | (pixels >= len(legend)))
    if strange.any():
        raise LegendError(
            f"`{file.path}` holds the value {pixels[strange][0]}, "
            f"the legend `{legend.name}` the classes 0 … {len(legend) - 1}",
            hint="give the legend of this mask with `--legend`",
        )
    rows: Bytes = np.where(empty, OUTSIDE, pixels).astype(np.uint8)
    return rows
