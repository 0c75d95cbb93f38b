"""What the tests of the command share."""

import sys

import pytest
from fakes import legend_of

from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with one finished run."""
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    model = build_segmenter(ModelSpec(), bands=3, classes=4, seed=0).eval()
    bands = ("band_1", "band_2", "band_3")
    card = Card(ModelSpec(), legend_of(4), bands, (127.0,) * 3, (70.0,) * 3, 64, 0.5, "0", {"dtype": "uint8"})
    Bundle(model, card).save(run / "bundle.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["geosemi", "predict", f"{tmp_path}/scene.tif", f"--out={tmp_path}/mask.tif"])
    return tmp_path
