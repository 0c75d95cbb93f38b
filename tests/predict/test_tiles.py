"""Reading a scene band by band gives the same tiles as reading every window, and reads each pixel once."""

from functools import partial

import numpy as np
from fakes import ArrayReader
from hypothesis import given
from hypothesis import strategies as st

from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import cover
from geosemi.predict.tiles import View, bands_of, tiles_of

cuts = st.integers(1, 20).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 1)))


@given(st.integers(1, 50), st.integers(1, 30), cuts, st.integers(0, 9))
def test_bands_are_the_windows_rows_and_no_pixel_is_read_twice(height, width, cut, seed):
    random = np.random.default_rng(seed)
    reader = ArrayReader(random.integers(0, 255, (2, height, width)), random.random((height, width)) < 0.5)
    tile, overlap = cut
    rows = sorted({w.row for w in cover(height, width, tile, overlap)})
    bands = list(bands_of(reader, rows, height=min(tile, height), width=width))
    assert [b.window.row for b in bands] == rows
    for band in bands:
        assert (band.image == reader.image[:, *band.window.slices]).all()
        assert (band.valid == reader.valid[band.window.slices]).all()
    assert sum(w.height for w in reader.windows) == height
    assert [w.row for w in reader.windows] == sorted(w.row for w in reader.windows)


def test_tiles_cover_the_scene_and_show_black_for_nodata(make_scene):
    image = np.random.default_rng(0).normal(50, 9, (2, 41, 67)).astype("float32")
    image[:, 5:20, 30:50] = -9999
    image[0, 40, 66] = np.nan
    scene = Scene.open(make_scene(image=image, nodata=-9999.0))
    rows, cols = ([0, 11, 22, 25], [0, 11, 22, 33, 44, 51])
    view = View(scene.grid, partial(reading, scene), (7.0, 8.0))
    tiles = list(tiles_of(view, rows, cols, height=16, width=16))
    assert [t.window for t in tiles] == list(cover(41, 67, 16, 5))
    hole = (image == -9999).all(0)
    hole[40, 66] = True
    for tile in tiles:
        part = image[:, *tile.window.slices]
        nodata = hole[tile.window.slices]
        assert (tile.valid == ~nodata).all()
        assert (tile.image[:, ~nodata] == part[:, ~nodata]).all()
        assert (tile.image[:, nodata] == np.array([[7], [8]])).all()


def test_what_is_not_asked_for_is_seen_but_not_valid(make_scene):
    scene = Scene.open(make_scene(height=20, width=30))
    view = View(scene.grid, partial(reading, scene), (0.0, 0.0, 0.0), lambda w: np.indices(w.shape)[1] + w.col < 10)
    with reading(scene) as reader:
        whole = reader.read(scene.grid.window)
    for tile in tiles_of(view, [0, 4], [0, 8, 14], height=16, width=16):
        assert (tile.image == whole.image[:, *tile.window.slices]).all()
        assert (tile.valid == (np.arange(tile.window.col, tile.window.stop_col) < 10)).all()
