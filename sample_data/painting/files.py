"""From arrays to files: scenes, label rasters and label polygons, every byte the same on every run."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyogrio
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import shapes
from rasterio.io import MemoryFile
from shapely.geometry import shape

from geosemi.geo.commit import private_folder, publish, write_files
from geosemi.geo.grid import Grid
from geosemi.legend import Legend
from painting.canvas import PIXEL

UTM = CRS.from_epsg(32633)
_LAYOUT: dict[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint8",
    "tiled": True,
    "blockxsize": 256,
    "blockysize": 256,
    "compress": "deflate",
    "zlevel": 9,
}


def grid(west: float, north: float, height: int, width: int) -> Grid:
    """Return the grid of a scene by its upper left corner in UTM 33 N, metres."""
    return Grid(UTM, Affine(PIXEL, 0, west, 0, -PIXEL, north), height, width)


def write_scene(path: Path, image: npt.NDArray[np.uint8], where: Grid, *, nodata: int | None) -> None:
    """Write (H, W, 3) as a tiled GeoTIFF with named bands."""
    tags = {"TIFFTAG_IMAGEDESCRIPTION": "invented town, painted by sample_data/make.py of geosemi, CC0"}
    bands = ("red", "green", "blue")
    _write(path, np.moveaxis(image, -1, 0), where, nodata=nodata, names=bands, tags=tags, predictor=2)


def write_labels(path: Path, label: npt.NDArray[np.uint8], where: Grid) -> None:
    """Write (H, W) class ids as a tiled GeoTIFF; 255 is nodata."""
    _write(path, label[None], where, nodata=255, names=("class",), tags={}, predictor=1)


def _write(
    path: Path,
    bands: npt.NDArray[np.uint8],
    where: Grid,
    *,
    nodata: int | None,
    names: tuple[str, ...],
    tags: dict[str, str],
    predictor: int,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {**_LAYOUT, "count": len(bands), "crs": where.crs, "transform": where.transform, "nodata": nodata}
    if len(bands) == 3:
        profile |= {"photometric": "rgb", "interleave": "pixel"}
    with MemoryFile() as memory:
        with memory.open(**profile, height=where.height, width=where.width, predictor=predictor) as dataset:
            dataset.write(bands)
            dataset.descriptions = names
            dataset.update_tags(**tags)
        write_files({path: memory.getbuffer()})


def write_polygons(path: Path, label: npt.NDArray[np.uint8], where: Grid, legend: Legend) -> None:
    """Write class ids (H, W) as polygons in geographic coordinates, with the class names in a column `class`."""
    found = [(shape(g), int(v)) for g, v in shapes(label, mask=label != legend.ignore, transform=where.transform)]
    names = [legend.names[v] for _, v in found]
    write_frame(path, gpd.GeoDataFrame({"class": names}, geometry=[g for g, _ in found], crs=where.crs))


def write_frame(path: Path, frame: gpd.GeoDataFrame) -> None:
    """Write shapes as a GeoPackage in geographic coordinates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})  # else every run differs
    with private_folder(path) as folder:
        part = folder / path.name
        frame.to_crs(4326).to_file(part, layer=path.stem, driver="GPKG", engine="pyogrio")
        publish({part: path})
