"""Faults that were met in other programs while mapping whole scenes; none of them may be ours.

Each test is named after the program and the fault (section "faults reproduced" of the comparison); those about polygons
are in `tests/polygons/test_polygons_peers.py`.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fakes import EdgeSegmenter, TinySegmenter, bundle_of, legend_of
from ground import noise

from geosemi.cli.main import main
from geosemi.errors import BandMismatch, SceneUnreadable
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.check import check_scene
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

RULES = ("blend", "centre")


def always(chosen: int, classes: int = 4) -> TinySegmenter:
    """A network that says one class of every pixel."""
    model = TinySegmenter(classes=classes)
    model.classify.weight.data.zero_()
    model.classify.bias.data = torch.eye(classes)[chosen] * 5
    return model


def mapped(model, scene: Path, **settings) -> np.ndarray:
    predict_scene(bundle_of(model), scene, scene.with_name("mask.tif"), PredictSettings(device="cpu", **settings),
                  overwrite=True)  # fmt: skip
    with rasterio.open(scene.with_name("mask.tif")) as dataset:
        return dataset.read(1)


def whole_forward(model, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model((torch.from_numpy(image.astype("float32"))[None] - 100) / 50)[0].argmax(0).numpy()


@pytest.mark.parametrize("stitch", RULES)
def test_geoai_scene_smaller_than_the_window_is_mapped(make_scene, stitch):
    """geoai 0.40.1: a 300² scene at window 512 and batch 4 came out as class 0 everywhere, without a word."""
    mask = mapped(always(3), make_scene(height=300, width=300), tile=512, overlap=256, batch=4, stitch=stitch)
    assert (mask == 3).all()


@pytest.mark.parametrize("stitch", RULES)
@pytest.mark.parametrize("shape", [(300, 300), (97, 211), (1, 300), (300, 1)])
def test_geoai_outermost_ring_has_an_answer(make_scene, stitch, shape):
    """geoai with cosine or linear blending, tiler with Hann windows: the rim has weight 0, and becomes class 0."""
    scene = make_scene(height=shape[0], width=shape[1])
    assert (mapped(always(2), scene, tile=64, overlap=32, stitch=stitch) == 2).all()


@pytest.mark.parametrize("stitch", RULES)
def test_geo_inference_zero_is_a_colour_where_no_nodata_is_declared(make_scene, stitch):
    """geo-inference 3.2.4: without a nodata tag one zero band hides the pixel."""
    image = noise(100, 100) | 1
    image[0, 20:30, 20:30] = 0
    image[:, 50:60, 50:60] = 0
    model = TinySegmenter()
    mask = mapped(model, make_scene(image=image), tile=64, stitch=stitch)
    np.testing.assert_array_equal(mask, whole_forward(model, image))


@pytest.mark.parametrize("stitch", RULES)
@pytest.mark.parametrize(("side", "tile"), [(100, 128), (300, 512)])
def test_geo_inference_no_row_is_lost_at_the_edge(make_scene, side, tile, stitch):
    """geo-inference 3.2.4: a scene smaller than the patch loses its last row to class 0."""
    assert (mapped(always(1), make_scene(height=side, width=side), tile=tile, stitch=stitch) == 1).all()


def test_torchgeo_and_geo_inference_rims_equal_the_whole_scene_forward(make_scene):
    """torchgeo, geo-inference, samgeo: 237 … 1,379 rim pixels of a scene differ from one pass over all of it."""
    image = np.random.default_rng(1).integers(60, 200, (3, 131, 157), "uint8")
    model = EdgeSegmenter()
    margin = 2 * EdgeSegmenter.reach
    mask = mapped(model, make_scene(image=image), tile=48, overlap=2 * margin, stitch="centre")
    np.testing.assert_array_equal(mask, whole_forward(model, image))


@pytest.mark.parametrize("value", [-9999.0, -3.4028234663852886e38, float("nan")])
def test_geoai_samgeo_nodata_of_a_float_scene_stays_nodata(make_scene, value):
    """geoai dies at the write after the whole run, samgeo at the open; OmniCloudMask gives nodata pixels a class."""
    image = noise(70, 90, 3, "float32")
    image[:, 10:40, 20:60] = value
    scene = make_scene(image=image, nodata=value)
    mask = mapped(TinySegmenter(), scene, tile=32)
    hidden = np.zeros((70, 90), bool)
    hidden[10:40, 20:60] = True
    np.testing.assert_array_equal(mask == 255, hidden)
    with rasterio.open(scene.with_name("mask.tif")) as dataset:
        assert (dataset.nodata, dataset.dtypes) == (255, ("uint8",))


def test_geo_inference_ftw_no_crs_is_told_and_the_mask_is_made(make_scene):
    """geoai and OmniCloudMask say nothing; geo-inference fails after the run, FTW with an AttributeError."""
    scene = make_scene(crs=None, transform=None)
    facts = predict_scene(bundle_of(always(1)), scene, scene.with_name("mask.tif"), PredictSettings(device="cpu"))
    assert facts.warnings == ("the scene has no coordinate system, so the mask has none either",)
    with rasterio.open(scene.with_name("mask.tif")) as dataset:
        assert dataset.crs is None
        assert (dataset.read(1) == 1).all()


@pytest.mark.parametrize("count", [1, 5])
def test_geoai_other_bands_are_refused_not_padded_or_cut(make_scene, count):
    """geoai fills a 1-band scene with zeros for a 3-band model, and cuts 5 bands, without a word."""
    scene = make_scene(image=noise(40, 40, count), photometric="minisblack")
    with pytest.raises(BandMismatch, match=rf"it has {count} bands? .* the model takes 3") as caught:
        mapped(TinySegmenter(), scene)
    assert ("gdalbuildvrt -separate" if count < 3 else "--bands") in caught.value.hint
    assert not scene.with_name("mask.tif").exists()


def test_torchgeo_a_scene_smaller_than_the_patch_is_not_skipped(make_scene):
    """torchgeo's GridGeoSampler: no patches and no error."""
    assert (mapped(always(3), make_scene(height=5, width=7), tile=64) == 3).all()


def test_torchgeo_a_rotated_scene_is_not_resampled(make_scene):
    """torchgeo reads a rotated raster over its bounding box, resampled."""
    turned = Affine.translation(450_000, 40_000) * Affine.rotation(30) * Affine.scale(0.5, -0.5)
    image, model = noise(60, 80), TinySegmenter()
    scene = make_scene(image=image, transform=turned)
    np.testing.assert_array_equal(mapped(model, scene, tile=32), whole_forward(model, image))
    with rasterio.open(scene) as one, rasterio.open(scene.with_name("mask.tif")) as other:
        assert (one.transform, one.crs, one.shape) == (other.transform, other.crs, other.shape)


def test_ftw_nodata_of_the_mask_is_no_class(make_scene):
    """FTW declares nodata = 0, which is its background class."""
    bundle = bundle_of(always(0))
    scene = make_scene()
    facts = predict_scene(bundle, scene, scene.with_name("mask.tif"), PredictSettings(device="cpu"))
    assert facts.pixels[0] == 64 * 96
    with rasterio.open(scene.with_name("mask.tif")) as dataset:
        assert dataset.nodata not in {c.id for c in bundle.card.legend.classes}
        assert (dataset.dataset_mask() == 255).all()


@pytest.mark.parametrize("stitch", RULES)
def test_xbatcher_partial_last_patches_are_mapped(make_scene, stitch):
    """xbatcher leaves out 13.9 % of a 2000² scene at 512/64."""
    scene = make_scene(height=500, width=500)
    assert (mapped(always(2), scene, tile=128, overlap=16, stitch=stitch) == 2).all()


def test_samgeo_a_failing_tile_is_an_error_and_not_a_hole(make_scene):
    """samgeo's `generate_masks_tiled` prints a tile that fails, and goes on without it."""
    scene = make_scene(image=noise(128, 128), compress="lzw", tiled=True, blockxsize=32, blockysize=32)
    with rasterio.open(scene) as dataset:
        begin, size = (int(dataset.get_tag_item(f"BLOCK_{w}_2_1", "TIFF", bidx=1)) for w in ("OFFSET", "SIZE"))
    content = bytearray(scene.read_bytes())
    content[begin : begin + size] = bytes(size)
    scene.write_bytes(content)
    with pytest.raises(SceneUnreadable, match="cannot be decoded at rows") as caught:
        mapped(TinySegmenter(), scene, tile=32)
    assert "copy the file again" in caught.value.hint
    assert not scene.with_name("mask.tif").exists()


def test_geo_inference_tags_and_names_are_about_the_mask(make_scene):
    """geo-inference writes its own profile as tags, `getitem-e9b6…` as the band's name, and no compression."""
    scene = make_scene(height=300, width=300)
    mapped(always(1), scene)
    with rasterio.open(scene.with_name("mask.tif")) as dataset:
        ours = {"GEOSEMI_", "MODEL_", "SCENE", "AREA_OR_POINT", "TIFFTAG_", "OVR_"}
        assert all(any(tag.startswith(begin) for begin in ours) for tag in dataset.tags()), dataset.tags()
        assert dataset.descriptions[0] is None or "getitem" not in dataset.descriptions[0]
        assert dataset.compression is not None
        assert dataset.block_shapes[0][1] < 300 or dataset.profile["tiled"]
    assert scene.with_name("mask.tif").stat().st_size < 300 * 300 / 10


def test_terratorch_wrong_channels_are_never_taken_silently(make_scene):
    """terratorch #81: bands in another order than the model's are taken as they come; here names decide, or a word."""
    names = ("blue", "green", "red")
    scene = make_scene(descriptions=names)
    card = bundle_of(TinySegmenter(), names=("red", "green", "blue")).card
    assert check_scene(scene, card).scene.indexes == (3, 2, 1)
    other = make_scene("other.tif", descriptions=("nir", "red", "green"))
    assert "are taken for the model's (red, green, blue)" in check_scene(other, card).warnings[0]


def test_flair_hub_a_failure_is_a_failure_for_the_shell(make_scene, tmp_path, monkeypatch, capsys):
    """FLAIR-HUB's `flairhub_zonal` prints every exception, and ends with exit status 0."""
    spec = ModelSpec()
    card = Card(spec, legend_of(4), ("red", "green", "blue"), (127.0,) * 3, (70.0,) * 3, 64, None, "0")
    Bundle(build_segmenter(spec, bands=3, classes=4, seed=0).eval(), card).save(tmp_path / "m.safetensors")
    scene = make_scene(image=noise(40, 40, 5), photometric="minisblack")
    words = ["predict", str(scene), "--model", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "mask.tif")]
    monkeypatch.setattr(sys, "argv", ["geosemi", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    told = capsys.readouterr().err
    assert "it has 5 bands" in told
    assert "--bands" in told
    assert "Traceback" not in told
    assert not (tmp_path / "mask.tif").exists()
