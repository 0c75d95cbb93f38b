"""Rasters written as a prediction writes them, for tests of everything that reads them."""

import uuid
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.crs import CRS

from geosemi.geo.grid import Grid
from geosemi.geo.unfinished import unfinished
from geosemi.geo.writer import RasterSet

UTM = CRS.from_epsg(32636)
NORTH_UP = Affine(0.5, 0, 450_000, 0, -0.5, 40_000)


def grid_of(height, width, crs=UTM, transform=NORTH_UP):
    return Grid(crs, transform, height, width)


def write_raster(path: Path, rows, layer, *, grid=None, tags=(), steps=(10**9,), points=None):
    """Hand in rows (h, W) or (B, h, W) in steps of the given sizes, the last one for the rest; return the files."""
    grid = grid or grid_of(*rows.shape[-2:])
    key = {"one": uuid.uuid4().hex}
    with unfinished(path, key) as work, RasterSet({path: layer}, grid, work, points=points) as made:
        row = 0
        for step in [*steps, *[steps[-1]] * grid.height]:
            if row < grid.height:
                made.write(row, [rows[..., row : row + step, :]])
                row += step
        return made.finish(dict(tags))


def break_blocks(path: Path, blocks: list[tuple[int, int]], band: int = 1) -> None:
    """Overwrite the stored bytes of blocks (row, col) with zeros, which no LZW stream begins with."""
    with rasterio.open(path) as dataset:
        tag = dataset.get_tag_item
        spans = [
            [int(tag(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band)) for what in ("OFFSET", "SIZE")]
            for row, col in blocks
        ]
    content = bytearray(path.read_bytes())
    for begin, size in spans:
        content[begin : begin + size] = bytes(size)
    path.write_bytes(content)
