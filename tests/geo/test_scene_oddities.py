"""Palettes, names of bands, blocks never written, masks and other files beside a scene."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from ground import noise
from hypothesis import given
from hypothesis import strategies as st

from geosemi.errors import BandMismatch, SceneUnreadable
from geosemi.geo.bandnames import find_band, is_named
from geosemi.geo.raster import open_raster
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window

TILED = {"tiled": True, "blockxsize": 32, "blockysize": 16}


def whole(scene: Scene):
    with reading(scene) as reader:
        return reader.read(scene.grid.window)


# --- palettes


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Indices 0 … 9; 5 is nodata."""
    path = tmp_path / "painted.tif"
    image = (np.arange(12 * 20).reshape(12, 20) % 10).astype(np.uint8)
    with rasterio.open(path, "w", driver="GTiff", count=1, height=12, width=20, dtype="uint8", nodata=5) as dataset:
        dataset.write(image, 1)
        dataset.write_colormap(1, {i: (10 * i, 100 + i, 200 - i, 255) for i in range(10)})
    return path


def test_a_palette_is_indices_unless_expanded(painted: Path):
    plain = Scene.open(painted)
    assert (plain.palette, plain.expanded, plain.bands) == (True, False, ("band_1",))
    index = whole(plain).image[0]
    scene = Scene.open(painted, expand_palette=True)
    assert (scene.palette, scene.expanded, scene.bands) == (True, True, ("red", "green", "blue"))
    tile = whole(scene)
    np.testing.assert_array_equal(tile.valid, index != 5)
    shown = index != 5  # GDAL's table paints nodata as it likes
    expected = np.stack([10 * index, 100 + index, 200 - index])
    np.testing.assert_array_equal(tile.image[:, shown], expected[:, shown])
    assert tile.image.dtype == np.uint8
    assert scene.may_have_nodata


def test_colours_are_chosen_like_bands(painted: Path):
    scene = Scene.open(painted, expand_palette=True)
    image = whole(scene).image
    np.testing.assert_array_equal(whole(scene.select(["blue", "red"])).image, image[[2, 0]])
    np.testing.assert_array_equal(whole(scene.select([2])).image, image[[1]])


def test_without_a_palette_nothing_is_expanded(make_scene):
    scene = Scene.open(make_scene(), expand_palette=True)
    assert (scene.palette, scene.expanded, scene.indexes) == (False, False, (1, 2, 3))


# --- names of bands


@pytest.mark.parametrize(
    ("name", "bands", "place"),
    [
        ("RED", ("blue", "red"), 1),
        ("B4", ("B03", "B04", "B08"), 1),
        ("b04", ("B3", "B4"), 1),
        ("b8a", ("B08", "B8A"), 1),
        ("B08", ("B08", "B8A"), 0),
        ("red", ("B04 (red)", "B03 (green)"), 0),
        ("B3", ("B4, central wavelength 665 nm", "B3, central wavelength 560 nm"), 1),
        ("red", ("red edge 1", "red"), 1),  # the whole name before a word of a name
        ("red", ("red one", "red two"), None),
        ("red", ("red", "Red"), None),
        ("nir", ("red", "green"), None),
        ("red green", ("red", "green"), None),
        ("", ("red", ""), 1),
        ("rouge", ("Rouge", "vert"), 0),
    ],
)
def test_which_band_a_name_means(name, bands, place):
    assert find_band(name, bands) == place


@given(st.lists(st.text(min_size=1), min_size=1, unique_by=str.casefold))
def test_every_band_answers_to_its_own_name(bands):
    for place, band in enumerate(bands):
        if band.strip() == band:
            assert find_band(band, bands) in (place, None)


def test_names_that_say_nothing():
    assert is_named(("red", "band"))
    assert not is_named(("red", "band_2"))
    assert not is_named(("red", "Red"))


def test_bands_by_name_and_number(make_scene):
    path = make_scene(image=noise(6, 7, 4), descriptions=("B02", "B03", "B04", "B08"), photometric="minisblack")
    scene = Scene.open(path)
    assert scene.select(["b4", "B3", 1]).indexes == (3, 2, 1)
    assert scene.select(["4", " 2"]).bands == ("B08", "B03")
    with pytest.raises(BandMismatch, match=r"has the bands \[1 \(B02\), .*\], not \['swir'\]") as caught:
        scene.select(["b4", "swir"])
    assert "--bands" in caught.value.hint


# --- blocks that were never written


def holey(path: Path, *, bands: int = 1, blocks: tuple[tuple[int, int], ...] = ((1, 0),), **more) -> Path:
    """A tiled file of 64 × 96 in which only some blocks (row, col) exist."""
    profile = {"driver": "GTiff", "count": bands, "height": 64, "width": 96, "dtype": "uint8", **TILED, **more}
    with rasterio.open(path, "w", **profile, sparse_ok=True) as dataset:
        for row, col in blocks:
            where = rasterio.windows.Window(32 * col, 16 * row, 32, 16)
            dataset.write(np.full((bands, 16, 32), 7, np.uint8), window=where)
    return path


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_missing_blocks_are_nodata_and_told(tmp_path: Path, interleave):
    written = ((1, 0), (2, 2), (3, 1))
    scene = Scene.open(holey(tmp_path / "a.tif", bands=3, blocks=written, interleave=interleave))
    there = np.zeros((4, 3), bool)
    there[tuple(zip(*written, strict=True))] = True
    expected = there.repeat(16, 0).repeat(32, 1)
    assert scene.gaps
    assert scene.may_have_nodata
    assert "9 of 12 blocks were never written" in scene.notes[0]
    with reading(scene) as reader:
        np.testing.assert_array_equal(reader.read(scene.grid.window).valid, expected)
        for window in (Window(3, 5, 40, 50), Window(16, 0, 16, 32), Window(63, 95, 1, 1), Window(15, 31, 2, 2)):
            np.testing.assert_array_equal(reader.read(window).valid, expected[window.slices])


def test_a_whole_file_has_no_missing_blocks(make_scene):
    scene = Scene.open(make_scene(**TILED))
    assert (scene.gaps, scene.notes, scene.may_have_nodata) == (False, (), False)


def test_a_band_that_is_partly_there_is_data(tmp_path: Path):
    """A writer may leave out blocks of zeros; a pixel is nodata only where no band has it."""
    path = holey(tmp_path / "a.tif", bands=2, blocks=(), interleave="band")
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.full((16, 32), 9, np.uint8), 2, window=rasterio.windows.Window(0, 0, 32, 16))
    valid = whole(Scene.open(path)).valid
    assert valid[:16, :32].all()
    assert valid.sum() == 16 * 32


def test_a_vast_file_is_looked_at_by_samples(tmp_path: Path):
    path = tmp_path / "vast.tif"
    profile = {"driver": "GTiff", "count": 1, "height": 100_000, "width": 100_000, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(path, "w", **profile, **{**TILED, "blockxsize": 512, "blockysize": 512}) as dataset:
        dataset.write(np.ones((1, 512, 512), np.uint8), window=rasterio.windows.Window(512, 512, 512, 512))
    scene = Scene.open(path)
    assert "blocks that were looked at were never written" in scene.notes[0]
    with reading(scene) as reader:
        valid = reader.read(Window(500, 500, 600, 600)).valid
    assert valid.sum() == 512 * 512


# --- side files


def mask_file(path: Path, mask: np.ndarray) -> None:
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, height=mask.shape[0], width=mask.shape[1], dtype="uint8") as dataset:
            dataset.update_tags(INTERNAL_MASK_FLAGS_1="2")
            dataset.write(mask.astype(np.uint8) * 255, 1)
        path.write_bytes(memory.getbuffer())


def test_a_mask_beside_the_scene_counts_and_is_told(make_scene, tmp_path):
    path = make_scene()
    mask = noise(64, 96, 1)[0] > 100
    mask_file(tmp_path / "scene.tif.msk", mask)
    with rasterio.open(path) as naive:
        np.testing.assert_array_equal(naive.read_masks(1) > 0, mask)
    scene = Scene.open(path)
    assert scene.files == (path, tmp_path / "scene.tif.msk")
    assert scene.notes == ("the mask `scene.tif.msk` beside it is read too",)
    np.testing.assert_array_equal(whole(scene).valid, mask)


def test_a_mask_of_another_size_is_not_its_mask(make_scene, tmp_path):
    path = make_scene()
    mask_file(tmp_path / "scene.tif.msk", np.zeros((64, 95), bool))
    assert Scene.open(path).mask is None


def test_a_mask_that_is_no_raster_is_refused(make_scene, tmp_path):
    path = make_scene()
    (tmp_path / "scene.tif.msk").write_text("<VRTDataset/>")
    with pytest.raises(SceneUnreadable, match=r"scene.tif.msk` is no GeoTIFF"):
        Scene.open(path)


def test_places_beside_the_file_are_told_and_not_read(make_scene, tmp_path):
    placed, bare = make_scene("placed.tif"), make_scene("bare.tif", crs=None, transform=None)
    for path in (placed, bare):
        path.with_name(f"{path.name}.aux.xml").write_text("<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
        path.with_suffix(".tfw").write_text("2\n0\n0\n-2\n100\n200\n")
    notes = Scene.open(placed).notes
    assert "`placed.tif.aux.xml` beside it also says where it lies, and is not read" in notes
    assert "the world file `placed.tfw` beside it is not read" in notes
    assert all("put it into the file with gdal_translate" in note for note in Scene.open(bare).notes)
    assert Scene.open(bare).grid.crs is None
    placed.with_name("placed.tif.aux.xml").write_text("<PAMDataset><Histograms/></PAMDataset>")
    assert len(Scene.open(placed).notes) == 1


def test_several_images_in_one_file(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pages = [image.fromarray(noise(40, 50, 1, seed=s)[0]) for s in (1, 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    scene = Scene.open(tmp_path / "pages.tif")
    assert scene.notes == ("the file holds 2 images; the first is taken (40 × 50 pixels)",)
    np.testing.assert_array_equal(whole(scene).image[0], np.asarray(pages[0]))


def test_a_false_alpha_is_told(make_scene):
    scene = Scene.open(make_scene(alpha=noise(64, 96, 1)[0]))
    assert scene.notes == ("band 4 is tagged alpha but looks like data, and is taken for data",)


@pytest.mark.parametrize(
    ("options", "bands", "told"),
    [
        ({"photometric": "MINISWHITE"}, 1, "min-is-white"),
        ({"photometric": "CMYK"}, 4, "CMYK"),
        ({"photometric": "CIELAB"}, 3, "CIELAB"),
        ({"nbits": 1}, 1, "1-bit"),
        ({"nbits": 4}, 1, "4-bit"),
        ({"photometric": "YCBCR", "compress": "jpeg"}, 3, ""),
        ({}, 3, ""),
    ],
)
def test_unusual_samples_are_named(make_scene, options, bands, told):
    image = noise(64, 64, bands) % (2 if options.get("nbits") == 1 else 16)
    path = make_scene(image=image, **options)
    assert Scene.open(path).samples == told
    with open_raster(path) as file:
        assert file.samples == told


@pytest.mark.parametrize("stated", [b"-99", b"1.5", b"1e9", b"999"])
def test_nodata_that_the_dtype_cannot_hold_hides_nothing(make_scene, stated):
    image = noise(20, 30, 2)
    path = make_scene(image=image, nodata=101)
    content = path.read_bytes()
    assert content.count(b"101\0") == 1  # the text of the tag
    path.write_bytes(content.replace(b"101\0", stated + b"\0"))
    scene = Scene.open(path)
    assert scene.nodata in (None, float(stated))  # rasterio keeps some to itself
    tile = whole(scene)
    assert tile.valid.all()
    np.testing.assert_array_equal(tile.image, image)
