"""The main job, as the README tells it: its commands are run as they stand, only shorter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import commands_in_markdown

from geosemi.cli.train import EPILOG
from geosemi.geo.raster import open_raster
from geosemi.geo.style import legend_of
from geosemi.legend import Legend

ROOT = Path(__file__).parents[1]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "geosemi", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_examples_of_training_run_on_the_sample_data(tmp_path: Path):
    for name in ("sample_data", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    told = [words for words in commands_in_markdown(EPILOG) if any("sample" in part for part in words)]
    assert len(told) == 2
    for words in told:
        done = run(tmp_path, *words[1:], "--steps", "3")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_readme_leads_from_scenes_to_a_scored_map(tmp_path: Path):
    for name in ("sample_data", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    told = [words for words in commands_in_markdown((ROOT / "README.md").read_text()) if words[0] == "geosemi"]
    story = [w for w in told if w[1] in ("train", "predict", "evaluate") and any("sample" in part for part in w)]
    assert [w[1] for w in story] == ["train", "predict", "evaluate"]
    for words in story:
        short = ("--steps", "20") if words[1] == "train" else ()
        done = run(tmp_path, *words[1:], *short)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr

    scene, mask = tmp_path / "sample_data" / "test" / "autumn_town.tif", tmp_path / "mask.tif"
    legend = Legend.load(ROOT / "sample_data" / "legend.yaml")
    with open_raster(scene) as a, open_raster(mask) as b:
        assert a.grid == b.grid
        classes = b.read(b.grid.window, 1)
        empty = (a.read(a.grid.window, (1, 2, 3)) == 0).all(axis=0)
    assert set(np.unique(classes[~empty])) <= set(range(len(legend)))
    assert (classes[empty] == legend.ignore).all()
    assert legend_of(mask).names == legend.names
    for name in ("mask.qml", "mask.tif.aux.xml", "classes.gpkg", "confusion.png"):
        assert (tmp_path / name).stat().st_size > 0

    again = run(tmp_path, "vectorize", "mask.tif", "--out", "again.gpkg")
    assert again.returncode == 0, again.stderr
    labels = "sample_data/test/labels/autumn_town.tif"
    scored = run(tmp_path, "evaluate", "mask.tif", labels, "--json", "-")
    figures = json.loads(scored.stdout)
    truth = sum(c["truth"] for c in figures["classes"].values())
    assert truth == int((~empty).sum())
    assert 0 <= figures["miou"] <= 1
