"""What the numbers of label files mean, and what is said of those that mean nothing."""

import numpy as np
import pytest
import scenery
from affine import Affine

from geosemi.data.labels import NO_TRUTH, reading_labels
from geosemi.data.scenes import DataSettings, find_scenes
from geosemi.errors import GridMismatch, LegendError
from geosemi.geo.window import Window
from geosemi.legend import ClassDef, Legend


def legend(values, ignore=255):
    classes = [ClassDef(i, f"class {i}", "#101010", values=tuple(v)) for i, v in enumerate(values)]
    return Legend(tuple(classes), ignore=ignore, name="coded")


def read(root, ids, words, window=None, **more):
    """Write a scene and its label, and read the label as a run does."""
    where = more.pop("where", scenery.place())
    scenery.write_legend(root / "legend.yaml", words)
    scenery.write_tif(root / "images" / "s.tif", np.full((3, *ids.shape), 7, np.uint8), scenery.place())
    scenery.write_tif(root / "labels" / "s.tif", ids, where, **more)
    settings = DataSettings(root=root)
    files = find_scenes(settings).scenes[0]
    with reading_labels(files, words, settings) as labels:
        return labels.read(window or files.scene.grid.window)


def test_ids_are_themselves_unless_values_say_otherwise(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    got = read(tmp_path, ids, legend([(), (), ()]))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, ids)


def test_values_map_to_ids(tmp_path):
    raw = np.array([[10, 11, 20], [7, 20, 10]], np.uint8)
    got = read(tmp_path, raw, legend([(10, 11), (20,), (7,)]))
    np.testing.assert_array_equal(got, [[0, 0, 1], [2, 1, 0]])


@pytest.mark.parametrize(("values", "dtype"), [
    ([(1000,), (40_000, 300), (7,)], "uint16"),
    ([(-1,), (-300, 2), (2**31 - 1,)], "int32"),
    ([(0,), (128,), (254,)], "uint8"),
])  # fmt: skip
def test_values_of_any_integer_type(tmp_path, values, dtype):
    # codes of national land-cover maps have four digits and more
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (20, 30))
    raw = np.array([v[0] for v in values])[ids].astype(dtype)
    np.testing.assert_array_equal(read(tmp_path, raw, legend(values)), ids)


def test_a_window_reads_its_part(tmp_path):
    ids = scenery.truth(40, 50, patch=3)
    window = Window(7, 11, 20, 30)
    np.testing.assert_array_equal(read(tmp_path, ids, scenery.LEGEND, window), ids[window.slices])


@pytest.mark.parametrize("ignore", [255, 3, 100])
def test_the_ignore_value_becomes_no_truth(tmp_path, ignore):
    raw = np.array([[0, ignore], [ignore, 2]], np.uint8)
    got = read(tmp_path, raw, legend([(), (), ()], ignore=ignore))
    np.testing.assert_array_equal(got, [[0, NO_TRUTH], [NO_TRUTH, 2]])


def test_nodata_of_the_file_becomes_no_truth(tmp_path):
    raw = np.array([[0, 99], [255, 2]], np.uint8)
    np.testing.assert_array_equal(read(tmp_path, raw, scenery.LEGEND, nodata=99), [[0, 255], [255, 2]])


def test_nodata_outside_bytes_becomes_no_truth(tmp_path):
    raw = np.array([[0, -9999], [1, 2]], np.int16)
    np.testing.assert_array_equal(read(tmp_path, raw, scenery.LEGEND, nodata=-9999), [[0, 255], [1, 2]])


def test_a_class_that_is_declared_nodata_stays_a_class(tmp_path):
    # desktop tools write nodata=0 into masks whose class 0 is real; the legend is the one that people wrote
    raw = np.array([[0, 1]], np.uint8)
    np.testing.assert_array_equal(read(tmp_path, raw, scenery.LEGEND, nodata=0), [[0, 1]])


@pytest.mark.parametrize(
    ("dtype", "wrong"), [("uint8", 3), ("uint8", 254), ("int16", -1), ("uint16", 256), ("int32", 511)]
)
def test_a_wrong_value_is_named_with_file_count_and_place(tmp_path, dtype, wrong):
    raw = np.ones((40, 50), dtype)
    raw[12, 34] = raw[12, 40] = raw[30, 2] = wrong
    with pytest.raises(LegendError) as caught:
        read(tmp_path, raw, scenery.LEGEND)
    message = caught.value.message
    assert f"`{tmp_path / 'labels' / 's.tif'}` holds the value {wrong}" in message
    assert "no class of `land`" in message
    assert "3 pixels, first at row 12, column 34" in message
    assert "values: [...]" in caught.value.hint


def test_the_place_of_a_wrong_value_is_in_the_whole_file(tmp_path):
    raw = np.ones((40, 50), np.uint8)
    raw[25, 30] = 9
    with pytest.raises(LegendError, match="first at row 25, column 30"):
        read(tmp_path, raw, scenery.LEGEND, Window(20, 20, 10, 20))


@pytest.mark.parametrize(("where", "crs", "cause"), [
    (scenery.place(east=450_000.5), scenery.UTM, "lies up to 1 pixels beside"),
    (scenery.place(pixel=0.6), scenery.UTM, "pixels beside"),
    (scenery.place(), "EPSG:32637", "lies in EPSG:32637"),
    (scenery.place() * Affine.rotation(1), scenery.UTM, "pixels beside"),
])  # fmt: skip
def test_another_grid_is_refused(tmp_path, where, crs, cause):
    with pytest.raises(GridMismatch) as caught:
        read(tmp_path, np.ones((40, 50), np.uint8), scenery.LEGEND, where=where, crs=crs)
    assert cause in caught.value.message
    assert "labels" in caught.value.message
    assert "images" in caught.value.message
    assert caught.value.hint.startswith(("warp", "reproject"))


def labelled_by(root, ids, **more):
    scenery.write_legend(root / "legend.yaml")
    scenery.write_tif(root / "images" / "s.tif", np.full((3, 40, 50), 7, np.uint8), scenery.place())
    scenery.write_tif(root / "labels" / "s.png", ids, driver="PNG", **more)
    settings = DataSettings(root=root)
    files = find_scenes(settings).scenes[0]
    with reading_labels(files, scenery.LEGEND, settings) as labels:
        return labels.read(files.scene.grid.window)


def test_a_png_mask_needs_no_georeference(tmp_path):
    ids = scenery.truth(40, 50)
    np.testing.assert_array_equal(labelled_by(tmp_path, ids), ids)


def test_a_png_mask_of_another_size_is_refused(tmp_path):
    with pytest.raises(GridMismatch, match="is 40 × 49 pixels"):
        labelled_by(tmp_path, scenery.truth(40, 49))


@pytest.mark.parametrize(
    "raw", [np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8), np.float32)], ids=["colours", "floats"]
)
def test_what_is_no_class_raster_is_refused(tmp_path, raw):
    scenery.write_legend(tmp_path / "legend.yaml")
    scenery.write_tif(tmp_path / "images" / "s.tif", np.full((3, 8, 8), 7, np.uint8), scenery.place())
    scenery.write_tif(tmp_path / "labels" / "s.tif", raw, scenery.place())
    settings = DataSettings(root=tmp_path)
    files = find_scenes(settings).scenes[0]
    with (
        pytest.raises(LegendError, match="one band of whole numbers") as caught,
        reading_labels(files, scenery.LEGEND, settings),
    ):
        pass
    assert "geosemi prepare" in caught.value.hint
