"""Each reader on a small replica of its download: layouts, codings, partners, and what is said when parts lack."""

import shutil

import numpy as np
import pytest
import replicas
from affine import Affine

from geosemi.data.datasets import DATASETS
from geosemi.errors import (
    BandMismatch,
    ConfigError,
    DatasetMissing,
    GridMismatch,
    InputError,
    LegendError,
    SceneUnreadable,
)
from geosemi.geo.scene import reading
from geosemi.geo.window import Window

P, V = DATASETS["potsdam"], DATASETS["vaihingen"]
NAMES = ["top_potsdam_2_10", "top_potsdam_2_11", "top_potsdam_2_13"]  # two for training, one for testing
AREAS = ["top_mosaic_09cm_area1", "top_mosaic_09cm_area3", "top_mosaic_09cm_area2"]
WHOLE = Window(0, 0, 96, 96)


def pixels_of(original, item, window, bands=None):
    """The pixels of a picture as `prepare` reads them."""
    with reading(original.scene(item, bands)) as reader:
        return reader.read(window)


@pytest.mark.parametrize("labels", ["5_Labels_all", "", "5_Labels_for_participants"])
def test_potsdam_in_each_layout(tmp_path, labels):
    truth = replicas.potsdam(tmp_path, NAMES, labels=labels)
    items = P.items(tmp_path)
    assert [(i.scene_id, i.group, i.split) for i in items] == [
        (NAMES[0], NAMES[0], "train"),
        (NAMES[1], NAMES[1], "train"),
        (NAMES[2], NAMES[2], "test"),
    ]
    for item in items:
        pixels, ids = truth[item.scene_id]
        assert np.array_equal(pixels_of(P, item, WHOLE).image, pixels[:3])
        decoded = P.read_label(item)
        assert np.array_equal(decoded.ids, ids)
        assert decoded.unknown == 0
        assert np.array_equal(P.read_label(item, Window(3, 5, 7, 9)).ids, ids[3:10, 5:14])


@pytest.mark.parametrize(
    ("bands", "names", "order"),
    [
        ("rgb", ("red", "green", "blue"), [0, 1, 2]),
        ("rgbir", ("red", "green", "blue", "nir"), [0, 1, 2, 3]),
        ("irrg", ("nir", "red", "green"), [3, 0, 1]),
    ],
)
def test_potsdam_bands_from_the_four_band_files_whose_infrared_is_tagged_alpha(tmp_path, bands, names, order):
    truth = replicas.potsdam(tmp_path, NAMES[:1], folders=("4_Ortho_RGBIR",))
    (item,) = P.items(tmp_path, bands)
    scene, tile = P.scene(item, bands), pixels_of(P, item, WHOLE, bands)
    assert (scene.bands, scene.alpha) == (names, None)
    assert np.array_equal(tile.image, truth[NAMES[0]][0][order])
    assert tile.valid.all()


def test_potsdam_lies_where_its_world_file_says(tmp_path):
    replicas.potsdam(tmp_path, NAMES[:1])
    grid = P.scene(P.items(tmp_path)[0]).grid
    assert grid.crs.to_epsg() == 25833
    assert grid.transform.almost_equals(Affine(0.05, 0, 366_048.0, 0, -0.05, 5_807_990.55), precision=1e-8)


def test_stray_colours_are_repaired_and_others_counted(tmp_path):
    replicas.potsdam(tmp_path, NAMES[:1])
    colours = np.full((3, 96, 96), 255, np.uint8)  # impervious surface
    colours[:, 0, :10] = np.array([252, 255, 0])[:, None]  # a car, as in an original label
    colours[:, 1, :7] = 0  # an eroded border
    colours[:, 2, :5] = np.array([200, 30, 90])[:, None]  # no class
    replicas.write(tmp_path / "5_Labels_all" / f"{NAMES[0]}_label.tif", colours)
    decoded = P.read_label(P.items(tmp_path)[0])
    assert set(decoded.ids[0, :10]) == {4}
    assert set(decoded.ids[1, :7]) == {255}
    assert set(decoded.ids[2, :5]) == {255}
    assert decoded.unknown == 5


def test_labels_agree_with_torchgeo(tmp_path):
    from torchgeo.datasets import Potsdam2D

    replicas.potsdam(tmp_path, NAMES[:2], labels="")
    oracle = Potsdam2D(str(tmp_path), "train")
    for item, sample in zip(P.items(tmp_path), oracle, strict=True):
        clutter_last = np.array([5, 0, 1, 2, 3, 4], np.uint8)[sample["mask"].numpy()]
        assert np.array_equal(P.read_label(item).ids, clutter_last)


def test_the_participants_package_leaves_test_tiles_unlabelled(tmp_path):
    replicas.potsdam(tmp_path, NAMES)
    (tmp_path / "5_Labels_all" / f"{NAMES[2]}_label.tif").unlink()
    found = P.survey(tmp_path)
    assert [i.label is None for i in found.items] == [False, False, True]
    assert "3 of 38 tiles are there" in found.notes
    assert any("1 test tiles have no label" in note for note in found.notes)


def test_a_training_tile_without_label_is_named(tmp_path):
    replicas.potsdam(tmp_path, [f"top_potsdam_{r}_{c}" for r in (2, 3) for c in (10, 11, 12)])
    for path in sorted((tmp_path / "5_Labels_all").iterdir())[:4]:
        path.unlink()
    with pytest.raises(
        DatasetMissing, match=r"4 of the labels of ISPRS Potsdam are missing: .*2_10_label\.tif`.*2_12.*, …"
    ) as caught:
        P.items(tmp_path)
    assert "unpack the download again" in caught.value.hint


def test_a_label_without_picture_is_named(tmp_path):
    replicas.potsdam(tmp_path, NAMES, folders=("2_Ortho_RGB",))
    (tmp_path / "2_Ortho_RGB" / f"{NAMES[1]}_RGB.tif").unlink()
    with pytest.raises(DatasetMissing, match=r"1 of the pictures of ISPRS Potsdam is missing: .*2_11_RGB\.tif`"):
        P.items(tmp_path)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_missing_download_says_where_to_get_it_and_how_it_unpacks(tmp_path, name):
    original = DATASETS[name]
    for root, cause in ((tmp_path / "none", "none` does not exist"), (tmp_path, "looked for `")):
        with pytest.raises(DatasetMissing, match=cause) as caught:
            original.items(root)
        assert "https://" in caught.value.hint
        assert original.layout in caught.value.hint


def test_labels_alone_are_no_data_set(tmp_path):
    replicas.potsdam(tmp_path, NAMES, folders=())
    with pytest.raises(DatasetMissing, match="looked for `2_Ortho_RGB` and `4_Ortho_RGBIR`"):
        P.items(tmp_path)
    (tmp_path / "2_Ortho_RGB").mkdir()
    with pytest.raises(DatasetMissing, match="no picture of ISPRS Potsdam was found"):
        P.items(tmp_path)


def test_unknown_bands_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="Vaihingen has no bands `rgb`") as caught:
        V.items(tmp_path, "rgb")
    assert "--bands irrg" in caught.value.hint


def test_damaged_parts_are_named(tmp_path):
    replicas.potsdam(tmp_path, NAMES[:2])
    one, two = P.items(tmp_path)
    replicas.write(one.label, np.zeros((3, 95, 96), np.uint8))
    with pytest.raises(
        GridMismatch, match=r"2_10_label\.tif` is 95 × 96 pixels, .*2_10_RGB\.tif` is 96 × 96"
    ) as caught:
        P.read_label(one)
    assert "unpack" in caught.value.hint
    replicas.write(one.label, np.zeros((96, 96), np.uint8))
    with pytest.raises(LegendError, match="has 1 uint8 bands; the labels of ISPRS Potsdam have 3") as caught:
        P.read_label(one)
    assert "--dataset scenes" in caught.value.hint
    two.image.write_bytes(two.image.read_bytes()[:9000])
    with pytest.raises(SceneUnreadable, match="2_11_RGB"):
        pixels_of(P, two, WHOLE)
    replicas.write(two.image, np.zeros((1, 96, 96), np.uint8))
    with pytest.raises(BandMismatch, match="has 1 bands; red, green, blue needs 3"):
        P.scene(two)


@pytest.mark.parametrize("labels", ["gts_for_participants", "."])
def test_vaihingen(tmp_path, labels):
    truth = replicas.vaihingen(tmp_path, AREAS, labels=labels)
    items = V.items(tmp_path)
    assert {i.scene_id: i.split for i in items} == {AREAS[0]: "train", AREAS[1]: "train", AREAS[2]: "test"}
    for item in items:
        assert np.array_equal(V.read_label(item).ids, truth[item.scene_id])
    scene = V.scene(items[0])
    assert (scene.bands, scene.grid.crs.to_epsg()) == (("nir", "red", "green"), 32632)
    assert (scene.grid.transform.c, scene.grid.transform.f) == (
        pytest.approx(496_851.955),
        pytest.approx(5_420_549.045),
    )


def test_vaihingen_with_other_coordinates_is_refused(tmp_path):
    replicas.vaihingen(tmp_path, AREAS[:1])
    replicas.world_file(tmp_path / "top" / f"{AREAS[0]}.tfw", pixel=0.09, x=3_496_852.0, y=5_420_549.0)
    with pytest.raises(InputError, match="not in Vaihingen an der Enz") as caught:
        V.scene(V.items(tmp_path)[0])
    assert "invented ground" in caught.value.hint


def test_loveda(tmp_path):
    truth = replicas.loveda(tmp_path)
    loveda = DATASETS["loveda"]
    items = loveda.items(tmp_path)
    assert sorted((i.split, i.label is not None) for i in items) == [
        *[("test", False)] * 2,
        *[("train", True)] * 4,
        *[("val", True)] * 4,
    ]
    for item in (i for i in items if i.label):
        codes = truth[item.scene_id]
        decoded = loveda.read_label(item)
        assert np.array_equal(decoded.ids, np.where(codes == 0, 255, codes - 1))
        assert (decoded.ids[0, :8].tolist(), decoded.unknown) == ([255, 0, 1, 2, 3, 4, 5, 6], 0)
    assert loveda.scene(items[0]).grid.crs is None


def test_loveda_says_which_mask_or_part_lacks(tmp_path):
    replicas.loveda(tmp_path)
    shutil.rmtree(tmp_path / "Test")
    assert DATASETS["loveda"].survey(tmp_path).notes == ("there is no `Test` folder",)
    next((tmp_path / "Val" / "Rural" / "masks_png").iterdir()).unlink()
    with pytest.raises(DatasetMissing, match=r"1 of the labels of LoveDA is missing: .*Rural/masks_png/\d+\.png`"):
        DATASETS["loveda"].items(tmp_path)


@pytest.mark.parametrize("layout", ["challenge", "torchgeo"])
def test_deepglobe_in_each_layout(tmp_path, layout):
    truth = replicas.deepglobe(tmp_path, ["119", "266"], layout=layout)
    deepglobe = DATASETS["deepglobe"]
    items = deepglobe.items(tmp_path)
    extra = {"900": "unlabelled"} if layout == "challenge" else {}
    assert {i.scene_id: i.split for i in items} == {"119": "train", "266": "train"} | extra
    for item in items[:2]:
        assert np.array_equal(
            deepglobe.read_label(item).ids, np.where(truth[item.scene_id] == 6, 255, truth[item.scene_id])
        )
        assert pixels_of(deepglobe, item, Window(0, 0, 80, 80)).image.shape == (3, 80, 80)


def test_deepglobe_without_masks_is_refused_and_without_pictures_too(tmp_path):
    replicas.deepglobe(tmp_path, ["119", "266"])
    mask = tmp_path / "train" / "119_mask.png"
    kept = mask.read_bytes()
    mask.unlink()
    with pytest.raises(DatasetMissing, match=r"1 of the labels of DeepGlobe land cover is missing: .*119_mask\.png`"):
        DATASETS["deepglobe"].items(tmp_path)
    mask.write_bytes(kept)
    (tmp_path / "train" / "266_sat.jpg").unlink()
    with pytest.raises(DatasetMissing, match=r"1 of the pictures of DeepGlobe land cover is missing: .*266_sat\.jpg`"):
        DATASETS["deepglobe"].items(tmp_path)


def test_openearthmap(tmp_path):
    truth = replicas.openearthmap(tmp_path)
    oem = DATASETS["openearthmap"]
    found = oem.survey(tmp_path)
    assert [(i.scene_id, i.group, i.split) for i in found.items] == [
        (f"{region}_{n}", region, split)
        for region in ("aachen", "tokyo")
        for n, split in ((1, "train"), (2, "val"), (3, "test"))
    ]
    assert any("xBD" in note and ": 1," in note for note in found.notes)
    for item in found.items:
        codes = truth[item.scene_id]
        assert np.array_equal(oem.read_label(item).ids, np.where(codes == 0, 255, codes - 1))
    assert [oem.scene(i).grid.crs is None for i in found.items] == [False] * 3 + [True] * 3


def test_openearthmap_lists_are_checked(tmp_path):
    replicas.openearthmap(tmp_path)
    oem, base = DATASETS["openearthmap"], tmp_path / "OpenEarthMap_wo_xBD"
    (base / "test.txt").write_text("tokyo_3.tif\n")
    assert any("in none of the lists: 1" in note for note in oem.survey(base).notes)  # the inner folder will do too
    (base / "test.txt").write_text("tokyo_1.tif\n")
    with pytest.raises(DatasetMissing, match=r"`tokyo_1` stands in `train\.txt` and in `test\.txt`") as caught:
        oem.items(tmp_path)
    assert "unpack the download again" in caught.value.hint
    (base / "test.txt").unlink()
    (base / "tokyo" / "labels" / "tokyo_1.tif").unlink()
    with pytest.raises(DatasetMissing, match=r"1 of the labels of OpenEarthMap is missing: .*labels/tokyo_1\.tif`"):
        oem.items(tmp_path)
