from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from ground import NORTH_UP
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.crs import CRS

from geosemi.errors import GridMismatch, LegendError, SceneUnreadable
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import bits_dtype, pack, reading_opinion, unpack, write_opinion
from geosemi.geo.window import Window
from geosemi.legend import ClassDef, Legend

GRID = Grid(CRS.from_epsg(32636), NORTH_UP, 40, 50)


def legend_of(classes: int) -> Legend:
    return Legend(tuple(ClassDef(k, f"class {k}", "#123456") for k in range(classes)))


def planes_of(classes: int, *, grid: Grid = GRID, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((classes, *grid.shape)) < 0.4


@pytest.mark.parametrize(
    ("classes", "dtype"), [(1, "uint8"), (8, "uint8"), (9, "uint16"), (16, "uint16"), (17, "uint32"), (32, "uint32")]
)
def test_the_smallest_dtype_with_a_bit_a_class(classes: int, dtype: str):
    assert bits_dtype(classes) == np.dtype(dtype)


@given(st.integers(1, 32).flatmap(lambda k: hnp.arrays(bool, (k, 3, 4))))
def test_pack_and_unpack_are_inverse(seen: np.ndarray):
    bits = pack(seen)
    assert bits.dtype == bits_dtype(len(seen))
    np.testing.assert_array_equal(unpack(bits, len(seen)), seen)
    for k, plane in enumerate(seen):  # bit k is class k, in plain integers
        assert [int(b) >> k & 1 for b in bits.flat] == plane.astype(int).ravel().tolist()


@pytest.mark.parametrize("classes", [1, 6, 8, 9, 17, 32])
def test_what_is_written_is_read_window_by_window(tmp_path: Path, classes: int):
    legend, seen, path = legend_of(classes), planes_of(classes), tmp_path / "opinion.tif"
    write_opinion(path, pack(seen), GRID, legend=legend, source="simulated: precision 0.9, recall 0.7")
    with reading_opinion(path, GRID, legend) as reader:
        window = Window(7, 9, 20, 30)
        got = reader.read(window)
        assert got.dtype == bool
        np.testing.assert_array_equal(got, seen[:, *window.slices])
    assert [p.name for p in tmp_path.iterdir()] == ["opinion.tif"]


def test_the_file_opens_anywhere_and_says_who_speaks(tmp_path: Path):
    path = tmp_path / "opinion.tif"
    write_opinion(path, pack(planes_of(3)), GRID, legend=legend_of(3), source="a map of 2019")
    with rasterio.open(path) as dataset:
        assert (dataset.count, dataset.dtypes, dataset.crs) == (1, ("uint8",), GRID.crs)
        assert dataset.transform == GRID.transform
        assert dataset.block_shapes == [(256, 256)]
        assert dataset.descriptions == ("class bits",)
        tags = dataset.tags()
    assert tags["GEOSEMI_SOURCE"] == "a map of 2019"
    assert tags["GEOSEMI_CLASSES"] == '["class 0", "class 1", "class 2"]'


def test_another_legend_is_refused(tmp_path: Path):
    path = tmp_path / "opinion.tif"
    write_opinion(path, pack(planes_of(3)), GRID, legend=legend_of(3), source="x")
    with (
        pytest.raises(LegendError, match=r"speaks of the classes .*'class 2'\], the legend of .*'class 1'\]") as caught,
        reading_opinion(path, GRID, legend_of(2)),
    ):
        pass
    assert "annotate the scene again with this legend" in caught.value.hint


def test_another_grid_is_refused(tmp_path: Path):
    path = tmp_path / "opinion.tif"
    write_opinion(path, pack(planes_of(3)), GRID, legend=legend_of(3), source="x")
    moved = Grid(GRID.crs, GRID.transform * Affine.translation(1, 0), *GRID.shape)
    with (
        pytest.raises(GridMismatch, match=r"opinion\.tif` lies up to 1 pixels beside `its scene`") as caught,
        reading_opinion(path, moved, legend_of(3)),
    ):
        pass
    assert "geosemi annotate … --overwrite" in caught.value.hint
    with (
        pytest.raises(GridMismatch, match=r"beside `town\.tif`"),
        reading_opinion(path, moved, legend_of(3), scene="town.tif"),
    ):
        pass


def test_another_raster_is_no_opinion(make_scene: Callable[..., Path], tmp_path: Path):
    path = make_scene(bands=1)
    with (
        pytest.raises(LegendError, match="is no opinion raster") as caught,
        reading_opinion(path, GRID, legend_of(3)),
    ):
        pass
    assert "write_opinion" in caught.value.hint
    with pytest.raises(SceneUnreadable), reading_opinion(tmp_path / "none.tif", GRID, legend_of(3)):
        pass


@pytest.mark.parametrize(
    ("classes", "image"),
    [
        ("not json", np.zeros((1, 40, 50), "uint8")),
        (str([f"class {k}" for k in range(9)]).replace("'", '"'), np.zeros((1, 40, 50), "uint8")),  # 9 bits in 8
        ("7", np.zeros((1, 40, 50), "uint8")),
        ('["class 0"]', np.zeros((1, 40, 50), "float32")),
        ('["class 0"]', np.zeros((2, 40, 50), "uint8")),
    ],
)
def test_a_forged_opinion_is_refused(make_scene: Callable[..., Path], classes: str, image: np.ndarray):
    path = make_scene(image=image, tags={"": {"GEOSEMI_OPINION": "1", "GEOSEMI_CLASSES": classes}})
    with pytest.raises(LegendError, match="is no opinion raster") as caught, reading_opinion(path, GRID, legend_of(1)):
        pass
    assert str(path) in caught.value.message
    assert caught.value.hint
