"""The one place where vector files of others are opened: a format by its first bytes, not by what OGR makes of them.

OGR, like GDAL, chooses a driver by content: a text file named `area.geojson` that holds VRT XML opens other files.
"""

from pathlib import Path

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataSourceError

from geosemi.errors import SceneUnreadable
from geosemi.geo.gate import head_of

SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
POLYGONS = ("Polygon", "MultiPolygon")
_MAGIC = {".gpkg": b"SQLite format 3\0", ".geojson": b"{", ".json": b"{", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb"}


def read_polygons(path: Path) -> gpd.GeoDataFrame:
    """Return the polygons of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf; lines, points and empty ones are left out.

    Raises:
        SceneUnreadable: the file is missing, of another format, damaged, or holds no polygons.
    """
    # lines and points would be burnt one pixel wide; they are no areas
    frame = read_shapes(path)
    frame = frame[frame.geom_type.isin(POLYGONS)]
    if frame.empty:
        raise SceneUnreadable(f"`{path}` holds no polygons", hint="export the layer again, as polygons")
    return frame


def read_shapes(path: Path) -> gpd.GeoDataFrame:
    """Return polygons, lines and points of a GeoPackage, GeoJSON, Shapefile or FlatGeobuf; empty ones are left out.

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
        frame = pyogrio.read_dataframe(path, layer=0)  # our own GeoPackages have a second one, with styles
    except DataSourceError as error:
        raise unreadable from error
    if isinstance(frame, gpd.GeoDataFrame):  # a table without geometry is a plain DataFrame
        frame = frame[frame.geom_type.notna() & ~frame.is_empty]
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty:
        raise SceneUnreadable(f"`{path}` holds no polygons", hint="export the layer again, as polygons")
    return frame
