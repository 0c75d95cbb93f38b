"""The one place where vector files of others are opened: a format by its first bytes, not by what OGR makes of them.

OGR, like GDAL, chooses a driver by content: a text file named `area.geojson` that holds VRT XML opens other files.
"""

from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from geosemi.errors import SceneUnreadable
from geosemi.geo.gate import head_of

SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
POLYGONS = ("Polygon", "MultiPolygon")
_MAGIC = {".gpkg": b"SQLite format 3\0", ".geojson": b"{", ".json": b"{", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb"}


def read_polygons(path: Path) -> gpd.GeoDataFrame:
    """Return the polygons of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf; lines, points and empty ones are left out.

    Raises:
        SceneUnreadable: the file is missing, of another format, damaged, holds no polygons, or several layers of them.
    """
    # lines and points would be burnt one pixel wide; they are no areas
    found = {name: frame[frame.geom_type.isin(POLYGONS)] for name, frame in read_layers(path).items()}
    found = {name: frame for name, frame in found.items() if not frame.empty}
    if not found:
        raise SceneUnreadable(f"`{path}` holds no polygons", hint="export the layer again, as polygons")
    if len(found) > 1:  # which of them is meant, labels or the outline of the project, no program can know
        names = ", ".join(f"`{name}`" for name in found)
        raise SceneUnreadable(
            f"`{path}` holds polygons in {len(found)} layers: {names}",
            hint=f"keep the one that is meant, e.g. `ogr2ogr one.gpkg {path.name} {next(iter(found))}`",
        )
    return next(iter(found.values()))


def read_layers(path: Path) -> dict[str, gpd.GeoDataFrame]:
    """Return polygons, lines and points of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf, by layer.

    Empty shapes, layers without shapes and tables without geometry, such as styles, are left out.

    Raises:
        SceneUnreadable: the file is missing, of another format, damaged, or holds no shapes.
    """
    if not path.is_file():
        raise SceneUnreadable(f"`{path}` does not exist", hint="check the path")
    magic = _MAGIC.get(path.suffix.lower())
    if magic is None:
        raise SceneUnreadable(
            f"`{path}` has no extension of a vector file", hint=f"give one of {', '.join(SUFFIXES)}: export it in QGIS"
        )
    unreadable = SceneUnreadable(f"`{path}` is no readable vector file", hint="open it in QGIS and export it again")
    if not head_of(path).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(magic):
        raise unreadable
    try:
        names = [str(name) for name, kind in pyogrio.list_layers(path).tolist() if kind is not None]
        frames = {name: pyogrio.read_dataframe(path, layer=name) for name in names}
    except (DataSourceError, DataLayerError) as error:
        raise unreadable from error
    found = {
        name: frame[frame.geom_type.notna() & ~frame.is_empty]
        for name, frame in frames.items()
        if isinstance(frame, gpd.GeoDataFrame)
    }
    found = {name: frame for name, frame in found.items() if not frame.empty}
    if not found:
        raise SceneUnreadable(f"`{path}` holds no polygons", hint="export the layer again, as polygons")
    return found
