"""Damaged blocks become nodata, sound ones keep every pixel, and the report says which is which."""

import json

import numpy as np
import pytest
import rasterio
from ground import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import break_blocks
from strategies import windows_inside

from geosemi.errors import SceneUnreadable
from geosemi.geo.forgiving import BadBlock, ForgivingReader, report_json, report_text
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window, cover

LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "strips": {"blockysize": 8},
    "planes": {"tiled": True, "blockxsize": 32, "blockysize": 16, "interleave": "band"},
}


class Counting:
    """A reader that counts what is asked of it."""

    def __init__(self, reader):
        self._reader, self.scene, self.block_shape, self.reads = reader, reader.scene, reader.block_shape, 0

    def read(self, window):
        self.reads += 1
        return self._reader.read(window)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
@settings(max_examples=25)
def test_damaged_blocks_are_nodata_and_all_others_are_whole(make_scene, layout, data):
    image = noise(70, 90, 2)
    path = make_scene(image=image, compress="lzw", **LAYOUTS[layout])
    high, wide = (16, 32) if layout != "strips" else (8, 90)
    count = (-(-70 // high), -(-90 // wide))
    places = st.tuples(st.integers(0, count[0] - 1), st.integers(0, count[1] - 1))
    blocks = data.draw(st.lists(places, max_size=4, unique=True))
    break_blocks(path, blocks)
    good = np.ones(count, bool)
    for place in blocks:
        good[place] = False
    good = good.repeat(high, 0).repeat(wide, 1)[:70, :90]
    scene = Scene.open(path)
    with reading(scene) as raw:
        reader = ForgivingReader(raw)
        for window in [data.draw(windows_inside(70, 90)), *cover(70, 90, 33, 4)]:
            tile = reader.read(window)
            np.testing.assert_array_equal(tile.valid, good[window.slices])
            np.testing.assert_array_equal(tile.image, image[:, *window.slices] * good[window.slices])
            assert tile.image.dtype == np.uint8
            assert tile.window == window
    assert [(b.row // high, b.col // wide) for b in reader.bad] == sorted(blocks)
    assert all(Window(0, 0, 70, 90).contains(b.window) for b in reader.bad)
    assert all(str(path) in b.cause for b in reader.bad)


def test_a_sound_file_is_read_as_it_is_and_damage_costs_few_reads(make_scene):
    path = make_scene(image=noise(512, 512, 1), compress="lzw", tiled=True, blockxsize=16, blockysize=16)
    with reading(Scene.open(path)) as raw:
        counting = Counting(raw)
        ForgivingReader(counting).read(Window(0, 0, 512, 512))
        assert counting.reads == 1
    break_blocks(path, [(7, 20)])
    with reading(Scene.open(path)) as raw:
        counting = Counting(raw)
        reader = ForgivingReader(counting)
        assert (~reader.read(Window(0, 0, 512, 512)).valid).sum() == 256
        assert counting.reads < 30  # of 1,024 blocks
        counting.reads = 0
        reader.read(Window(0, 0, 512, 512))
        assert counting.reads < 30
    with reading(Scene.open(path)) as raw, pytest.raises(SceneUnreadable, match="cannot be decoded"):
        raw.read(Window(0, 0, 512, 512))  # the control


def test_a_broken_palette_image_keeps_its_colours(tmp_path):
    path = tmp_path / "p.tif"
    profile = {"count": 1, "height": 32, "width": 32, "dtype": "uint8", "compress": "lzw", "blockysize": 8}
    with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
        dataset.write(noise(32, 32, 1) % 4)
        dataset.write_colormap(1, {i: (i, i, i, 255) for i in range(4)})
    break_blocks(path, [(1, 0)])
    scene = Scene.open(path, expand_palette=True)
    with reading(scene) as raw:
        tile = ForgivingReader(raw).read(scene.grid.window)
    assert tile.image.shape == (3, 32, 32)
    assert (~tile.valid).sum() == 8 * 32


def test_the_report(tmp_path):
    blocks = [BadBlock(16 * i, 0, 16, 32, "it broke") for i in range(7)]
    assert report_text([]) == ""
    assert report_text(blocks[:1]) == "1 damaged block is nodata in the mask: rows 0–15, columns 0–31"
    assert report_text(blocks).startswith("7 damaged blocks are nodata in the mask: rows 0–15, columns 0–31; rows 16")
    assert report_text(blocks).endswith("; and 2 more")
    content = json.loads(report_json("a.tif", blocks))
    assert (content["scene"], content["pixels"], len(content["blocks"])) == ("a.tif", 7 * 512, 7)
    assert content["blocks"][1] == {"row": 16, "col": 0, "height": 16, "width": 32, "cause": "it broke"}
