"""Preparing: tiles keep pixels, ground and truth; lists keep their promises; a second run goes on."""

import csv

import numpy as np
import pytest
import rasterio
import replicas
import shapely
import yaml
from affine import Affine
from typer.testing import CliRunner

from geosemi.cli.main import app
from geosemi.data.datasets import DATASETS
from geosemi.data.listfiles import read_list, require_disjoint
from geosemi.data.prepare import PrepareSettings, prepare
from geosemi.data.scenes import DataSettings, find_scenes
from geosemi.data.splits import SplitSettings, make_split
from geosemi.data.statistics import find_truth
from geosemi.errors import ConfigError, DatasetMissing, OutputError, SceneUnreadable
from geosemi.geo.scene import Scene
from geosemi.geo.window import Window
from geosemi.legend import Legend

NAMES = [f"top_potsdam_{r}_{c}" for r in (2, 3) for c in (10, 11, 12, 13)]  # 13 is for testing, and touches 12
TILE = PrepareSettings(tile=40)


def tiles_of(folder):
    with (folder / "tiles.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def potsdam(tmp_path_factory):
    root = tmp_path_factory.mktemp("potsdam")
    truth = replicas.potsdam(root / "source", NAMES)
    return root / "source", prepare("potsdam", root / "source", root / "out", TILE), truth


def test_every_pixel_and_its_truth_arrive_once(potsdam):
    _, prepared, truth = potsdam
    for name, (pixels, ids) in truth.items():
        seen = np.zeros(ids.shape, int)
        for row in (r for r in tiles_of(prepared.folder) if r["scene"] == name):
            with (
                rasterio.open(prepared.folder / row["image"]) as image,
                rasterio.open(prepared.folder / row["label"]) as label,
            ):
                window = Window(int(row["row"]), int(row["col"]), image.height, image.width).slices
                assert np.array_equal(image.read(), pixels[:3][(..., *window)])
                assert np.array_equal(label.read(1), ids[window])
                assert (label.nodata, label.dtypes) == (255, ("uint8",))
                seen[window] += 1
        assert (seen == 1).all()


def test_tiles_lie_exactly_where_the_world_file_puts_them(potsdam):
    source, prepared, _ = potsdam
    for row in tiles_of(prepared.folder):
        numbers = [float(n) for n in (source / "2_Ortho_RGB" / f"{row['scene']}_RGB.tfw").read_text().split()]
        corner = Affine(numbers[0], 0, numbers[4], 0, numbers[3], numbers[5]) * Affine.translation(-0.5, -0.5)
        expected = corner * Affine.translation(int(row["col"]), int(row["row"]))
        for kind in ("image", "label"):
            with rasterio.open(prepared.folder / row[kind]) as dataset:
                assert dataset.transform == expected  # to the last bit of float64
                assert dataset.crs.to_epsg() == 25833


def test_tiles_are_compressed_named_and_tagged(potsdam):
    _, prepared, _ = potsdam
    scene = Scene.open(prepared.folder / tiles_of(prepared.folder)[0]["image"])
    assert (scene.bands, scene.alpha, scene.masked) == (("red", "green", "blue"), None, False)
    with rasterio.open(scene.path) as dataset:
        assert dataset.compression.name == "deflate"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert dataset.tags()["GEOSEMI_SCENE"] == NAMES[0]
        assert "GEOSEMI_CRS" not in dataset.tags()
    with rasterio.open(prepared.folder / tiles_of(prepared.folder)[0]["label"]) as label:
        assert label.colormap(1)[5] == (255, 0, 0, 255)


def test_the_card_and_the_legend(potsdam):
    _, prepared, _ = potsdam
    card = yaml.safe_load((prepared.folder / "dataset.yaml").read_text())
    assert (card["name"], card["crs"], card["resolution"], card["exclude_from_mean"]) == (
        "potsdam", "EPSG:25833", 0.05, ["clutter"],
    )  # fmt: skip
    assert (card["scenes"], card["tiles"]) == (8, prepared.counts)
    assert Legend.load(prepared.folder / "legend.yaml") == DATASETS["potsdam"].legend


def test_parts_share_no_ground(potsdam):
    """The official test tiles touch training tiles; not a pixel may lie on both sides."""
    _, prepared, _ = potsdam
    ground = {"train": [], "val": [], "test": []}
    for row in tiles_of(prepared.folder):
        ground[row["split"]].append(shapely.box(*Scene.open(prepared.folder / row["image"]).grid.bounds))
        assert (row["split"] == "test") == row["scene"].endswith("13") == (row["official"] == "test")
    union = {part: shapely.union_all(boxes, grid_size=1e-6) for part, boxes in ground.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert shapely.intersection(union[one], union[other]).area < 1e-6
        assert not union[one].is_empty


def test_the_trainer_reads_it(potsdam):
    _, prepared, _ = potsdam
    settings = DataSettings(dataset="potsdam", root=prepared.folder)
    scenes = find_scenes(settings)
    split = make_split(scenes, SplitSettings(ratio=10, block=40), find_truth(scenes, settings, lambda *_: None))
    assert scenes.exclude_from_mean == ("clutter",)
    parts = {
        row["image"].removeprefix("images/").removesuffix(".tif"): row["split"] for row in tiles_of(prepared.folder)
    }
    assert {parts[r.scene] for r in (*split.labelled, *split.unlabelled)} == {"train"}
    assert {parts[r.scene] for r in split.validation} == {"val"}
    assert {parts[r.scene] for r in split.test} == {"test"}


@pytest.mark.parametrize("folder", ["splits", "splits_patch"])
def test_the_trainer_reads_the_lists(potsdam, folder):
    _, prepared, _ = potsdam
    settings = DataSettings(dataset="potsdam", root=prepared.folder, lists=f"{folder}/10")
    scenes = find_scenes(settings)
    split = make_split(scenes, SplitSettings(block=40), find_truth(scenes, settings, lambda *_: None))
    listed = {i.with_suffix("").as_posix() for i, _ in read_list(prepared.folder / folder / "10" / "labeled.txt")}
    assert {r.scene for r in split.labelled} == listed
    assert not listed & {r.scene for r in (*split.unlabelled, *split.validation, *split.test)}


def test_lists_by_scene(potsdam):
    _, prepared, _ = potsdam
    lists = {p: read_list(prepared.folder / "splits" / f"{p}.txt") for p in ("train", "val", "test", "unlabelled")}
    require_disjoint(lists)
    assert {p: len(rows) for p, rows in lists.items()} == prepared.counts
    assert all((prepared.folder / p).is_file() for rows in lists.values() for row in rows for p in row)
    five, ten = (read_list(prepared.folder / "splits" / r / "labeled.txt") for r in ("5", "10"))
    rest = read_list(prepared.folder / "splits" / "10" / "unlabeled.txt")
    train = len(lists["train"])
    assert (len(five), len(ten), len(rest)) == (train * 5 // 100, train // 10, train - train // 10)
    assert five == ten[: len(five)]
    assert {i for i, _ in [*ten, *rest]} == {i for i, _ in lists["train"]}
    assert all(label is None for _, label in rest)


def test_lists_by_patch_are_the_papers_and_leak(potsdam):
    _, prepared, _ = potsdam
    lists = {p: read_list(prepared.folder / "splits_patch" / f"{p}.txt") for p in ("train", "val", "test")}
    require_disjoint(lists)
    assert [len(rows) for rows in lists.values()] == [43, 14, 15]  # ⌊.6 · 72⌋, ⌊.2 · 72⌋, rest
    assert read_list(prepared.folder / "splits_patch" / "5" / "labeled.txt") == lists["train"][:2]
    scenes = [{i.name.rsplit("_", 2)[0] for i, _ in rows} for rows in lists.values()]
    assert scenes[0] & scenes[2]


def test_a_second_run_keeps_what_is_there(potsdam):
    source, prepared, _ = potsdam
    before = {p: p.stat().st_mtime_ns for p in prepared.folder.rglob("*.tif")}
    again = prepare("potsdam", source, prepared.folder, TILE)
    assert (again.kept, again.tiles, again.counts, again.notes) == (72, 72, prepared.counts, prepared.notes)
    assert {p: p.stat().st_mtime_ns for p in prepared.folder.rglob("*.tif")} == before


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path):
    replicas.potsdam(tmp_path / "source", NAMES[:3])

    def stop(done, total):
        if done > 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE, on_progress=stop)
    assert not (tmp_path / "out" / "dataset.yaml").exists()
    steps = []
    assert (
        prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE, on_progress=lambda *s: steps.append(s)).kept
        == 9
    )
    assert steps[0] == (9, 27)
    assert steps[-1] == (27, 27)
    prepare("potsdam", tmp_path / "source", tmp_path / "straight", TILE)
    files = [p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(files) == len([p for p in (tmp_path / "straight").rglob("*") if p.is_file()])
    assert all((tmp_path / "out" / f).read_bytes() == (tmp_path / "straight" / f).read_bytes() for f in files)
    # a tile that somebody deleted is cut again
    (tmp_path / "out" / "images" / f"{NAMES[1]}_00040_00080.tif").unlink()
    assert prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE).kept == 18


def test_other_settings_or_sources_do_not_mix(tmp_path):
    replicas.potsdam(tmp_path / "source", NAMES[:3])
    prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE)
    with pytest.raises(OutputError, match="was prepared with tile 40, not 48") as caught:
        prepare("potsdam", tmp_path / "source", tmp_path / "out", PrepareSettings(tile=48))
    assert "--out" in caught.value.hint
    replicas.potsdam(tmp_path / "source", NAMES[:3], seed=5)
    with pytest.raises(OutputError, match="was prepared with other source files"):
        prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE)
    with pytest.raises(OutputError, match="is not empty"):
        prepare("potsdam", tmp_path / "source", tmp_path / "source", TILE)
    (tmp_path / "out" / ".prepare.jsonl").write_text("")
    with pytest.raises(OutputError, match=r"\.prepare\.jsonl` is damaged"):
        prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE)


def test_unknown_colours_are_counted_and_remembered(tmp_path):
    replicas.potsdam(tmp_path / "source", NAMES[:3])
    replicas.write(tmp_path / "source" / "5_Labels_all" / f"{NAMES[0]}_label.tif", np.full((3, 96, 96), 100, np.uint8))
    for _ in range(2):  # the second run reads no label
        prepared = prepare("potsdam", tmp_path / "source", tmp_path / "out", TILE)
        assert (
            f"9,216 label pixels in 1 of the scenes are in no table and are ignored: {NAMES[0]} (9,216)"
            in prepared.notes
        )


def test_infrared_stays_data(tmp_path):
    truth = replicas.potsdam(tmp_path / "source", NAMES[:1], folders=("4_Ortho_RGBIR",))
    prepare("potsdam", tmp_path / "source", tmp_path / "out", PrepareSettings(tile=64, bands="rgbir"))
    scene = Scene.open(tmp_path / "out" / "images" / f"{NAMES[0]}_00000_00000.tif")
    assert (scene.bands, scene.alpha) == (("red", "green", "blue", "nir"), None)
    with rasterio.open(scene.path) as dataset:
        assert np.array_equal(dataset.read(), truth[NAMES[0]][0][:, :64, :64])


def test_pictures_without_place_get_invented_ground_and_say_so(tmp_path):
    replicas.loveda(tmp_path / "source")
    prepared = prepare("loveda", tmp_path / "source", tmp_path / "out", TILE)
    assert yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())["crs"] == "invented"
    assert any("invented ground at 0.3 m" in note for note in prepared.notes)
    boxes = {}
    for row in tiles_of(tmp_path / "out"):
        with rasterio.open(tmp_path / "out" / row["image"]) as dataset:
            assert dataset.tags()["GEOSEMI_CRS"].startswith("invented")
            assert 'UNIT["metre",1' in dataset.crs.to_wkt()
            boxes.setdefault(row["scene"], []).append(shapely.box(*dataset.bounds))
        assert bool(row["label"]) == (row["official"] != "test") == (row["split"] != "unlabelled")
        assert (row["split"] == "test") == (row["official"] == "val")
    hulls = [shapely.union_all(b) for b in boxes.values()]
    assert all(a.distance(b) > 1 for i, a in enumerate(hulls) for b in hulls[:i])
    assert Scene.open(next((tmp_path / "out" / "images").iterdir())).grid.metres_per_pixel() == pytest.approx(0.3)
    find_scenes(DataSettings(dataset="loveda", root=tmp_path / "out"))


@pytest.mark.parametrize("split", ["official", "scene"])
def test_openearthmap_regions(tmp_path, split):
    replicas.openearthmap(tmp_path / "source")
    prepare("openearthmap", tmp_path / "source", tmp_path / "out", PrepareSettings(tile=64, split=split))
    rows = tiles_of(tmp_path / "out")
    by_group = {}
    for row in rows:
        assert by_group.setdefault(row["group"], row["split"]) == row["split"]
    assert len(by_group) == (6 if split == "official" else 2)
    with rasterio.open(tmp_path / "out" / "images" / "aachen_2_00000_00000.tif") as dataset:
        assert dataset.transform == Affine(0.3, 0, 300_200, 0, -0.3, 5_600_000)  # the file's own place


def test_nodata_of_a_source_becomes_a_mask(tmp_path):
    replicas.openearthmap(tmp_path / "source")
    path = tmp_path / "source" / "OpenEarthMap_wo_xBD" / "tokyo" / "images" / "tokyo_1.tif"
    pixels = np.full((3, 64, 64), 9, np.uint8)
    pixels[:, :20] = 0
    pixels[0, :10] = 7  # nodata is where all bands are
    replicas.write(path, pixels, nodata=0)
    prepare("openearthmap", tmp_path / "source", tmp_path / "out", PrepareSettings(tile=32))
    with rasterio.open(tmp_path / "out" / "images" / "tokyo_1_00000_00000.tif") as dataset:
        assert (dataset.read_masks(1) == 0).sum() == 10 * 32
    assert not list((tmp_path / "out").rglob("*.msk"))
    assert not Scene.open(tmp_path / "out" / "images" / "tokyo_1_00032_00000.tif").masked


def test_deepglobe_and_vaihingen_to_the_end(tmp_path):
    replicas.deepglobe(tmp_path / "d", ["119", "266", "606", "855", "1000"])
    prepared = prepare("deepglobe", tmp_path / "d", tmp_path / "dout", TILE)
    assert prepared.counts == {"train": 12, "val": 4, "test": 4, "unlabelled": 4}
    replicas.vaihingen(tmp_path / "v", ["top_mosaic_09cm_area1", "top_mosaic_09cm_area3", "top_mosaic_09cm_area2"])
    prepared = prepare("vaihingen", tmp_path / "v", tmp_path / "vout", TILE)
    assert prepared.counts == {"train": 6, "val": 6, "test": 6, "unlabelled": 0}


def test_what_cannot_be_prepared_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="no data set `cityscapes`") as caught:
        prepare("cityscapes", tmp_path, tmp_path / "out")
    assert "potsdam, vaihingen, loveda, deepglobe, openearthmap" in caught.value.hint
    with pytest.raises(DatasetMissing, match="looked for `Train`, `Val` and `Test`"):
        prepare("loveda", tmp_path, tmp_path / "out")
    replicas.loveda(tmp_path / "source")
    (tmp_path / "source" / "Train" / "Urban" / "images_png" / "0.png").write_text("<html>")
    with pytest.raises(SceneUnreadable, match=r"0\.png` is no GeoTIFF, PNG or JPEG"):
        prepare("loveda", tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path):
    replicas.loveda(tmp_path / "source")
    command = ["prepare", "--dataset", "loveda", "--source", str(tmp_path / "source"), "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, [*command, "--tile", "40"])
    assert (first.exit_code, first.exception) == (0, None)
    assert f"40 tiles in {tmp_path / 'out'}: 12 train, 4 val, 16 test, 8 unlabelled\n" in first.stdout
    assert "note: the pictures have no georeference" in " ".join(first.stderr.split())
    assert "(40 were there already)" in CliRunner().invoke(app, [*command, "--tile", "40"]).stdout
    wrong = CliRunner().invoke(app, [*command, "--tile", "48"])
    assert isinstance(wrong.exception, OutputError)
    assert CliRunner().invoke(app, [*command, "--tile", "8"]).exit_code == 2


def test_help_shows_two_examples():
    text = CliRunner().invoke(app, ["prepare", "--help"]).stdout
    assert text.count("geosemi prepare --dataset") == 2
