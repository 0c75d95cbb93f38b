"""Windows to calibrate with and to check on: never the same ones, and only where there is something to see."""

import re

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import TinySegmenter, bundle_of
from ground import NORTH_UP
from hypothesis import given
from hypothesis import strategies as st

from geosemi.errors import ConfigError, GridMismatch, InputError
from geosemi.geo.sources import find_scenes
from geosemi.predict.samples import draw_samples, labels_of
from geosemi.predict.settings import QuantizeSettings

TILE = 32
CARD = bundle_of(TinySegmenter(), tile=TILE, provenance={"black": [7, 8, 9]}).card
AWAY = Affine(0.5, 0, 460_000, 0, -0.5, 40_000)


def truth(height=64, width=96, value=1):
    return np.full((1, height, width), value, np.uint8)


def draw(scenes, labels, calibrate=(), **settings):
    found = find_scenes(scenes)
    return draw_samples(CARD, QuantizeSettings(**settings), found, labels, find_scenes(calibrate) if calibrate else ())


def pixels(tiles):
    return {tile.image.tobytes() for tile in tiles}


def all_windows(path):
    with rasterio.open(path) as file:
        image = file.read()
    rows, cols = (range(0, n - TILE + 1, TILE) for n in image.shape[1:])
    return {image[:, r : r + TILE, c : c + TILE].tobytes() for r in rows for c in cols}


@given(height=st.integers(TILE, 150), width=st.integers(2 * TILE, 150), windows=st.integers(1, 20))
def test_windows_of_one_scene_calibrate_or_check_but_never_both(make_scene, height, width, windows):
    scene = make_scene(height=height, width=width)  # noise: no two windows are alike
    label = make_scene("label.tif", image=truth(height, width))
    samples = draw([scene], [label], windows=windows)
    count = (height // TILE) * (width // TILE)
    assert len(samples.check) == min(windows, (count + 1) // 2)
    assert len(samples.calibration) == min(windows, count // 2)
    checked, calibrated = pixels(tile for tile, _ in samples.check), pixels(samples.calibration)
    assert not checked & calibrated
    assert len(checked) + len(calibrated) == len(samples.check) + len(samples.calibration)
    assert pixels(draw([scene], [label], windows=windows).calibration) == calibrated  # the same every time


def test_scenes_on_the_ground_of_the_labelled_ones_do_not_calibrate(make_scene):
    scene, label = make_scene("here.tif"), make_scene("label.tif", image=truth())
    copy = make_scene("copy.tif", seed=1, transform=NORTH_UP @ Affine.translation(40, 0))
    other = make_scene("there.tif", seed=2, transform=AWAY)
    samples = draw([scene], [label], [scene, copy, other])
    assert len(samples.check) == len(samples.calibration) == 6
    assert pixels(samples.calibration) == all_windows(other)
    assert samples.notes == ("not calibrated with, for labelled scenes lie on the same ground: here, copy",)
    with pytest.raises(InputError, match="no window of 32 × 32 pixels of `here` is left to calibrate with") as caught:
        draw([scene], [label], [copy])
    assert "--calibrate SCENE" in caught.value.hint


def test_a_file_without_place_is_known_by_its_name(make_scene):
    scene, label = (
        make_scene(n, crs=None, transform=None, **k) for n, k in (("a.tif", {}), ("b.tif", {"image": truth()}))
    )
    with pytest.raises(InputError, match="left to calibrate with"):
        draw([scene], [label], [scene])


def test_windows_without_truth_are_not_checked_and_nodata_has_none(make_scene):
    image = np.random.default_rng(0).integers(1, 255, (3, 64, 96), dtype=np.uint8)
    image[:, :40, :40] = 0
    label = truth()
    label[:, :, 64:] = 255
    scene = make_scene("here.tif", image=image, nodata=0)
    other = make_scene("there.tif", image=image, nodata=0, transform=AWAY)
    samples = draw([scene], [make_scene("label.tif", image=label)], [other])
    assert sorted((tile.window.row, tile.window.col) for tile, _ in samples.check) == [
        (0, 0),
        (0, 32),
        (32, 0),
        (32, 32),
    ]
    for tile, known in samples.check:
        assert ((known == 1) == tile.valid).all()
        assert ((known == 255) == ~tile.valid).all()
        assert (tile.image[:, ~tile.valid] == np.array([7, 8, 9])[:, None]).all()  # what nodata looked like in training
    # the upper left window is nodata all over
    assert len(samples.calibration) == 5
    assert (0, 0) not in {(tile.window.row, tile.window.col) for tile in samples.calibration}


@pytest.mark.parametrize(
    ("height", "value", "cause", "hint"),
    [
        (64, 255, "no window of 32 × 32 pixels of `here` has truth", "smaller `--tile`"),
        (31, 1, "no window of 32 × 32 pixels of `here` has truth", "smaller `--tile`"),
    ],
)
def test_nothing_to_check_is_said(make_scene, height, value, cause, hint):
    scene, label = make_scene("here.tif", height=height), make_scene("label.tif", image=truth(height, value=value))
    with pytest.raises(InputError, match=cause) as caught:
        draw([scene], [label])
    assert hint in caught.value.hint


def test_a_label_of_another_grid_is_refused(make_scene):
    with pytest.raises(GridMismatch):
        draw([make_scene("here.tif")], [make_scene("label.tif", image=truth(), transform=AWAY)])


def test_labels_are_one_file_or_named_like_their_scenes(make_scene, tmp_path):
    scenes = find_scenes([make_scene("a.tif"), make_scene("b.tif")])
    one, two = make_scene("truth/a.tif", image=truth()), make_scene("truth/b.png", image=truth())
    assert labels_of(scenes, tmp_path / "truth") == (one, two)
    assert labels_of(scenes[:1], two) == (two,)
    for labels, kind, cause, hint in (
        (one, ConfigError, "cannot be the label of 2 scenes", "folder"),
        (tmp_path / "none", InputError, "none` does not exist", "name a label"),
        (tmp_path, InputError, "holds no label of `c`", r"\.gpkg"),
    ):
        where = scenes if labels != tmp_path else find_scenes([make_scene("other/c.tif")])
        with pytest.raises(kind, match=cause) as caught:
            labels_of(where, labels)
        assert re.search(hint, caught.value.hint)
