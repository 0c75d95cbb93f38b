from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from ground import NORTH_UP, UTM, noise
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from strategies import windows_inside

from geosemi.errors import BandMismatch, SceneUnreadable
from geosemi.geo.grid import Grid
from geosemi.geo.raster import open_raster
from geosemi.geo.scene import MAX_ALPHA_VALUES, Scene, Tile, reading
from geosemi.geo.window import Window, cover

Make = Callable[..., Path]


def whole(path: Path) -> Tile:
    scene = Scene.open(path)
    with reading(scene) as reader:
        return reader.read(scene.grid.window)


def test_a_scene_says_what_its_file_says(make_scene: Make):
    path = make_scene(height=20, width=30, bands=4, dtype="uint16", nodata=0, descriptions=("r", "g", "b", "nir"))
    scene = Scene.open(path)
    assert scene.grid == Grid(CRS.from_user_input(UTM), NORTH_UP, 20, 30)
    assert (scene.bands, scene.indexes) == (("r", "g", "b", "nir"), (1, 2, 3, 4))
    assert (scene.dtype, scene.nodata, scene.alpha, scene.masked, scene.has_gcps) == ("uint16", 0, None, False, False)
    assert scene == Scene.open(str(path))


@pytest.mark.parametrize(
    "transform",
    [
        Affine(2, 0, 100, 0, 2, 480),
        Affine.translation(5e5, 4e4) * Affine.rotation(30) * Affine.scale(0.5, -0.5),
        Affine(0.25, 0.1, 3, -0.05, -0.3, 7),
    ],
    ids=["south up", "turned", "sheared"],
)
def test_any_affine_grid_comes_back(make_scene: Make, transform: Affine):
    grid = Scene.open(make_scene(transform=transform, height=5, width=7)).grid
    assert grid.transform.almost_equals(transform, precision=1e-9)
    grid.require_same(Grid(CRS.from_user_input(UTM), transform, 5, 7), mine="a", theirs="b")


@pytest.mark.parametrize("crs", ["EPSG:2263", "EPSG:4326", None])
def test_any_crs_comes_back(make_scene: Make, crs: str | None):
    found = Scene.open(make_scene(crs=crs)).grid.crs
    assert found == (None if crs is None else CRS.from_user_input(crs))


def test_a_missing_scene_is_told(tmp_path: Path):
    with pytest.raises(SceneUnreadable, match="does not exist") as caught:
        Scene.open(tmp_path / "none.tif")
    assert caught.value.hint == "check the path"


def test_windows_pieced_together_are_the_scene(make_scene: Make):
    image = noise(70, 90, 3, "uint16")
    scene = Scene.open(make_scene(image=image))
    seen = np.zeros_like(image)
    with reading(scene) as reader:
        for window in cover(70, 90, 32, 5):
            tile = reader.read(window)
            assert tile.window == window
            assert tile.image.dtype == np.uint16
            seen[:, *window.slices] = tile.image
    np.testing.assert_array_equal(seen, image)


def test_nodata_only_where_all_bands_have_it(make_scene: Make):
    image = np.full((3, 4, 5), 9, np.uint8)
    image[:, 0, 0] = 0
    image[1:, 1, 1] = 0  # black in two bands is still a colour
    valid = whole(make_scene(image=image, nodata=0)).valid
    assert not valid[0, 0]
    assert valid.sum() == valid.size - 1
    assert whole(make_scene("undeclared.tif", image=image)).valid.all()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -32768), ("float32", -3.4028234663852886e38), ("uint16", 65535)]
)
def test_nodata_at_the_end_of_the_dtype(make_scene: Make, dtype: str, nodata: float):
    image = np.ones((2, 3, 3), dtype)
    image[:, 1, 2] = nodata
    valid = whole(make_scene(image=image, nodata=nodata)).valid
    assert np.argwhere(~valid).tolist() == [[1, 2]]


@pytest.mark.parametrize("nodata", [None, float("nan"), -1])
def test_nan_and_infinity_are_nodata_and_never_reach_the_image(make_scene: Make, nodata: float | None):
    image = np.ones((3, 4, 5), np.float32)
    image[0, 0, 0], image[1, 1, 1], image[2, 2, 2] = np.nan, np.inf, -np.inf
    tile = whole(make_scene(image=image, nodata=nodata))
    assert np.argwhere(~tile.valid).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert tile.image.dtype == np.float32
    assert np.isfinite(tile.image).all()
    assert tile.image[0, 0, 0] == tile.image[1, 1, 1] == tile.image[2, 2, 2] == 0
    assert tile.image[1, 0, 0] == 1


def test_alpha_is_no_band_but_says_where_data_is(make_scene: Make):
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:10] = 0
    alpha[10:20, :5] = 1  # barely visible is visible
    path = make_scene(alpha=alpha)
    scene = Scene.open(path)
    assert (scene.alpha, scene.indexes) == (4, (1, 2, 3))
    np.testing.assert_array_equal(whole(path).valid, alpha > 0)


def test_near_infrared_that_is_only_tagged_alpha_is_data(make_scene: Make):
    """GDAL tags the fourth band of an RGB photo as alpha, whatever it holds."""
    image = noise(64, 64, 4)
    path = make_scene(image=image, photometric="rgb", alpha=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with open_raster(path) as file:
        assert file.alpha == 4
    scene = Scene.open(path)
    assert (scene.alpha, scene.indexes) == (None, (1, 2, 3, 4))
    tile = whole(path)
    np.testing.assert_array_equal(tile.image, image)
    assert tile.valid.all()


def test_what_rasterio_makes_of_four_bands_by_default(make_scene: Make):
    """Whichever tag this version writes for uint8 RGB + NIR, all four bands are data."""
    scene = Scene.open(make_scene(image=noise(64, 64, 4)))
    assert (scene.alpha, scene.indexes) == (None, (1, 2, 3, 4))


@pytest.mark.parametrize(("values", "is_alpha"), [(MAX_ALPHA_VALUES, True), (MAX_ALPHA_VALUES + 1, False)])
def test_how_many_values_an_alpha_may_have(make_scene: Make, values: int, is_alpha: bool):
    alpha = (np.arange(64 * 96) % values).reshape(64, 96)
    assert (Scene.open(make_scene(alpha=alpha)).alpha == 4) is is_alpha


def test_internal_mask(make_scene: Make):
    mask = np.ones((64, 96), bool)
    mask[5:9, 7:30] = False
    path = make_scene(mask=mask)
    assert Scene.open(path).masked
    np.testing.assert_array_equal(whole(path).valid, mask)
    scene = Scene.open(path)
    with reading(scene) as reader:
        np.testing.assert_array_equal(reader.read(Window(4, 5, 8, 9)).valid, mask[4:12, 5:14])


def test_mask_and_nodata_both_count(make_scene: Make):
    image = noise(16, 16, 1) | 1
    image[:, 3, 3] = 0
    mask = np.ones((16, 16), bool)
    mask[0, 0] = False
    scene = Scene.open(make_scene(image=image, mask=mask, nodata=0))
    with reading(scene) as reader:
        valid = reader.read(scene.grid.window).valid
    assert np.argwhere(~valid).tolist() == [[0, 0], [3, 3]]


def test_bands_are_read_in_the_order_asked_for(make_scene: Make):
    image = noise(12, 14, 5)
    scene = Scene.open(make_scene(image=image, descriptions=("a", "b", "c", "d", "e"), photometric="minisblack"))
    chosen = scene.select((5, 1, 3))
    assert (chosen.bands, chosen.indexes) == (("e", "a", "c"), (5, 1, 3))
    with reading(chosen) as reader:
        np.testing.assert_array_equal(reader.read(chosen.grid.window).image, image[[4, 0, 2]])


@pytest.mark.parametrize(("wanted", "told"), [((1, 4), r"\[4\]"), ((), "an empty list"), ((0,), r"\[0\]")])
def test_bands_that_do_not_exist(make_scene: Make, wanted: tuple[int, ...], told: str):
    path = make_scene(alpha=np.full((64, 96), 255))
    with pytest.raises(BandMismatch, match=rf"has the bands \[1, 2, 3\], not {told}") as caught:
        Scene.open(path).select(wanted)
    assert str(path) in caught.value.message
    assert "`--bands 1,2,3`, or `--set data.bands=[1,2,3]` for train" in caught.value.hint


def test_ground_control_points_are_noticed(make_scene: Make):
    gcps = [GroundControlPoint(r, c, 5e5 + c, 4e4 - r) for r, c in ((0, 0), (0, 96), (64, 0), (64, 96))]
    scene = Scene.open(make_scene(gcps=gcps))
    assert scene.has_gcps


@given(st.data(), st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.integers(0, 9))
def test_padding_repeats_the_edge_and_is_not_valid(data: st.DataObject, height: int, width: int, down: int, right: int):
    window = data.draw(windows_inside(height, width))
    image = noise(height, width)[:, *window.slices]
    tile = Tile(image, np.ones(window.shape, bool), window)
    grown = tile.padded(window.height + down, window.width + right)
    assert grown.window == Window(window.row, window.col, window.height + down, window.width + right)
    assert grown.image.shape[1:] == grown.valid.shape == grown.window.shape
    np.testing.assert_array_equal(grown.image[:, : window.height, : window.width], image)
    assert grown.valid.sum() == window.height * window.width
    for c, r in np.ndindex(grown.valid.shape[1], grown.valid.shape[0]):
        edge = image[:, min(r, window.height - 1), min(c, window.width - 1)]
        np.testing.assert_array_equal(grown.image[:, r, c], edge)
    assert tile.padded(*window.shape) is tile
