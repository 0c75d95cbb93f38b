"""The main job, as the README tells it: its commands are run as they stand, only shorter."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import replicas
from commands import commands_in_markdown, group, names, parse

from geosemi.geo.raster import open_raster
from geosemi.geo.style import legend_of
from geosemi.legend import Legend

ROOT = Path(__file__).parents[1]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "geosemi", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


ORDER = (
    "prepare",
    "methods",
    "annotate",
    "train",
    "predict",
    "quantize",
    "vectorize",
    "evaluate",
    "report",
    "benchmark",
)
# what a command writes; whatever else looks like a file is read
WRITTEN = {
    "prepare": {"--out"},
    "methods": set(),
    "annotate": {"--out"},
    "train": {"--out"},
    "predict": {"--out", "--polygons", "--confidence", "--uncertainty", "--probabilities", "--stac"},
    "quantize": set(),
    "vectorize": {"--out"},
    "evaluate": {"--json", "--png"},
    "report": {"--out"},
    "benchmark": {"--out"},
}


def examples() -> list[list[str]]:
    """Words of every example that help shows, in the order in which somebody would try them."""
    assert set(ORDER) == set(names()), "a new command has its place in the story"
    return [words for name in ORDER for words in commands_in_markdown(group().commands[name].epilog)]


def files_of(words: list[str]) -> tuple[list[str], list[str]]:
    """Return what a command line reads and what it writes."""
    read, written = [], []
    outputs = {"--tile-grid"} if "--plan" in words else WRITTEN[words[1]]
    for before, word in pairwise(words[1:]):
        if before in outputs:
            written.append(word)
        elif "/" in word or re.search(r"\.(tif|gpkg|yaml)$", word):
            read.append(word)
    return read, written


def test_examples_of_help_name_files_that_are_there_by_then():
    made: set[str] = set()
    for words in examples():
        parse(words)
        read, written = files_of(words)
        assert [f for f in read if not ((ROOT / f).exists() or f in made or f.startswith("~/Downloads/"))] == [], words
        assert not made & set(written), f"{words}: another example wrote it, and this one is refused"
        made |= set(written)
    assert {"runs/first", "mask.tif", "classes.gpkg", "confusion.png"} <= made


@pytest.mark.slow
def test_all_examples_of_help_run_one_after_another(tmp_path: Path):
    """In a clone, with small replicas of the original downloads where the examples of `prepare` look for them."""
    for name in ("sample_data", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    tiles = [f"top_potsdam_{row}_{col}" for row in (2, 3) for col in (10, 11, 12, 13)]
    replicas.potsdam(tmp_path / "Downloads" / "Potsdam", tiles, size=768)
    replicas.loveda(tmp_path / "Downloads" / "LoveDA")
    for words in examples():
        if words[1] == "quantize" and not (find_spec("nncf") and find_spec("openvino")):
            continue  # an extra; tests/predict/test_quantize.py says so when it skips
        # a network of 3 steps may lose all in int8
        short = {
            "train": ("--steps", "3"),
            "quantize": ("--max-cost", "100"),
            "benchmark": ("--set", "train.steps=3"),
        }.get(words[1], ())
        done = run(tmp_path, *(w.replace("~", str(tmp_path)) for w in words[1:]), *short)
        assert done.returncode == 0, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert [f for f in files_of(words)[1] if not (tmp_path / f).exists()] == []


@pytest.mark.slow
def test_the_readme_leads_from_an_older_map_to_a_page(tmp_path: Path):
    for name in ("sample_data", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    told = list(commands_in_markdown((ROOT / "README.md").read_text()))
    start = next(n for n, words in enumerate(told) if words[:2] == ["geosemi", "annotate"])
    story = told[start : start + 3]
    assert [words[1] for words in story] == ["annotate", "train", "report"]
    for words in story:
        done = run(tmp_path, *words[1:], *(("--steps", "20") if words[1] == "train" else ()))
        assert done.returncode == 0, done.stderr
        if words[1] == "train":
            assert "opinions on 10 of 10 scenes" in done.stderr
            assert "sample_data/opinions" not in done.stderr
    assert len(list((tmp_path / "opinions").glob("*.tif"))) == 10
    assert "old_map.gpkg" in (tmp_path / "runs" / "second" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readme_leads_from_scenes_to_a_scored_map(tmp_path: Path):
    for name in ("sample_data", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    told = [words for words in commands_in_markdown((ROOT / "README.md").read_text()) if words[0] == "geosemi"]
    story = [w for w in told if w[1] in ("train", "predict", "evaluate") and any("sample" in part for part in w)][:3]
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
