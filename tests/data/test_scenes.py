"""Which files become the scenes of a run, and what is said of those that cannot."""

import csv
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import replicas
import scenery
import shapely

from geosemi.data.labels import reading_labels
from geosemi.data.prepare import PrepareSettings, prepare
from geosemi.data.scenes import DataSettings, find_scenes
from geosemi.data.splits import SplitSettings, make_split
from geosemi.data.statistics import find_truth
from geosemi.errors import BandMismatch, ConfigError, DatasetMissing, GeosemiError, InputError, LegendError
from geosemi.geo.opinion import write_opinion
from geosemi.geo.window import Window
from geosemi.legend import Legend


def silent(what, done, total):
    """Nobody watches."""


def found(root, **settings):
    return find_scenes(DataSettings(root=root, **settings))


def by_name(root, **settings):
    return {s.name: s for s in found(root, **settings).scenes}


def refused(kind, cause, hint, root, **settings):
    with pytest.raises(kind) as caught:
        found(root, **settings)
    assert cause in caught.value.message
    assert hint in caught.value.hint
    assert not caught.value.message.endswith(".")


def test_folders_give_labelled_and_unlabelled_scenes(tmp_path):
    scenes = by_name(scenery.country(tmp_path, labelled=2, unlabelled=2, opinions=True))
    assert list(scenes) == ["a", "b", "u0", "u1"]
    assert [s.label is not None for s in scenes.values()] == [True, True, False, False]
    assert [s.part for s in scenes.values()] == [None, None, "unlabelled", "unlabelled"]
    assert all(s.opinion == tmp_path / "opinions" / f"{n}.tif" for n, s in scenes.items())
    assert all(s.group == n for n, s in scenes.items())


def test_facts_of_the_set(tmp_path):
    scenes = found(scenery.country(tmp_path))
    assert scenes.bands == ("band_1", "band_2", "band_3")
    assert scenes.legend.names == scenery.NAMES
    assert not scenes.has_opinions
    assert scenes.exclude_from_mean == ()


def test_opinions_that_do_not_fit_are_told_at_once(tmp_path):
    scenery.country(tmp_path, labelled=2, unlabelled=3, opinions=True)
    scenes, folder = found(tmp_path), tmp_path / "opinions"
    scenes.check_opinions()
    other = Legend(tuple(replace(c, name=f"my {c.name}") for c in scenery.LEGEND))
    grid = next(s.scene.grid for s in scenes.scenes if s.name == "b")
    bits = np.zeros(grid.shape, np.uint8)
    write_opinion(folder / "b.tif", bits, grid, legend=other, source="a map")
    with pytest.raises(LegendError, match="speaks of the classes") as alone:
        scenes.check_opinions()
    assert "geosemi annotate … --overwrite" in alone.value.hint
    write_opinion(
        folder / "u0.tif", bits[:40], grid.crop(Window(0, 0, 40, grid.width)), legend=scenery.LEGEND, source=""
    )
    (folder / "u1.tif").write_bytes(b"no raster")
    with pytest.raises(GeosemiError, match="the opinions: 3 problems") as caught:
        scenes.check_opinions()
    _, classes, pixels, broken = caught.value.lines
    assert str(folder / "b.tif") in classes
    assert f"`{tmp_path / 'images' / 'b.tif'}`" in classes
    assert "my roof" in classes
    assert "40 × " in pixels
    assert f"`{tmp_path / 'unlabelled' / 'u0.tif'}` is {grid.height} × {grid.width}" in pixels
    assert "geosemi annotate … --overwrite" in pixels
    assert "u1.tif" in broken


def test_globs_reach_into_folders_and_skip_hidden_and_foreign_files(tmp_path):
    scenery.country(tmp_path, labelled=2, unlabelled=0)
    year = tmp_path / "images" / "2024"
    scenery.write_tif(year / "c.tif", np.zeros((3, 8, 8), np.uint8), scenery.place(0))
    (tmp_path / "images" / ".a.tif").write_bytes(b"left by a file manager")
    (tmp_path / "images" / "readme.txt").write_text("not a scene")
    assert list(by_name(tmp_path)) == ["a", "b"]
    assert list(by_name(tmp_path, images="images/**/*.tif")) == ["c", "a", "b"]
    assert list(by_name(tmp_path, images="images/[b]*.tif")) == ["b"]


def test_a_scene_without_a_label_file_is_unlabelled(tmp_path):
    scenery.country(tmp_path, labelled=3, unlabelled=0)
    (tmp_path / "labels" / "b.tif").unlink()
    scenes = by_name(tmp_path)
    assert scenes["b"].label is None
    assert scenes["b"].part == "unlabelled"
    # and it stays so when other scenes are named for validation
    assert by_name(tmp_path, validation=("a",))["b"].part == "unlabelled"


def test_names_and_globs_decree_parts(tmp_path):
    scenery.country(tmp_path, labelled=4, unlabelled=1)
    parts = {n: s.part for n, s in by_name(tmp_path, validation=("b",), test=("[cd]",)).items()}
    assert parts == {"a": "train", "b": "val", "c": "test", "d": "test", "u0": "unlabelled"}


@pytest.mark.parametrize("key", ["validation", "test"])
def test_a_name_that_matches_no_scene_is_refused(tmp_path, key):
    # a typo would train on the very scene that was to be kept
    scenery.country(tmp_path)
    refused(ConfigError, f"`data.{key}` names `tile66`", "a, b, c", tmp_path, **{key: ("a", "tile66")})


def test_no_unlabelled_folder_is_fine(tmp_path):
    scenery.country(tmp_path, unlabelled=0)
    assert len(by_name(tmp_path, unlabelled=None)) == len(by_name(tmp_path)) == 3


def test_the_same_name_in_both_folders(tmp_path):
    scenery.country(tmp_path, labelled=2, unlabelled=0)
    scenery.write_tif(tmp_path / "unlabelled" / "a.tif", np.zeros((3, 8, 8), np.uint8), scenery.place(0))
    assert list(by_name(tmp_path)) == ["a", "b", "unlabelled/a"]


def test_png_and_upper_case_suffixes(tmp_path):
    scenery.write_legend(tmp_path / "legend.yaml")
    ids = scenery.truth(40, 40)
    scenery.write_tif(tmp_path / "images" / "p.png", scenery.picture(ids), driver="PNG")
    scenery.write_tif(tmp_path / "labels" / "p.png", ids, driver="PNG")
    scenery.write_tif(tmp_path / "images" / "Q.TIF", scenery.picture(ids), scenery.place(0))
    assert list(by_name(tmp_path)) == ["Q", "p"]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp"])
def test_vector_labels_in_another_crs_equal_the_burnt_raster(tmp_path, suffix):
    scenery.write_legend(tmp_path / "legend.yaml")
    where = scenery.place(pixel=2.0)
    path = scenery.write_tif(tmp_path / "images" / "v.tif", np.full((3, 60, 80), 9, np.uint8), where)
    # rims run 0.37 px beside pixel borders, so that no pixel centre is near one, whatever the reprojection rounds
    boxes = [(3.37, 5.37, 40.37, 33.37), (50.37, 20.37, 70.37, 55.37)]
    ground = [shapely.box(*(where * b[:2]), *(where * b[2:])) for b in boxes]
    frame = gpd.GeoDataFrame({"class": ["grass", "roof"]}, geometry=ground, crs=scenery.UTM)
    (tmp_path / "labels").mkdir()
    frame.to_crs("EPSG:4326").to_file(tmp_path / "labels" / f"v{suffix}")
    expected = np.full((60, 80), 255, np.uint8)
    expected[5:33, 3:40], expected[20:55, 50:70] = 1, 2

    settings = DataSettings(root=tmp_path)
    files = find_scenes(settings).scenes[0]
    assert files.label == tmp_path / "labels" / f"v{suffix}"
    with reading_labels(files, scenery.LEGEND, settings) as labels:
        np.testing.assert_array_equal(labels.read(files.scene.grid.window), expected)

    settings = DataSettings(root=tmp_path, label_outside="water", label_column="class")
    with reading_labels(files, scenery.LEGEND, settings) as labels:
        np.testing.assert_array_equal(labels.read(files.scene.grid.window), np.where(expected == 255, 0, expected))
    with rasterio.open(path) as dataset:
        assert dataset.shape == expected.shape


def test_bands_are_chosen_for_every_scene(tmp_path):
    scenery.country(tmp_path, bands=5, dtype="uint16")
    scenes = found(tmp_path, bands=(4, 1))
    assert scenes.bands == ("band_4", "band_1")
    assert all(s.scene.indexes == (4, 1) for s in scenes.scenes)
    refused(BandMismatch, "has the bands [1, 2, 3, 4, 5], not [6]", "bands", tmp_path, bands=(1, 6))


@pytest.mark.parametrize(("bands", "dtype", "cause", "hint"), [
    (4, "uint8", "has 4 bands", "--set data.bands=[1,2,3]"),
    (3, "uint16", "is uint16", "gdal_translate"),
])  # fmt: skip
def test_scenes_that_differ_are_refused(tmp_path, bands, dtype, cause, hint):
    scenery.country(tmp_path, labelled=2, unlabelled=0)
    odd = np.full((bands, 8, 8), 7, dtype)
    scenery.write_tif(tmp_path / "unlabelled" / "odd.tif", odd, scenery.place(0), photometric="minisblack")
    refused(BandMismatch, cause, hint, tmp_path)
    refused(BandMismatch, "odd.tif", hint, tmp_path)
    refused(BandMismatch, "a.tif", hint, tmp_path)


class TestMissing:
    def test_root(self, tmp_path):
        refused(DatasetMissing, "does not exist", "--data DIR", tmp_path / "no")
        refused(DatasetMissing, "does not exist", "geosemi prepare --dataset loveda", tmp_path / "no", dataset="loveda")

    def test_legend(self, tmp_path):
        scenery.country(tmp_path)
        (tmp_path / "legend.yaml").unlink()
        refused(LegendError, f"`{tmp_path / 'legend.yaml'}` does not exist", "classes:", tmp_path)

    def test_images(self, tmp_path):
        scenery.write_legend(tmp_path / "legend.yaml")
        refused(DatasetMissing, "no scene matches", "data.images", tmp_path)

    def test_labels(self, tmp_path):
        scenery.country(tmp_path)
        refused(DatasetMissing, "none of the 3 scenes", "a label is named like its scene", tmp_path, labels="masks")

    def test_label_of_a_validation_scene(self, tmp_path):
        scenery.country(tmp_path)
        (tmp_path / "labels" / "b.tif").unlink()
        refused(DatasetMissing, "kept for val but has no label", "add its label", tmp_path, validation=("b",))

    def test_damaged_scene(self, tmp_path):
        scenery.country(tmp_path)
        (tmp_path / "images" / "b.tif").write_bytes(b"<html>404</html>")
        refused(InputError, "b.tif", "saved web page", tmp_path)


class TestDoubles:
    def test_two_labels(self, tmp_path):
        scenery.country(tmp_path)
        scenery.write_tif(tmp_path / "labels" / "a.png", scenery.truth(128, 128), driver="PNG")
        refused(ConfigError, "`a` has two labels: `a.tif` and `a.png`", "keep one", tmp_path)

    def test_two_scenes_of_one_name(self, tmp_path):
        scenery.country(tmp_path)
        scenery.write_tif(tmp_path / "images" / "later" / "a.tif", np.zeros((3, 8, 8), np.uint8), scenery.place(0))
        refused(ConfigError, "two scenes are named `a`", "rename", tmp_path, images="images/**/*.tif")


class TestPrepared:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        base = tmp_path_factory.mktemp("potsdam")
        names = [f"top_potsdam_{r}_{c}" for r in (2, 3) for c in (10, 11, 12)]
        replicas.potsdam(base / "source", names, size=64, folders=("2_Ortho_RGB",))
        prepare("potsdam", base / "source", base / "out", PrepareSettings(tile=32, split="scene"))
        return base / "out"

    def test_every_tile_is_found_with_its_part(self, folder):
        scenes = by_name(folder, dataset="potsdam")
        with (folder / "tiles.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(scenes) == len(rows) == 24
        for row in rows:
            files = scenes[row["image"].removeprefix("images/").removesuffix(".tif")]
            assert files.part == row["split"]
            assert files.group == row["group"]
            assert files.label == folder / row["label"]

    def test_the_protocol_travels_along(self, folder):
        assert found(folder, dataset="potsdam").exclude_from_mean

    def test_it_can_be_divided(self, folder):
        settings = DataSettings(root=folder, dataset="potsdam")
        scenes = find_scenes(settings)
        split = make_split(scenes, SplitSettings(ratio=50, block=32), find_truth(scenes, settings, silent))
        part = {s.name: s.part for s in scenes.scenes}
        assert {part[r.scene] for r in split.labelled} == {"train"}
        assert {r.scene for r in split.validation} == {n for n, p in part.items() if p == "val"}
        assert {r.scene for r in split.test} == {n for n, p in part.items() if p == "test"}
        assert len(split.labelled) == split.train_blocks // 2

    def test_its_lists_can_be_read(self, folder):
        lists = next(p for p in sorted((folder / "splits").iterdir()) if p.is_dir())
        settings = DataSettings(root=folder, dataset="potsdam", lists=lists.relative_to(folder))
        scenes = find_scenes(settings)
        split = make_split(scenes, SplitSettings(), find_truth(scenes, settings, silent))
        lines = (lists / "labeled.txt").read_text().splitlines()
        assert sorted(r.scene for r in split.labelled) == sorted(w.split()[0].removesuffix(".tif") for w in lines)
        assert len(split.validation) == len((folder / "splits" / "val.txt").read_text().splitlines())

    def test_another_table_of_that_name_is_refused(self, tmp_path):
        scenery.country(tmp_path)
        (tmp_path / "tiles.csv").write_text("file,where\na.tif,here\n")
        refused(InputError, "tiles.csv` has no column `image`", "geosemi prepare", tmp_path)


class TestLists:
    """The papers' list files decide alone."""

    @pytest.fixture
    def folder(self, tmp_path):
        scenery.country(tmp_path, labelled=5, unlabelled=0, side=48)
        for folder in ("images", "labels"):
            (tmp_path / folder / "d.tif").rename(tmp_path / folder / "d with blank.tif")
        lists = tmp_path / "splits" / "5"
        lists.mkdir(parents=True)
        (lists / "labeled.txt").write_text("images/a.tif labels/a.tif\n")
        (lists / "unlabeled.txt").write_text("images/b.tif labels/b.tif\nimages/d with blank.tif\t\n")
        (lists.parent / "val.txt").write_text("images/c.tif labels/c.tif\n")
        return tmp_path

    def split(self, folder):
        settings = DataSettings(root=folder, lists="splits/5")
        scenes = find_scenes(settings)
        return make_split(scenes, SplitSettings(ratio=37), find_truth(scenes, settings, silent))

    def test_the_split_has_exactly_what_they_name(self, folder):
        (folder / "splits" / "test.txt").write_text("images/e.tif\tlabels/e.tif\n")
        split = self.split(folder)
        assert [r.scene for r in split.labelled] == ["images/a"]
        assert [r.scene for r in split.unlabelled] == ["images/b", "images/d with blank"]
        assert [r.scene for r in split.validation] == ["images/c"]
        assert [r.scene for r in split.test] == ["images/e"]
        assert split.train_blocks == 3

    def test_labels_of_unlabelled_pictures_are_not_even_looked_for(self, folder):
        (folder / "labels" / "b.tif").unlink()
        assert len(self.split(folder).unlabelled) == 2

    def test_opinions_are_found(self, folder):
        (folder / "opinions").mkdir()
        (folder / "opinions" / "b.tif").write_bytes(b"found, not yet opened")
        scenes = by_name(folder, lists="splits/5")
        assert scenes["images/b"].opinion == folder / "opinions" / "b.tif"
        assert scenes["images/a"].opinion is None

    def test_a_picture_in_two_lists(self, folder):
        (folder / "splits" / "val.txt").write_text("images/a.tif labels/a.tif\n")
        cause = "a picture stands in labeled.txt and in val.txt: `images/a.tif`"
        refused(InputError, cause, "remove it from one", folder, lists="splits/5")

    @pytest.mark.parametrize("name", ["labeled.txt", "val.txt"])
    def test_a_labelled_picture_without_its_label(self, folder, name):
        (folder / "splits" / "5" / name).write_text("images/e.tif\n")
        refused(DatasetMissing, "lists `images/e.tif` without a label", "second column", folder, lists="splits/5")

    def test_no_lists(self, folder):
        refused(DatasetMissing, "labeled.txt` does not exist", "`lists` names", folder, lists="splits/10")


def test_all_that_is_missing_is_told_at_once(tmp_path):
    scenery.country(tmp_path)
    (tmp_path / "legend.yaml").unlink()
    wrong = {"validation": ("nope", "a"), "test": ("[xyz]",), "unlabelled": "nope/*.tif", "opinions": "seen"}
    with pytest.raises(ConfigError) as caught:
        found(tmp_path, **wrong)
    first, *lines = caught.value.lines
    assert first == f"the data in `{tmp_path}`: 5 problems"
    for line, (cause, hint) in zip(lines, [
        ("legend.yaml` does not exist", "`classes:`"), ("no scene matches", "data.unlabelled"),
        ("`data.validation` names `nope`", "a, b, c"), ("`data.test` names `[xyz]`", "a, b, c"),
        ("folder of opinions", "data.opinions"),
    ], strict=True):  # fmt: skip
        assert cause in line
        assert hint in line


def test_a_folder_that_holds_no_data_at_all(tmp_path):
    refused(DatasetMissing, f"the folder `{tmp_path}` holds no data", "`--data DIR`", tmp_path)
    (tmp_path / "legend.yaml").touch()  # somebody began here
    refused(ConfigError, "2 problems", "the way out", tmp_path)


def test_every_refusal_is_a_known_one(tmp_path):
    for content in (b"", b"{", b"classes: 3", b"classes: []", b"classes: [{id: 1, name: a, colour: '#000000'}]"):
        scenery.country(tmp_path)
        (tmp_path / "legend.yaml").write_bytes(content)
        with pytest.raises(GeosemiError) as caught:
            found(tmp_path)
        assert caught.value.message
        assert caught.value.hint


class TestMisspelt:
    def folder(self, root, *, scenes="images"):
        where = scenery.place()
        scenery.write_legend(root / "legend.yaml")
        scenery.write_tif(root / scenes / "north.tif", np.full((3, 64, 64), 9, np.uint8), where)
        scenery.write_tif(root / "labels" / "north.tif", np.zeros((1, 64, 64), np.uint8), where)
        return root

    def test_labels_and_opinions_of_no_scene_are_listed(self, tmp_path):
        root = self.folder(tmp_path)
        for stray in (root / "labels" / "North.gpkg", root / "opinions" / "south.tif"):
            stray.parent.mkdir(exist_ok=True)
            stray.touch()
        assert find_scenes(DataSettings(root=root)).strays == ("labels/North.gpkg", "opinions/south.tif")

    @pytest.mark.parametrize("key", ["opinions", "unlabelled"])
    def test_a_folder_that_was_named_must_exist(self, tmp_path, key):
        with pytest.raises(DatasetMissing, match="nope") as caught:
            find_scenes(DataSettings(root=self.folder(tmp_path), **{key: "nope"}))
        assert f"data.{key}" in caught.value.hint

    def test_scenes_may_lie_in_a_folder_of_that_name(self, tmp_path):
        found = find_scenes(DataSettings(root=self.folder(tmp_path, scenes="scenes")))
        assert [s.name for s in found.scenes] == ["north"]
