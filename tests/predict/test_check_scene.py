"""Preflight: all faults in one message, each with its way out, before any work."""

import numpy as np
import pytest
from affine import Affine
from fakes import TinySegmenter, bundle_of

from geosemi.errors import BandMismatch, BundleError, GridMismatch, InputError, OutputError
from geosemi.predict.check import check_polygons, check_scene
from geosemi.predict.runs import find_bundle


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
    with pytest.raises(BandMismatch, match=r"not \[7\]"):
        check_scene(scene, card_of(), bands=(1, 2, 7))


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
    assert "their numbers, in that order" in caught.value.hint


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
        assert "gdalwarp -tr 1 1" in caught.value.hint
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
    assert all(part in caught.value.hint for part in ("--bands", "rescale", "gdalwarp"))


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
