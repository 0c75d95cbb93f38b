"""xarray's DataArrays as scenes.

A DataArray says where it lies by its coordinates and by a grid mapping (`spatial_ref` unless it names another). Where
the two disagree, as after `.isel(x=slice(100, 200))`, the coordinates are right: slicing leaves the mapping as it was.
"""

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from pyproj import CRS as ProjCRS
from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from geosemi.errors import InputError
from geosemi.geo.arrays import Array
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window

_SIDES = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("northing", "easting"))
MAPPING = "spatial_ref"  # what rioxarray calls the coordinate that says where an array lies
_UNEVEN = 0.1  # share of a pixel that a coordinate may lie beside its place
_SAME = 1e-3  # the same for the stated transform, whose digits are better

Centres = Callable[[int, int], tuple[float, float]]


def array_of(data: xr.DataArray) -> Array:
    """Return a DataArray as a scene; nothing of it is computed.

    A float array whose `encoding` says that it was whole numbers with a fill value (rioxarray's `masked=True`) gives
    those numbers again.

    Args:
        data: (band, y, x) in any order, or (y, x); numpy, lazily opened, or chunked by dask.

    Raises:
        InputError: the dimensions, the dtype or the coordinates are no raster's.
    """
    y, x = sides_of(data)
    (band,) = [d for d in data.dims if d not in (y, x)] or [None]
    ordered = data.transpose(*([] if band is None else [band]), y, x).variable
    count = 1 if band is None else data.sizes[band]
    native, fill = _native(data), _nodata(data)

    def fetch(window: Window, bands: Sequence[int]) -> npt.NDArray[Any]:
        rows, cols = window.slices
        if band is None:
            part = ordered.isel({y: rows, x: cols}).values[None]
        else:
            part = ordered.isel({band: _planes(bands), y: rows, x: cols}).values
        if part.dtype.kind == "f" and native.kind != "f":
            whole: npt.NDArray[Any] = np.nan_to_num(part, nan=fill or 0.0).round().astype(native)
            return whole
        return np.ascontiguousarray(part, dtype=native)

    name = str(data.name) if data.name is not None else "DataArray"
    return Array(name, grid_of(data), native.name, _names(data, band, count), (fill,) * count, fetch)


def grid_of(data: xr.DataArray) -> Grid:
    """Return where a DataArray lies: its crs, and the affine transform of its pixels' corners.

    Raises:
        InputError: the dimensions are no raster's, or the coordinates are not evenly spaced.
    """
    y, x = sides_of(data)
    mapping = _mapping(data)
    stated, centres = _stated(mapping), _centres(data, y, x)
    if centres is None:
        transform = stated or Affine.identity()
    else:
        transform = _by_centres(centres, (data.sizes[y], data.sizes[x]), stated)
    return Grid(_crs(data, mapping), transform, data.sizes[y], data.sizes[x])


def sides_of(data: xr.DataArray) -> tuple[Hashable, Hashable]:
    """Return the names of the dimensions down and across."""
    for y, x in _SIDES:
        if {y, x} <= set(data.dims) and data.ndim <= 3 and "time" not in data.dims:
            return y, x
    dims = ", ".join(str(d) for d in data.dims)
    raise InputError(
        f"a DataArray with the dimensions ({dims}) is no raster",
        hint="it wants y and x, and one more for its bands: rename them with `.rename`, choose a time with `.isel`",
    )


def _planes(bands: Sequence[int]) -> slice | list[int]:
    """Return bands as a slice where they lie side by side, which dask and files read at once."""
    first, last = bands[0], bands[-1]
    return slice(first, last + 1) if list(bands) == list(range(first, last + 1)) else list(bands)


def _native(data: xr.DataArray) -> np.dtype[Any]:
    """Return the dtype that the pixels are read as."""
    dtype = data.dtype
    if dtype.kind not in "buif":
        raise InputError(f"a DataArray of {dtype} is no scene", hint="choose whole or real numbers")
    if dtype.kind == "b":
        return np.dtype("uint8")
    before = np.dtype(data.encoding.get("rasterio_dtype") or data.encoding.get("dtype") or dtype)
    scaled = data.encoding.get("scale_factor", 1) != 1 or data.encoding.get("add_offset", 0) != 0
    fill = data.encoding.get("_FillValue")
    if dtype.kind == "f" and before.kind in "ui" and fill is not None and not scaled:
        limits = np.iinfo(before)
        if limits.min <= float(fill) <= limits.max:
            return before.newbyteorder("=")
    return np.dtype("float32") if dtype.itemsize < 4 and dtype.kind == "f" else dtype.newbyteorder("=")


def _nodata(data: xr.DataArray) -> float | None:
    for source, key in (
        (data.encoding, "_FillValue"), (data.attrs, "_FillValue"), (data.attrs, "nodata"), (data.attrs, "missing_value")
    ):  # fmt: skip
        value = source.get(key)
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            return float(value)
    return None


def _names(data: xr.DataArray, band: Hashable | None, count: int) -> tuple[str, ...]:
    """Return what the bands are called: rioxarray keeps a file's names in `long_name`, others as coordinates."""
    said = data.attrs.get("long_name")
    if isinstance(said, (tuple, list)) and len(said) == count:
        return tuple(str(name) for name in said)
    if band is not None and band in data.coords and data.coords[band].dtype.kind in "UO":
        return tuple(str(name) for name in data.coords[band].values.tolist())
    return tuple(f"band_{number}" for number in range(1, count + 1))


def _mapping(data: xr.DataArray) -> Mapping[Any, Any]:
    name = data.encoding.get("grid_mapping") or data.attrs.get("grid_mapping") or MAPPING
    return data.coords[name].attrs if name in data.coords else {}


def _stated(mapping: Mapping[Any, Any]) -> Affine | None:
    try:
        numbers = [float(part) for part in str(mapping.get("GeoTransform", "")).split()]
    except ValueError:
        return None
    return Affine.from_gdal(*numbers) if len(numbers) == 6 else None


def _crs(data: xr.DataArray, mapping: Mapping[Any, Any]) -> CRS | None:
    text = mapping.get("crs_wkt") or mapping.get("spatial_ref") or data.attrs.get("crs")
    try:
        if text:
            return CRS.from_wkt(ProjCRS.from_user_input(text).to_wkt())
        if "grid_mapping_name" in mapping:
            return CRS.from_wkt(ProjCRS.from_cf(dict(mapping)).to_wkt())
    except CRSError as error:
        raise InputError(
            f"a DataArray has the coordinate system `{str(text)[:80]}`, which is none",
            hint="set it again: `.rio.write_crs(…)`",
        ) from error
    # `rio.set_crs` keeps it on the accessor alone, which is there only if rioxarray was imported
    found = data.rio.crs if "rioxarray" in sys.modules else None
    return None if found is None else CRS.from_wkt(found.to_wkt())


def _centres(data: xr.DataArray, y: Hashable, x: Hashable) -> Centres | None:
    """Return what gives (x, y) of the centre of a pixel (row, column); None where there are no coordinates.

    A rotated raster has `xc` and `yc` of two dimensions instead, as rioxarray writes them.
    """
    if all(side in data.coords and data.coords[side].ndim == 1 for side in (y, x)):
        ys, xs = (_even(data, side) for side in (y, x))
        return lambda row, col: (float(xs[col]), float(ys[row]))
    if all(name in data.coords and set(data.coords[name].dims) == {y, x} for name in ("xc", "yc")):
        plane = [data.coords[name].variable.transpose(y, x) for name in ("xc", "yc")]
        return lambda row, col: (float(plane[0][row, col].values), float(plane[1][row, col].values))
    return None


def _even(data: xr.DataArray, side: Hashable) -> npt.NDArray[np.float64]:
    """Return the coordinates along a side, once they are found to be evenly spaced."""
    places: npt.NDArray[np.float64] = data.coords[side].values.astype(np.float64)
    even = np.linspace(places[0], places[-1], len(places))
    step = abs(places[-1] - places[0]) / max(len(places) - 1, 1)
    if not (np.abs(places - even) <= _UNEVEN * step).all():
        raise InputError(
            f"the coordinates along `{side}` are not evenly spaced",
            hint="resample it onto an even grid first, e.g. with `.rio.reproject`",
        )
    return places


def _by_centres(centres: Centres, shape: tuple[int, int], stated: Affine | None) -> Affine:
    """Return the transform whose pixels have these centres: the stated one, if they are its."""
    (height, width), (x, y) = shape, centres(0, 0)
    if stated is None and 1 in shape:
        raise InputError(
            "a DataArray of one row or column does not say how large its pixels are",
            hint="state it: `.rio.write_transform(…)`",
        )
    right, below = centres(0, width - 1), centres(height - 1, 0)
    before = stated or Affine.identity()
    a, d = (before.a, before.d) if width == 1 else ((right[0] - x) / (width - 1), (right[1] - y) / (width - 1))
    b, e = (before.b, before.e) if height == 1 else ((below[0] - x) / (height - 1), (below[1] - y) / (height - 1))
    own = Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
    if stated is None or own.determinant == 0:
        return own
    corners = ((0.5, 0.5), (width - 0.5, height - 0.5), (width - 0.5, 0.5))
    apart = [abs(one - other) for c in corners for one, other in zip(~own * (stated * c), c, strict=True)]
    return stated if max(apart) <= _SAME else own
