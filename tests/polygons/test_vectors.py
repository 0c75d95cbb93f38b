"""Polygon files: what each format holds, and that it is right and repeatable."""

import errno
import importlib.util
import json
import os
import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import scipy.ndimage
import shapely
from affine import Affine

from geosemi.errors import OutputError
from geosemi.legend import ClassDef, Legend
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.vectors import limits_of

LEGEND = Legend((ClassDef(0, "wood", "#106010"), ClassDef(1, 'lake "A" <& sea>', "#2040d0")), name="two & more")
MASK = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 255]], dtype=np.uint8)
UTM = {"crs": "EPSG:32633", "transform": Affine(10, 0, 400_000, 0, -10, 5_800_000)}
DEGREES = {"crs": "EPSG:4326", "transform": Affine(0.001, 0, 13.0, 0, -0.001, 52.0)}


def vectorized(folder: Path, name: str, crs: str | None, transform: Affine) -> Path:
    mask = folder / "mask.tif"
    with rasterio.open(
        mask, "w", driver="GTiff", count=1, dtype="uint8", height=3, width=4, crs=crs, transform=transform, nodata=255
    ) as d:
        d.write(MASK, 1)
    assert polygonize(mask, folder / name, LEGEND, PolygonSettings()) == 3
    return folder / name


def read(path: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_file(path, layer=0)


def test_geopackage_is_1_3_indexed_styled_and_whole(tmp_path: Path) -> None:
    path = vectorized(tmp_path, "out.gpkg", **UTM)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA user_version").fetchone() == (10300,)
        where = "WHERE srs_id = (SELECT srs_id FROM gpkg_contents WHERE table_name = 'segments')"
        system = db.execute(
            f"SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys {where}"
        ).fetchone()
        assert system == ("EPSG", 32633)
        assert db.execute("SELECT count(*) FROM rtree_segments_geom").fetchone() == (3,)
        style = db.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleName, styleQML, styleSLD FROM layer_styles"
        ).fetchall()
        listed = dict(db.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall())
    assert len(style) == 1
    assert style[0][:4] == ("segments", "geom", 1, "two & more")
    assert "lake &quot;A&quot; &lt;&amp; sea&gt;" in style[0][4]
    assert "StyledLayerDescriptor" in style[0][5]
    assert listed == {"segments": "features", "layer_styles": "attributes"}


def test_fields_are_short_and_typed(tmp_path: Path) -> None:
    info = pyogrio.read_info(vectorized(tmp_path, "out.gpkg", **UTM), layer="segments")
    assert dict(zip(info["fields"], info["dtypes"], strict=True)) == {
        "class_id": "int32", "class_name": "object", "area_m2": "float64", "perim_m": "float64", "n_px": "int64",
    }  # fmt: skip
    assert info["geometry_type"] == "Polygon"


@pytest.mark.parametrize("name", ["out.gpkg", "out.fgb", "out.geojson", "out.shp"])
def test_two_runs_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    for k in "ab":
        (tmp_path / k).mkdir()
        vectorized(tmp_path / k, name, **UTM)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / k).iterdir()} for k in "ab")
    assert first == second
    parts = {f"out{s}" for s in (".shx", ".dbf", ".prj", ".cpg", ".qix")} if name == "out.shp" else set()
    assert set(first) == {"mask.tif", name} | parts


def test_a_shapefile_keeps_names_and_crs(tmp_path: Path) -> None:
    package = read(vectorized(tmp_path, "out.gpkg", **UTM))
    layer = read(vectorized(tmp_path, "out.shp", **UTM))
    assert list(layer.columns) == list(package.columns)
    assert layer.crs.to_epsg() == 32633
    assert layer.class_name.tolist() == package.class_name.tolist()
    assert layer.geometry.geom_equals(package.geometry).all()
    assert "2 GB" in (limits_of(tmp_path / "out.shp") or "")
    assert limits_of(tmp_path / "out.gpkg") is None


def test_a_side_file_of_a_shapefile_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "out.dbf").write_bytes(b"a table of its own")
    with pytest.raises(OutputError, match=r"out.dbf` exists") as caught:
        vectorized(tmp_path, "out.shp", **UTM)
    assert "--overwrite" in caught.value.hint
    assert (tmp_path / "out.dbf").read_bytes() == b"a table of its own"
    polygonize(tmp_path / "mask.tif", tmp_path / "out.shp", LEGEND, PolygonSettings(), overwrite=True)
    assert len(read(tmp_path / "out.shp")) == 3


@pytest.mark.parametrize("fails", [True, False])
def test_an_older_index_goes_with_the_shapefile_it_was_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    vectorized(tmp_path, "out.shp", **UTM)
    for suffix in (".sbn", ".sbx"):
        (tmp_path / "out").with_suffix(suffix).write_bytes(b"of another program")
    if fails:
        replace = os.replace

        def full(source: Path, target: Path) -> None:
            if Path(target).suffix == ".shx":
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="no space left"):
            polygonize(tmp_path / "mask.tif", tmp_path / "out.shp", LEGEND, PolygonSettings(), overwrite=True)
    else:
        polygonize(tmp_path / "mask.tif", tmp_path / "out.shp", LEGEND, PolygonSettings(), overwrite=True)
    assert [(tmp_path / f"out{s}").exists() for s in (".sbn", ".sbx")] == [fails] * 2


def test_polygons_across_the_date_line_are_split_in_geojson(tmp_path: Path) -> None:
    grid = {"crs": "EPSG:4326", "transform": Affine(0.001, 0, 179.998, 0, -0.001, 52.0)}
    content = json.loads(vectorized(tmp_path, "out.geojson", **grid).read_text())
    geometries = [shapely.geometry.shape(f["geometry"]) for f in content["features"]]
    assert all(g.bounds[0] >= -180 and g.bounds[2] <= 180 for g in geometries)
    assert sum(g.area for g in geometries) == pytest.approx(11 * 1e-6)


def test_smoothed_polygons_across_the_date_line_are_valid(tmp_path: Path) -> None:
    """Curves within half a decimal of 180° are rounded onto it: by GDAL alone, 8 of these touch themselves."""
    blobs = scipy.ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((3, 400, 200)), (0, 4, 4))
    grid = {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 179.999, 0, -1e-5, 10.0)}
    mask = tmp_path / "mask.tif"
    with rasterio.open(mask, "w", driver="GTiff", count=1, dtype="uint8", height=400, width=200, nodata=2, **grid) as d:
        d.write(blobs.argmax(axis=0).astype(np.uint8), 1)
    settings = PolygonSettings(simplify_px=1, smooth=True)
    for name in ("out.gpkg", "out.geojson"):
        polygonize(mask, tmp_path / name, LEGEND, settings)
    content = json.loads((tmp_path / "out.geojson").read_text())
    geometries = [shapely.geometry.shape(f["geometry"]) for f in content["features"]]
    assert any(g.geom_type == "MultiPolygon" for g in geometries)
    assert [shapely.is_valid_reason(g) for g in geometries if not g.is_valid] == []
    whole = read(tmp_path / "out.gpkg")
    assert [f["properties"]["n_px"] for f in content["features"]] == whole.n_px.tolist()
    np.testing.assert_allclose([g.area for g in geometries], whole.geometry.area, rtol=0.02)


def test_flatgeobuf_holds_the_same_features(tmp_path: Path) -> None:
    package = read(vectorized(tmp_path, "out.gpkg", **UTM))
    flat = read(vectorized(tmp_path, "out.fgb", **UTM))
    assert flat.crs.to_epsg() == 32633
    merged = package.merge(flat.drop(columns="geometry"), on=["class_id", "class_name", "area_m2", "perim_m", "n_px"])
    assert len(merged) == len(flat) == 3
    assert shapely.union_all(flat.geometry.to_numpy()).equals(shapely.union_all(package.geometry.to_numpy()))


def test_geojson_is_longitude_and_latitude_in_rfc_7946(tmp_path: Path) -> None:
    content = json.loads(vectorized(tmp_path, "out.geojson", **UTM).read_text())
    assert "crs" not in content
    layer = read(tmp_path / "out.geojson")
    assert layer.crs.to_epsg() == 4326
    assert all(g.exterior.is_ccw for g in layer.geometry)
    west, south, east, north = layer.total_bounds
    assert 13.5 < west < east < 13.6
    assert 52.3 < south < north < 52.4
    ring = content["features"][0]["geometry"]["coordinates"][0]
    assert all(len(str(v).partition(".")[2]) <= 7 for point in ring for v in point)
    back = layer.to_crs(32633)
    assert back.area.sum() == pytest.approx(11 * 100, rel=1e-3)


@pytest.mark.parametrize("name", ["out.gpkg", "out.fgb"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2193", "EPSG:3035"])
def test_x_is_east_even_where_the_crs_puts_north_first(tmp_path: Path, name: str, crs: str) -> None:
    grid = DEGREES if crs == "EPSG:4326" else {**UTM, "crs": crs}
    layer = read(vectorized(tmp_path, name, grid["crs"], grid["transform"]))
    t = grid["transform"]
    np.testing.assert_allclose(layer.total_bounds, (t.c, t.f + 3 * t.e, t.c + 4 * t.a, t.f), rtol=1e-12)
    assert layer.crs.to_epsg() == int(crs[5:])


def test_without_crs_units_are_those_of_the_raster(tmp_path: Path) -> None:
    layer = read(vectorized(tmp_path, "out.gpkg", None, Affine.identity()))
    assert layer.crs is None or not layer.crs.is_geographic
    assert sorted(layer.area_m2) == [1, 2, 8]


def test_a_local_crs_is_kept(tmp_path: Path) -> None:
    local = 'LOCAL_CS["pixels",UNIT["metre",1]]'
    layer = read(vectorized(tmp_path, "out.gpkg", local, Affine(0.5, 0, 0, 0, -0.5, 0)))
    assert sorted(layer.area_m2) == [0.25, 0.5, 2]
    with pytest.raises(OutputError, match="no crs on the Earth") as caught:
        vectorized(tmp_path, "out.geojson", local, Affine(0.5, 0, 0, 0, -0.5, 0))
    assert ".gpkg" in caught.value.hint


@pytest.mark.parametrize("name", ["out.dxf", "out", "out.tif"])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="no known extension") as caught:
        vectorized(tmp_path, name, **UTM)
    assert all(k in caught.value.hint for k in (".gpkg", ".fgb", ".geojson", ".parquet", ".shp"))


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_geoparquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="needs the package pyarrow") as caught:
        vectorized(tmp_path, "out.parquet", **UTM)
    assert "pip install pyarrow" in caught.value.hint


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow, an optional library")
def test_geoparquet_1_1_holds_the_same_features(tmp_path: Path) -> None:
    from pyarrow import parquet

    layer = geopandas.read_parquet(vectorized(tmp_path, "out.parquet", **UTM))
    assert layer.crs.to_epsg() == 32633
    assert sorted(layer.n_px) == [1, 2, 8]
    assert layer.is_valid.all()
    geo = json.loads(parquet.read_schema(tmp_path / "out.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert geo["columns"]["geometry"]["bbox"] == [400_000, 5_799_970, 400_040, 5_800_000]
    inside = geopandas.read_parquet(tmp_path / "out.parquet", bbox=(400_011, 5_799_981, 400_019, 5_799_989))
    assert sorted(inside.n_px) == [1, 8]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow, an optional library")
def test_geoparquet_without_polygons_or_crs(tmp_path: Path) -> None:
    layer = geopandas.read_parquet(vectorized(tmp_path, "out.parquet", None, Affine.identity()))
    assert layer.crs is None
    with rasterio.open(tmp_path / "mask.tif", "r+") as d:
        d.write(np.full_like(MASK, 255), 1)
    polygonize(tmp_path / "mask.tif", tmp_path / "none.parquet", LEGEND, PolygonSettings())
    assert len(geopandas.read_parquet(tmp_path / "none.parquet")) == 0


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist") as caught:
        vectorized(tmp_path, "nowhere/out.gpkg", **UTM)
    assert "mkdir -p" in caught.value.hint
