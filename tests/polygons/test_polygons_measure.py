"""Areas and perimeters: closed forms and pyproj's geodesics as oracle."""

import math

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from geosemi.geo.grid import Grid
from geosemi.polygons.measure import measure
from geosemi.polygons.rings import Shapes
from geosemi.polygons.tracing import Tracer

WGS84 = Geod(ellps="WGS84")


def traced(mask: np.ndarray) -> Shapes:
    tracer = Tracer(mask.shape[1])
    return Shapes.concatenate([*tracer.feed(mask), tracer.finish()])


def sizes(crs: str | None, transform: Affine, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grid = Grid(CRS.from_user_input(crs) if crs else None, transform, *mask.shape)
    return measure(traced(mask), grid)


def one(height: int = 1, width: int = 1) -> np.ndarray:
    return np.zeros((height, width), dtype=np.uint8)


def test_a_thousandth_of_a_degree_at_60_north() -> None:
    area, perimeter = sizes("EPSG:4326", Affine(0.001, 0, 10.0, 0, -0.001, 60.001), one())
    assert area[0] == pytest.approx(6216.71, abs=0.005)
    assert perimeter[0] == pytest.approx(334.4, abs=0.1)


@pytest.mark.parametrize("latitude", [-75.0, -33.0, 0.0, 52.0, 84.0])
@pytest.mark.parametrize("turn", [0, 20])
def test_degrees_agree_with_geodesics(latitude: float, turn: float) -> None:
    transform = Affine.translation(179.999, latitude) @ Affine.rotation(turn) @ Affine.scale(1e-4, -1e-4)
    mask = np.random.default_rng(0).integers(0, 2, (12, 12)).astype(np.uint8)
    shapes = traced(mask)
    areas, perimeters = sizes("EPSG:4326", transform, mask)
    for k in range(len(shapes)):
        want_area = want_length = 0.0
        for r in range(shapes.polygons[k], shapes.polygons[k + 1]):
            lon, lat = transform * shapes.corners[shapes.rings[r] : shapes.rings[r + 1]].astype(float).T
            area, length = WGS84.polygon_area_perimeter(lon, lat)
            want_area += area
            want_length += length
        assert areas[k] == pytest.approx(abs(want_area), rel=1e-5)
        assert perimeters[k] == pytest.approx(want_length, rel=1e-5)


def test_web_mercator_is_measured_on_the_ground() -> None:
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(10.0, 60.0)
    area, perimeter = sizes("EPSG:3857", Affine(10, 0, x, 0, -10, y), one(20, 30))
    assert area[0] < 0.26 * 60_000
    corners = [(x, y), (x + 300, y), (x + 300, y - 200), (x, y - 200)]
    lon, lat = zip(*(Transformer.from_crs(3857, 4326, always_xy=True).transform(*c) for c in corners), strict=True)
    want_area, want_length = WGS84.polygon_area_perimeter(lon, lat)
    assert area[0] == pytest.approx(abs(want_area), rel=1e-6)
    assert perimeter[0] == pytest.approx(want_length, rel=1e-6)


def test_a_web_mercator_strip_round_the_world_and_across_the_date_line() -> None:
    half = math.pi * 6378137
    whole, _ = sizes("EPSG:3857", Affine(half / 4, 0, -half, 0, -half / 4, half / 4), one(2, 8))
    shifted, _ = sizes("EPSG:3857", Affine(half / 4, 0, 0, 0, -half / 4, half / 4), one(2, 8))
    lat = math.radians(Transformer.from_crs(3857, 4326, always_xy=True).transform(0, half / 4)[1])
    sphere_like = 4 * math.pi * 6371007.18**2 * math.sin(lat)  # authalic sphere; the ellipsoid differs by 0.4 %
    assert whole[0] == pytest.approx(sphere_like, rel=0.01)
    assert shifted[0] == pytest.approx(whole[0], rel=1e-9)


def test_the_whole_earth() -> None:
    area, _ = sizes("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), one(180, 360))
    assert area[0] == pytest.approx(510_065_621_724_088.4, rel=1e-12)  # WGS 84, published to the square metre


def test_utm_counts_pixels() -> None:
    mask = one(5, 7)
    mask[2, 3] = 1
    area, perimeter = sizes("EPSG:32633", Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000), mask)
    assert area.tolist() == [0.25, 34 * 0.25]
    assert perimeter.tolist() == [2.0, 12 + 2.0]


def test_feet_become_metres() -> None:
    foot = 1200 / 3937  # EPSG:2263 is in US survey feet
    area, perimeter = sizes("EPSG:2263", Affine(2, 0, 980_000, 0, -2, 200_000), one(10, 10))
    assert area[0] == pytest.approx(400 * foot**2, rel=1e-12)
    assert perimeter[0] == pytest.approx(80 * foot, rel=1e-12)


def test_a_map_that_distorts_areas_is_measured_in_an_equal_area_one() -> None:
    """Polar stereographic at 40° north gives 1.4 times the area; the oracle is a geodesic polygon."""
    crs, transform = "EPSG:3995", Affine(1000, 0, 5_200_000, 0, -1000, 100_000)
    area, perimeter = sizes(crs, transform, one(8, 9))
    corners = [transform * c for c in ((0, 0), (9, 0), (9, 8), (0, 8))]
    lon, lat = zip(*(Transformer.from_crs(crs, 4326, always_xy=True).transform(*c) for c in corners), strict=True)
    want_area, want_length = WGS84.polygon_area_perimeter(lon, lat)
    assert abs(area[0] - 72e6) > 5e6
    assert area[0] == pytest.approx(abs(want_area), rel=1e-4)
    assert perimeter[0] == pytest.approx(want_length, rel=1e-4)


def test_without_crs_and_in_a_local_one_the_plane_counts() -> None:
    assert sizes(None, Affine(2, 0, 0, 0, 3, 0), one())[0].tolist() == [6.0]
    area, perimeter = sizes('LOCAL_CS["site",UNIT["foot",0.3048]]', Affine(1, 0, 0, 0, -1, 0), one())
    assert area[0] == pytest.approx(0.3048**2)
    assert perimeter[0] == pytest.approx(4 * 0.3048)


def test_no_polygons_have_no_sizes() -> None:
    area, perimeter = sizes("EPSG:4326", Affine(0.1, 0, 0, 0, -0.1, 0), np.full((2, 2), 255, dtype=np.uint8))
    assert len(area) == len(perimeter) == 0
