"""Affine 2 and Affine 3 in one form: the same numbers as theirs, and no word of either's operators."""

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import EdgeSegmenter, bundle_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import transforms

import geosemi
from geosemi.geo.affines import applied, composed


@pytest.mark.filterwarnings("ignore:Use `@` matmul")
@given(transforms(), transforms(), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_products_are_those_of_the_library_to_the_last_bit(outer, inner, x, y):
    assert composed(outer, inner) == outer * inner
    assert applied(outer, x, y) == outer * (x, y)
    many = applied(inner, np.array([x, y]), np.array([y, x]))
    np.testing.assert_array_equal(np.stack(many, axis=1), [inner * (x, y), inner * (y, x)])


def test_mapping_a_scene_warns_of_no_operator(make_scene, tmp_path):
    scene = make_scene(height=90, width=80, transform=Affine(0.5, 0, 450_000, 0, -0.5, 40_000))
    area = tmp_path / "area.geojson"
    with rasterio.open(scene) as dataset:
        west, south, east, north = rasterio.warp.transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    ring = f"[[{west}, {south}], [{east}, {south}], [{east}, {north}], [{west}, {south}]]"
    area.write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')
    bundle = bundle_of(EdgeSegmenter(), resolution=0.8)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Use `@` matmul")
        mask = geosemi.predict(scene, bundle, device="cpu", tile=32, resolution="model", aoi=area)
        stac = {"stac": tmp_path / "m.json", "taken": "2024-06-01"}
        geosemi.predict(scene, bundle, out=tmp_path / "m.tif", device="cpu", tile=32, **stac)
    assert mask.shape == (90, 80)
