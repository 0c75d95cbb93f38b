"""The GeoPackage that polygons are written to, batch by batch, in a private folder (other formats: `formats`)."""

import importlib.util
import sqlite3
import warnings
from collections.abc import Iterator
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
from geosemi.geo.commit import require_writable
from geosemi.geo.grid import Grid
from geosemi.geo.style import qml_vector, sld_vector
from geosemi.geo.target import shown
from geosemi.legend import Legend

LAYER = "segments"
FORMATS = (".gpkg", ".fgb", ".geojson", ".parquet", ".shp")
SHAPEFILE_PARTS = (".shx", ".dbf", ".prj", ".cpg", ".qix")
# GDAL stamps a GeoPackage with the time of writing: the same polygons would never be the same bytes
DATE = "2000-01-01T00:00:00.000Z"
# QGIS 3.22 warns at every opening of version 1.4, which GDAL writes unless told otherwise
GPKG_VERSION = "1.3"
_STYLES_TABLE = """CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
_FAILURES = (CRSError, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, sqlite3.Error)

Columns = dict[str, npt.NDArray[Any]]


def require_format(out: Path, grid: Grid, *, overwrite: bool = False) -> None:
    """Check, before any work, that polygons on a grid can be written to a file of this name.

    Raises:
        OutputError: the extension is unknown, the format needs a crs that is not there, a library is missing, or a
            side file of a Shapefile exists.
    """
    kind = out.suffix.lower()
    if kind not in FORMATS:
        raise OutputError(
            f"`{shown(out)}` has no known extension for polygons",
            hint=f"use one of {', '.join(FORMATS)} (.gpkg is styled)",
        )
    if kind == ".geojson" and (grid.crs is None or CRS.from_user_input(grid.crs).geodetic_crs is None):
        raise OutputError(
            f"`{out}` needs longitude and latitude, and the mask has no crs on the Earth",
            hint="write a .gpkg, or georeference the mask first",
        )
    if kind == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutputError(f"`{out}` needs the package pyarrow", hint="pip install pyarrow, or write a .gpkg or .fgb")
    if kind == ".shp":
        for suffix in SHAPEFILE_PARTS:
            require_writable(out.with_suffix(suffix), overwrite=overwrite)


def limits_of(out: Path) -> str | None:
    """Return what a format cannot do, in words for a warning, or None."""
    if out.suffix.lower() != ".shp":
        return None
    return (
        f"`{out.name}` and its side files hold at most 2 GB each, names of fields 10 letters, and no colours; "
        "a .gpkg has none of these limits"
    )


class PolygonLayer:
    """A GeoPackage layer that grows by batches. `path` is its file in a private folder.

    Args:
        path: the file to make.
        grid: where it lies.
        kind: geometry type, Polygon or MultiPolygon.
    """

    def __init__(self, path: Path, grid: Grid, kind: str = "Polygon") -> None:
        self.path = path
        self.kind = kind
        self.count = 0
        self._crs = crs_text(grid)
        self._begun = False

    def append(self, geometry: npt.NDArray[np.object_], columns: Columns) -> None:
        """Write a batch of WKB polygons with their attributes; the first batch, even if empty, makes the layer.

        Raises:
            OutputError: the disk is full or fails.
        """
        if self._begun and not len(geometry):
            return
        first: dict[str, Any] = {"dataset_options": {"VERSION": GPKG_VERSION}} if not self._begun else {}
        with writing(self.path), silent_without_crs():
            pyogrio.raw.write(
                self.path, geometry, list(columns.values()), np.array(list(columns), dtype=object), layer=LAYER,
                driver="GPKG", geometry_type=self.kind, crs=self._crs, promote_to_multi=False, append=self._begun,
                **first,
            )  # fmt: skip
        self._begun = True
        self.count += len(geometry)

    def finish(self, out: Path, legend: Legend) -> None:
        """Add the legend's style and check the count; `out` names the output in messages.

        Raises:
            OutputError: the disk is full or fails.
        """
        with writing(out):
            _add_style(self.path, legend)
            written = int(pyogrio.read_info(self.path, layer=LAYER, force_feature_count=True)["features"])
        if written != self.count:
            raise OutputError(f"`{out}` holds {written} of {self.count} polygons", hint="check the disk")


def crs_text(grid: Grid) -> str | None:
    """Return the grid's crs for GDAL: an EPSG code where there is one, else WKT."""
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
                (LAYER, column, legend.name[:30], qml_vector(legend), sld_vector(legend, LAYER), legend.name, DATE),
            )
            connection.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)"
                " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?, 0)",
                (DATE,),
            )
    finally:
        connection.close()


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Fix GDAL's clock while writing, and name the file in every failure."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
    try:
        yield
    except _FAILURES as error:
        cause = " ".join(str(error).split())[:200]
        raise OutputError(f"`{out}` cannot be written ({cause})", hint="check the disk's free space") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


@contextmanager
def silent_without_crs() -> Iterator[None]:
    """Silence one warning: a mask without a crs makes polygons without one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        yield
