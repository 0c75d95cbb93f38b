"""What a step sees: a pure function of seed and number, shared out between ranks, covering the ground."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import scenery
import torch

from geosemi.data.loaders import ChipLoader, LoaderSettings, Stream, count_chips, validation_chips
from geosemi.data.scenes import DataSettings, find_scenes
from geosemi.data.splits import Region, SplitSettings, make_split
from geosemi.data.statistics import find_truth
from geosemi.data.torchgeo import to_window
from geosemi.geo.window import Window


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("loaders"), labelled=4, unlabelled=2, side=96, opinions=True)


@pytest.fixture(scope="module")
def scenes(folder):
    return find_scenes(DataSettings(root=folder))


@pytest.fixture(scope="module")
def split(folder, scenes):
    data = DataSettings(root=folder)
    return make_split(scenes, SplitSettings(ratio=40, block=32), find_truth(scenes, data, lambda *_: None))


@pytest.fixture
def loader(folder, scenes, split):
    def make(*, seed=0, labelled=2, unlabelled=3, rank=0, ranks=1, workers=0, semi=True, opinions=False):
        settings = LoaderSettings(size=32, labelled=labelled, unlabelled=unlabelled, workers=workers)
        data = DataSettings(root=folder)
        return ChipLoader(
            scenes, split, data, settings, seed=seed, unlabelled=semi, opinions=opinions, rank=rank, ranks=ranks
        )

    return make


def same(one, two):
    """Whether two steps hold the same tensors and places."""

    def equal(a, b):
        return a is b if a is None or b is None else torch.equal(a, b)

    return all(
        (a is b is None)
        or (
            a.place == b.place
            and all(equal(getattr(a, k), getattr(b, k)) for k in ("image", "valid", "label", "opinion"))
        )
        for a, b in zip(one, two, strict=True)
    )


class TestSteps:
    def test_shapes(self, loader):
        x, u = next(loader(opinions=True).steps(0, 1))
        assert x.image.shape == (2, 3, 32, 32)
        assert x.label.shape == x.valid.shape == (2, 32, 32)
        assert x.opinion is None
        assert u.image.shape == (3, 3, 32, 32)
        assert u.label is None
        assert u.opinion.shape == (3, 3, 32, 32)
        assert x.image.max() > 1  # raw units

    def test_a_step_is_the_same_wherever_one_starts(self, loader):
        whole = list(loader().steps(0, 12))
        for start in (1, 5, 11):
            later = list(loader().steps(start, 12))
            assert len(later) == 12 - start
            assert all(same(a, b) for a, b in zip(whole[start:], later, strict=True))
        assert not same(whole[0], whole[1])
        assert not same(whole[0], next(loader(seed=1).steps(0, 1)))

    def test_torch_state_is_neither_used_nor_changed(self, loader):
        # a resumed run makes its loader anew; a draw there would move every layer that draws
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one = list(loader().steps(0, 3))
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert all(same(a, b) for a, b in zip(one, loader().steps(0, 3), strict=True))

    def test_labels_are_those_of_the_files(self, loader, folder, scenes):
        by_name = {s.name: s for s in scenes.scenes}
        for step, (x, _) in enumerate(loader().steps(0, 6)):
            for spot, label, place in zip(loader().spots(step), x.label, x.place, strict=False):
                files = by_name[place.split("@")[0]]
                window = to_window(files.scene.grid, spot.query)
                with rasterio.open(files.label) as dataset:
                    np.testing.assert_array_equal(label, dataset.read(1)[window.slices])

    def test_chips_lie_in_their_regions(self, loader, scenes, split):
        grids = {s.name: s.scene.grid for s in scenes.scenes}
        made = loader()
        for step in range(40):
            for kind, spot in zip(("labelled",) * 2 + ("unlabelled",) * 3, made.spots(step), strict=True):
                name = made._dataset.sources[spot.source].source.name
                window = to_window(grids[name], spot.query)
                assert any(r.scene == name and r.window.contains(window) for r in getattr(split, kind))

    def test_without_unlabelled_chips_there_are_twice_the_labelled_ones(self, loader):
        made = loader(semi=False)
        x, u = next(made.steps(0, 1))
        assert len(x.image) == 4
        assert u is None
        assert made.steps_per_epoch == max(1, len(made._labelled) // 4)

    def test_an_epoch_in_steps(self, loader, split):
        chips = len(split.unlabelled) * 9  # 96² pixels are nine chips
        assert loader().steps_per_epoch == chips // 3
        assert loader(ranks=2).steps_per_epoch == chips // 6
        assert loader(unlabelled=1000).steps_per_epoch == 1

    @pytest.mark.slow
    def test_worker_processes_read_the_same(self, loader):
        # slow: each process imports torch and torchgeo
        alone, helped = loader(opinions=True).steps(3, 8), loader(workers=2, opinions=True).steps(3, 8)
        assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


class TestRanks:
    @staticmethod
    def drawn(loader, steps, labelled):
        """Places of each step, as a set of (kind, source, slices)."""
        return [
            Counter(("x" if i < labelled else "u", s.source, str(s.query)) for i, s in enumerate(loader.spots(t)))
            for t in range(steps)
        ]

    @pytest.mark.parametrize("ranks", [2, 3])
    def test_together_draw_what_one_rank_with_a_larger_batch_draws(self, loader, ranks):
        each = [self.drawn(loader(rank=r, ranks=ranks), 10, 2) for r in range(ranks)]
        together = [sum(step, Counter()) for step in zip(*each, strict=True)]
        assert together == self.drawn(loader(labelled=2 * ranks, unlabelled=3 * ranks), 10, 2 * ranks)

    def test_supervised_ranks_too(self, loader):
        each = [self.drawn(loader(rank=r, ranks=2, semi=False), 10, 4) for r in range(2)]
        together = [sum(step, Counter()) for step in zip(*each, strict=True)]
        assert together == self.drawn(loader(labelled=4, semi=False), 10, 8)

    def test_ranks_draw_apart(self, loader):
        one, two = (self.drawn(loader(rank=r, ranks=2), 10, 2) for r in range(2))
        # a labelled block of a chip's size has one place only, which two ranks may draw
        assert not any(kind == "u" for a, b in zip(one, two, strict=True) for kind, *_ in a & b)


class TestStreams:
    def stream(self, loader, regions, seed=0):
        made = loader()
        names = {d.source.name: (i, d) for i, d in enumerate(made._dataset.sources)}
        return Stream(regions, names, size=32, seed=seed, name="test"), names

    def test_every_epoch_covers_each_region_by_its_area(self, loader, split):
        name = split.unlabelled[0].scene
        regions = [
            Region(name, Window(0, 0, 96, 64)),
            Region(name, Window(0, 64, 32, 32)),
            Region(name, Window(50, 64, 40, 32)),
        ]
        stream, names = self.stream(loader, regions)
        grid = names[name][1].source.scene.grid
        assert len(stream) == 6 + 1 + 2
        orders = []
        for epoch in range(3):
            windows = [to_window(grid, stream.spot(epoch * 9 + i).query) for i in range(9)]
            owners = [next(i for i, r in enumerate(regions) if r.window.contains(w)) for w in windows]
            assert Counter(owners) == {0: 6, 1: 1, 2: 2}
            orders.append(tuple(owners))
        assert len(set(orders)) > 1

    def test_a_spot_does_not_depend_on_what_was_asked_before(self, loader, split):
        stream, _ = self.stream(loader, split.unlabelled)
        spots = [stream.spot(n) for n in range(60)]
        assert [stream.spot(n) for n in reversed(range(60))] == spots[::-1]


class TestValidation:
    def chips(self, scenes, folder, regions, size, batch=3):
        return [s.chips for s in validation_chips(scenes, regions, DataSettings(root=folder), size=size, batch=batch)]

    @pytest.mark.parametrize("size", [32, 40, 64, 128])
    def test_every_truth_pixel_is_shown_once(self, scenes, folder, size):
        regions = [
            Region("a", Window(0, 0, 96, 96)),
            Region("b", Window(10, 20, 50, 70)),
            Region("b", Window(60, 0, 30, 9)),
        ]
        found = self.chips(scenes, folder, regions, size)
        counts = sum(np.bincount(c.label[c.label < 255], minlength=3) for c in found)
        expected = np.zeros(3, int)
        for r in regions:
            with rasterio.open(folder / "labels" / f"{r.scene}.tif") as dataset:
                expected += np.bincount(dataset.read(1)[r.window.slices].ravel(), minlength=3)
        np.testing.assert_array_equal(counts, expected)
        assert all(c.image.shape[1:] == (3, size, size) for c in found)
        assert all(len(c.image) == 3 for c in found[:-1])
        assert 1 <= len(found[-1].image) <= 3

    def test_only_the_chips_that_are_wanted_are_read(self, tmp_path):
        # six chips for a picture must not cost reading a city
        root = scenery.country(tmp_path, labelled=3, unlabelled=0, side=96)
        scenes, data = find_scenes(DataSettings(root=root)), DataSettings(root=root)
        regions = [Region(name, Window(0, 0, 96, 96)) for name in "abc"]
        every = self.chips(scenes, root, regions, 48, batch=1)
        assert len(every) == count_chips(regions, 48) == 12
        for folder in ("images", "labels"):
            (root / folder / "b.tif").unlink()  # chips 4 to 7
        few = [s.chips for s in validation_chips(scenes, regions, data, size=48, batch=2, only={3, 8, 11})]
        assert [len(c.image) for c in few] == [2, 1]
        assert [p for c in few for p in c.place] == [every[i].place[0] for i in (3, 8, 11)]
        for key in ("image", "label", "valid"):
            assert torch.equal(
                torch.cat([getattr(c, key) for c in few]), torch.cat([getattr(every[i], key) for i in (3, 8, 11)])
            )

    def test_the_truth_shown_lies_where_the_picture_says(self, scenes, folder):
        region = Region("a", Window(5, 7, 80, 75))
        shown = np.full((96, 96), 255)
        pixels = np.zeros((3, 96, 96), np.float32)
        for chips in self.chips(scenes, folder, [region], 40):
            for image, label, place in zip(chips.image, chips.label, chips.place, strict=True):
                row, col = map(int, place.split("@")[1].split(","))
                fresh = np.argwhere(label.numpy() < 255)
                for i, j in fresh:
                    assert shown[row + i, col + j] == 255
                    shown[row + i, col + j] = label[i, j]
                    pixels[:, row + i, col + j] = image[:, i, j]
        expected = np.full((96, 96), 255)
        with rasterio.open(folder / "labels" / "a.tif") as labels, rasterio.open(folder / "images" / "a.tif") as scene:
            expected[region.window.slices] = labels.read(1)[region.window.slices]
            wanted = np.where(expected < 255, scene.read(), 0)
        np.testing.assert_array_equal(shown, expected)
        np.testing.assert_array_equal(pixels, wanted)
