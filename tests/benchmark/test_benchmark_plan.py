"""From a benchmark's YAML to its runs: what wins over what, what a run is known by, what is refused."""

from pathlib import Path

import benches
import pytest
import scenery
import yaml
from typer.testing import CliRunner

from geosemi.benchmark.bench import run_benchmark
from geosemi.benchmark.plan import load_benchmark, plan_runs
from geosemi.benchmark.runs import state_of
from geosemi.cli.main import app
from geosemi.errors import ConfigError, GeosemiError
from geosemi.methods.settings import KINDS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return benches.base_config(tmp_path / "base.yaml", tmp_path / "data")


def planned(config: Path, **more):
    return benches.planned(config.parent / "bench.yaml", config, **more)[1]


def test_every_combination_is_a_run_and_seeds_are_the_outermost(config):
    runs = planned(config, ratios=[5, 50], seeds=[3, 4])
    assert [(r.seed, r.ratio, r.arm) for r in runs] == [
        (seed, ratio, arm) for seed in (3, 4) for ratio in (5, 50) for arm in ("supervised", "fixmatch")
    ]
    assert {r.settings.train.seed for r in runs} == {3, 4}
    assert {r.settings.split.ratio for r in runs} == {5, 50}
    assert len({r.settings.split.seed for r in runs}) == 1, "ground is divided alike for all"


def test_all_means_the_registry(config):
    runs = planned(config, methods="all", leave_out=["cct"], seeds=[0])
    assert [r.settings.method.name for r in runs] == [m for m in KINDS if m != "cct"]


def test_what_wins_over_what(config):
    bench = config.parent / "bench.yaml"
    of = {"config": str(config), "override": {"train.lr": 0.02, "train.power": 0.5}}
    benches.write_bench(
        bench, config, datasets={"land": of}, override={"train.lr": 0.01, "train.weight_decay": 0.1, "train.epochs": 3},
        arms={"fixmatch": {"train.lr": 0.03, "method": {"threshold": 0.8}}},
    )  # fmt: skip
    supervised, fixmatch = plan_runs(load_benchmark(bench))[:2]
    assert (supervised.settings.train.lr, fixmatch.settings.train.lr) == (0.02, 0.03)
    assert (supervised.settings.train.power, supervised.settings.train.weight_decay) == (0.5, 0.1)
    assert (supervised.settings.train.steps, supervised.settings.train.epochs) == (None, 3), "one length, not two"
    assert fixmatch.settings.method.threshold == 0.8
    assert plan_runs(load_benchmark(bench), ["train.lr=0.5"])[1].settings.train.lr == 0.5


def test_numbers_of_another_method_do_not_stay(config):
    content = yaml.safe_load(config.read_text()) | {"method": {"name": "fixmatch", "threshold": 0.7}}
    config.write_text(yaml.safe_dump(content))
    runs = planned(
        config, methods=["fixmatch", "cps"], arms={"low": {"method.threshold": 0.5}}, baseline=None, seeds=[0]
    )
    assert [(r.arm, r.settings.method.name) for r in runs] == [
        ("fixmatch", "fixmatch"),
        ("cps", "cps"),
        ("low", "fixmatch"),
    ]
    assert [r.settings.method.threshold for r in (runs[0], runs[2])] == [0.7, 0.5]


def test_the_protocol_decides_validation_too(config):
    assert {r.settings.train.protocol for r in planned(config, protocol="dwl")} == {"dwl"}


def test_a_run_is_known_by_what_decides_its_result(config):
    before = {(r.arm, r.seed): r.fingerprint for r in planned(config)}
    assert len(set(before.values())) == 4
    more = {
        (r.arm, r.seed): r.fingerprint
        for r in planned(config, seeds=[0, 1, 2], methods=["cps", "supervised", "fixmatch"])
    }
    assert before.items() <= more.items(), "more seeds and methods leave the others as they are"
    changed = {(r.arm, r.seed): r.fingerprint for r in planned(config, arms={"fixmatch": {"train.lr": 0.5}})}
    assert [key for key in before if before[key] != changed[key]] == [("fixmatch", 0), ("fixmatch", 1)]
    elsewhere = {"land": {"config": str(config), "test": {"images": "a", "labels": "b"}}}
    assert not set(before.values()) & {r.fingerprint for r in planned(config, datasets=elsewhere)}
    here = {(r.arm, r.seed): r.fingerprint for r in planned(config, override={"train.save_every": 1, "data.root": "x"})}
    assert here == before


def test_names_are_safe_and_the_state_is_read_from_the_folder(config, tmp_path):
    runs = planned(config, arms={"../a b, τ .95": {"method.name": "fixmatch"}}, seeds=[0])
    name = runs[-1].name
    assert name.startswith("land/.._a_b_τ_.95-50-seed0-")
    assert (tmp_path / "out" / name).resolve().parent == tmp_path / "out" / "land"
    assert state_of(tmp_path / "out" / name, runs[-1]) == "new"
    benches.invent(tmp_path / "out", runs)
    assert state_of(tmp_path / "out" / name, runs[-1]) == "done"
    benches.invent(tmp_path / "out", runs, fingerprint="of other settings")
    assert state_of(tmp_path / "out" / name, runs[-1]) == "new"


@pytest.mark.parametrize(
    ("override", "test", "leaky"),
    [
        ({"split.unit": "patch"}, None, True),
        ({"data.lists": "splits_patch/5"}, None, True),
        ({"data.lists": "splits/5"}, None, False),
        ({}, None, False),
        ({"split.unit": "patch"}, {"images": "a", "labels": "b"}, False),  # scored on other ground
    ],
)
def test_what_is_leaky(config, override, test, leaky):
    of = {"config": str(config), "override": override, "test": test}
    assert {r.leaky for r in planned(config, datasets={"land": of})} == {leaky}


@pytest.mark.parametrize(
    ("more", "told", "way_out"),
    [
        ({"methods": ["fixmatsch"]}, r"unknown method `fixmatsch` \(did you mean `fixmatch`\?\)", "choose one of"),
        ({"baseline": "cps"}, "the baseline `cps` is none of the arms supervised, fixmatch", "baseline: null"),
        ({"override": {"train.lrr": 1}}, "  train.lrr: unknown key; did you mean `lr`", "benchmark.md"),
        ({"protocol": "semearth"}, "unknown protocol `semearth`", "benchmark.md"),
        ({"datasets": {"a": {"config": "none.yaml"}}}, "`none.yaml` does not exist", "check the path"),
        ({"datasets": {"a/b": {"config": "none.yaml"}}}, "datasets.a/b: a name has letters", "benchmark.md"),
        ({"seeds": [1, 1]}, "seeds: .*twice", "benchmark.md"),
        ({"seeds": list(range(17))}, "seeds: ", "benchmark.md"),
        ({"ratios": [0]}, "ratios.0: ", "benchmark.md"),
        ({"methods": []}, "name `methods` or `arms`", "benchmark.md"),
        ({"sedes": [1]}, "sedes: unknown key; did you mean `seeds`", "benchmark.md"),
        ({"datasets": {"a": {"confg": "x"}}}, "a.confg: unknown key; did you mean `config`", "benchmark.md"),
        (
            {"datasets": {"a": {"config": "x", "test": {"image": "x", "labels": "y"}}}},
            "datasets.a.test.image: unknown key; did you mean `images`", "benchmark.md",
        ),
        ({"datasets": 3}, r"datasets: write `datasets: \{…\}` with keys inside, got 3", "benchmark.md"),
        ({"methods": 5}, "1 problem\n  methods: write `all`, or names of methods, got 5", "benchmark.md"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(config, more, told, way_out):
    with pytest.raises(ConfigError, match=told) as caught:
        planned(config, **more)
    assert way_out in caught.value.hint


def test_a_fault_is_told_once_and_not_for_every_run(config):
    """Of all runs it is told without a name, of a data set with its name, of an arm with both."""
    of = {"config": str(config)}
    with pytest.raises(ConfigError) as caught:
        planned(
            config, override={"train.lr": -1}, arms={"fixmatch": {"method.threshold": 2}}, seeds=[0, 1], ratios=[5, 10],
            datasets={"land": of, "town": {**of, "override": {"train.stepz": 1}}},
        )  # fmt: skip
    one, two, three, four = sorted(caught.value.lines[1:])
    assert one.startswith("land, fixmatch: method.threshold: ")
    assert two.startswith("town, fixmatch: method.threshold: ")
    assert three == "town: train.stepz: unknown key; did you mean `steps`?"
    assert four.startswith("train.lr: ")
    with pytest.raises(ConfigError) as caught:
        plan_runs(load_benchmark(benches.write_bench(config.parent / "b.yaml", config)), ["train.lrr=1"])
    assert caught.value.lines[1:] == ("train.lrr: unknown key; did you mean `lr`?",)


def test_dry_run_lists_what_is_left_and_writes_nothing(config, tmp_path):
    scenery.country(tmp_path / "data", side=64)
    bench = benches.write_bench(tmp_path / "bench.yaml", config)
    runs = plan_runs(load_benchmark(bench))
    benches.invent(tmp_path / "out", runs[:1])
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["benchmark", str(bench), "--out", str(tmp_path / "out"), "--dry-run"])
    assert done.exception is None
    assert "state    1 done, 0 begun, 3 new" in done.stdout
    assert [line.split(":")[0].strip() for line in done.stdout.splitlines() if line.startswith("  ")] == [
        run.name for run in runs[1:]
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_data_that_are_not_there_are_told_before_anything_is_trained(config, tmp_path):
    bench = benches.write_bench(tmp_path / "bench.yaml", config)
    with pytest.raises(GeosemiError, match="data") as caught:
        run_benchmark(load_benchmark(bench), tmp_path / "out", onlooker=lambda *_: None)
    assert "`data.root`" in caught.value.hint, "a benchmark has no `--data`"
    assert not (tmp_path / "out").exists()
