"""Reading a scene band by band gives the same tiles as reading every window, and reads each pixel once."""

import numpy as np
from fakes import ArrayReader
from hypothesis import given
from hypothesis import strategies as st

from geosemi.geo.scene import Scene
from geosemi.geo.window import cover
from geosemi.predict.tiles import bands_of, tiles_of

cuts = st.integers(1, 20).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 1)))


@given(st.integers(1, 50), st.integers(1, 30), cuts, st.integers(0, 9))
def test_bands_are_the_windows_rows_and_no_pixel_is_read_twice(height, width, cut, seed):
    random = np.random.default_rng(seed)
    reader = ArrayReader(random.integers(0, 255, (2, height, width)), random.random((height, width)) < 0.5)
    tile, overlap = cut
    rows = sorted({w.row for w in cover(height, width, tile, overlap)})
    bands = list(bands_of(reader, (height, width), tile=tile, overlap=overlap))
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
    tiles = list(tiles_of(scene, tile=16, overlap=5, black=(7.0, 8.0)))
    assert [t.window for t in tiles] == list(cover(41, 67, 16, 5))
    hole = (image == -9999).all(0)
    hole[40, 66] = True
    for tile in tiles:
        part = image[:, *tile.window.slices]
        nodata = hole[tile.window.slices]
        assert (tile.valid == ~nodata).all()
        assert (tile.image[:, ~nodata] == part[:, ~nodata]).all()
        assert (tile.image[:, nodata] == np.array([[7], [8]])).all()
