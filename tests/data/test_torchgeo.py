"""The bridge to TorchGeo: queries are exact, samples are what is in the files, its own samplers run over them."""

import pickle

import geopandas as gpd
import numpy as np
import pytest
import scenery
import shapely
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from torchgeo.datasets import stack_samples
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler, Units

import geosemi.data.torchgeo as bridge
from geosemi.data.scenes import DataSettings, SceneFiles, find_scenes
from geosemi.data.torchgeo import ChipSampler, SceneDataset, to_chips, to_slices, to_window
from geosemi.errors import InputError
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import reading_opinion
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window

UTM = CRS.from_user_input(scenery.UTM)
TRANSFORMS = {
    "north up": Affine(0.5, 0, 450_000, 0, -0.5, 40_000),
    "south up": Affine(0.5, 0, 450_000, 0, 0.5, 40_000),
    "west up": Affine(-0.5, 0, 450_000, 0, -0.5, 40_000),
    "rotated by 10°": Affine.translation(450_000, 40_000) * Affine.rotation(10) * Affine.scale(0.3, -0.3),
    "rotated by 100°": Affine.translation(450_000, 40_000) * Affine.rotation(100) * Affine.scale(0.3, -0.3),
    "sheared": Affine(0.5, 0.1, 450_000, 0.05, -0.5, 40_000),
    "oblong": Affine(0.2, 0, 450_000, 0, -0.7, 40_000),
    "Potsdam": Affine(0.05, 0, 366_000.05, 0, -0.05, 5_808_000.15),
    "Potsdam turned": Affine.translation(366_000.05, 5_808_000.15) * Affine.rotation(10) * Affine.scale(0.05, -0.05),
    "degrees": Affine(4.5e-7, 0, 13.0612345678, 0, -4.5e-7, 52.3912345678),
    "pixels": Affine.identity(),
}
windows = st.builds(
    Window, st.integers(-600, 60_000), st.integers(-600, 60_000), st.integers(1, 1100), st.integers(1, 1100)
)


class TestQueries:
    @pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
    @given(window=windows)
    def test_slices_and_windows_are_inverse(self, transform, window):
        grid = Grid(UTM, transform, 50_000, 50_000)
        assert to_window(grid, to_slices(grid, window)) == window

    @given(window=windows)
    def test_slices_are_the_bounds_on_the_ground(self, window):
        grid = Grid(UTM, TRANSFORMS["north up"], 50_000, 50_000)
        x, y, _ = to_slices(grid, window)
        assert (x.start, x.stop) == (450_000 + window.col / 2, 450_000 + window.stop_col / 2)
        assert (y.start, y.stop) == (40_000 - window.stop_row / 2, 40_000 - window.row / 2)
        assert (x.step, y.step) == (0.5, 0.5)

    @pytest.mark.parametrize("angle", [45, 135, 225])
    def test_a_grid_turned_by_45_degrees_is_refused(self, angle):
        grid = Grid(UTM, Affine.rotation(angle) * Affine.scale(0.5, -0.5), 100, 100)
        with pytest.raises(InputError, match="rotated by 45") as caught:
            to_window(grid, to_slices(grid, Window(0, 0, 10, 20)))
        assert "gdalwarp" in caught.value.hint


@pytest.fixture
def files(tmp_path):
    """A scene of 70 × 90 pixels with nodata, an internal label gap and an opinion."""
    scenery.country(tmp_path, labelled=1, unlabelled=0, opinions=False)
    ids = scenery.truth(70, 90, seed=3, patch=7)
    ids[60:, :20] = 255
    image = scenery.picture(ids % 3, seed=3)
    image[:, :10, 50:] = 0
    where = scenery.place()
    path = scenery.write_tif(tmp_path / "images" / "a.tif", image, where, nodata=0)
    scenery.write_tif(tmp_path / "labels" / "a.tif", ids, where)
    (tmp_path / "opinions").mkdir()
    seen = np.random.default_rng(0).random((3, 70, 90)) < 0.4
    scenery.write_opinion(
        tmp_path / "opinions" / "a.tif",
        scenery.pack(seen),
        Scene.open(path).grid,
        legend=scenery.LEGEND,
        source="noise",
    )
    return find_scenes(DataSettings(root=tmp_path)).scenes[0]


def dataset_of(files, *, keep=False, label=True, opinion=True):
    return SceneDataset(files, scenery.LEGEND, DataSettings(), with_label=label, with_opinion=opinion, keep=keep)


def expected(files, window):
    """What a query should give, read pixel by pixel from the whole layers."""
    grid = files.scene.grid
    with reading(files.scene) as reader, reading_opinion(files.opinion, grid, scenery.LEGEND) as opinions:
        tile, opinion = reader.read(grid.window), opinions.read(grid.window)
    import rasterio

    with rasterio.open(files.label) as dataset:
        label = dataset.read(1)
    image = np.zeros((3, *window.shape), np.float32)
    valid = np.zeros(window.shape, bool)
    mask = np.full(window.shape, 255)
    planes = np.zeros((3, *window.shape), bool)
    for i in range(window.height):
        for j in range(window.width):
            row, col = window.row + i, window.col + j
            if 0 <= row < grid.height and 0 <= col < grid.width:
                image[:, i, j], planes[:, i, j] = tile.image[:, row, col], opinion[:, row, col]
                valid[i, j] = tile.valid[row, col]
                mask[i, j] = label[row, col] if tile.valid[row, col] else 255
    return image, valid, mask, planes


WINDOWS = {
    "inside": Window(12, 20, 30, 40),
    "nodata": Window(0, 40, 20, 50),
    "top left": Window(-5, -9, 20, 30),
    "bottom right": Window(60, 80, 32, 32),
    "larger": Window(-8, -3, 90, 120),
    "one pixel": Window(69, 89, 1, 1),
}


class TestSamples:
    @pytest.mark.parametrize("keep", [False, True], ids=["read", "kept"])
    @pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
    def test_equal_the_files_and_pad_what_overhangs(self, files, window, keep):
        query = to_slices(files.scene.grid, window)
        sample = dataset_of(files, keep=keep)[query]
        image, valid, mask, planes = expected(files, window)
        np.testing.assert_array_equal(sample["image"], image)
        np.testing.assert_array_equal(sample["valid"], valid)
        np.testing.assert_array_equal(sample["mask"], mask)
        np.testing.assert_array_equal(sample["opinion"], planes)
        bounds = sample["bounds"]  # slices up to TorchGeo 0.8; since 0.9 a float32 tensor, three numbers a slice
        west, south = (bounds[0].start, bounds[1].start) if isinstance(bounds, tuple) else bounds[[0, 3]].tolist()
        assert (west, south) == pytest.approx((query[0].start, query[1].start), rel=1e-6)
        kinds = {k: sample[k].dtype for k in ("image", "valid", "mask", "opinion")}
        assert kinds == {"image": torch.float32, "valid": torch.bool, "mask": torch.int64, "opinion": torch.bool}

    def test_a_query_beside_the_scene_is_refused(self, files):
        with pytest.raises(IndexError, match="misses"):
            dataset_of(files)[to_slices(files.scene.grid, Window(70, 0, 8, 8))]

    def test_labels_and_opinions_are_given_on_demand(self, files):
        query = to_slices(files.scene.grid, Window(0, 0, 8, 8))
        assert set(dataset_of(files, label=False, opinion=False)[query]) == {"image", "valid", "bounds"}
        without = SceneFiles("x", files.scene, None)
        assert set(dataset_of(without)[query]) == {"image", "valid", "bounds"}

    @pytest.mark.parametrize("keep", [False, True])
    def test_labels_of_unlabelled_ground_are_never_opened(self, files, keep, monkeypatch):
        opened = []
        monkeypatch.setattr(bridge, "reading_labels", lambda *a: opened.append(a))
        query = to_slices(files.scene.grid, Window(0, 0, 8, 8))
        assert "mask" not in dataset_of(files, keep=keep, label=False)[query]
        assert opened == []
        files.label.unlink()
        assert "mask" not in dataset_of(files, keep=keep, label=False)[query]

    def test_a_vector_layer_is_loaded_once(self, tmp_path, monkeypatch):
        where = scenery.place()
        scenery.write_legend(tmp_path / "legend.yaml")
        scenery.write_tif(tmp_path / "images" / "v.tif", np.full((3, 64, 64), 9, np.uint8), where)
        ground = [shapely.box(*(where * (5, 30)), *(where * (40, 6)))]
        frame = gpd.GeoDataFrame({"class": ["roof"]}, geometry=ground, crs=scenery.UTM)
        (tmp_path / "labels").mkdir()
        frame.to_file(tmp_path / "labels" / "v.gpkg")
        loads, real = [], bridge.reading_labels
        monkeypatch.setattr(bridge, "reading_labels", lambda *a: loads.append(a) or real(*a))
        files = find_scenes(DataSettings(root=tmp_path)).scenes[0]
        dataset = dataset_of(files)
        expected = np.full((64, 64), 255)
        expected[6:30, 5:40] = 2
        for row in range(0, 64, 16):
            window = Window(row, 0, 16, 64)
            sample = dataset[to_slices(files.scene.grid, window)]
            np.testing.assert_array_equal(sample["mask"], expected[window.slices])
        assert len(loads) == 1

    def test_a_data_set_travels_to_another_process(self, files):
        dataset = dataset_of(files, keep=True)
        query = to_slices(files.scene.grid, WINDOWS["inside"])
        before = dataset[query]
        moved = pickle.dumps(dataset)
        assert len(moved) < 20_000  # decoded pixels stay behind
        after = pickle.loads(moved)[query]
        assert all(torch.equal(before[k], after[k]) for k in ("image", "valid", "mask", "opinion"))


class TestTorchGeo:
    """TorchGeo's own samplers and collation over our data set."""

    @pytest.mark.parametrize("crs", [scenery.UTM, None], ids=["utm", "no crs"])
    def test_grid_sampler_covers_the_scene(self, tmp_path, crs):
        ids = scenery.truth(64, 96)
        path = scenery.write_tif(tmp_path / "s.tif", scenery.picture(ids), scenery.place() if crs else None, crs)
        dataset = dataset_of(SceneFiles("s", Scene.open(path), None))
        seen = np.zeros((64, 96), int)
        for query in GridGeoSampler(dataset, size=32, stride=32, units=Units.PIXELS):
            window = to_window(dataset.source.scene.grid, query)
            assert window.shape == (32, 32)
            seen[window.slices] += 1
        assert (seen == 1).all()

    def test_random_sampler_reads_what_is_there(self, files):
        dataset = dataset_of(files)
        found = 0
        for query in RandomGeoSampler(dataset, size=16, length=12, units=Units.PIXELS):
            window = to_window(files.scene.grid, query)
            assert window.shape == (16, 16)
            # it draws places between pixels; ours is the nearest window of pixels
            left = 450_000 + window.col / 2
            assert abs(left - query[0].start) <= 0.25 + 1e-6
            image, valid, mask, _ = expected(files, window)
            sample = dataset[query]
            np.testing.assert_array_equal(sample["image"], image)
            np.testing.assert_array_equal(sample["mask"], mask)
            np.testing.assert_array_equal(sample["valid"], valid)
            found += 1
        assert found == 12

    def test_samples_collate(self, files):
        dataset = dataset_of(files)
        queries = list(GridGeoSampler(dataset, size=16, stride=16, units=Units.PIXELS))[:4]
        batch = stack_samples([dataset[q] for q in queries])
        assert batch["image"].shape == (4, 3, 16, 16)
        assert batch["mask"].shape == (4, 16, 16)

    def test_the_index_knows_ground_and_resolution(self, files):
        dataset = dataset_of(files)
        x, y, _ = dataset.bounds
        assert (x.start, y.start, x.stop, y.stop) == pytest.approx(files.scene.grid.bounds)
        assert dataset.crs.to_epsg() == 32636
        assert dataset.res == (0.5, 0.5)
        assert len(dataset) == 1


WHOLE = Window(0, 0, 70, 90)


class TestChipSampler:
    def sampler(self, files, region=WHOLE, *, size=32, seed=0, length=20):
        return ChipSampler(dataset_of(files), region, size=size, seed=seed, length=length)

    def test_a_place_depends_on_seed_and_number_alone(self, files):
        forwards = list(self.sampler(files))
        other = self.sampler(files, length=3)
        assert [other.query(n) for n in reversed(range(20))] == forwards[::-1]
        assert list(self.sampler(files, seed=1)) != forwards
        assert len(self.sampler(files)) == len(forwards) == 20
        assert len({(q[0].start, q[1].start) for q in forwards}) > 15

    def test_torch_state_is_neither_used_nor_changed(self, files):
        torch.manual_seed(1)
        before, one = torch.get_rng_state(), list(self.sampler(files))
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert list(self.sampler(files)) == one

    def test_chips_stay_in_their_region_and_reach_its_rims(self, files):
        region = Window(7, 11, 40, 36)
        places = [to_window(files.scene.grid, q) for q in self.sampler(files, region, length=400)]
        assert all(region.contains(w) and w.shape == (32, 32) for w in places)
        assert {w.row for w in places} == set(range(7, 16))
        assert {w.col for w in places} == set(range(11, 16))

    def test_a_region_smaller_than_a_chip_is_centred(self, files):
        places = {to_window(files.scene.grid, q) for q in self.sampler(files, Window(10, 20, 12, 50))}
        assert {w.row for w in places} == {0}
        assert len({w.col for w in places}) > 5


class TestChips:
    def samples(self, count, *extra):
        return [
            {"image": torch.full((3, 4, 4), float(i)), "valid": torch.ones(4, 4, dtype=torch.bool)}
            for i in range(count)
        ]

    def test_stacking(self):
        samples = self.samples(2)
        for s in samples:
            s["mask"] = torch.zeros(4, 4, dtype=torch.int64)
        chips = to_chips(samples, ["a", "b"])
        assert chips.image.shape == (2, 3, 4, 4)
        assert chips.label.dtype == torch.int64
        assert chips.valid.all()
        assert chips.opinion is None
        assert chips.place == ("a", "b")

    def test_chips_without_a_layer_are_silent_where_the_run_has_layers(self):
        samples = self.samples(2)
        samples[0]["opinion"] = torch.ones(5, 4, 4, dtype=torch.bool)
        chips = to_chips(samples, ["a", "b"], 5)
        assert chips.opinion[0].all()
        assert not chips.opinion[1].any()
        assert chips.label is None
        assert to_chips(self.samples(2), ["a", "b"], 5).opinion.shape == (2, 5, 4, 4)
