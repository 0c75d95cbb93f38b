import math

import pytest
from affine import Affine
from ground import NORTH_UP
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import CRS as ProjCRS
from pyproj import Geod
from rasterio.crs import CRS
from strategies import close, grids, windows

from geosemi.errors import GridMismatch, InputError
from geosemi.geo.grid import TOLERANCE_PX, Grid
from geosemi.geo.window import Window

UTM36 = CRS.from_epsg(32636)
LOCAL = CRS.from_wkt(
    'ENGCRS["site",EDATUM["site datum"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0)])
def test_a_grid_without_pixels_is_refused(height: int, width: int):
    with pytest.raises(InputError, match=f"no pixels \\({height} × {width}\\)") as caught:
        Grid(UTM36, NORTH_UP, height, width)
    assert caught.value.hint == "copy the file again"


@pytest.mark.parametrize(
    "transform", [Affine(0, 0, 0, 0, 0, 0), Affine(1, 2, 0, 2, 4, 0), Affine(math.nan, 0, 0, 0, 1, 0)]
)
def test_a_degenerate_transform_is_refused(transform: Affine):
    with pytest.raises(InputError, match="degenerate geotransform") as caught:
        Grid(UTM36, transform, 4, 4)
    assert "gdal_translate -a_ullr" in caught.value.hint


def test_bounds_north_up_and_south_up():
    north = Grid(UTM36, Affine(2, 0, 100, 0, -2, 500), 10, 20)
    south = Grid(UTM36, Affine(2, 0, 100, 0, 2, 480), 10, 20)
    assert north.bounds == south.bounds == (100, 480, 140, 500)
    assert north.pixel_size == south.pixel_size == (2, 2)
    assert north.corners[0] == (100, 500)
    assert south.corners[0] == (100, 480)


def test_bounds_of_a_square_turned_by_45_degrees():
    turned = Grid(UTM36, Affine.translation(10, 20) * Affine.rotation(45), 8, 8)
    half = 8 / math.sqrt(2)
    assert close(turned.bounds, (10 - half, 20, 10 + half, 20 + 2 * half))
    assert close(turned.pixel_size, (1, 1))


@given(grids(), windows(reach=200), windows(reach=50))
def test_crops_compose(grid: Grid, outer: Window, inner: Window):
    twice = grid.crop(outer).crop(inner)
    once = grid.crop(inner.shifted(rows=outer.row, cols=outer.col))
    assert twice.shape == once.shape == inner.shape
    assert twice.crs == grid.crs
    assert close(twice.bounds, once.bounds, scale=1e7)


@given(grids(), windows(reach=200))
def test_a_crop_keeps_pixels_in_place(grid: Grid, window: Window):
    crop = grid.crop(window)
    assert close(crop.transform * (0, 0), grid.transform * (window.col, window.row), scale=1e7)
    assert close(
        crop.transform * (window.width, window.height), grid.transform * (window.stop_col, window.stop_row), scale=1e7
    )
    assert grid.crop(grid.window) == grid


@given(grids())
def test_a_grid_is_the_same_as_itself_and_bounds_hold_its_corners(grid: Grid):
    grid.require_same(grid, mine="a.tif", theirs="b.tif")
    west, south, east, north = grid.bounds
    assert west < east
    assert south < north
    assert all(west <= x <= east and south <= y <= north for x, y in grid.corners)


@given(grids(), st.floats(0, 0.5 * TOLERANCE_PX), st.floats(2 * TOLERANCE_PX, 50), st.floats(0, 2 * math.pi))
def test_a_shift_counts_in_pixels(grid: Grid, small: float, large: float, angle: float):
    # a coordinate of 9e6 keeps 2e-9 m, so a 1 cm pixel still resolves the tolerance
    def moved(by: float) -> Grid:
        shift = Affine.translation(by * math.cos(angle), by * math.sin(angle))
        return Grid(grid.crs, grid.transform * shift, grid.height, grid.width)

    grid.require_same(moved(small), mine="a.tif", theirs="b.tif")
    with pytest.raises(GridMismatch, match=r"pixels beside `a.tif`") as caught:
        grid.require_same(moved(large), mine="a.tif", theirs="b.tif")
    assert "gdalwarp" in caught.value.hint


@given(grids(), st.floats(1.0001, 1.5))
def test_another_pixel_size_is_another_grid(grid: Grid, factor: float):
    assume(max(grid.shape) * (factor - 1) > 2 * TOLERANCE_PX)
    other = Grid(grid.crs, grid.transform * Affine.scale(factor), grid.height, grid.width)
    with pytest.raises(GridMismatch, match=r"`b.tif` lies up to"):
        grid.require_same(other, mine="a.tif", theirs="b.tif")


def test_other_shapes_and_systems_name_both_sides():
    mine = Grid(UTM36, NORTH_UP, 10, 20)
    with pytest.raises(GridMismatch, match=r"`b.tif` is 10 × 21 pixels, `a.tif` is 10 × 20") as caught:
        mine.require_same(Grid(UTM36, NORTH_UP, 10, 21), mine="a.tif", theirs="b.tif")
    assert "gdalwarp -te" in caught.value.hint
    with pytest.raises(GridMismatch, match=r"`b.tif` lies in EPSG:32637, `a.tif` in EPSG:32636") as caught:
        mine.require_same(Grid(CRS.from_epsg(32637), NORTH_UP, 10, 20), mine="a.tif", theirs="b.tif")
    assert "gdalwarp -t_srs" in caught.value.hint
    with pytest.raises(GridMismatch, match=r"`b.tif` lies in no coordinate system"):
        mine.require_same(Grid(None, NORTH_UP, 10, 20), mine="a.tif", theirs="b.tif")
    with pytest.raises(GridMismatch, match=r"`b.tif` lies in site, `a.tif` in EPSG:32636"):
        mine.require_same(Grid(LOCAL, NORTH_UP, 10, 20), mine="a.tif", theirs="b.tif")
    assert caught.value.exit_code == 3


def test_a_shift_of_one_pixel_is_told_as_one_pixel():
    mine = Grid(UTM36, NORTH_UP, 10, 20)
    theirs = Grid(UTM36, NORTH_UP * Affine.translation(1, 0), 10, 20)
    with pytest.raises(GridMismatch, match="up to 1 pixels beside"):
        mine.require_same(theirs, mine="a.tif", theirs="b.tif")


def centred(crs: CRS, x: float, y: float, pixel: float) -> Grid:
    return Grid(crs, Affine(pixel, 0, x - 50 * pixel, 0, -pixel, y + 50 * pixel), 100, 100)


def test_metres_per_pixel_of_utm_is_the_pixel_but_for_its_scale_factor():
    grid = centred(UTM36, 500_000, 40_000, 0.5)  # on the central meridian the scale is 0.9996
    assert grid.metres_per_pixel() == pytest.approx(0.5 / 0.9996, rel=1e-6)


def test_metres_per_pixel_of_degrees_at_60_north():
    degrees = 1e-5
    geod = Geod(ellps="WGS84")
    east = geod.inv(10, 60, 10 + degrees, 60)[2]
    north = geod.inv(10, 60, 10, 60 + degrees)[2]
    assert east == pytest.approx(north / 2, rel=5e-3)  # cos 60°
    measured = centred(CRS.from_epsg(4326), 10, 60, degrees).metres_per_pixel()
    assert measured == pytest.approx(math.sqrt(east * north), rel=1e-6)


def test_metres_per_pixel_of_web_mercator_at_60_north_is_half_of_what_the_map_says():
    y = math.log(math.tan(math.radians(45 + 30))) * 6378137
    measured = centred(CRS.from_epsg(3857), 1e6, y, 1.0).metres_per_pixel()
    assert measured == pytest.approx(0.5, rel=5e-3)


def test_metres_per_pixel_of_a_system_in_feet():
    grid = centred(CRS.from_epsg(2263), 984_250, 200_000, 1.0)  # New York, US survey feet
    assert grid.metres_per_pixel() == pytest.approx(0.3048006, rel=2e-4)


def test_metres_per_pixel_of_a_local_system_is_its_own_unit():
    assert centred(LOCAL, 0, 0, 0.25).metres_per_pixel() == pytest.approx(0.25)
    feet = CRS.from_wkt(LOCAL.to_wkt().replace('"metre",1', '"foot",0.3048'))
    assert ProjCRS.from_user_input(feet).axis_info[0].unit_conversion_factor == pytest.approx(0.3048)
    assert centred(feet, 0, 0, 2).metres_per_pixel() == pytest.approx(0.6096)
    assert centred(CRS.from_epsg(32636), 5e5, 0, 1).crs is not None
    assert Grid(None, NORTH_UP, 4, 4).metres_per_pixel() is None


def test_metres_per_pixel_does_not_depend_on_the_turn():
    straight = centred(UTM36, 500_000, 40_000, 0.5)
    corner = straight.transform * (50, 50)
    turn = Affine.translation(*corner) * Affine.rotation(30) * Affine.translation(-corner[0], -corner[1])
    turned = Grid(UTM36, turn * straight.transform, 100, 100)
    assert turned.metres_per_pixel() == pytest.approx(straight.metres_per_pixel(), rel=1e-6)
