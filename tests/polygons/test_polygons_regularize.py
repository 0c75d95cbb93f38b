"""Right angles for buildings."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes
from test_polygons import GROUND, LEGEND, patches, write_mask

from geosemi.errors import LegendError
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.regularize import direction, squared

ROOM = shapely.box(-100, -100, 200, 200)
PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)


def corners_of(polygon: shapely.Polygon) -> np.ndarray:
    """Angle of every corner of the shell, degrees."""
    points = shapely.get_coordinates(polygon.exterior)[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    cosine = (before * after).sum(axis=1) / np.hypot(*before.T) / np.hypot(*after.T)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def house(turn: float) -> shapely.Polygon:
    """Return an L of 40 by 30, turned."""
    shape = shapely.Polygon([(0, 0), (40, 0), (40, 15), (18, 15), (18, 30), (0, 30)])
    return shapely.affinity.translate(shapely.affinity.rotate(shape, turn, origin=(0, 0)), 60.3, 40.7)


@given(turn=st.floats(0, 90))
@settings(max_examples=60, deadline=None)
def test_an_l_comes_back_from_its_pixels(turn: float) -> None:
    truth = house(turn)
    pixels = rasterize([(truth, 1)], (130, 130), dtype=np.uint8)
    jagged = next(shapely.geometry.shape(g) for g, v in shapes(pixels, mask=pixels == 1))
    found = squared(np.array([jagged], dtype=object), 2.0, ROOM)[0]
    np.testing.assert_allclose(corners_of(found), 90, atol=1e-6)
    assert len(found.exterior.coords) - 1 <= 10
    assert found.intersection(truth).area / found.union(truth).area > 0.9


@given(turn=st.floats(0, 89.9))
@settings(max_examples=60, deadline=None)
def test_the_direction_is_that_of_the_walls(turn: float) -> None:
    apart = abs(np.degrees(direction(house(turn))) - turn) % 90
    assert min(apart, 90 - apart) <= 0.26  # directions are tried every half degree


def test_a_round_one_stays_round_or_is_much_alike() -> None:
    disc = shapely.Point(50, 50).buffer(20)
    ring = disc.difference(shapely.Point(50, 50).buffer(17))
    found = squared(np.array([disc, ring], dtype=object), 1.0, ROOM)
    for before, after in zip((disc, ring), found, strict=True):
        assert after.is_valid
        assert after.intersection(before).area / after.union(before).area >= 0.7


def test_a_courtyard_stays() -> None:
    block = shapely.box(0, 0, 50, 40).difference(shapely.box(15, 12, 35, 28))
    found = squared(np.array([shapely.affinity.rotate(block, 20)], dtype=object), 2.0, ROOM)[0]
    assert len(found.interiors) == 1
    assert found.area == pytest.approx(block.area, rel=0.01)


def test_buildings_at_the_rim_stay_on_the_raster(tmp_path: Path) -> None:
    """A turned building that the rim cuts has a wall there that follows no direction of its own."""
    mask = np.zeros((130, 130), np.uint8)
    for k, (x, y) in enumerate([(-75, 10), (0, -55), (50, -10), (0, 75)]):
        moved = shapely.affinity.translate(house(7 + 11 * k), x, y)
        mask[rasterize([(moved, 1)], mask.shape) == 1] = 2
    rim = [mask[0], mask[-1], mask[:, 0], mask[:, -1]]
    assert all((side == 2).any() for side in rim)
    path = write_mask(tmp_path / "mask.tif", mask, PLACE)
    polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(regularize=("road",)))
    layer = geopandas.read_file(tmp_path / "a.gpkg", layer="segments")
    assert layer.is_valid.all()
    west, north = PLACE * (0, 0)
    east, south = PLACE * (130, 130)
    bounds = layer.total_bounds
    assert (bounds >= [west, south, west, south]).all()
    assert (bounds <= [east, north, east, north]).all()
    exact = sum(shapely.geometry.shape(g).area for g, v in shapes(mask, mask=mask == 2)) * 0.25
    assert layer[layer.class_name == "road"].area.sum() == pytest.approx(exact, rel=0.1)


def test_only_the_class_that_was_named_changes(tmp_path: Path) -> None:
    mask = np.full((130, 130), 0, np.uint8)
    mask[rasterize([(house(25), 1)], (130, 130)) == 1] = 2
    mask[5:20, 5:90] = 1
    path = write_mask(tmp_path / "mask.tif", mask, PLACE)
    polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(regularize=("road",)))
    polygonize(path, tmp_path / "b.gpkg", LEGEND, PolygonSettings())
    layer, exact = (geopandas.read_file(tmp_path / f"{n}.gpkg", layer="segments") for n in "ab")
    assert layer.class_name.tolist() == exact.class_name.tolist()
    same = layer.geometry.geom_equals(exact.geometry)
    assert same.tolist() == (layer.class_name != "road").tolist()
    road = layer[layer.class_name == "road"].iloc[0]
    np.testing.assert_allclose(corners_of(road.geometry), 90, atol=1e-3)
    assert road.area_m2 == pytest.approx(road.geometry.area * GROUND, rel=3e-6)
    assert road.n_px == (mask == 2).sum()
    assert all(g.exterior.is_ccw for g in layer.geometry)


def test_angles_are_right_on_the_ground_where_pixels_are_not_square(tmp_path: Path) -> None:
    place = Affine(2e-5, 0, 10, 0, -1e-5, 60)  # about 1.1 m each way
    mask = rasterize([(house(30), 1)], (130, 130)).astype(np.uint8)
    path = write_mask(tmp_path / "mask.tif", mask, place, crs="EPSG:4326")
    polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(regularize=("lake & sea",)))
    layer = geopandas.read_file(tmp_path / "a.gpkg", layer="segments").to_crs(32632)
    np.testing.assert_allclose(corners_of(layer[layer.class_id == 1].geometry.iloc[0]), 90, atol=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_noise_gives_valid_polygons_for_every_band_height(tmp_path: Path, seed: int) -> None:
    path = write_mask(tmp_path / "mask.tif", patches(seed))
    for rows in (7, 512):
        way = PolygonSettings(regularize=("wood", "road"), simplify_px=1.0, band_rows=rows)
        polygonize(path, tmp_path / f"{rows}.gpkg", LEGEND, way)
    layer = geopandas.read_file(tmp_path / "7.gpkg", layer="segments")
    assert layer.is_valid.all()
    assert (tmp_path / "7.gpkg").read_bytes() == (tmp_path / "512.gpkg").read_bytes()


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", patches(1))
    with pytest.raises(LegendError, match="`shed` is no class of `legend`") as caught:
        polygonize(path, tmp_path / "a.gpkg", LEGEND, PolygonSettings(regularize=("shed",)))
    assert "`wood`" in caught.value.hint
    assert not (tmp_path / "a.gpkg").exists()
