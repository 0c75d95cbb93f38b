"""Areas and perimeters: closed forms and pyproj's geodesics as oracle."""

import math
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from geosemi.geo.grid import Grid
from geosemi.polygons.measure import measure, pixel_area, rectangles, run_areas
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
    """At 400 km east UTM's scale is 0.9996 (1 + x² / 2R²), x = 100 km from the central meridian."""
    mask = one(5, 7)
    mask[2, 3] = 1
    area, perimeter = sizes("EPSG:32633", Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000), mask)
    scale = 0.9996 * (1 + (100_000 / 0.9996 / 6.384e6) ** 2 / 2)
    np.testing.assert_allclose(area, np.array([0.25, 34 * 0.25]) / scale**2, rtol=2e-6)
    np.testing.assert_allclose(perimeter, np.array([2.0, 12 + 2.0]) / scale, rtol=2e-6)
    assert area[1] / area[0] == pytest.approx(34, rel=1e-14)


def by_geodesics(shapes: Shapes, transform: Affine, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Areas and perimeters by pyproj, edges in 16 parts each: straight on the map, not on the Earth."""
    system = ProjCRS.from_user_input(crs)
    to_degrees = Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    share = np.arange(16)[:, None, None] / 16
    found = np.zeros((len(shapes), 2))
    for k in range(len(shapes)):
        for r in range(shapes.polygons[k], shapes.polygons[k + 1]):
            corners = shapes.corners[shapes.rings[r] : shapes.rings[r + 1]].astype(float)
            points = (corners[:-1] + share * np.diff(corners, axis=0)).transpose(1, 0, 2).reshape(-1, 2)
            found[k] += system.get_geod().polygon_area_perimeter(*to_degrees.transform(*(transform * tuple(points.T))))
    return np.abs(found[:, 0]), found[:, 1]


MAPS = {  # name: crs, pixel, upper left corner, how far perimeters may be off
    "UTM, 2 km": ("EPSG:32633", 50, (200_000, 5_800_000), 1e-5),
    "UTM, a zone wide": ("EPSG:32633", 12_000, (200_000, 5_800_000), 2e-4),
    "Sentinel-2 tile": ("EPSG:32633", 2745, (600_000, 5_400_000), 2e-5),
    "NZTM": ("EPSG:2193", 100, (1_700_000, 5_400_000), 1e-5),
    "Gauss-Krüger": ("EPSG:31468", 100, (4_400_000, 5_400_000), 1e-5),
    "Lambert-93, a region": ("EPSG:2154", 5000, (500_000, 6_700_000), 1e-4),
    "equal area": ("EPSG:3035", 1000, (4_321_000, 3_210_000), 1e-5),
    "US survey feet": ("EPSG:2263", 100, (980_000, 200_000), 1e-5),
}


@pytest.mark.parametrize("turn", [0, 30])
@pytest.mark.parametrize(("crs", "pixel", "corner", "lengths"), MAPS.values(), ids=MAPS)
def test_near_true_maps_agree_with_geodesics(
    crs: str, pixel: float, corner: tuple[float, float], lengths: float, turn: float
) -> None:
    transform = Affine.translation(*corner) @ Affine.rotation(turn) @ Affine.scale(pixel, -pixel)
    mask = np.random.default_rng(0).choice([0, 1, 1], (40, 40)).astype(np.uint8)
    shapes = traced(mask)
    want_area, want_length = by_geodesics(shapes, transform, crs)
    areas, perimeters = sizes(crs, transform, mask)
    np.testing.assert_allclose(areas, want_area, rtol=4e-6)
    assert areas.sum() == pytest.approx(want_area.sum(), rel=2e-6)
    np.testing.assert_allclose(perimeters, want_length, rtol=lengths)
    slanted = replace(shapes, corners=shapes.corners @ np.array([[1.0, 0.1], [0.2, 0.9]]) * 0.7)
    want_area, _ = by_geodesics(slanted, transform, crs)
    np.testing.assert_allclose(measure(slanted, Grid(CRS.from_user_input(crs), transform, 40, 40))[0], want_area, 4e-6)


def test_runs_are_as_large_as_their_polygons() -> None:
    grid = Grid(CRS.from_epsg(32633), Affine(50, 0, 200_000, 0, -50, 5_800_000), 300, 300)
    runs = np.array([3, 250, 299]), np.array([7, 0, 290]), np.array([1, 300, 10])
    np.testing.assert_allclose(run_areas(grid)(*runs), measure(rectangles(*runs), grid)[0], rtol=1e-9)
    assert pixel_area(grid) is None
    small = Grid(CRS.from_epsg(32633), Affine(0.1, 0, 400_000, 0, -0.1, 5_800_000), 300, 300)
    assert run_areas(small)(*runs).tolist() == (runs[2] * pixel_area(small)).tolist()


def test_feet_become_metres() -> None:
    foot = 1200 / 3937  # EPSG:2263 is in US survey feet; there its scale is within 1e-5 of 1
    area, perimeter = sizes("EPSG:2263", Affine(2, 0, 980_000, 0, -2, 200_000), one(10, 10))
    assert area[0] == pytest.approx(400 * foot**2, rel=2e-5)
    assert perimeter[0] == pytest.approx(80 * foot, rel=1e-5)


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
