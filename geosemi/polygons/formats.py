"""From the GeoPackage that polygons are collected in to the format of the output.

The drivers of the other formats cannot append, so each is made at the end by a stream of batches: no format needs the
whole layer in memory.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyogrio
import pyogrio.raw

from geosemi.errors import OutputError
from geosemi.geo.commit import naming_disk
from geosemi.geo.grid import Grid
from geosemi.polygons.geojson import with_valid_polygons
from geosemi.polygons.geoparquet import to_geoparquet
from geosemi.polygons.vectors import DATE, LAYER, SHAPEFILE_PARTS, PolygonLayer, crs_text, silent_without_crs, writing

_FINE_PIXEL = 0.1  # metres; RFC 7946 advises 7 decimals of a degree, 1 cm: too coarse for finer pixels
_BATCH = 4096
_SHAPEFILE_LIMIT = 2 * 2**30
# Esri's index: of an older file of the same name it would point at the wrong polygons
_SHAPEFILE_STALE = (".sbn", ".sbx")


def convert(layer: PolygonLayer, out: Path, grid: Grid) -> dict[Path, Path]:
    """Make the format of `out` in the layer's folder.

    Returns:
        finished file → final path, side files first, as `commit.publish` takes them.

    Raises:
        OutputError: the disk is full or fails, or the format cannot hold so much.
    """
    with writing(out):
        return _CONVERTERS[out.suffix.lower()](layer, out, grid)


def discard_stale(out: Path) -> None:
    """Remove, once an output is published, the index that other programs made of an older Shapefile of this name."""
    if out.suffix.lower() == ".shp":
        for suffix in _SHAPEFILE_STALE:
            naming_disk(out, partial(out.with_suffix(suffix).unlink, missing_ok=True))


def _keep(layer: PolygonLayer, out: Path, _grid: Grid) -> dict[Path, Path]:
    return {layer.path: out}


def _to_fgb(layer: PolygonLayer, out: Path, grid: Grid) -> dict[Path, Path]:
    options = {"SPATIAL_INDEX": "YES", "TEMPORARY_DIR": str(layer.path.parent)}
    return {_stream(layer, ".fgb", grid, driver="FlatGeobuf", layer_options=options): out}


def _to_geojson(layer: PolygonLayer, out: Path, grid: Grid) -> dict[Path, Path]:
    decimals = 7 if (grid.metres_per_pixel() or 1.0) >= _FINE_PIXEL else 9
    options = {"RFC7946": "YES", "COORDINATE_PRECISION": str(decimals)}
    written = _stream(layer, ".geojson", grid, driver="GeoJSON", layer_options=options)
    return {with_valid_polygons(written, decimals): out}


def _to_parquet(layer: PolygonLayer, out: Path, grid: Grid) -> dict[Path, Path]:
    target = layer.path.with_suffix(".parquet")
    to_geoparquet(layer, target, grid)
    return {target: out}


def _to_shapefile(layer: PolygonLayer, out: Path, grid: Grid) -> dict[Path, Path]:
    options = {
        "ENCODING": "UTF-8",
        "SPATIAL_INDEX": "YES",
        "DBF_DATE_LAST_UPDATE": DATE[:10],  # else today: the same polygons would never be the same bytes
    }
    # a ring of n points takes 16 n bytes here as in the GeoPackage, whose file is larger by what else it holds
    if layer.path.stat().st_size > _SHAPEFILE_LIMIT:
        raise OutputError(f"`{out}` would be larger than the 2 GB of a Shapefile", hint="write a .gpkg or .fgb")
    main = _stream(layer, ".shp", grid, driver="ESRI Shapefile", layer_options=options)
    parts = [p for p in (main.with_suffix(suffix) for suffix in SHAPEFILE_PARTS) if p.exists()]
    return {p: out.with_suffix(p.suffix) for p in parts} | {main: out}


_CONVERTERS: dict[str, Callable[[PolygonLayer, Path, Grid], dict[Path, Path]]] = {
    ".gpkg": _keep,
    ".fgb": _to_fgb,
    ".geojson": _to_geojson,
    ".parquet": _to_parquet,
    ".shp": _to_shapefile,
}


def _stream(layer: PolygonLayer, suffix: str, grid: Grid, **options: Any) -> Path:
    target = layer.path.with_suffix(suffix)
    with (
        pyogrio.raw.open_arrow(layer.path, layer=LAYER, use_pyarrow=False, batch_size=_BATCH) as (meta, batches),
        silent_without_crs(),
    ):
        pyogrio.raw.write_arrow(
            batches, target, layer=LAYER, geometry_name=meta["geometry_name"] or "wkb_geometry",
            geometry_type=layer.kind, crs=crs_text(grid), **options,
        )  # fmt: skip
    return target
