"""A run with frozen teachers: what it leaves in its folder, and that the folder maps a scene."""

from pathlib import Path

import pytest
import rasterio
import scenery
from safetensors import safe_open
from tiny_teachers import TINY

import geosemi
from geosemi.models.bundle import Bundle
from geosemi.models.fused import FusedSegmenter
from geosemi.models.light import LightSegmenter
from geosemi.train.run import train
from geosemi.train.verdict import read_columns

METHOD = {"name": "rs_mtdf", "distill": TINY}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96)


def names(folder: Path) -> set[str]:
    with safe_open(folder, "numpy") as file:
        return set(file.keys())


@pytest.mark.parametrize("fuse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_teachers_leave_nothing_but_what_they_taught(root, tmp_path, fuse):
    method = METHOD | {"distill": TINY | {"fuse": fuse}}
    settings = scenery.run_settings(root, method, train={"steps": 2, "validate_every": 1})
    bundle = Bundle.load(train(settings, tmp_path / "run"))
    assert type(bundle.model) is (FusedSegmenter if fuse else LightSegmenter)
    assert (bundle.card.spec.fusion is not None) == fuse
    assert names(tmp_path / "run" / "bundle.safetensors") == set(bundle.model.state_dict())
    kept = [name for file in (tmp_path / "run" / "checkpoints").rglob("*.safetensors") for name in names(file)]
    assert any("translators" in name for name in kept)
    assert not [name for name in kept if "distiller" in name or "vit." in name or "blocks." in name]
    assert all(value > 0 for value in read_columns(tmp_path / "run" / "metrics.csv")["distill"])
    geosemi.predict(root / "images" / "a.tif", tmp_path / "run" / "bundle.safetensors", out=tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(root / "images" / "a.tif") as scene:
        assert mask.shape == scene.shape
        assert (mask.read(1) < len(scenery.NAMES)).any()
