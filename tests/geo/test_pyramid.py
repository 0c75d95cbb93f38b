"""Coarser levels against slow twins that go pixel by pixel, and against GDAL where its rule is the same."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.enums import Resampling

from geosemi.geo.pyramid import BlockRows, average, level_shapes, mode

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
HALVES = st.floats(-60000, 60000, width=16) | st.just(float("nan"))


def quarters(pixels):
    """Yield (band, row, column) of the half and the pixels under it, in reading order."""
    bands, height, width = pixels.shape
    for band in range(bands):
        for row in range((height + 1) // 2):
            for col in range((width + 1) // 2):
                yield (band, row, col), pixels[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel().tolist()


def halved(pixels):
    return np.empty((pixels.shape[0], (pixels.shape[1] + 1) // 2, (pixels.shape[2] + 1) // 2), pixels.dtype)


@given(hnp.arrays("uint8", SHAPES, elements=st.sampled_from([0, 1, 2, 3, 7, 255])), st.sampled_from([0, 7, 255]))
def test_mode_is_what_counting_says(pixels, nodata):
    expected = halved(pixels)
    for place, four in quarters(pixels):
        votes = Counter(v for v in four if v != nodata)  # insertion order is reading order, and max takes the first
        expected[place] = max(votes, key=votes.__getitem__) if votes else nodata
    found = mode(pixels, nodata)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, expected)


@given(hnp.arrays("uint8", (1, 2, 2), elements=st.integers(0, 4)))
def test_mode_of_every_four(pixels):
    four = pixels.ravel().tolist()
    votes = Counter(v for v in four if v != 4)
    assert mode(pixels, 4).item() == (max(votes, key=votes.__getitem__) if votes else 4)


@given(hnp.arrays("uint8", SHAPES, elements=st.integers(0, 255)), st.sampled_from([0, 254, 255]))
def test_average_of_whole_amounts_is_exact_and_halves_go_up(pixels, nodata):
    expected = halved(pixels)
    for place, four in quarters(pixels):
        known = [v for v in four if v != nodata]
        mean = Fraction(sum(known), len(known)) if known else Fraction(nodata)
        expected[place] = int(mean + Fraction(1, 2))
    found = average(pixels, nodata)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, expected)


@given(hnp.arrays("float16", SHAPES, elements=HALVES))
def test_average_of_half_floats_is_the_nearest_one(pixels):
    expected = halved(pixels)
    for place, four in quarters(pixels):
        known = [v for v in four if v == v]
        expected[place] = sum(known) / len(known) if known else float("nan")
    found = average(pixels, float("nan"))
    assert found.dtype == pixels.dtype
    assert np.isfinite(found).sum() == np.isfinite(expected).sum()  # four large ones do not overflow on the way
    # float32 and float64 sums may round a half float's tie to different sides
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)


def test_average_is_gdals_where_both_halve_evenly(tmp_path):
    """GDAL weighs odd rims differently; on even sides its rule for bytes is ours."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 80)).astype("uint8")
    pixels[:, 10:30, 10:31] = 255
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 64, "width": 80, "nodata": 255}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as dataset:
        dataset.write(pixels)
        dataset.build_overviews([2], Resampling.average)
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as small:
        np.testing.assert_array_equal(average(pixels, 255), small.read())


@pytest.mark.parametrize("halve", [mode, average])
@given(hnp.arrays("uint8", (1, 6, 8), elements=st.integers(0, 9)), st.integers(1, 2))
def test_halving_rows_by_rows_is_halving_the_whole(halve, pixels, step):
    parts = [halve(pixels[:, row : row + 2 * step], 9) for row in range(0, 6, 2 * step)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), halve(pixels, 9))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([16, 512]))
def test_levels_halve_rounding_up_until_one_fits_into_a_block(height, width, block):
    shapes = level_shapes(height, width, block)
    assert shapes[0] == (height, width)
    assert [max(s) > block for s in shapes] == [True] * (len(shapes) - 1) + [False]
    for number, shape in enumerate(shapes):
        assert shape == tuple(-(-side // 2**number) for side in (height, width))


def test_levels_are_of_the_sizes_that_gdal_gives_its_overviews(tmp_path):
    """Those of `gdaladdo`; its COG driver rounds down and lets the pixels of a level straddle those below."""
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 1301, "width": 1027}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.nearest)
    found = []
    for level in range(3):
        with rasterio.open(tmp_path / "a.tif", overview_level=level) as small:
            found.append(small.shape)
    assert level_shapes(1301, 1027, 163) == [(1301, 1027), *found]


@given(st.integers(1, 40), st.lists(st.integers(0, 15), min_size=1, max_size=8), st.integers(1, 8))
def test_rows_are_gathered_whatever_the_steps(height, steps, block):
    rows = np.arange(2 * height * 3).reshape(2, height, 3)
    gather = BlockRows((2, height, 3), block, rows.dtype)
    found, row = [], 0
    for step in [*steps, height]:
        part = rows[:, row : row + step]
        row += part.shape[1]
        found += [complete.copy() for complete in gather.add(part)]
        assert gather.next == row
        done = sum(f.shape[1] for f in found)
        assert done == (height if row == height else row // block * block)  # nothing is held back longer than needed
    assert [f.shape[1] for f in found[:-1]] == [block] * (len(found) - 1)
    np.testing.assert_array_equal(np.concatenate(found, axis=1), rows)
