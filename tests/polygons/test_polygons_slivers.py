"""`min_area_m2`: small patches join the neighbour they share the longest edge with, for every band height."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.crs import CRS
from test_polygons import GROUND, LEGEND, patches, write_mask
from test_polygons_confidence import labels_of

from geosemi.geo.grid import Grid
from geosemi.polygons.measure import pixel_area
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.slivers import RunSizes, Slivers, run_sizes
from geosemi.polygons.tracing import OUTSIDE

masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 0, 1, 1, 2, OUTSIDE])
)


def by_pixels(limit: int, edges: tuple[float, float] = (1.0, 1.0)) -> RunSizes:
    return RunSizes(lambda _row, _col, length: length, limit, edges)


def streamed(mask: np.ndarray, sizes: RunSizes, rows: int) -> np.ndarray:
    slivers = Slivers(mask.shape[1], sizes)
    done = [d for k in range(0, len(mask), rows) for d in slivers.feed(mask[k : k + rows])]
    return np.concatenate([*done, slivers.finish()])


def shared(mask: np.ndarray, inside: np.ndarray, edges: tuple[float, float]) -> dict[int, float]:
    """Length of the edges that a patch shares with each class."""
    lengths: dict[int, float] = {}
    for turned, length in ((False, edges[0]), (True, edges[1])):
        pixels, mine = (mask.T, inside.T) if turned else (mask, inside)
        for upper, lower in ((pixels[:-1][mine[1:] & ~mine[:-1]], None), (None, pixels[1:][mine[:-1] & ~mine[1:]])):
            for value in (upper if lower is None else lower).tolist():
                lengths[value] = lengths.get(value, 0) + length
    return {v: n for v, n in lengths.items() if v != OUTSIDE}


def one_by_one(mask: np.ndarray, limit: int, edges: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """The definition: the smallest patch first, anew after every merge."""
    mask = mask.copy()
    while True:
        labels = labels_of(mask)
        small = sorted((n, k) for k in range(labels.max() + 1) if (n := int((labels == k).sum())) < limit)
        for _, k in small:
            lengths = shared(mask, labels == k, edges)
            if lengths:
                mask[labels == k] = min(lengths, key=lambda v: (-lengths[v], v))
                break
        else:
            return mask


@given(mask=masks, limit=st.integers(1, 12), rows=st.integers(1, 12), wide=st.sampled_from([1.0, 2.0, 0.5]))
@settings(max_examples=150, deadline=None)
def test_streaming_gives_what_merging_one_by_one_gives(mask: np.ndarray, limit: int, rows: int, wide: float) -> None:
    want = one_by_one(mask, limit, (wide, 1.0))
    np.testing.assert_array_equal(streamed(mask, by_pixels(limit, (wide, 1.0)), rows), want)


@pytest.mark.parametrize("limit", [5, 60])
def test_large_masks_do_not_depend_on_the_band_height(limit: int) -> None:
    mask = patches(1, 300, 401)
    whole = streamed(mask, by_pixels(limit), 300)
    for rows in (1, 17, 128):
        np.testing.assert_array_equal(streamed(mask, by_pixels(limit), rows), whole)
    labels = labels_of(whole)
    assert np.bincount(labels[labels >= 0]).min() >= limit
    np.testing.assert_array_equal(whole == OUTSIDE, mask == OUTSIDE)


def test_rows_leave_while_others_come() -> None:
    mask = np.random.default_rng(0).integers(0, 3, (2000, 50)).astype(np.uint8)  # noise: every patch is small
    slivers = Slivers(50, by_pixels(30))
    gone = 0
    for k in range(0, 2000, 100):
        gone += sum(len(d) for d in slivers.feed(mask[k : k + 100]))
        assert k + 100 - gone < 150


def test_no_hole_and_no_polygon_below_the_least(tmp_path: Path) -> None:
    mask = patches(7)
    path = write_mask(tmp_path / "mask.tif", mask)
    everything = polygonize(path, tmp_path / "all.gpkg", LEGEND, PolygonSettings())
    for rows in (5, 512):
        settings = PolygonSettings(min_area_m2=2.0, band_rows=rows)
        some = polygonize(path, tmp_path / f"{rows}.gpkg", LEGEND, settings)
    layer = geopandas.read_file(tmp_path / "5.gpkg", layer="segments")
    assert 0 < some == len(layer) < everything
    assert layer.area_m2.min() >= 2.0
    assert layer.n_px.sum() == (mask != 255).sum()
    assert layer.is_valid.all()
    assert (tmp_path / "5.gpkg").read_bytes() == (tmp_path / "512.gpkg").read_bytes()


def test_the_least_itself_is_large_enough(tmp_path: Path) -> None:
    mask = np.zeros((6, 9), np.uint8)
    mask[1:3, 1:3], mask[1:3, 5:8] = 1, 1  # 4 and 6 pixels of 0.25 m² on the map
    path = write_mask(tmp_path / "mask.tif", mask)
    assert polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(min_area_m2=GROUND - 1e-5)) == 3
    assert polygonize(path, tmp_path / "b.gpkg", LEGEND, PolygonSettings(min_area_m2=GROUND + 1e-5)) == 2


def test_an_island_in_nodata_stays(tmp_path: Path) -> None:
    mask = np.full((5, 5), 255, np.uint8)
    mask[2, 2] = 1
    path = write_mask(tmp_path / "mask.tif", mask)
    assert polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(min_area_m2=100.0)) == 1


def test_confidence_counts_the_pixels_of_the_merged_polygon(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 1] = 1
    path = write_mask(tmp_path / "mask.tif", mask)
    with rasterio.open(path) as d:
        profile = d.profile
    with rasterio.open(tmp_path / "sure.tif", "w", **profile) as d:
        d.write(np.where(mask == 1, 254, 0).astype(np.uint8), 1)
    polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(min_area_m2=1), confidence=tmp_path / "sure.tif")
    layer = geopandas.read_file(tmp_path / "a.gpkg", layer="segments")
    assert layer.conf.tolist() == [1 / 16]


def test_degrees_are_measured_on_the_ellipsoid() -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.001, 0, 10, 0, -0.001, 60.002), 4, 4)
    sizes = run_sizes(grid, 6220.0)
    across, along = sizes.edges
    assert across == pytest.approx(55.8, abs=0.1)
    assert along == pytest.approx(111.4, abs=0.1)
    row = np.array([1, 1, 0])
    areas = sizes.of(row, np.array([0, 2, 0]), np.array([1, 2, 1])) / sizes.limit * 6220.0
    assert areas[0] == pytest.approx(6216.71, abs=0.2)  # as pyproj says; one part of 65,536 is 0.1 m²
    assert areas[1] == pytest.approx(2 * areas[0], rel=1e-4)
    assert areas[2] < areas[0]


@pytest.mark.parametrize("least", [0.1, 0.25, 0.3, 0.7, 1.0, 2.2])
def test_the_limit_in_pixels_agrees_with_the_area(least: float) -> None:
    grid = Grid(CRS.from_epsg(32633), Affine(0.1, 0, 4e5, 0, -0.1, 5e6), 4, 4)
    limit = run_sizes(grid, least).limit
    pixel = pixel_area(grid)
    assert (limit - 1) * pixel < least <= limit * pixel
