"""Every method has a config for each data set, a page and its rows; every config is read, built and tried."""

import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import replicas
from commands import shell_lines

from geosemi.benchmark.plan import load_benchmark, plan_runs
from geosemi.config import load_settings
from geosemi.data.prepare import prepare
from geosemi.methods.settings import KINDS
from geosemi.train.dry import try_run

ROOT = Path(__file__).parents[1]
METHODS = tuple(KINDS)  # those of the repository: tests may register others later
DATASETS = ("potsdam", "loveda", "deepglobe")
CONFIGS = sorted(p for folder in (*DATASETS, "sample", "dubai") for p in (ROOT / "configs" / folder).glob("*.yaml"))
BENCHMARKS = sorted(p for folder in ("benchmark", "ablation") for p in (ROOT / "configs" / folder).glob("*.yaml"))
RATIOS = (1, 5, 10)


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_configs_a_page_and_its_rows(method: str):
    for dataset in DATASETS:
        config = ROOT / "configs" / dataset / f"{method}.yaml"
        assert config.is_file()
        assert load_settings(config, {}, [], has_gpu=False).method.name == method
    assert (ROOT / "docs" / "methods" / f"{method}.md").is_file()
    row = re.compile(rf"^\| \[?`{method}`", re.MULTILINE)
    for page in ("README.md", "docs/methods.md"):
        assert row.search((ROOT / page).read_text(encoding="utf-8")), page


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_config_is_of_a_method_that_is_gone(dataset: str):
    assert {p.stem for p in (ROOT / "configs" / dataset).glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize("config", CONFIGS, ids=page_id)
def test_a_config_is_read_and_its_commands_mean_it(config: Path):
    """The header has the command for every ratio; the one of the file's own ratio says what the file says."""
    settings = load_settings(config, {}, [], has_gpu=False)
    lines = [line.removeprefix("# ") for line in config.read_text().splitlines() if line.startswith("# geosemi train")]
    if config.parent.name not in DATASETS:
        assert lines
        return
    assert settings.data.dataset == config.parent.name
    assert settings.split.unit == "scene"
    told = {}
    for (words,) in map(list, map(shell_lines, lines)):
        options = dict(zip(words[2::2], words[3::2], strict=True))
        sets = [b for a, b in pairwise(words) if a == "--set"]
        steps = {"train.steps": int(options["--steps"])} if "--steps" in options else {}
        ratio = float(options["--ratio"])
        told[ratio] = load_settings(config, {"split.ratio": ratio, **steps}, sets, has_gpu=False)
    assert tuple(told) == RATIOS
    own = told[settings.split.ratio]
    assert own.train.model_copy(update={"devices": 1}) == settings.train
    assert own.method == settings.method


@pytest.mark.parametrize("file", BENCHMARKS, ids=page_id)
def test_a_benchmark_is_read(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    settings = load_benchmark(file)
    runs = plan_runs(settings)
    assert len({run.name for run in runs}) == len(runs)
    if settings.methods == "all":
        assert {run.settings.method.name for run in runs} | set(settings.leave_out) == set(METHODS)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small copies of the downloads, prepared like them."""
    root = tmp_path_factory.mktemp("prepared")
    tiles = [f"top_potsdam_{row}_{col}" for row in (2, 3) for col in (10, 11, 12, 13)]
    make = {
        "potsdam": partial(replicas.potsdam, names=tiles, size=256),
        "loveda": partial(replicas.loveda, size=256),
        "deepglobe": partial(replicas.deepglobe, ids=["119", "200", "201", "202", "203", "204", "205"], size=256),
    }
    for name, copy in make.items():
        copy(root / "source" / name)
        prepare(name, root / "source" / name, root / name)
    return root


TINY = [
    "chips.size=64", "chips.labelled=2", "chips.unlabelled=2", "chips.workers=0", "split.block=64", "split.ratio=50",
    "augment.size=64", "train.devices=1", "train.device=cpu", "model.weights=null",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("config", [c for c in CONFIGS if c.parent.name in DATASETS], ids=page_id)
def test_a_config_builds_everything_and_runs_a_step(config: Path, prepared: Path, tmp_path: Path):
    """On a small copy of its data, with random weights and small crops; teachers are tiny."""
    teachers = ["method.distill.teachers=[dinov2_tiny, clip_tiny]"] if config.stem == "rs_mtdf" else []
    root = {"data.root": str(prepared / config.parent.name)}
    settings = load_settings(config, root, [*TINY, *teachers], has_gpu=False)
    trial = try_run(settings, tmp_path / "run")
    assert trial.lines[0].startswith(f"{config.stem} with {settings.model.name}")
    assert trial.trainable >= 10**6
    assert list(tmp_path.iterdir()) == []
