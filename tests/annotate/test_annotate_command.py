"""`geosemi annotate` on the terminal, and training that reads what it wrote."""

import csv
import inspect
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely
from commands import parse

from geosemi.cli import main as cli
from geosemi.cli.annotate import BELONGING, annotate
from geosemi.geo.opinion import reading_opinion
from geosemi.geo.raster import open_raster
from geosemi.legend import Legend


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["geosemi", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def sample(tmp_path: Path, root: Path) -> Path:
    """A copy of the sample scenes without opinions."""
    folder = tmp_path / "sample"
    shutil.copytree(root / "sample_data", folder, ignore=shutil.ignore_patterns("opinions", "painting", "test"))
    return folder


@pytest.fixture
def small(tmp_path: Path, root: Path) -> Path:
    """A data set of four scenes of 160² pixels with labels, cut from the sample, and one without."""
    data = root / "sample_data"
    folder = tmp_path / "small"
    for path in [*(data / "scenes").glob("*.tif"), *(data / "unlabelled").glob("autumn_*.tif")]:
        label = data / "labels" / path.name
        for source, part in ((path, path.parent.name), (label, "labels")):
            if source.exists():
                (folder / part).mkdir(parents=True, exist_ok=True)
                _cut(source, folder / part / path.name)
    shutil.copy(data / "legend.yaml", folder)
    (folder / "scenes" / "spring_suburb.tif").unlink()  # its labels are polygons of the whole scene
    return folder


def _cut(source: Path, target: Path) -> None:
    with rasterio.open(source) as d:
        window = rasterio.windows.Window(200, 200, 160, 160)
        profile = {**d.profile, "width": 160, "height": 160, "transform": d.window_transform(window)}
        with rasterio.open(target, "w", **{k: v for k, v in profile.items() if not k.startswith("block")}) as out:
            out.write(d.read(window=window))


TRAIN = ("--set", "train.steps=2", "--set", "train.validate_every=2", "--set", "chips.size=64", "--set",
         "augment.size=48", "--set", "method.warm_up=0", "--set", "split.ratio=50", "--device", "cpu")  # fmt: skip


def test_annotate_then_train(small: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Opinions lie where training looks for them, are found by name, and purify; scenes without a map stay silent."""
    words = ("--legend", small / "legend.yaml", "--out", small / "opinions", "--provider")
    code = call(monkeypatch, "annotate", small / "scenes", *words, "labels", "--labels", small / "labels")
    said = capfd.readouterr()
    assert code == 0, said.err
    assert said.out.count("opinion ") == 5
    code = call(
        monkeypatch, "annotate", small / "unlabelled" / "autumn_farm.tif", *words, "layer",
        "--layer", _map_of(small / "unlabelled" / "autumn_farm.tif"),
    )  # fmt: skip
    said = capfd.readouterr()
    assert code == 0, said.err
    run, config = small.parent / "run", root / "configs" / "sample" / "semiearth.yaml"
    code = call(monkeypatch, "train", "--config", config, "--out", run, "--set", f"data.root={small}", *TRAIN)
    said = capfd.readouterr()
    assert code == 0, said.err
    assert "no opinion layers" not in said.err + said.out
    assert "belong to no scene" not in said.err + said.out
    with (run / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    shares = [float(last[f"purify/{name}"]) for name in ("agreeing", "conflicting", "ambiguous")]
    assert sum(shares) > 0, "opinions are read, not only found"


def _map_of(scene: Path) -> Path:
    """An older map: one polygon of grass over half of the scene."""
    with rasterio.open(scene) as d:
        west, south, east, north = d.bounds
        frame = gpd.GeoDataFrame(
            {"class": ["meadow"]}, geometry=[shapely.box(west, south, (west + east) / 2, north)], crs=d.crs
        )
    path = scene.parent.parent / "older.gpkg"
    frame.to_file(path)
    return path


def test_without_opinions_training_names_the_command_that_makes_them(root: Path):
    text = (root / "geosemi" / "train" / "prepared.py").read_text()
    told = re.search(r"`(geosemi annotate [^`]+)`", text)
    assert told
    parse(shlex.split(told[1]))
    assert "not in this version" not in text


def test_a_finished_opinion_is_kept_and_one_that_fails_stops_nobody(
    sample: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    (sample / "labels" / "dry_market.tif").unlink()
    words = ["annotate", sample / "scenes", "--legend", sample / "legend.yaml", "--out", sample / "opinions"]
    words += ["--provider", "labels", "--labels", sample / "labels"]
    assert call(monkeypatch, *words) == 3
    first = capfd.readouterr()
    assert "1 of 6 scenes have no opinion" in first.err
    assert len(list((sample / "opinions").glob("*.tif"))) == 5
    assert call(monkeypatch, *words) == 3
    again = capfd.readouterr()
    assert again.err.count("kept ") == 5
    assert again.out == ""


def test_simulated_opinions_say_so_everywhere(sample: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    out = sample / "opinions"
    scene = sample / "scenes" / "dry_farm.tif"
    words = ["--legend", sample / "legend.yaml", "--out", out, "--provider", "labels", "--labels", sample / "labels"]
    assert call(monkeypatch, "annotate", scene, *words, "--recall", "car=0.2", "--seed", 3) == 0
    assert "simulated" in capfd.readouterr().err
    with open_raster(out / "dry_farm.tif") as file:
        assert file.tags["GEOSEMI_SOURCE"] == "simulated from labels: precision, recall and shift by class, seed 3"
        grid = file.grid
    record = json.loads((out / "dry_farm.jsonl").read_text())
    assert record["simulated"] is True
    assert record["quality"]["car"]["asked"]["recall"] == 0.2
    legend = Legend.load(sample / "legend.yaml")
    with reading_opinion(out / "dry_farm.tif", grid, legend) as reader:
        assert reader.read(grid.window).any()


def test_every_option_belongs_to_somebody_or_to_all():
    named = [name for names in BELONGING.values() for name in names]
    parameters = set(inspect.signature(annotate).parameters)
    assert len(named) == len(set(named))
    assert parameters - set(named) == {"context", "scenes", "legend", "out", "provider", "dry_run", "overwrite"}
    assert set(named) <= parameters


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["--provider", "oracle"], 2, "`--provider oracle` is not known"),
        (["--provider", "layer"], 2, "needs a map"),
        (["--layer", "map.gpkg"], 2, "`--layer` belongs to `--provider layer`, and `qwen` was asked for"),
        (
            ["--provider", "layer", "--layer", "map.gpkg", "--recall", "1"],
            2,
            "`--recall` belongs to `--provider labels`",
        ),
        (["--provider", "labels"], 2, "needs labels"),
        (["--url", "http://localhost:8000/v1"], 2, "`--url` belongs to `--provider openai`, and `qwen` was"),
        (["--max-requests", "5"], 2, "`--max-requests` belongs to `--provider openai`"),
        (["--provider", "openai", "--revision", "abc"], 2, "`--revision` belongs to `--provider qwen`, and `openai`"),
        (["--provider", "openai", "--four-bit"], 2, "`--four-bit` belongs to `--provider qwen`"),
        (
            ["--provider", "layer", "--layer", "a.gpkg", "--tile", "512"],
            2,
            "`--tile` belongs to `--provider qwen` or `o",
        ),
        (["--provider", "layer", "--layer", "a.gpkg", "--seed", "0"], 2, "`--seed` belongs to `--provider labels`"),
        (["--provider", "labels", "--labels", "none"], 3, "`none` does not exist"),
    ],
)
def test_wrong_words(sample: Path, monkeypatch: pytest.MonkeyPatch, capfd, words, code, cause):
    scene = sample / "scenes" / "dry_farm.tif"
    assert (
        call(monkeypatch, "annotate", scene, "--legend", sample / "legend.yaml", "--out", sample / "o", *words) == code
    )
    assert cause in capfd.readouterr().err
