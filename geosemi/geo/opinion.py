"""Opinion rasters: what somebody else says about every pixel, one bit a class, on a scene's own grid.

Bit k of a pixel is set where class k was seen; several bits may be set (several classes claimed), and 0 means silence.
The file is a one-band GeoTIFF of uint8, uint16 or uint32 (whichever holds K bits), so it can be looked at in QGIS.
Tags say what the bits mean and who speaks: `GEOSEMI_OPINION` (format version), `GEOSEMI_CLASSES` (JSON list of names),
`GEOSEMI_SOURCE` (for people: a model with its revision, a map, or "simulated: precision 0.9, recall 0.7").
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from rasterio.io import MemoryFile

from geosemi.errors import GridMismatch, LegendError
from geosemi.geo.commit import write_files
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.window import Window
from geosemi.legend import Legend

FORMAT = "1"


_NAMES: dict[int, Literal["uint8", "uint16", "uint32"]] = {1: "uint8", 2: "uint16", 4: "uint32"}


def bits_dtype(classes: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest unsigned dtype that holds one bit a class."""
    return np.dtype(np.uint8 if classes <= 8 else np.uint16 if classes <= 16 else np.uint32)


def pack(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.unsignedinteger]:
    """Turn (K, h, w) bool into (h, w) class bits."""
    dtype = bits_dtype(len(seen))
    bits = np.zeros(seen.shape[1:], dtype=dtype)
    for k, plane in enumerate(seen):
        bits |= plane.astype(dtype) << dtype.type(k)
    return bits


def unpack(bits: npt.NDArray[np.unsignedinteger], classes: int) -> npt.NDArray[np.bool_]:
    """Turn (h, w) class bits into (K, h, w) bool; the inverse of `pack`."""
    shifts = np.arange(classes, dtype=bits.dtype)[:, None, None]
    return ((bits[None] >> shifts) & 1).astype(bool)


def opinion_layer(legend: Legend, source: str) -> Layer:
    """Return what the values of an opinion raster mean, for `geosemi.geo.writer`; silence is nodata.

    Args:
        legend: whose class k is bit k.
        source: who speaks, in words.
    """
    return Layer(
        ("class bits",),
        0,
        "MODE",
        dtype=_NAMES[bits_dtype(len(legend)).itemsize],
        tags={
            "GEOSEMI_OPINION": FORMAT,
            "GEOSEMI_CLASSES": json.dumps(legend.names, ensure_ascii=False),
            "GEOSEMI_SOURCE": source,
        },
    )


def write_opinion(
    path: Path, bits: npt.NDArray[np.unsignedinteger], grid: Grid, *, legend: Legend, source: str
) -> None:
    """Write class bits (h, w) on a scene's grid as a compressed, tiled GeoTIFF.

    Args:
        path: the output.
        bits: made by `pack`.
        grid: the scene's grid.
        legend: whose class k is bit k.
        source: who speaks, in words; shown wherever the opinion is used.
    """
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": bits.dtype.name,
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        **layout,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(bits, 1)
            dataset.set_band_description(1, "class bits")
            dataset.update_tags(GEOSEMI_OPINION=FORMAT, GEOSEMI_CLASSES=json.dumps(legend.names), GEOSEMI_SOURCE=source)
        write_files({path: memory.getbuffer()})


class OpinionReader:
    """Windows of an opinion raster as class planes. Make it with `reading_opinion`, one per thread."""

    def __init__(self, file: RasterFile, classes: int) -> None:
        self._file = file
        self._classes = classes

    def read(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return (K, h, w) bool for a window inside the scene."""
        return unpack(self._file.read(window, 1), self._classes)


@contextmanager
def reading_opinion(
    path: Path, grid: Grid, legend: Legend, *, scene: str | Path = "its scene"
) -> Iterator[OpinionReader]:
    """Open an opinion raster that must lie on a scene's grid and speak of a legend's classes.

    Args:
        path: the opinion.
        grid: of the scene.
        legend: whose class k is bit k.
        scene: name of the scene, for messages.

    Raises:
        LegendError: the file is no opinion raster or lists other classes.
        GridMismatch: it lies on another grid.
        SceneUnreadable: it cannot be read.
    """
    with open_raster(path) as file:
        names = _class_names(file)
        if names is None or file.count != 1 or file.dtype.kind != "u" or file.dtype.itemsize * 8 < len(names):
            raise LegendError(
                f"`{path}`, named like an opinion on `{scene}`, is no opinion raster",
                hint="make it with `geosemi annotate`, or with `geosemi.geo.opinion.write_opinion`: docs/formats.md",
            )
        if names != list(legend.names):
            raise LegendError(
                f"`{path}`, the opinion on `{scene}`, speaks of the classes {names}, the legend of "
                f"{list(legend.names)}",
                hint="annotate the scene again with this legend: `geosemi annotate … --overwrite`",
            )
        try:
            grid.require_same(file.grid, mine=str(scene), theirs=str(path))
        except GridMismatch as error:
            hint = "an opinion has its scene's own pixels; annotate the scene again: `geosemi annotate … --overwrite`"
            raise GridMismatch(error.message, hint=hint) from error
        yield OpinionReader(file, len(legend))


def source_of(path: Path) -> str:
    """Return who speaks in an opinion raster, in the words it was written with; empty where they are missing.

    Raises:
        SceneUnreadable: it cannot be read.
    """
    with open_raster(path) as file:
        return file.tags.get("GEOSEMI_SOURCE", "")


def _class_names(file: RasterFile) -> list[str] | None:
    """Return what the bits mean, or None where the tags of an opinion raster are missing or not ours."""
    try:
        names = json.loads(file.tags["GEOSEMI_CLASSES"]) if file.tags.get("GEOSEMI_OPINION") == FORMAT else None
    except (KeyError, ValueError):
        return None
    return names if isinstance(names, list) else None
