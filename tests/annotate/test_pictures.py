"""What a model is shown: bands, brightness, size."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes import ArrayReader
from ground import NORTH_UP, UTM
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.pictures import Stretch, picture_shape, resized, tiles_of, visible
from geosemi.errors import BandMismatch
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window


def scene_of(path: Path, image: np.ndarray, names: tuple[str, ...] = (), nodata: float | None = None) -> Scene:
    bands, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, dtype=image.dtype, height=height, width=width, crs=UTM,
        transform=NORTH_UP, nodata=nodata, photometric="minisblack",
    ) as d:  # fmt: skip
        d.write(image)
        for number, name in enumerate(names, start=1):
            d.set_band_description(number, name)
    return Scene.open(path)


def ramp(bands: int, dtype: str = "uint16", size: int = 600) -> np.ndarray:
    values = np.linspace(100, 9000, size * size).reshape(size, size)
    return np.stack([values + 10 * band for band in range(bands)]).astype(dtype)


def test_bands_that_people_see(tmp_path: Path):
    named = scene_of(tmp_path / "a.tif", ramp(4, size=40), ("blue", "green", "red", "nir"))
    assert visible(named).indexes == (3, 2, 1)
    plain = scene_of(tmp_path / "b.tif", ramp(5, size=40))
    assert visible(plain).indexes == (1, 2, 3)
    assert visible(plain, (5, 2, 1)).indexes == (5, 2, 1)
    assert visible(plain, (4,)).indexes == (4,)
    assert visible(scene_of(tmp_path / "c.tif", ramp(2, size=40))).indexes == (1,)
    with pytest.raises(BandMismatch, match=r"not \[9\]"):
        visible(plain, (9, 1, 2))


def test_bytes_are_shown_as_they_are(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 255, (3, 50, 60), dtype=np.uint8)
    scene = scene_of(tmp_path / "a.tif", image)
    with reading(scene) as reader:
        shown = Stretch.measure(reader, scene).show(reader.read(Window(5, 10, 30, 20)))
    assert np.array_equal(shown, image[:, 5:35, 10:30].transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_other_numbers_are_stretched_between_percentiles_of_the_whole_scene(tmp_path: Path, dtype: str):
    image = ramp(3, dtype)
    scene = scene_of(tmp_path / "a.tif", image)
    with reading(scene) as reader:
        stretch = Stretch.measure(reader, scene)
        assert np.allclose(stretch.low, np.percentile(image, 2, axis=(1, 2)), rtol=0.1)
        assert np.allclose(stretch.high, np.percentile(image, 98, axis=(1, 2)), rtol=0.02)
        # the same value has the same brightness in every tile
        whole = stretch.show(reader.read(scene.grid.window))
        part = stretch.show(reader.read(Window(300, 100, 64, 64)))
    assert np.array_equal(part, whole[300:364, 100:164])
    assert (whole[0, 0], whole[-1, -1]) == (pytest.approx(0), pytest.approx(255))


def test_nodata_is_black_and_does_not_count(tmp_path: Path):
    image = ramp(3)
    image[:, :300] = 0
    scene = scene_of(tmp_path / "a.tif", image, nodata=0)
    with reading(scene) as reader:
        stretch = Stretch.measure(reader, scene)
        shown = stretch.show(reader.read(scene.grid.window))
    assert min(stretch.low) > 4000
    assert not shown[:300].any()
    with reading(scene_of(tmp_path / "b.tif", image * 0, nodata=0)) as reader:
        assert Stretch.measure(reader, scene).show(reader.read(scene.grid.window)).max() == 0


def test_one_band_is_grey():
    tile = ArrayReader(np.arange(12, dtype=np.uint8).reshape(1, 3, 4)).read(Window(0, 0, 3, 4))
    shown = Stretch((0.0,), (255.0,)).show(tile)
    assert shown.shape == (3, 4, 3)
    assert (shown == np.arange(12).reshape(3, 4, 1)).all()


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(224, 4096), st.sampled_from([1, 28, 32]))
def test_sizes_of_pictures(height, width, longer, multiple):
    shape = picture_shape(Window(0, 0, height, width), longer, multiple)
    assert all(side % multiple == 0 and side >= multiple for side in shape)
    assert abs(max(shape) - longer) <= multiple / 2 + 1
    if min(shape) > multiple:  # the longer side decides; the other one is as long as it should be
        scale = longer / max(height, width)
        assert abs(shape[0] - height * scale) <= multiple / 2 + 1
        assert abs(shape[1] - width * scale) <= multiple / 2 + 1


def test_resizing_keeps_places():
    rgb = np.zeros((64, 128, 3), np.uint8)
    rgb[16:32, 64:96] = 255
    for shape in ((128, 256), (32, 64), (64, 128)):
        bright = resized(rgb, shape)[..., 0] > 127
        rows, cols = bright.nonzero()
        assert (rows.min() / shape[0], (rows.max() + 1) / shape[0]) == (0.25, 0.5)
        assert (cols.min() / shape[1], (cols.max() + 1) / shape[1]) == (0.5, 0.75)


def test_a_small_scene_is_one_tile(tmp_path: Path):
    scene = scene_of(tmp_path / "a.tif", ramp(3, size=100))
    assert tiles_of(scene, 512, 64) == [Window(0, 0, 100, 100)]
    assert picture_shape(Window(0, 0, 100, 100), 896, 28) == (896, 896)
