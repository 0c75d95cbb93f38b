"""Band statistics against numpy, and where truth lies against plain counting."""

import numpy as np
import pytest
import scenery

from geosemi.data.scenes import DataSettings, find_scenes
from geosemi.data.statistics import CELL, Truth, find_rgb, find_truth, measure_radiometry
from geosemi.data.stored import load_radiometry, save_radiometry
from geosemi.errors import ConfigError, GridMismatch, InputError, LegendError
from geosemi.geo.window import Window


def silent(what, done, total):
    """Nobody watches."""


def scenes_of(root, images, **more):
    """Unlabelled scenes from arrays, beside one tiny labelled scene that only makes the folder complete."""
    scenery.write_legend(root / "legend.yaml")
    first = next(iter(images.values()))
    scenery.write_tif(root / "images" / "zero.tif", np.zeros_like(first[:, :4, :4]), scenery.place(0))
    scenery.write_tif(root / "labels" / "zero.tif", np.zeros((4, 4), np.uint8), scenery.place(0))
    for name, image in images.items():
        scenery.write_tif(root / "unlabelled" / f"{name}.tif", image, scenery.place(), photometric="minisblack", **more)
    return [s for s in find_scenes(DataSettings(root=root)).scenes if s.label is None]


class TestRadiometry:
    @pytest.mark.parametrize(("dtype", "values"), [("uint8", (7, 100, 255)), ("uint16", (0, 900, 60_000))])
    def test_constant_scenes(self, tmp_path, dtype, values):
        image = np.ones((3, 50, 60), dtype) * np.array(values, dtype)[:, None, None]
        found = measure_radiometry(scenes_of(tmp_path, {"flat": image}), 0)
        assert found.mean == pytest.approx(values)
        # a spread of nothing must not divide by nothing
        assert all(0 < s < 1e-3 for s in found.std)
        assert all(high > low for low, high in zip(found.low, found.high, strict=True))
        if dtype == "uint8":
            assert (found.low, found.high) == ((0, 0, 0), (255, 255, 255))

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
    def test_a_scene_smaller_than_a_sample_is_measured_exactly(self, tmp_path, dtype):
        rng = np.random.default_rng(0)
        image = np.clip(rng.normal(120, 40, (3, 200, 250)), 1, 255).astype(dtype)
        found = measure_radiometry(scenes_of(tmp_path, {"noise": image}), 0)
        flat = image.reshape(3, -1).astype(float)
        np.testing.assert_allclose(found.mean, flat.mean(axis=1), rtol=1e-9)
        np.testing.assert_allclose(found.std, flat.std(axis=1), rtol=1e-9)
        if dtype != "uint8":
            np.testing.assert_allclose(found.low, np.percentile(flat, 0.1, axis=1), atol=0.5)
            np.testing.assert_allclose(found.high, np.percentile(flat, 99.9, axis=1), atol=0.5)

    def test_large_scenes_are_sampled_near_the_truth(self, tmp_path):
        rng = np.random.default_rng(1)
        images = {
            n: np.clip(rng.normal(m, 30, (3, 600, 600)), 1, 254).astype(np.uint8) for n, m in (("a", 90), ("b", 150))
        }
        found = measure_radiometry(scenes_of(tmp_path, images), 0)
        pixels = np.concatenate([i.reshape(3, -1) for i in images.values()], axis=1)
        np.testing.assert_allclose(found.mean, pixels.mean(axis=1), atol=8)  # 64 draws of two equal scenes
        np.testing.assert_allclose(found.std, pixels.std(axis=1), atol=2)

    def test_the_seed_decides(self, tmp_path):
        rng = np.random.default_rng(1)
        scenes = scenes_of(tmp_path, {"a": rng.integers(1, 255, (3, 260, 260), dtype=np.uint8)})
        one = measure_radiometry(scenes, 5)
        assert one == measure_radiometry(scenes, 5)
        assert one != measure_radiometry(scenes, 6)

    def test_nodata_is_left_out(self, tmp_path):
        image = np.full((3, 64, 64), 100, np.uint16)
        image[:, :, :40] = 65_535
        assert measure_radiometry(scenes_of(tmp_path, {"a": image}, nodata=65_535), 0).mean == (100, 100, 100)

    def test_an_internal_mask_is_left_out(self, tmp_path):
        image = np.full((3, 64, 64), 100, np.uint8)
        image[:, 10:] = 200
        mask = np.zeros((64, 64), bool)
        mask[:10] = True
        assert measure_radiometry(scenes_of(tmp_path, {"a": image}, mask=mask), 0).mean == (100, 100, 100)

    def test_nan_is_left_out(self, tmp_path):
        image = np.full((3, 64, 64), 0.5, np.float32)
        image[1, :32] = np.nan
        assert measure_radiometry(scenes_of(tmp_path, {"a": image}), 0).mean == pytest.approx((0.5, 0.5, 0.5))

    def test_nothing_valid_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="no valid pixel") as caught:
            measure_radiometry(scenes_of(tmp_path, {"a": np.zeros((3, 64, 64), np.uint8)}, nodata=0), 0)
        assert "nodata" in caught.value.hint

    @pytest.mark.parametrize(("bands", "expected"), [
        (("red", "green", "blue"), (0, 1, 2)),
        (("coastal", "Blue", "GREEN", "Red", "nir"), (3, 2, 1)),
        (("nir", "red", "green", "blue"), (1, 2, 3)),
        (("band_1", "band_2", "band_3"), (0, 1, 2)),
        (("band_1", "band_2", "band_3", "band_4"), (0, 1, 2)),
        (("band_1",), None),
        (("band_1", "band_2"), None),
        (tuple(f"band_{i}" for i in range(1, 9)), None),
    ])  # fmt: skip
    def test_where_the_colours_are(self, bands, expected):
        assert find_rgb(bands) == expected


class TestTruth:
    def test_counts_equal_bincount(self, tmp_path):
        scenery.country(tmp_path, labelled=1, unlabelled=1)
        height, width = 1100, 1200  # more than one block of reading, and no multiple of a cell
        ids = np.random.default_rng(0).integers(0, 4, (height, width)).astype(np.uint8)
        ids[ids == 3] = 255
        ids[300:500] = 1
        scenery.write_tif(tmp_path / "images" / "a.tif", np.zeros((3, height, width), np.uint8), scenery.place())
        scenery.write_tif(tmp_path / "labels" / "a.tif", ids, scenery.place())
        settings = DataSettings(root=tmp_path)
        said = []
        truth = find_truth(find_scenes(settings), settings, lambda *a: said.append(a))
        counts = truth.counts["a"]
        assert counts.shape == (18, 19, 3)
        for i in range(18):
            for j in range(19):
                cell = ids[i * CELL : (i + 1) * CELL, j * CELL : (j + 1) * CELL]
                np.testing.assert_array_equal(counts[i, j], np.bincount(cell[cell < 3], minlength=3))
        assert set(truth.counts) == {"a"}
        assert said == [("reading labels", 0, 1), ("reading labels", 1, 1)]

    @pytest.mark.parametrize("window", [Window(0, 0, 64, 64), Window(64, 128, 64, 128), Window(100, 10, 30, 200)])
    def test_classes_in_a_window_are_those_of_its_cells(self, window):
        counts = np.random.default_rng(0).integers(0, 9, (5, 6, 3))
        rows = range(window.row // CELL, (window.stop_row - 1) // CELL + 1)
        cols = range(window.col // CELL, (window.stop_col - 1) // CELL + 1)
        expected = sum(counts[i, j] for i in rows for j in cols)
        np.testing.assert_array_equal(Truth({"s": counts}).classes_in("s", window), expected)

    def test_a_wrong_value_is_found_before_the_first_step(self, tmp_path):
        scenery.country(tmp_path, labelled=2)
        ids = scenery.truth(128, 128, seed=1)
        ids[77, 5] = 42
        scenery.write_tif(tmp_path / "labels" / "b.tif", ids, scenery.place(450_128))
        settings = DataSettings(root=tmp_path)
        with pytest.raises(LegendError, match=r"b\.tif` holds the value 42.*row 77, column 5"):
            find_truth(find_scenes(settings), settings, silent)

    def test_a_shifted_label_is_found_before_the_first_step(self, tmp_path):
        scenery.country(tmp_path, labelled=2)
        scenery.write_tif(tmp_path / "labels" / "b.tif", scenery.truth(128, 128), scenery.place(450_129))
        settings = DataSettings(root=tmp_path)
        with pytest.raises(GridMismatch, match=r"b\.tif` lies up to 2 pixels beside"):
            find_truth(find_scenes(settings), settings, silent)


class TestStored:
    @pytest.fixture
    def stored(self, tmp_path):
        image = np.random.default_rng(0).normal(120, 40, (3, 70, 80)).astype(np.float32)
        scenes = scenes_of(tmp_path / "data", {"one": image, "two": image[:, :60]})
        found = measure_radiometry(scenes, 0)
        save_radiometry(tmp_path / "statistics.json", found, scenes)
        return tmp_path / "statistics.json", scenes, found

    def test_they_come_back_to_the_last_bit(self, stored):
        path, scenes, found = stored
        assert load_radiometry(path, scenes) == found
        assert load_radiometry(path.with_name("none.json"), scenes) is None

    def test_other_scenes_are_refused(self, stored, tmp_path):
        path, scenes, _ = stored
        for others in (scenes[:1], scenes[::-1], [s for s in scenes if s.name == "two"]):
            with pytest.raises(ConfigError, match="others than those") as caught:
                load_radiometry(path, others)
            assert "--out" in caught.value.hint

    def test_a_scene_that_changed_is_refused(self, stored):
        path, scenes, _ = stored
        with scenes[0].scene.path.open("ab") as file:
            file.write(b" ")
        with pytest.raises(ConfigError, match="or have changed"):
            load_radiometry(path, scenes)

    def test_where_they_lie_does_not_count(self, stored, tmp_path):
        path, _, found = stored
        (tmp_path / "data").rename(tmp_path / "moved")
        moved = [s for s in find_scenes(DataSettings(root=tmp_path / "moved")).scenes if s.label is None]
        assert load_radiometry(path, moved) == found

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"3", b"{}", b'{"rgb": null}', b'{"low": [0], "high": [0]}', b"\xff\xfe"]
    )
    def test_damage_is_named(self, stored, content):
        path, scenes, _ = stored
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"statistics\.json` holds no band statistics") as caught:
            load_radiometry(path, scenes)
        assert "delete it" in caught.value.hint
