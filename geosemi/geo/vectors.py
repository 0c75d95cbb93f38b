"""Polygons to files that GIS programs open: GeoPackage, FlatGeobuf, GeoJSON, GeoParquet.

Features always go to a GeoPackage first, batch by batch, in a private folder; the other formats are made from it by a
stream of batches (GeoParquet at once), because their drivers cannot append.
"""

import importlib.util
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.raw
from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj import CRS

from geosemi.errors import OutputError
from geosemi.geo.grid import Grid
from geosemi.geo.style import qml_vector, sld_vector
from geosemi.legend import Legend

LAYER = "segments"
# GDAL stamps a GeoPackage with the time of writing: the same polygons would never be the same bytes
_DATE = "2000-01-01T00:00:00.000Z"
# QGIS 3.22 warns at every opening of version 1.4, which GDAL writes unless told otherwise
_GPKG_VERSION = "1.3"
_FINE_PIXEL = 0.1  # metres; RFC 7946 advises 7 decimals of a degree, 1 cm: too coarse for finer pixels
_STYLES_TABLE = """CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
_FAILURES = (CRSError, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, sqlite3.Error)

Columns = dict[str, npt.NDArray[Any]]


def require_format(out: Path, grid: Grid) -> None:
    """Check, before any work, that polygons on a grid can be written to a file of this name.

    Raises:
        OutputError: the extension is unknown, the format needs a crs that is not there, or a library is missing.
    """
    kind = out.suffix.lower()
    if kind not in _CONVERTERS:
        raise OutputError(
            f"`{out}` has no known extension for polygons",
            hint=f"use one of {', '.join(_CONVERTERS)} (.gpkg is styled)",
        )
    if kind == ".geojson" and (grid.crs is None or CRS.from_user_input(grid.crs).geodetic_crs is None):
        raise OutputError(
            f"`{out}` needs longitude and latitude, and the mask has no crs on the Earth",
            hint="write a .gpkg, or georeference the mask first",
        )
    if kind == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutputError(f"`{out}` needs the package pyarrow", hint="pip install pyarrow, or write a .gpkg or .fgb")


class PolygonLayer:
    """A GeoPackage layer that grows by batches. `path` is its file in a private folder."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path = path
        self.count = 0
        self._crs = _crs_text(grid)
        self._begun = False

    def append(self, geometry: npt.NDArray[np.object_], columns: Columns) -> None:
        """Write a batch of WKB polygons with their attributes; the first batch, even if empty, makes the layer.

        Raises:
            OutputError: the disk is full or fails.
        """
        if self._begun and not len(geometry):
            return
        first: dict[str, Any] = {"dataset_options": {"VERSION": _GPKG_VERSION}} if not self._begun else {}
        with _writing(self.path), _silent_without_crs():
            pyogrio.raw.write(
                self.path, geometry, list(columns.values()), np.array(list(columns), dtype=object), layer=LAYER,
                driver="GPKG", geometry_type="Polygon", crs=self._crs, promote_to_multi=False, append=self._begun,
                **first,
            )  # fmt: skip
        self._begun = True
        self.count += len(geometry)

    def finish(self, out: Path, legend: Legend, grid: Grid) -> Path:
        """Add the legend's style, check the count, and return the file in the format of `out`, in the same folder."""
        with _writing(out):
            _add_style(self.path, legend)
            written = int(pyogrio.read_info(self.path, layer=LAYER, force_feature_count=True)["features"])
            if written != self.count:
                raise OutputError(f"`{out}` holds {written} of {self.count} polygons", hint="check the disk")
            return _CONVERTERS[out.suffix.lower()](self.path, grid)


def _keep(source: Path, _grid: Grid) -> Path:
    return source


def _to_fgb(source: Path, grid: Grid) -> Path:
    return _stream(source, source.with_suffix(".fgb"), grid, driver="FlatGeobuf")


def _to_geojson(source: Path, grid: Grid) -> Path:
    decimals = 7 if (grid.metres_per_pixel() or 1.0) >= _FINE_PIXEL else 9
    options = {"RFC7946": "YES", "COORDINATE_PRECISION": str(decimals)}
    return _stream(source, source.with_suffix(".geojson"), grid, driver="GeoJSON", layer_options=options)


def _to_parquet(source: Path, _grid: Grid) -> Path:
    import geopandas  # noqa: PLC0415 - pandas takes half a second to load, and only this format needs it

    target = source.with_suffix(".parquet")
    geopandas.read_file(source, layer=LAYER).to_parquet(target, schema_version="1.1.0", write_covering_bbox=True)
    return target


_CONVERTERS: dict[str, Callable[[Path, Grid], Path]] = {
    ".gpkg": _keep,
    ".fgb": _to_fgb,
    ".geojson": _to_geojson,
    ".parquet": _to_parquet,
}
FORMATS = tuple(_CONVERTERS)


def _stream(source: Path, target: Path, grid: Grid, **options: Any) -> Path:
    with (
        pyogrio.raw.open_arrow(source, layer=LAYER, use_pyarrow=False, batch_size=4096) as (meta, batches),
        _silent_without_crs(),
    ):
        pyogrio.raw.write_arrow(
            batches, target, layer=LAYER, geometry_name=meta["geometry_name"] or "wkb_geometry",
            geometry_type="Polygon", crs=_crs_text(grid), **options,
        )  # fmt: skip
    return target


def _crs_text(grid: Grid) -> str | None:
    if grid.crs is None:
        return None
    crs = CRS.from_user_input(grid.crs)
    code = crs.to_epsg(min_confidence=100)
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _add_style(path: Path, legend: Legend) -> None:
    """Write the table `layer_styles`, from which QGIS takes a layer's default style."""
    connection = sqlite3.connect(path)
    try:
        with connection:
            column = connection.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()[0]
            connection.execute(_STYLES_TABLE)
            connection.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, update_time) VALUES ('', '', ?, ?, ?, ?, ?, 1, ?, ?)",
                (LAYER, column, legend.name[:30], qml_vector(legend), sld_vector(legend, LAYER), legend.name, _DATE),
            )
            connection.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)"
                " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?, 0)",
                (_DATE,),
            )
    finally:
        connection.close()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Fix GDAL's clock while writing, and name the file in every failure."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        yield
    except _FAILURES as error:
        cause = " ".join(str(error).split())[:200]
        raise OutputError(f"`{out}` cannot be written ({cause})", hint="check the disk's free space") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


@contextmanager
def _silent_without_crs() -> Iterator[None]:
    """A mask without a crs makes polygons without one; pyogrio's warning about it helps nobody."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        yield
