"""Faults found in other programs' polygons, each as a test that geosemi does not have it.

What was seen is said in each docstring, with the version it was seen in.
"""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import shapes as gdal_shapes
from test_polygons import LEGEND, patches, write_mask
from test_polygons_coverage import LEGEND_4, blobs

from geosemi.legend import Legend
from geosemi.polygons.polygonize import PolygonSettings, polygonize


def made(mask: Path, out: Path, legend: Legend = LEGEND, **settings: object) -> geopandas.GeoDataFrame:
    polygonize(mask, out, legend, PolygonSettings(**settings))
    return geopandas.read_file(out, layer=0)


@pytest.mark.parametrize("rows", [1, 64, 128, 300])
def test_ftw_one_field_stays_one_polygon(tmp_path: Path, rows: int) -> None:
    """FTW (main, 2026-08) cut one field of 300² pixels at stride 128 into 9 polygons; 179 too many on 6000²."""
    mask = np.full((300, 300), 255, np.uint8)
    mask[3:297, 3:297] = 1
    assert len(made(write_mask(tmp_path / "mask.tif", mask), tmp_path / "map.gpkg", band_rows=rows)) == 1


def test_ftw_class_0_is_no_nodata(tmp_path: Path) -> None:
    """FTW's masks say nodata = 0, which is its class `background`: it vanishes."""
    mask = np.array([[0, 0, 1], [0, 1, 1]], np.uint8)
    layer = made(write_mask(tmp_path / "mask.tif", mask), tmp_path / "map.gpkg")
    assert sorted(layer.class_name) == ["lake & sea", "wood"]


def test_ftw_a_mask_without_crs_is_no_attribute_error(tmp_path: Path) -> None:
    """FTW: AttributeError, 'NoneType' object has no attribute 'to_string'."""
    path = write_mask(tmp_path / "mask.tif", patches(1), Affine(2, 0, 100, 0, -2, 100), crs=None)
    layer = made(path, tmp_path / "map.gpkg")
    assert layer.is_valid.all()
    assert layer.area_m2.sum() == 4 * (patches(1) != 255).sum()


def test_samgeo_and_geo_inference_class_0_has_polygons(tmp_path: Path) -> None:
    """samgeo 1.4.2 and geo-inference 3.2.4 left class 0 out: 62,564 of 74,877 polygons."""
    mask = blobs(120, 9)
    layer = made(write_mask(tmp_path / "mask.tif", mask), tmp_path / "map.gpkg", LEGEND_4)
    assert layer[layer.class_id == 0].n_px.sum() == (mask == 0).sum() > 0


@pytest.mark.parametrize("rows", [1, 50, 200])
def test_every_program_that_joins_tiles_the_count_is_that_of_four_neighbours(tmp_path: Path, rows: int) -> None:
    """The count of GDAL's polygonize over the whole raster, whatever the height of the bands."""
    mask = patches(5, 200, 200)
    want = sum(1 for _ in gdal_shapes(mask, mask=mask != 255, connectivity=4))
    path = write_mask(tmp_path / "mask.tif", mask)
    for way in ({}, {"simplify_px": 2.0}):
        out = tmp_path / f"map{len(way)}.gpkg"
        assert polygonize(path, out, LEGEND, PolygonSettings(band_rows=rows, **way)) == want


@pytest.mark.parametrize("rows", [37, 512])
def test_xarray_spatial_polygons_joined_over_chunks_are_valid(tmp_path: Path, rows: int) -> None:
    """xarray-spatial 0.10.20 with Dask: 74 invalid polygons where chunks met."""
    layer = made(write_mask(tmp_path / "mask.tif", patches(6, 300, 300)), tmp_path / "map.gpkg", band_rows=rows)
    assert layer.is_valid.all()


def test_xarray_spatial_simplifying_loses_no_polygon(tmp_path: Path) -> None:
    """xarray-spatial 0.10.20, `simplify_tolerance=0.1`: 58,834 of 74,877 polygons were left, 1,141 of them invalid."""
    path = write_mask(tmp_path / "mask.tif", patches(7, 150, 150))
    exact = made(path, tmp_path / "exact.gpkg")
    for k, tolerance in enumerate((0.1, 2.0, 8.0)):
        layer = made(path, tmp_path / f"{k}.gpkg", simplify_px=tolerance)
        assert layer.n_px.tolist() == exact.n_px.tolist()
        assert layer.class_id.tolist() == exact.class_id.tolist()
        assert layer.is_valid.all()
        assert (layer.area > 0).all()


def test_xarray_spatial_the_crs_is_kept(tmp_path: Path) -> None:
    """xarray-spatial 0.5.3: `gdf.crs is None`."""
    path = write_mask(tmp_path / "mask.tif", patches(8))
    for name in ("map.gpkg", "map.fgb", "map.shp"):
        assert made(path, tmp_path / name).crs.to_epsg() == 32633


def test_all_peers_neighbours_simplified_apart_leave_gaps_and_overlaps(tmp_path: Path) -> None:
    """All simplify polygon by polygon: 153.9 m² of holes and 117.7 m² of overlap on 10,000 m² with 2 pixels."""
    mask = blobs(300, 31)
    path = write_mask(tmp_path / "mask.tif", mask)
    exact = made(path, tmp_path / "exact.gpkg", LEGEND_4)
    apart = shapely.simplify(exact.geometry.to_numpy(), 1.0)
    assert not shapely.coverage_is_valid(apart)  # the fault is there to be had
    layer = made(path, tmp_path / "map.gpkg", LEGEND_4, simplify_px=2.0)
    together = layer.geometry.to_numpy()
    assert shapely.coverage_is_valid(together)
    assert shapely.union_all(together).area == pytest.approx(mask.size * 0.25, rel=1e-9)
    assert shapely.area(together).sum() == pytest.approx(mask.size * 0.25, rel=1e-9)


def test_ftw_small_ones_leave_no_holes(tmp_path: Path) -> None:
    """FTW's least size drops polygons: their place is empty."""
    mask = blobs(200, 5)
    path = write_mask(tmp_path / "mask.tif", mask)
    layer = made(path, tmp_path / "map.gpkg", LEGEND_4, min_area_m2=20.0)
    assert layer.area_m2.min() >= 20
    assert layer.n_px.sum() == mask.size


def test_areas_are_never_those_of_web_mercator(tmp_path: Path) -> None:
    """What users complain of: areas measured in EPSG:3857, four times the truth at 60° north."""
    place = Affine(10, 0, 1_000_000, 0, -10, 8_399_738)  # 60° north
    layer = made(
        write_mask(tmp_path / "mask.tif", np.zeros((10, 10), np.uint8), place, crs="EPSG:3857"), tmp_path / "m.gpkg"
    )
    assert layer.area[0] == pytest.approx(10_000)
    assert layer.area_m2[0] == pytest.approx(2_500, rel=0.01)


def test_raster_vision_polygons_have_attributes(tmp_path: Path) -> None:
    """raster-vision 0.31.1: geometry and nothing else."""
    layer = made(write_mask(tmp_path / "mask.tif", patches(2)), tmp_path / "map.gpkg")
    assert list(layer.columns) == ["class_id", "class_name", "area_m2", "perim_m", "n_px", "geometry"]
    assert not layer.isna().any().any()
