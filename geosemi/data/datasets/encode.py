"""Tiles as compressed GeoTIFFs in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from geosemi.geo.grid import Grid
from geosemi.legend import Legend

_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def encode_image(
    image: npt.NDArray[Any], valid: npt.NDArray[np.bool_], grid: Grid, names: tuple[str, ...], tags: Mapping[str, str]
) -> bytes:
    """Return an image tile as a GeoTIFF.

    Args:
        image: (C, h, w), as in the source.
        valid: (h, w) bool; where any is False, the file gets an internal mask.
        grid: of the tile.
        names: band names.
        tags: what to say about it.
    """
    # no fourth colour exists: without `alpha` GDAL would call near-infrared transparency
    extra = {"photometric": "RGB", "alpha": "NO"} if len(image) >= 3 and image.dtype == np.uint8 else {}
    # GDAL writes masks into a .msk beside the file unless told otherwise
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**_profile(grid, len(image), image.dtype), **extra) as dataset:
            dataset.colorinterp = tuple(
                _COLOURS[i] if extra and i < 3 else ColorInterp.undefined for i in range(len(image))
            )
            dataset.write(image)
            dataset.descriptions = names
            dataset.update_tags(**tags)
            if not valid.all():
                dataset.write_mask(valid)
        return bytes(memory.getbuffer())


def encode_label(ids: npt.NDArray[np.uint8], grid: Grid, legend: Legend, tags: Mapping[str, str]) -> bytes:
    """Return a label tile (h, w) as a GeoTIFF with the legend's colours; 255 is its nodata value."""
    with MemoryFile() as memory:
        with memory.open(**_profile(grid, 1, ids.dtype), nodata=legend.ignore) as dataset:
            dataset.write(ids, 1)
            dataset.write_colormap(1, {c.id: (*c.rgb, 255) for c in legend})
            dataset.set_band_description(1, "class")
            dataset.update_tags(**tags)
        return bytes(memory.getbuffer())


def _profile(grid: Grid, count: int, dtype: np.dtype[Any]) -> dict[str, Any]:
    # 256: a random crop decodes few blocks that it does not need
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256} if min(grid.shape) >= 256 else {}
    return {
        "driver": "GTiff",
        "count": count,
        "dtype": dtype.name,
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "compress": "deflate",
        "predictor": 2 if np.issubdtype(dtype, np.integer) else 3,
        "interleave": "pixel",
        **blocks,
    }
