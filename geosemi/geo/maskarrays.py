"""Masks as DataArrays that rioxarray and CF-aware programs understand, and back to files."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from pyproj import CRS as ProjCRS

from geosemi.errors import InputError, LegendError
from geosemi.geo.arrays import Array
from geosemi.geo.dataarrays import MAPPING, array_of, sides_of
from geosemi.geo.grid import Grid
from geosemi.geo.layers import AMOUNT_STEPS, CONFIDENCE_BAND, NO_CONFIDENCE_BANDS, Layer, amount_layer, mask_layer
from geosemi.geo.style import LEGEND_TAG
from geosemi.geo.unfinished import unfinished
from geosemi.geo.window import Window
from geosemi.geo.writer import RasterSet
from geosemi.legend import Legend

_ROWS = 512
_NONE = 255


def to_dataarray(
    pixels: npt.NDArray[Any], layer: Layer, grid: Grid, *, name: str, like: xr.DataArray | None = None
) -> xr.DataArray:
    """Return a layer as a DataArray, georeferenced as rioxarray and CF want it.

    Classes have `flag_values`, `flag_meanings`, `flag_colors`, the list `classes` of their names in the order of their
    ids, and the whole legend as JSON in `GEOSEMI_LEGEND`. Nodata stands in `_FillValue`, what amounts mean in
    `scale_factor`.

    Args:
        pixels: (H, W), or (B, H, W).
        layer: what the values mean.
        grid: where they lie.
        name: of the DataArray.
        like: the scene, whose dimensions and coordinates are taken over as they are.
    """
    sides = ("y", "x") if like is None else sides_of(like)
    dims = (*(["band"] if pixels.ndim == 3 else []), *sides)
    coords: dict[Hashable, Any] = _axes(grid, sides) if like is None else _taken(like, sides)
    coords[MAPPING] = xr.Variable((), 0, _described(grid))
    if pixels.ndim == 3:
        coords["band"] = list(layer.bands)
    found = xr.DataArray(pixels, coords, dims, name, _meaning(layer))
    found.encoding["grid_mapping"] = MAPPING
    return found


def legend_of_dataarray(data: xr.DataArray) -> Legend | None:
    """Return the legend that a mask carries in its attribute `GEOSEMI_LEGEND`, or None.

    Raises:
        LegendError: the attribute holds no legend.
    """
    text = data.attrs.get(LEGEND_TAG)
    if text is None:
        return None
    try:
        return Legend.from_dict(json.loads(text), source=f"{LEGEND_TAG} of the DataArray")
    except (ValueError, TypeError, AttributeError) as error:
        raise LegendError(f"`{LEGEND_TAG}` of the DataArray holds no legend", hint="give one: `legend=…`") from error


def write_mask(data: xr.DataArray, path: Path, legend: Legend) -> None:
    """Write a DataArray of class ids as a mask, a band of rows at a time.

    Raises:
        InputError: it has several bands, or is no raster.
        LegendError: it holds a value that is no class.
        OutputError: the disk is full or fails.
    """
    array = array_of(data)
    if len(array.names) > 1:
        raise InputError(f"`{array}` has {len(array.names)} bands, a mask has one", hint="choose it: `.isel(band=0)`")
    grid = array.grid
    with unfinished(path, {}, resume=False) as work, RasterSet({path: mask_layer(legend)}, grid, work) as rasters:
        for row in range(0, grid.height, _ROWS):
            window = Window(row, 0, min(_ROWS, grid.height - row), grid.width)
            rasters.write(row, [_classes(array, window, legend)])
        rasters.finish({})


def write_confidence(data: xr.DataArray, path: Path) -> None:
    """Write a DataArray of confidence as `geosemi predict --confidence` would, a band of rows at a time.

    Args:
        data: (y, x), uint8, 0 … 254 for 0 … 1 and 255 for none, or real numbers 0 … 1 with NaN for none, as xarray
            decodes those bytes.
        path: a `.tif`.

    Raises:
        InputError: it is another amount, such as entropy, has several bands, or other values.
        OutputError: the disk is full or fails.
    """
    array = array_of(data)
    if len(array.names) > 1 or data.name in NO_CONFIDENCE_BANDS:
        raise InputError(f"`{array}` is no confidence", hint='give one band of it: `confidence=dataset["confidence"]`')
    grid, layer = array.grid, amount_layer((CONFIDENCE_BAND,), "the confidence")
    with unfinished(path, {}, resume=False) as work, RasterSet({path: layer}, grid, work) as rasters:
        for row in range(0, grid.height, _ROWS):
            window = Window(row, 0, min(_ROWS, grid.height - row), grid.width)
            rasters.write(row, [_sureness(array, window)])
        rasters.finish({})


def _sureness(array: Array, window: Window) -> npt.NDArray[np.uint8]:
    values = array.fetch(window, [0])[0]
    if values.dtype == np.uint8:
        steps: npt.NDArray[np.uint8] = values
        return steps
    if values.dtype.kind != "f" or (values < 0).any() or (values > 1).any():
        raise InputError(
            f"`{array}` of {values.dtype} holds other values than confidence",
            hint="give bytes, 0 … 254 for 0 … 1 and 255 for none, or real numbers 0 … 1, NaN for none",
        )
    is_none = np.isnan(values)
    return np.where(is_none, _NONE, np.rint(np.where(is_none, 0, values) * AMOUNT_STEPS)).astype(np.uint8)


def _classes(array: Array, window: Window, legend: Legend) -> npt.NDArray[np.uint8]:
    values = array.fetch(window, [0])[0]
    empty = values == legend.ignore
    if values.dtype.kind == "f":
        empty |= np.isnan(values)
    elif array.nodatas[0] is not None:
        empty |= values == array.nodatas[0]
    known = values[~empty]
    strange = known[(known < 0) | (known >= len(legend)) | (known != np.floor(known))]
    if strange.size:
        raise LegendError(
            f"`{array}` holds the value {strange[0]}, the legend `{legend.name}` the classes 0 … {len(legend) - 1}",
            hint="give the legend of this mask: `legend=…`",
        )
    return np.where(empty, legend.ignore, np.where(empty, 0, values)).astype(np.uint8)


def _axes(grid: Grid, sides: tuple[Hashable, Hashable]) -> dict[Hashable, Any]:
    """Return the coordinates of the pixels' centres; a rotated grid has none of one dimension."""
    t = grid.transform
    if t.b or t.d or (grid.crs is None and t == Affine.identity()):
        return {}
    degrees = grid.crs is not None and grid.crs.is_geographic
    named = ("latitude", "longitude") if degrees else ("projection_y_coordinate", "projection_x_coordinate")
    rows, cols = t.f + t.e * (np.arange(grid.height) + 0.5), t.c + t.a * (np.arange(grid.width) + 0.5)
    return {
        side: xr.Variable(side, values, {"axis": axis, "standard_name": name})
        for side, values, axis, name in zip(sides, (rows, cols), "YX", named, strict=True)
    }


def _taken(like: xr.DataArray, sides: tuple[Hashable, Hashable]) -> dict[Hashable, Any]:
    return {name: c.variable for name, c in like.coords.items() if c.dims and set(c.dims) <= set(sides)}


def _described(grid: Grid) -> dict[str, Any]:
    """Return the attributes of a grid mapping."""
    place = {"GeoTransform": " ".join(repr(float(n)) for n in grid.transform.to_gdal())}
    if grid.crs is None:
        return place
    return {**ProjCRS.from_user_input(grid.crs).to_cf(), "spatial_ref": grid.crs.to_wkt(), **place}


def _meaning(layer: Layer) -> dict[str, Any]:
    values = np.dtype(layer.dtype).type
    attrs: dict[str, Any] = {"_FillValue": values(layer.nodata), **layer.tags}
    if layer.scale != 1:
        attrs["scale_factor"] = layer.scale
    if LEGEND_TAG not in layer.tags:
        return attrs
    legend = Legend.from_dict(json.loads(layer.tags[LEGEND_TAG]))
    return {
        **attrs,
        "long_name": "land cover class",
        "classes": list(legend.names),
        "flag_values": np.arange(len(legend), dtype=np.uint8),
        "flag_meanings": " ".join(re.sub(r"[^\w.@+-]+", "_", name.strip()) for name in legend.names),
        "flag_colors": " ".join(c.colour.lower() for c in legend),
    }
