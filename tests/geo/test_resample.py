"""Another resolution: closed forms, a slow twin, GDAL as an oracle, and independence of how windows cut the grid."""

import math

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import ArrayReader
from ground import NORTH_UP, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling
from strategies import grids, windows_inside

from geosemi.errors import InputError
from geosemi.geo import resample
from geosemi.geo.grid import Grid
from geosemi.geo.resample import NearestRows, ResampledReader, model_grid, ratio_of
from geosemi.geo.window import Window, cover

UTM36 = CRS.from_epsg(32636)


def plain(height: int, width: int) -> Grid:
    return Grid(UTM36, NORTH_UP, height, width)


def resized(image, shape, valid=None):
    reader = ResampledReader(ArrayReader(image, valid), plain(*image.shape[1:]), plain(*shape))
    return reader.read(Window(0, 0, *shape))


# --- grids


@given(grids(), st.floats(0.02, 40))
def test_the_place_stays_and_the_size_is_about_right(grid, metres):
    wanted = model_grid(grid, metres)
    for one, other in zip(grid.corners, wanted.corners, strict=True):
        reach = max(*map(abs, one), *grid.pixel_size)
        assert math.dist(one, other) < 1e-9 * reach
    assert wanted.crs == grid.crs
    if min(wanted.shape) > 20:
        assert wanted.metres_each_way() == pytest.approx((metres, metres), rel=0.03)


def test_pixels_of_degrees_become_square_on_the_ground():
    grid = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 25, 0, -1e-4, 60.2), 4000, 4000)
    across, along = grid.metres_each_way()
    assert along / across == pytest.approx(2, rel=0.02)  # at 60° north
    wanted = model_grid(grid, 10)
    assert wanted.metres_each_way() == pytest.approx((10, 10), rel=1e-3)
    assert wanted.height / wanted.width == pytest.approx(2, rel=0.02)
    assert grid.metres_per_pixel() == pytest.approx(math.sqrt(across * along))


def test_turned_and_south_up_grids_keep_their_direction():
    turned = Affine.translation(5e5, 4e6) * Affine.rotation(30) * Affine.scale(0.5, 0.5)
    wanted = model_grid(Grid(UTM36, turned, 100, 60), 2.0)
    assert wanted.shape == (25, 15)
    assert wanted.transform.almost_equals(turned * Affine.scale(4), precision=1e-9)


def test_a_tiny_scene_keeps_a_pixel_and_no_crs_is_refused():
    assert model_grid(plain(3, 5), 1000).shape == (1, 1)
    with pytest.raises(InputError, match="nothing says how large its pixels are") as caught:
        model_grid(Grid(None, NORTH_UP, 3, 5), 1.0)
    assert "--assume-crs" in caught.value.hint
    assert "--resolution native" in caught.value.hint
    assert ratio_of(plain(80, 60), plain(20, 15)) == 4


# --- averages


def test_closed_forms():
    image = np.array([[[10, 20, 30, 40], [50, 60, 70, 80]]], np.uint8)
    assert resized(image, (1, 2)).image.tolist() == [[[35, 55]]]
    assert resized(image, (1, 1)).image.tolist() == [[[45]]]
    assert resized(np.array([[[0, 30, 60]]], np.uint8), (1, 2)).image.tolist() == [[[10, 50]]]  # (0·1 + 30·½) / 1.5
    assert resized(np.array([[[0, 100]]], np.uint8), (1, 4)).image.tolist() == [[[0, 25, 75, 100]]]
    assert resized(np.array([[[1, 2]]], np.uint8), (1, 1)).image.tolist() == [[[2]]]  # 1.5 to even
    assert resized(np.array([[[-5, -6]]], np.int16), (1, 1)).image.tolist() == [[[-6]]]


def test_valid_where_half_of_the_area_is_and_the_average_of_that_half():
    image = np.array([[[10, 99, 30, 99], [20, 99, 99, 99]]], np.uint8)
    valid = image[0] != 99
    tile = resized(image, (1, 2), valid)
    assert tile.valid.tolist() == [[True, False]]  # 2 of 4, 1 of 4
    assert tile.image.tolist() == [[[15, 0]]]


def slow(image, valid, shape):
    """The definition, pixel by pixel: shared areas, or linear between centres."""
    (bands, height, width), (new_h, new_w) = image.shape, shape

    def taps(i, new, old):
        if new <= old:
            low, high = i * old / new, (i + 1) * old / new
            return [
                (j, (min(high, j + 1) - max(low, j)) * new / old) for j in range(int(low), min(old, math.ceil(high)))
            ]
        at = (i + 0.5) * old / new - 0.5
        low = math.floor(at)
        ends = [(low, 1 - at + low), (low + 1, at - low)]
        return [(min(max(j, 0), old - 1), w) for j, w in ends]

    out, ok = np.zeros((bands, *shape)), np.zeros(shape, bool)
    for r, c in np.ndindex(shape):
        both = [(y, x, a * b) for y, a in taps(r, new_h, height) for x, b in taps(c, new_w, width)]
        share = sum(w * valid[y, x] for y, x, w in both)
        ok[r, c] = share >= 0.5 - 1e-6
        if ok[r, c]:
            out[:, r, c] = sum(w * valid[y, x] * image[:, y, x].astype(float) for y, x, w in both) / share
    return out, ok


@given(
    height=st.integers(1, 23), width=st.integers(1, 23), rows=st.integers(1, 30), cols=st.integers(1, 30),
    holes=st.booleans(), dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
    seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60)
def test_a_slow_twin_agrees(height, width, rows, cols, holes, dtype, seed):
    image = noise(height, width, 2, dtype, seed)
    valid = np.random.default_rng(seed).random((height, width)) > 0.4 if holes else np.ones((height, width), bool)
    tile = resized(image, (rows, cols), valid)
    expected, ok = slow(image, valid, (rows, cols))
    np.testing.assert_array_equal(tile.valid, ok)
    assert tile.image.dtype == image.dtype
    close = 0.51 if image.dtype.kind != "f" else 1e-3
    assert np.abs(tile.image.astype(float) - expected)[:, ok].max(initial=0) <= close


@given(
    data=st.data(), height=st.integers(1, 60), width=st.integers(1, 60), rows=st.integers(1, 60),
    cols=st.integers(1, 60), dtype=st.sampled_from(["uint8", "int16", "float32", "float64"]),
    strip=st.integers(1, 5000),
)  # fmt: skip
@settings(max_examples=80)
def test_pixels_do_not_depend_on_the_windows_they_are_read_with(data, height, width, rows, cols, dtype, strip):
    image = noise(height, width, 2, dtype)
    valid = noise(height, width, 1, seed=3)[0] > data.draw(st.sampled_from([5, 90]))
    whole = resized(image, (rows, cols), valid)
    reader = ResampledReader(ArrayReader(image, valid), plain(height, width), plain(rows, cols))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "STRIP", strip)
        windows = [data.draw(windows_inside(rows, cols)) for _ in range(3)]
        for window in [*windows, *cover(rows, cols, max(1, rows // 3), 0)]:
            tile = reader.read(window)
            assert tile.window == window
            assert tile.image.tobytes() == np.ascontiguousarray(whole.image[:, *window.slices]).tobytes()
            np.testing.assert_array_equal(tile.valid, whole.valid[window.slices])


def test_rows_are_read_once_where_full_width_windows_follow_each_other():
    image = noise(97, 40, 3)
    fake = ArrayReader(image)
    reader = ResampledReader(fake, plain(97, 40), plain(31, 13))
    for row in range(0, 31, 7):
        reader.read(Window(row, 0, min(7, 31 - row), 13))
    seen = np.zeros(97, int)
    for window in fake.windows:
        seen[window.row : window.stop_row] += 1
    assert seen.tolist() == [1] * 97


def test_memory_stays_flat_at_a_large_ratio():
    """A window of 64 × 64 pixels of 40 × 40 each: never more of the scene at once than a strip and its margin."""

    class Endless:
        largest = 0

        def read(self, window):
            Endless.largest = max(Endless.largest, window.height * window.width)
            return ArrayReader(np.ones((1, *window.shape), np.uint8)).read(Window(0, 0, *window.shape))

    reader = ResampledReader(Endless(), plain(400_000, 400_000), plain(10_000, 10_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "STRIP", 2**20)
        tile = reader.read(Window(100, 100, 64, 64))
    assert tile.valid.all()
    assert (tile.image == 1).all()
    assert Endless.largest < 2 * 2**20


@pytest.mark.parametrize("shape", [(25, 30), (33, 41), (10, 100)])
def test_gdal_averages_alike(tmp_path, make_scene, shape):
    image = noise(100, 120, 1, "float32")
    path = make_scene(image=image)
    with rasterio.open(path) as dataset:
        expected = dataset.read(out_shape=(1, *shape), resampling=Resampling.average)
    np.testing.assert_allclose(resized(image, shape).image, expected, rtol=1e-4)


def test_the_same_grid_is_the_scene_itself():
    image = noise(9, 8)
    reader = ArrayReader(image)
    same = ResampledReader(reader, plain(9, 8), plain(9, 8)).read(Window(2, 3, 4, 5))
    np.testing.assert_array_equal(same.image, image[:, 2:6, 3:8])


@given(st.integers(1, 12), st.integers(1, 12), st.floats(-50, 50))
def test_a_constant_stays_constant(rows, cols, value):
    image = np.full((1, 7, 9), value, np.float64)
    np.testing.assert_allclose(resized(image, (rows, cols)).image, value, rtol=1e-12, atol=1e-300)


# --- and back


@given(
    height=st.integers(1, 400), width=st.integers(1, 40), rows=st.integers(1, 90), cols=st.integers(1, 90),
    step=st.integers(1, 40), flat=st.booleans(),
)  # fmt: skip
@settings(max_examples=80)
def test_rows_come_back_as_the_nearest_pixels(height, width, rows, cols, step, flat):
    wanted = noise(rows, cols, 2)
    back = NearestRows(plain(rows, cols), plain(height, width))
    out, next_row = np.zeros((2, height, width), np.uint8), 0
    for row in range(0, rows, step):
        given_rows = wanted[0, row : row + step] if flat else wanted[:, row : row + step]
        for begin, part in back.push(given_rows):
            assert begin == next_row
            assert part.shape[-2] <= 256
            next_row += part.shape[-2]
            out[..., begin : begin + part.shape[-2], :] = part
    assert next_row == height
    assert back.finished
    to_row = np.floor((np.arange(height) + 0.5) * rows / height + 1e-9).astype(int)
    to_col = np.floor((np.arange(width) + 0.5) * cols / width + 1e-9).astype(int)
    expected = wanted[:, to_row][:, :, to_col]
    np.testing.assert_array_equal(out[0], expected[0])
    np.testing.assert_array_equal(out[1], expected[0] if flat else expected[1])
