"""The notebooks in docs/ run, cell by cell, and show what they gave when they were run last."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyogrio
import pytest

from geosemi.geo.style import legend_of
from geosemi.legend import Legend
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


def cells_of(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder like the repository's, with a model in it that nobody trained."""
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    legend = Legend.load(ROOT / "sample_data" / "legend.yaml")
    model = build_segmenter(ModelSpec(), bands=3, classes=len(legend), seed=0).eval()
    card = Card(ModelSpec(), legend, ("red", "green", "blue"), (110.0,) * 3, (50.0,) * 3, 256, 0.25, "0", {})
    (tmp_path / "runs" / "first").mkdir(parents=True)
    Bundle(model, card).save(tmp_path / "runs" / "first" / "bundle.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS] == ["predict.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_notebook_runs(path, clone, monkeypatch, capsys):
    plt.switch_backend("agg")
    drawn = []
    monkeypatch.setattr(plt, "show", lambda: drawn.append(plt.gcf()))
    scope: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells_of(path), start=1):
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), scope)
    plt.close("all")
    assert len(drawn) == 3
    assert "polygons; sure.tif, town.gpkg, town.json" in capsys.readouterr().out
    assert legend_of(clone / "maps" / "town.tif").names == scope["legend"].names
    written = pyogrio.read_info(clone / "maps" / "town.gpkg", layer="segments")
    assert written["features"] == scope["count"] > 0
    assert written["crs"] == "EPSG:32633"
    assert float(scope["sure"].max()) <= 1
    assert set(np.unique(scope["mapped"]["class"])) <= {*range(6), 255}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_shows_its_outputs_and_nothing_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not re.search(r"/(home|root|tmp|Users|work|mnt|data)/|[A-Z]:\\\\", text)
    cells = cells_of(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    kinds = {kind for cell in cells for output in cell["outputs"] for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])


@pytest.mark.skipif(not find_spec("nbformat"), reason="nbformat is not installed")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_jupyter_finds_a_notebook_valid(path):
    import nbformat

    nbformat.validate(nbformat.read(path, as_version=4))
