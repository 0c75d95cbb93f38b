"""Scenes mapped at the model's pixel size: the mask lies on the scene's own grid, and its nodata is the scene's own."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import TinySegmenter, bundle_of
from ground import noise

from geosemi.geo.resample import NearestRows, ResampledReader
from geosemi.geo.scene import Scene, reading
from geosemi.predict.check import check_scene
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def expected(bundle, scene: Path) -> np.ndarray:
    """The whole scene at once: resampled, one pass, nearest pixels back, nodata where the scene has none."""
    import torch

    checked = check_scene(scene, bundle.card, resolution="model")
    native, wanted = checked.scene.grid, checked.grid
    with reading(checked.scene) as reader:
        tile = ResampledReader(reader, native, wanted).read(wanted.window)
        valid = reader.read(native.window).valid
    with torch.inference_mode():
        raw = torch.from_numpy(np.where(tile.valid, tile.image, 0).astype("float32"))[None]
        classes = bundle.model((raw - 100) / 50)[0].argmax(0).numpy().astype(np.uint8)
    classes[~tile.valid] = 255
    rows = [part for _, part in NearestRows(wanted, native).push(classes)]
    return np.where(valid, np.concatenate(rows), 255)


@pytest.mark.parametrize("metres", [0.2, 0.5, 1.3, 2.0])
@pytest.mark.parametrize("stitch", ["blend", "centre"])
def test_nodata_of_the_scene_is_nodata_of_the_mask_at_every_pixel_size(make_scene, tmp_path, metres, stitch):
    """Thin lines of nodata vanish in larger pixels; in the mask they are there."""
    image = noise(113, 157) | 1
    image[:, ::7] = 0
    image[:, :, 50:52] = 0
    scene = make_scene(image=image, nodata=0)
    bundle = bundle_of(TinySegmenter(), resolution=metres)
    settings = PredictSettings(device="cpu", resolution="model", tile=32, stitch=stitch)
    extras = {"confidence": tmp_path / "sure.tif", "probabilities_float16": tmp_path / "all.tif"}
    predict_scene(bundle, scene, tmp_path / "mask.tif", settings, extras=extras)
    mask, hidden = pixels(tmp_path / "mask.tif"), (image == 0).all(axis=0)
    assert (mask[hidden] == 255).all()
    assert (pixels(tmp_path / "sure.tif")[hidden] == 255).all()
    with rasterio.open(tmp_path / "all.tif") as dataset:
        shown = dataset.read_masks(1) > 0
    assert not shown[hidden].any()
    np.testing.assert_array_equal(mask, expected(bundle, scene))


def test_the_mask_lies_on_the_scenes_own_grid(make_scene, tmp_path):
    turned = Affine.translation(450_000, 40_000) * Affine.rotation(25) * Affine.scale(0.5, -0.7)
    scene = make_scene(image=noise(90, 70), transform=turned)
    bundle = bundle_of(TinySegmenter(), resolution=1.1)
    predict_scene(bundle, scene, tmp_path / "mask.tif", PredictSettings(device="cpu", resolution="model"))
    with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(scene) as one:
        assert (mask.crs, mask.transform, mask.shape) == (one.crs, one.transform, one.shape)
    np.testing.assert_array_equal(pixels(tmp_path / "mask.tif"), expected(bundle, scene))
    assert Scene.open(scene).may_have_nodata is False
