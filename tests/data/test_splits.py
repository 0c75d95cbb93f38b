"""Who is trained on and who is scored: nested, repeatable, and on separate ground, proven by footprints."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import scenery
import shapely
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from geosemi.data.scenes import DataSettings, SceneSet, find_scenes
from geosemi.data.splits import Region, SplitSettings, make_split
from geosemi.data.statistics import CELL, Truth, find_truth
from geosemi.errors import ConfigError
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window

PARTS = ("labelled", "unlabelled", "validation", "test")


def split_of(scenes, **wanted):
    """Divide scenes that exist as metadata alone; truth is everywhere."""
    counts = {
        s.name: np.ones((-(-s.scene.grid.height // CELL), -(-s.scene.grid.width // CELL), 3), np.int64)
        for s in scenes
        if s.label is not None
    }
    return make_split(SceneSet(tuple(scenes), scenery.LEGEND), SplitSettings(**wanted), Truth(counts))


def split_or_skip(scenes, **wanted):
    """Divide; landscapes of which nothing can be kept apart teach nothing, as long as they are refused by name."""
    try:
        return split_of(scenes, **wanted)
    except ConfigError as error:
        known = ("cannot be divided into train", "no labelled scene is left", "no scene has a label")
        assume(not any(words in error.message for words in known))
        raise


def row_of_scenes(count, *, side=256, **more):
    """Scenes side by side with a gap between them."""
    return [
        scenery.scene_at(f"s{i}", scenery.grid_at(450_000 + 2 * side * i, 40_000, 1.0, (side, side)), **more)
        for i in range(count)
    ]


def ground_of(regions, scenes):
    """The ground of regions as one shape in UTM 36, edges cut finely before they are moved there."""
    grids = {s.name: s.scene.grid for s in scenes}
    shapes = []
    for r in regions:
        grid = grids[r.scene].crop(r.window)
        ring = shapely.segmentize(shapely.Polygon(grid.corners), 0.05 * math.dist(*grid.corners[:2]))
        move = Transformer.from_crs(grid.crs.to_wkt(), scenery.UTM, always_xy=True)
        shapes.append(shapely.transform(ring, lambda xy, m=move: np.column_stack(m.transform(xy[:, 0], xy[:, 1]))))
    return shapely.union_all(shapes)


def require_no_shared_ground(split, scenes, share=1e-6):
    """Check that train (with and without labels), validation and test lie apart."""
    train = ground_of((*split.labelled, *split.unlabelled), scenes)
    parts = [train, ground_of(split.validation, scenes), ground_of(split.test, scenes)]
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            assert one.intersection(other).area <= share * max(1e-9, min(one.area, other.area))


class TestLabelledBlocks:
    @settings(max_examples=25)
    @given(st.integers(0, 10_000), st.integers(3, 9), st.lists(st.integers(1, 100), min_size=2, max_size=5))
    def test_ratios_are_nested_prefixes(self, seed, count, ratios):
        scenes = row_of_scenes(count)
        sizes = {}
        for ratio in sorted(ratios):
            try:
                split = split_of(scenes, ratio=ratio, block=32, seed=seed)
            except ConfigError:
                assert math.floor(ratio / 100 * (count - 2) * 64) == 0
                continue
            sizes[ratio] = split.labelled
            assert len(split.labelled) == math.floor(ratio * split.train_blocks / 100)
        found = list(sizes.values())
        for small, large in pairwise(found):
            assert large[: len(small)] == small

    def test_one_five_ten(self):
        one, five, ten = (split_of(row_of_scenes(6), ratio=r, block=32).labelled for r in (1, 5, 10))
        assert set(one) < set(five) < set(ten)
        assert (len(one), len(five), len(ten)) == (2, 12, 25)  # of 4 scenes with 64 blocks

    def test_the_count_is_exact_where_floats_are_not(self):
        # 0.29 · 100 is 28.999999999999996
        split = split_of(row_of_scenes(1, side=320), ratio=29, block=32, validation=0, test=0)
        assert (split.train_blocks, len(split.labelled)) == (100, 29)

    def test_everything_may_be_labelled(self):
        split = split_of(row_of_scenes(4), ratio=100, block=64)
        assert len(split.labelled) == split.train_blocks == 2 * 16

    def test_blocks_lie_side_by_side_in_their_scene(self):
        split = split_of(row_of_scenes(1, side=300), ratio=100, block=64, validation=0, test=0)
        seen = np.zeros((300, 300), int)
        for r in split.labelled:
            seen[r.window.slices] += 1
        assert seen.max() == 1
        assert (seen > 0).mean() > 0.9

    def test_a_scene_smaller_than_a_block_is_one_block(self):
        split = split_of(row_of_scenes(5, side=40), ratio=100, block=256)
        assert {r.window for r in split.labelled} == {Window(0, 0, 40, 40)}

    def test_blocks_without_truth_do_not_count(self):
        scenes = row_of_scenes(1, side=256)
        counts = np.zeros((4, 4, 3), np.int64)
        counts[1, 2, 0] = counts[3, 3, 2] = 5
        wanted = SplitSettings(ratio=100, block=64, validation=0, test=0)
        split = make_split(SceneSet(tuple(scenes), scenery.LEGEND), wanted, Truth({"s0": counts}))
        assert {(r.window.row, r.window.col) for r in split.labelled} == {(64, 128), (192, 192)}
        assert split.train_blocks == 2

    def test_a_ratio_that_leaves_none_is_refused(self):
        with pytest.raises(ConfigError) as caught:
            split_of(row_of_scenes(5, side=128), ratio=1, block=64)
        assert caught.value.message == "1 % of 12 training blocks leaves no labelled block"
        assert "--ratio 9" in caught.value.hint
        assert "split.block" in caught.value.hint
        assert split_of(row_of_scenes(5, side=128), ratio=9, block=64).labelled  # the hint is right

    def test_training_scenes_are_whole_and_unlabelled_too(self):
        split = split_of(row_of_scenes(5), ratio=10, block=64)
        labelled = {r.scene for r in split.labelled}
        whole = {r.scene for r in split.unlabelled}
        assert labelled <= whole
        assert all(r.window == Window(0, 0, 256, 256) for r in split.unlabelled)


class TestDeterminism:
    @pytest.mark.parametrize("unit", ["scene", "block", "patch"])
    def test_the_seed_decides(self, unit):
        def made(seed):
            return split_of(row_of_scenes(8), ratio=20, block=64, unit=unit, seed=seed)

        assert made(1) == made(1)
        assert made(1) != made(2)

    def test_the_ratio_does_not_move_validation_or_test(self):
        one, two = (split_of(row_of_scenes(8), ratio=r, block=64) for r in (10, 50))
        assert (one.validation, one.test, one.train_blocks) == (two.validation, two.test, two.train_blocks)

    def test_the_split_is_written_down(self, tmp_path):
        split = split_of(row_of_scenes(5), ratio=10, block=64)
        split.save(tmp_path / "split.json")
        plain = json.loads((tmp_path / "split.json").read_text())
        for part in PARTS:
            assert tuple(Region(n, Window(*w)) for n, *w in plain[part]) == getattr(split, part)
        assert (plain["leaky"], plain["train_blocks"]) == (False, split.train_blocks)


CRSS = (scenery.UTM, "EPSG:3857", "EPSG:4326")


@st.composite
def landscapes(draw, crss=CRSS, whole_pixels=False):
    """Overlapping scenes of several resolutions and crs within a square of 600 m, some without labels."""
    scenes = []
    for number in range(draw(st.integers(3, 9))):
        crs = draw(st.sampled_from(crss))
        east, north = 450_000 + draw(st.integers(0, 600)), 40_000 + draw(st.integers(0, 600))
        pixel = draw(st.sampled_from([0.5, 1.0, 1.6]))
        shape = (draw(st.integers(40, 150)), draw(st.integers(40, 150)))
        x, y = Transformer.from_crs(scenery.UTM, crs, always_xy=True).transform(east, north)
        size = pixel * 9e-6 if crs == "EPSG:4326" else pixel
        grid = Grid(CRS.from_user_input(crs), Affine(size, 0, x, 0, -size, y), *shape)
        part = draw(st.sampled_from([None, None, "unlabelled"]))
        scenes.append(scenery.scene_at(f"s{number}", grid, label=part is None, part=part))
    return scenes


class TestGround:
    @settings(max_examples=25)
    @given(landscapes(), st.integers(0, 100))
    def test_scenes_share_none(self, scenes, seed):
        split = split_or_skip(scenes, ratio=100, block=32, seed=seed)
        assert split.validation
        assert split.test
        # overlaps under a thousandth of the smaller scene count as touching
        require_no_shared_ground(split, scenes, share=2e-3)

    @settings(max_examples=25)
    @given(landscapes(crss=(scenery.UTM,)), st.integers(0, 100), st.sampled_from([32, 48, 64]))
    def test_blocks_share_none(self, scenes, seed, block):
        split = split_or_skip(scenes, ratio=100, block=block, unit="block", seed=seed)
        assert split.labelled
        assert split.validation
        assert split.test
        require_no_shared_ground(split, scenes)

    def test_blocks_divide_a_single_scene(self):
        scenes = row_of_scenes(1, side=1024)
        split = split_of(scenes, ratio=100, block=128, unit="block", validation=0.25, test=0.25)
        assert not split.leaky
        blocks = len(split.labelled), len(split.validation), len(split.test)
        assert sum(blocks) == split.train_blocks + blocks[1] + blocks[2]
        assert blocks[1] == blocks[2] == pytest.approx(sum(blocks) / 4, abs=1)
        require_no_shared_ground(split, scenes)

    def test_unlabelled_scenes_on_kept_ground_are_left_out(self):
        scenes = [*row_of_scenes(6), *(
            scenery.scene_at(f"u{i}", scenery.grid_at(450_000 + 512 * i + 200, 39_900, 0.3, (256, 256)),
                             label=False, part="unlabelled")
            for i in range(6)
        )]  # fmt: skip
        split = split_of(scenes, ratio=10, block=64)
        kept = {r.scene[1:] for r in (*split.validation, *split.test)}
        trained = {r.scene[1:] for r in split.unlabelled if r.scene.startswith("u")}
        assert trained == set("012345") - kept
        assert len(kept) == 2

    def test_an_unlabelled_mosaic_of_everything_binds_nothing(self):
        mosaic = scenery.scene_at(
            "mosaic", scenery.grid_at(449_000, 41_000, 5.0, (1200, 1200)), label=False, part="unlabelled"
        )
        scenes = [*row_of_scenes(5), mosaic]
        assert split_of(scenes, ratio=10, block=64).labelled == split_of(scenes[:-1], ratio=10, block=64).labelled
        assert all(r.scene != "mosaic" for r in split_of(scenes, ratio=10, block=64).unlabelled)
        alone = split_of(scenes, ratio=10, block=64, validation=0, test=0)
        assert any(r.scene == "mosaic" for r in alone.unlabelled)

    def test_patches_are_marked_leaky(self):
        scenes = row_of_scenes(2, side=512)
        split = split_of(scenes, ratio=10, block=64, unit="patch")
        assert split.leaky
        assert not split_of(row_of_scenes(4), ratio=10, block=64).leaky
        assert {r.scene for r in split.validation} & {r.scene for r in split.labelled}  # that is what leaks

    def test_patches_share_no_pixel_all_the_same(self):
        scenes = row_of_scenes(2, side=512)
        require_no_shared_ground(split_of(scenes, ratio=10, block=64, unit="patch"), scenes)


class TestDecrees:
    def scenes(self, **parts):
        return [
            scenery.scene_at(s.name, s.scene.grid, part=parts.get(s.name, "train")) for s in row_of_scenes(5)
        ]  # fmt: skip

    @pytest.mark.parametrize("unit", ["scene", "block"])
    def test_names_are_kept(self, unit):
        split = split_of(self.scenes(s1="val", s3="test"), ratio=10, block=64, unit=unit)
        assert [r.scene for r in split.validation] == ["s1"]
        assert [r.scene for r in split.test] == ["s3"]
        assert {r.scene for r in split.unlabelled} == {"s0", "s2", "s4"}

    def test_naming_one_part_leaves_no_other(self):
        split = split_of(self.scenes(s1="val"), ratio=10, block=64)
        assert split.test == ()

    def test_shared_ground_in_two_parts_is_refused(self):
        near = scenery.scene_at("near", scenery.grid_at(450_200, 40_000, 0.5, (256, 256)), part="val")
        with pytest.raises(ConfigError) as caught:
            split_of([*self.scenes(), near], ratio=10, block=64)
        assert "`near` is kept for val, but it shares ground with a scene kept for train" in caught.value.message
        assert "one part" in caught.value.hint

    def test_too_few_scenes_are_refused(self):
        with pytest.raises(ConfigError) as caught:
            split_of(row_of_scenes(2), ratio=50, block=64)
        assert "2 separate scenes cannot be divided into train, val and test" in caught.value.message
        assert "split.unit=block" in caught.value.hint
        assert split_of(row_of_scenes(2, side=512), ratio=50, block=64, unit="block").validation  # the hint is right

    def test_nothing_left_to_train_on(self):
        with pytest.raises(ConfigError) as caught:
            split_of(self.scenes(**{f"s{i}": "val" for i in range(5)}), ratio=50, block=64)
        assert caught.value.message == "no labelled scene is left for training"
        assert "split.validation" in caught.value.hint

    @pytest.mark.parametrize("unit", ["scene", "block", "patch"])
    def test_no_labels_at_all(self, unit):
        with pytest.raises(ConfigError, match="no scene has a label") as caught:
            split_of(row_of_scenes(4, label=False, part="unlabelled"), ratio=50, block=64, unit=unit)
        assert "data.labels" in caught.value.hint

    @pytest.mark.parametrize("grid", [
        Grid(CRS.from_user_input(scenery.UTM), scenery.place() * Affine.rotation(10), 256, 256),
        scenery.grid_at(50_000, 40_000, 1.0, (256, 256), "EPSG:3857"),
    ], ids=["rotated", "another crs"])  # fmt: skip
    def test_blocks_need_one_mesh(self, grid):
        with pytest.raises(ConfigError) as caught:
            split_of([*row_of_scenes(3), scenery.scene_at("odd", grid)], ratio=50, block=64, unit="block")
        assert "odd.tif" in caught.value.message
        assert "split.unit=scene" in caught.value.hint


def test_shares_of_the_ground():
    split = split_of(row_of_scenes(20), ratio=10, block=64, validation=0.3, test=0.1)
    assert (len(split.validation), len(split.test)) == (6, 2)


def test_scenes_without_crs_can_be_divided_by_block():
    scenes = [scenery.scene_at(f"p{i}", Grid(None, Affine.identity(), 256, 256)) for i in range(3)]
    split = split_of(scenes, ratio=100, block=64, unit="block")
    seen = {(r.scene, r.window) for p in PARTS for r in getattr(split, p)}
    assert len(seen) == 48


def test_both_dubai_scenes_of_one_ground_are_trained_on(shared):
    # their georeference is invented, so only the names in the configs keep tile1 and tile3 together
    data = DataSettings(root=shared / "data" / "dubai", validation=("tile6",), test=("tile2",))
    scenes = find_scenes(data)
    split = make_split(scenes, SplitSettings(ratio=5), find_truth(scenes, data, lambda *_: None))
    assert {r.scene for r in split.unlabelled} == {"tile1", "tile3", "tile7"}
    assert [r.scene for r in split.validation] == ["tile6"]
    assert [r.scene for r in split.test] == ["tile2"]
    require_no_shared_ground(split, scenes.scenes)
    assert len(split.labelled) == math.floor(0.05 * split.train_blocks)
