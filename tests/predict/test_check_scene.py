"""Preflight: all faults in one message, each with its way out, before any work."""

import numpy as np
import pytest
from affine import Affine
from fakes import TinySegmenter, bundle_of
from ground import noise
from pydantic import ValidationError

from geosemi.errors import (
    BandMismatch,
    BundleError,
    ConfigError,
    GridMismatch,
    InputError,
    OutputError,
    ResourceError,
)
from geosemi.predict import check
from geosemi.predict.check import check_scene
from geosemi.predict.polygons import check_polygons
from geosemi.predict.runs import find_bundle
from geosemi.predict.settings import PredictSettings


def card_of(bands=3, **card):
    return bundle_of(TinySegmenter(bands=bands), **card).card


def scale(side):
    return Affine(side, 0, 450_000, 0, -side, 40_000)


def test_other_bands_are_refused_and_never_guessed(make_scene):
    scene = make_scene(bands=4, photometric="minisblack")
    with pytest.raises(BandMismatch, match=r"scene.tif` does not fit the model: it has 4 bands .* takes 3") as caught:
        check_scene(scene, card_of())
    assert "--bands 1,2,3" in caught.value.hint
    assert check_scene(scene, card_of(), bands=(4, 1, 2)).scene.indexes == (4, 1, 2)
    with pytest.raises(BandMismatch, match="`--bands` names 2 bands, the model takes 3"):
        check_scene(scene, card_of(), bands=(1, 2))
    with pytest.raises(BandMismatch, match=r"model: it has the bands \[1, 2, 3, 4\], not \[7\]") as caught:
        check_scene(scene, card_of(), bands=(1, 2, 7))
    assert caught.value.message.count("scene.tif") == 1
    assert "say which bands of the file are band_1, band_2, band_3, e.g. `--bands 1,2,3`" in caught.value.hint


def test_bands_are_matched_by_their_names_where_they_have_some(make_scene):
    scene = make_scene(bands=4, photometric="minisblack", descriptions=["nir", "red", "green", "blue"])
    named = card_of(names=("red", "green", "blue"))
    checked = check_scene(scene, named)
    assert checked.scene.indexes == (2, 3, 4)
    assert checked.warnings == ()
    other = make_scene("b.tif", bands=3, descriptions=["swir", "nir", "red"])
    assert "(swir, nir, red) are taken for the model's (red, green, blue)" in check_scene(other, named).warnings[0]


def test_nameless_bands_chosen_in_another_order_are_asked_for(make_scene):
    """Trained with `data.bands=[4,1,2]` on a file without band names."""
    card = card_of(names=("band_4", "band_1", "band_2"))
    four = make_scene("four.tif", bands=4, photometric="minisblack")
    with pytest.raises(BandMismatch, match="it has 4 bands") as caught:
        check_scene(four, card)
    assert "are band_4, band_1, band_2, e.g. `--bands 4,1,2`" in caught.value.hint
    with pytest.raises(BandMismatch, match="`--bands` names 2 bands") as caught:
        check_scene(four, card, bands=(1, 2))
    assert "`--bands 4,1,2`" in caught.value.hint

    three = make_scene("three.tif", bands=3)
    with pytest.raises(
        BandMismatch,
        match=r"nothing says that its 3 bands \(band_1, .*\) are the model's 3 \(band_4, band_1, band_2\)",
    ) as caught:
        check_scene(three, card)
    assert caught.value.hint == (
        "say with `--bands` which bands of the file are band_4, band_1, band_2: their numbers, in that order"
    )
    asked = check_scene(three, card, bands=(1, 2, 3))
    assert (asked.scene.indexes, asked.warnings) == ((1, 2, 3), ())
    same = make_scene("same.tif", bands=3, descriptions=card.bands)
    assert check_scene(same, card).warnings == ()
    named = check_scene(make_scene("named.tif", bands=3, descriptions=["nir", "red", "green"]), card)
    assert "(nir, red, green) are taken for the model's (band_4, band_1, band_2)" in named.warnings[0]


@pytest.mark.parametrize("descriptions", [None, ["red", "green", "blue"]])
def test_the_first_bands_of_a_file_are_taken_unquestioned(make_scene, descriptions):
    checked = check_scene(make_scene(bands=3, descriptions=descriptions), card_of())
    assert (checked.scene.indexes, checked.warnings) == ((1, 2, 3), ())


def test_where_a_file_lacks_the_models_names_no_numbers_are_suggested(make_scene):
    scene = make_scene(bands=4, photometric="minisblack", descriptions=["swir", "red", "green", "pan"])
    with pytest.raises(BandMismatch, match="it has 4 bands") as caught:
        check_scene(scene, card_of(names=("red", "green", "blue")))
    assert "their names or numbers, in that order" in caught.value.hint


@pytest.mark.parametrize("provenance", [{"dtype": "uint8"}, {}])
def test_other_units_are_refused(make_scene, provenance):
    """A scene of 16-bit counts, or of reflectance, for an 8-bit model; told by dtype, or else by the numbers."""
    raw = np.random.default_rng(0).normal(3000, 400, (3, 64, 64))
    for name, image in (("counts.tif", raw.astype("uint16")), ("unit.tif", (raw / 1e4).astype("float32"))):
        with pytest.raises(InputError, match=r"uint8|other units than the model's") as caught:
            check_scene(make_scene(name, image=image), card_of(provenance=provenance))
        assert "rescale" in caught.value.hint
    eight = np.clip(raw / 20, 0, 255).astype("uint8")
    check_scene(make_scene("fine.tif", image=eight), card_of(provenance=provenance))
    check_scene(make_scene("water.tif", image=np.full_like(eight, 9)), card_of(provenance=provenance))


@pytest.mark.parametrize(
    ("side", "outcome"), [(1, ""), (1.9, ""), (0.55, ""), (2.2, "warn"), (0.45, "warn"), (8.5, "no"), (0.1, "no")]
)
def test_resolution(make_scene, side, outcome):
    scene, card = make_scene(transform=scale(side)), card_of(resolution=1.0)
    if outcome == "no":
        with pytest.raises(InputError, match="the model was trained at 1 m") as caught:
            check_scene(scene, card)
        assert "`--resolution model`" in caught.value.hint
    else:
        assert ["trained at 1 m: expect errors" in w for w in check_scene(scene, card).warnings] == [True] * (
            outcome == "warn"
        )


def test_all_faults_are_told_at_once(make_scene):
    scene = make_scene(bands=2, dtype="uint16", transform=scale(30))
    with pytest.raises(BandMismatch) as caught:
        check_scene(scene, card_of(resolution=0.05, provenance={"dtype": "uint8"}))
    message = caught.value.message
    assert "(3 problems)" in message
    assert all(part in message for part in ("it has 2 bands", "pixels are uint16", "30 m"))
    assert all(part in caught.value.hint for part in ("gdalbuildvrt -separate", "rescale", "--resolution model"))


def test_several_faults_have_a_line_each(make_scene):
    with pytest.raises(BandMismatch) as caught:
        check_scene(make_scene(bands=2, dtype="uint16"), card_of(provenance={"dtype": "uint8"}), needs_crs=True)
    assert len(caught.value.lines) == 3
    assert caught.value.lines[0].endswith("does not fit the model (2 problems)")


@pytest.mark.parametrize(
    ("resolution", "metres", "told"),
    [("native", None, "was trained at 1 m: expect errors, or use `--resolution model`"), ("model", 1.0, ""),
     (1.5, 1.5, ""), (4.0, 4.0, "pixels are 4 m, the model was trained at 1 m"),
     (0.25, 0.25, "pixels are 0.25 m, the model was trained at 1 m")],
)  # fmt: skip
def test_a_chosen_resolution_is_taken(make_scene, resolution, metres, told):
    scene = make_scene(transform=scale(0.4), height=200, width=400)
    checked = check_scene(scene, card_of(resolution=1.0), resolution=resolution)
    assert checked.metres == metres
    assert checked.scene.grid.shape == (200, 400)
    assert checked.grid.shape == ((200, 400) if metres is None else (round(80 / metres), round(160 / metres)))
    assert told in " ".join(checked.warnings)
    assert bool(checked.warnings) == bool(told)


@pytest.mark.parametrize("side", [30, 0.05])
def test_resampling_lifts_the_refusal(make_scene, side):
    scene, card = make_scene(transform=scale(side)), card_of(resolution=1.0)
    with pytest.raises(InputError, match="the model was trained at 1 m"):
        check_scene(scene, card)
    assert check_scene(scene, card, resolution="model").metres == 1.0
    assert any("enlarged" in w for w in check_scene(scene, card, resolution="model").warnings) == (side == 30)


def test_nobody_wants_a_scene_enlarged_without_end(make_scene):
    scene = make_scene(transform=scale(1000))
    with pytest.raises(InputError, match=r"its pixels are 1e\+03 m; at 0.01 m it would have 6e\+13 of them") as caught:
        check_scene(scene, card_of(), resolution=0.01)
    assert "coarser `--resolution`" in caught.value.hint


def test_resampling_wants_to_know_sizes(make_scene):
    bare = make_scene("bare.tif", crs=None)
    with pytest.raises(InputError, match="it has no coordinate system") as caught:
        check_scene(bare, card_of(resolution=1.0), resolution="model")
    assert "--assume-crs EPSG:25833" in caught.value.hint
    assert check_scene(bare, card_of(resolution=1.0), resolution="model", assume_crs="EPSG:32636").metres == 1.0
    with pytest.raises(InputError, match="the model does not know at which resolution") as caught:
        check_scene(make_scene(), card_of(), resolution="model")
    assert "`--resolution 0.5`" in caught.value.hint


def test_where_a_scene_lies_can_be_said(make_scene):
    bare, placed = make_scene("bare.tif", crs=None), make_scene("placed.tif")
    assert check_scene(bare, card_of(), assume_crs="EPSG:32636").scene.grid.crs.to_epsg() == 32636
    assert "no coordinate system" in check_scene(bare, card_of()).warnings[0]
    with pytest.raises(InputError, match="it lies in EPSG:32636 already") as caught:
        check_scene(placed, card_of(), assume_crs="EPSG:4326")
    assert "leave `--assume-crs` out" in caught.value.hint
    with pytest.raises(ConfigError, match="`here` is no coordinate system") as caught:
        check_scene(bare, card_of(), assume_crs="here")
    assert "EPSG:25833" in caught.value.hint
    with pytest.raises(InputError, match="it has no coordinate system"):
        check_scene(bare, card_of(), needs_crs=True)
    check_scene(placed, card_of(), needs_crs=True)


def test_bands_by_name(make_scene):
    scene = make_scene(bands=4, photometric="minisblack", descriptions=["B02", "B03", "B04", "B08"])
    assert check_scene(scene, card_of(), bands=("b4", "B3", 1)).scene.indexes == (3, 2, 1)
    with pytest.raises(BandMismatch, match=r"not \['swir'\]") as caught:
        check_scene(scene, card_of(), bands=("b4", "b3", "swir"))
    assert "--bands" in caught.value.hint
    stac = make_scene("s.tif", bands=4, photometric="minisblack", descriptions=["blue (B02)", "green", "red", "nir"])
    assert check_scene(stac, card_of(names=("Red", "green", "b2"))).scene.indexes == (3, 2, 1)
    edges = make_scene("e.tif", bands=4, photometric="minisblack", descriptions=["red edge", "green", "blue", "nir"])
    with pytest.raises(BandMismatch):  # never guessed: a red edge is not red
        check_scene(edges, card_of(names=("red", "green", "blue")))


def test_a_palette_image_is_read_as_colours_on_demand(tmp_path):
    import rasterio

    path = tmp_path / "p.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8") as dataset:
        dataset.write(noise(64, 64, 1))
        dataset.write_colormap(1, {i: (i, 255 - i, i // 2, 255) for i in range(256)})
    with pytest.raises(BandMismatch, match="it is a palette image") as caught:
        check_scene(path, card_of())
    assert caught.value.hint == "read its colours with `--expand-palette`"
    assert check_scene(path, card_of(), expand_palette=True).scene.bands == ("red", "green", "blue")
    assert "palette image" in " ".join(check_scene(path, card_of(bands=1)).warnings)


def test_white_roofs_under_a_nodata_value_are_told(make_scene):
    image = noise(200, 200) % 200
    image[:, :40] = 255  # a rim, as scenes have it
    assert check_scene(make_scene(image=image, nodata=255), card_of()).warnings == ()
    image[:, 90:120, 90:130] = 255
    (told,) = check_scene(make_scene(image=image, nodata=255), card_of()).warnings
    assert "nodata = 255 hides 3.0% of the pixels amid the image" in told
    assert "-unsetnodata" in told


def test_a_vast_claim_is_refused(make_scene, monkeypatch):
    scene = make_scene(image=np.full((3, 2000, 2000), 9, np.uint8), compress="deflate")
    check_scene(scene, card_of())
    monkeypatch.setattr(check, "MAX_CLAIM", 10**6)
    monkeypatch.setattr(check, "MAX_RATIO", 100)
    with pytest.raises(ResourceError, match=r"claims 2,000 × 2,000 pixels but is 0\.\d MB on disk") as caught:
        check_scene(scene, card_of())
    assert "gdal_translate -srcwin" in caught.value.hint


def test_a_damaged_middle_is_not_this_checks_matter(make_scene):
    path = make_scene(image=noise(64, 64), compress="lzw", blockysize=16)
    content = bytearray(path.read_bytes())
    content[-6000:-3000] = bytes(3000)
    path.write_bytes(content)
    assert check_scene(path, card_of()).scene.grid.shape == (64, 64)


def test_what_the_file_says_of_itself_is_passed_on(make_scene, tmp_path):
    path = make_scene()
    (tmp_path / "scene.tfw").write_text("1")
    assert "world file `scene.tfw`" in check_scene(path, card_of()).warnings[0]


def test_a_size_that_leaves_nothing_is_a_slip_of_the_unit(make_scene):
    scene = make_scene(transform=scale(0.5))  # 32 m × 48 m
    assert check_scene(scene, card_of(), resolution=2.0).grid.shape == (16, 24)
    with pytest.raises(InputError, match=r"it is 32 m across, 0\.64 pixels of 50 m") as caught:
        check_scene(scene, card_of(), resolution=50.0)
    assert "in metres: choose at most 2, or `--resolution model`" in caught.value.hint
    scrap = make_scene("scrap.tif", height=5, width=40, transform=scale(0.5))
    assert check_scene(scrap, card_of(), resolution=0.5).grid.shape == (5, 40)
    assert check_scene(scrap, card_of(resolution=1.0), resolution="model").grid.shape == (3, 20)
    for size in (float("inf"), float("nan"), 0.0):
        with pytest.raises(ValidationError, match="resolution"):
            PredictSettings(resolution=size)


def test_polygons_are_checked_before_the_mask_is_made(make_scene, tmp_path):
    from rasterio.control import GroundControlPoint

    scene = make_scene()
    check_polygons(scene, tmp_path / "a.gpkg", overwrite=False)
    with pytest.raises(OutputError, match="extension") as caught:
        check_polygons(scene, tmp_path / "a.dwg", overwrite=False)
    assert ".gpkg" in caught.value.hint
    (tmp_path / "a.gpkg").touch()
    with pytest.raises(OutputError, match="exists"):
        check_polygons(scene, tmp_path / "a.gpkg", overwrite=False)
    points = [GroundControlPoint(r, c, c, r) for r, c in [(0, 0), (0, 96), (64, 0)]]
    placed = make_scene("gcp.tif", gcps=points, crs="EPSG:4326")
    with pytest.raises(GridMismatch, match="control points") as caught:
        check_polygons(placed, tmp_path / "b.gpkg", overwrite=False)
    assert "gdalwarp" in caught.value.hint


def test_the_newest_run_is_meant_unless_one_is_named(tmp_path):
    import os

    runs = tmp_path / "runs"
    with pytest.raises(BundleError, match="no trained model") as caught:
        find_bundle(None, runs)
    assert "geosemi train" in caught.value.hint
    for age, name in [(300, "a"), (100, "b"), (200, "deep/c")]:
        (runs / name).mkdir(parents=True)
        file = runs / name / "bundle.safetensors"
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    (runs / "unfinished").mkdir()
    assert find_bundle(None, runs) == runs / "b" / "bundle.safetensors"
    assert find_bundle(runs / "a", runs) == runs / "a" / "bundle.safetensors"
    assert find_bundle(runs / "x.safetensors", runs) == runs / "x.safetensors"
    with pytest.raises(BundleError, match=r"holds no `bundle.safetensors`"):
        find_bundle(runs / "unfinished", runs)
