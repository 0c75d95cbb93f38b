"""Runs that are really trained: scored as by hand, killed and gone on with, failed without taking the others along."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import benches
import numpy as np
import pytest
import scenery

from geosemi.benchmark.bench import run_benchmark
from geosemi.benchmark.plan import load_benchmark, plan_runs
from geosemi.benchmark.pool import Clock, alone_in
from geosemi.benchmark.runs import read_results, state_of
from geosemi.benchmark.scoring import score_run
from geosemi.benchmark.worker import work
from geosemi.errors import Interrupted, OutputError
from geosemi.evaluate import evaluate
from geosemi.geo.raster import open_raster
from geosemi.legend import Legend
from geosemi.metrics import Confusion, score
from geosemi.stop import StopFlag
from geosemi.train.run import train

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("land"), side=96)


class Watch:
    """Remembers what it is told of runs."""

    def __init__(self, at_step=lambda number, step: None) -> None:
        self.steps, self.ended, self.at_step = [], [], at_step

    def __call__(self, runs, jobs):
        self.runs = runs
        return self

    def progress(self, number, step, total):
        self.steps.append((number, step))
        self.at_step(number, step)

    def finished(self, number, failure):
        self.ended.append((self.runs[number].arm, failure))


def job_of(run, folder: Path) -> dict:
    test = None if run.test is None else run.test.model_dump()
    told = {"fingerprint": run.fingerprint, "model": "light"}
    return {"folder": str(folder), "settings": run.settings.model_dump(mode="json"), "test": test, "run": told}


def bench(tmp_path: Path, land: Path, *, train=None, **more) -> Path:
    config = benches.base_config(tmp_path / "base.yaml", land, **(train or {}))
    return benches.write_bench(tmp_path / "bench.yaml", config, **more)


@pytest.fixture(scope="module")
def worked(land, tmp_path_factory):
    """One run, trained and scored in this process."""
    folder = tmp_path_factory.mktemp("worked")
    run = plan_runs(load_benchmark(bench(folder, land, train={"validate_every": 4})))[1]
    told = []
    work(job_of(run, folder / run.name), told.append, StopFlag())
    return folder, run, told


class TestOneRun:
    def test_it_is_done_and_says_what_it_did(self, worked):
        folder, run, told = worked
        assert state_of(folder / run.name, run) == "done"
        assert [t["step"] for t in told if "step" in t] == [0, 1, 2, 3, 4]
        (result,) = read_results(folder, [run])
        assert result.ground == "test"
        assert result.facts["scenes"] == ["c"]
        assert result.facts["beside"] == []
        assert 0 < result.seconds < 60
        assert (result.facts["steps"], result.facts["labelled_blocks"]) == (4, 4)

    def test_its_figures_are_those_of_predict_and_evaluate(self, worked, land):
        folder, run, _ = worked
        (result,) = read_results(folder, [run])
        mask = folder / run.name / "maps" / "c.tif"
        with open_raster(mask) as file:
            assert file.grid.shape == (96, 96), "the whole scene is mapped"
        scores = evaluate(mask, land / "labels" / "c.tif", Legend.load(land / "legend.yaml"))
        assert result.figures["miou"] == scores.miou
        assert result.iou == scores.iou

    def test_blocks_kept_for_testing_are_scored_and_nothing_else(self, land, tmp_path):
        """Truth outside of the test windows is another one in a copy of the data: no figure may change."""
        split = {"split.unit": "block", "split.block": 32, "split.test": 0.3}
        of = {
            "config": str(benches.base_config(tmp_path / "base.yaml", land)),
            "override": {**split, "data.test": [], "data.validation": []},
        }
        run = plan_runs(
            load_benchmark(benches.write_bench(tmp_path / "b.yaml", tmp_path / "base.yaml", datasets={"land": of}))
        )[0]
        train(run.settings, tmp_path / "run")
        found = score_run(tmp_path / "run", run.settings, None)
        legend = Legend.load(land / "legend.yaml")
        total = Confusion(len(legend))
        for scene, row, col, height, width in json.loads((tmp_path / "run" / "split.json").read_text())["test"]:
            with (
                open_raster(tmp_path / "run" / "maps" / f"{scene}.tif") as mask,
                open_raster(land / "labels" / f"{scene}.tif") as truth,
            ):
                window = np.s_[row : row + height, col : col + width]
                total.add(mask.read(mask.grid.window, 1)[window], truth.read(truth.grid.window, 1)[window])
        assert found["confusion"] == total.matrix.tolist()
        assert found["beside"], "other blocks of the scenes were trained on"
        assert found["miou"] == score(total, legend).miou
        assert 0 < total.matrix.sum() < 3 * 96 * 96

    def test_without_test_ground_the_last_validation_counts_and_not_the_best(self, land, tmp_path):
        settings = scenery.run_settings(
            land, "supervised", data={"test": []}, split={"test": 0, "unit": "block", "validation": 0.3}
        )
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"validation": ()})})
        train(settings, tmp_path / "run")
        path = tmp_path / "run" / "validation.csv"
        head, first, last = path.read_text().splitlines()[:3]
        better = ",".join([first.split(",")[0], *["0.99"] * (len(first.split(",")) - 1)])
        path.write_text("\n".join([head, better, last]) + "\n")
        found = score_run(tmp_path / "run", settings, None)
        assert (found["ground"], found["step"]) == ("validation, last step", 6)
        assert found["miou"] == float(last.split(",")[1]) < 0.99
        assert found["beside"], "blocks for validation lie in scenes that are trained on"

    def test_scenes_outside_of_the_data(self, worked, land):
        folder, run, _ = worked
        test = benches_ground(land)
        found = score_run(folder / run.name, run.settings, test)
        assert found["scenes"] == ["a", "b", "c"]
        assert found["seen"] == {"labelled": ["a"], "unlabelled": ["a"], "validation": ["b"]}, "they are the run's own"
        assert sum(map(sum, found["confusion"])) == 3 * 96 * 96

    def test_a_wish_to_stop_is_heard_while_scenes_are_mapped(self, worked, tmp_path):
        folder, run, _ = worked
        (folder / run.name / "result.json").rename(tmp_path / "result.json")
        stop = StopFlag()
        stop.signal = signal.SIGTERM
        assert state_of(folder / run.name, run) == "trained"
        try:
            with pytest.raises(Interrupted, match="test scenes"):
                work(job_of(run, folder / run.name), lambda _: None, stop)
        finally:
            (tmp_path / "result.json").rename(folder / run.name / "result.json")

    def test_a_wish_to_stop_is_heard_before_the_first_step(self, land, tmp_path):
        run = plan_runs(load_benchmark(bench(tmp_path, land, seeds=[0])))[0]
        stop, said = StopFlag(), []
        stop.signal = signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped at reading labels"):
            work(job_of(run, tmp_path / "out" / run.name), said.append, stop)
        assert said == []


def benches_ground(land: Path):
    from geosemi.benchmark.settings import Ground

    return Ground(images=str(land / "images"), labels=str(land / "labels"))


def test_two_benchmarks_in_one_folder_are_refused(tmp_path):
    again = alone_in(tmp_path / "out")
    with alone_in(tmp_path / "out"), pytest.raises(OutputError, match="another benchmark runs in") as caught, again:
        pass
    assert "--out" in caught.value.hint
    with alone_in(tmp_path / "out") as held:
        worker = subprocess.Popen(["sleep", "60"], pass_fds=[held])
    try:  # the benchmark is gone, its worker is not
        with pytest.raises(OutputError, match="one that was killed is still saving"), alone_in(tmp_path / "out"):
            pass
    finally:
        worker.kill()
        worker.wait()
    with alone_in(tmp_path / "out"):
        pass


def test_the_clock_knows_slow_arms_from_fast_ones(tmp_path, monkeypatch):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path, steps=100)
    _, runs = benches.planned(tmp_path / "bench.yaml", config)
    clock, now = Clock(runs, jobs=2), iter([0.0, 10.0, 10.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert clock.seconds([0, 1, 2, 3], []) is None
    clock.progress(0, 0, 100)
    clock.progress(0, 10, 100)  # supervised: 1 s a step
    clock.progress(1, 0, 100)
    clock.progress(1, 10, 100)  # fixmatch: 3 s a step
    assert clock.seconds([2, 3], [0, 1]) == (90 * 1 + 90 * 3 + 100 * 1 + 100 * 3) / 2


# --- with processes of their own: each imports torch, so these take long ---


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "geosemi", "benchmark", *words]


def call(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=cwd, env=ENV, capture_output=True, text=True, check=False)


def wait_for(condition, process: subprocess.Popen, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_small_benchmark_on_the_sample_scenes(tmp_path):
    (tmp_path / "sample_data").symlink_to(benches.ROOT / "sample_data")
    of = {
        "config": str(benches.ROOT / "configs" / "sample" / "supervised.yaml"),
        "test": {"images": "sample_data/test/winter_suburb.tif", "labels": "sample_data/test/labels"},
    }
    settings = {"train.steps": 4, "train.validate_every": 4, "train.audit_chips": 0}
    file = benches.write_bench(
        tmp_path / "bench.yaml", Path(of["config"]), datasets={"sample": of}, ratios=[10], override=settings
    )
    done = call(str(file), "--out", "out", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "runs     4 of 4 done" in done.stdout
    assert done.stderr.count("done: sample/") == 4
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "sample, 10 % of the labels" in text
    assert "smallest that it can give is 0.5" in text
    results = sorted((tmp_path / "out").glob("sample/*/result.json"))
    before = [p.stat().st_mtime_ns for p in results]
    again = call(str(file), "--out", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [p.stat().st_mtime_ns for p in results] == before, "what is done is not done again"
    assert "done:" not in again.stderr
    maps = list((tmp_path / "out").glob("sample/*/maps/winter_suburb.tif"))
    assert len(maps) == 4


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_stopped_it_goes_on_to_the_same_result(land, tmp_path, how):
    long = {"steps": 60, "save_every": 5, "validate_every": 30}
    file = bench(tmp_path, land, train=long, seeds=[0])
    run, other = plan_runs(load_benchmark(file))
    process = subprocess.Popen(
        command(str(file), "--out", "out"), cwd=tmp_path, env=ENV, stderr=subprocess.PIPE, text=True
    )
    checkpoints = tmp_path / "out" / run.name / "checkpoints"
    wait_for(lambda: any(checkpoints.glob("step-*")), process)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "0 of 2 runs are done" in stderr
        assert "Traceback" not in stderr
    # its worker ends by itself, with a checkpoint: a killed parent closes its stdin
    log, end = tmp_path / "out" / run.name, time.monotonic() + 30
    while worker_of(log) and time.monotonic() < end:
        time.sleep(0.1)
    assert not worker_of(log)
    assert state_of(log, run) == "begun"
    assert state_of(tmp_path / "out" / other.name, other) == "new", "no other run was begun"
    steps = len((log / "metrics.csv").read_text().splitlines()) - 1
    assert 5 <= steps < 60
    done = call(str(file), "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    train(run.settings, tmp_path / "whole")
    ours, whole = (folder / "bundle.safetensors" for folder in (log, tmp_path / "whole"))
    assert ours.read_bytes() == whole.read_bytes()
    assert {r.run.arm for r in read_results(tmp_path / "out", [run, other])} == {"supervised", "fixmatch"}


def worker_of(folder: Path) -> list[str]:
    """Processes whose stderr is the log of a run."""
    found = []
    for each in Path("/proc").glob("[0-9]*/fd/2"):
        try:
            target = each.readlink()
        except OSError:
            continue
        if str(target) == str((folder / "log.txt").resolve()):
            found.append(each.parts[2])
    return found


@pytest.mark.slow
def test_what_fails_is_told_at_the_end_and_stops_nothing_else(land, tmp_path):
    """One arm diverges, one process is killed; the other run is done, and the next call tries the two again."""
    arms = {
        "wild": {"method.name": "supervised", "train.lr": 1e30, "train.steps": 20, "train.validate_every": 20},
        "killed": {"method.name": "supervised", "train.steps": 40},
    }
    file = bench(tmp_path, land, methods=["supervised"], arms=arms, seeds=[0])
    settings = load_benchmark(file)

    def kill(number: int, step: int) -> None:
        if watch.runs[number].arm == "killed" and step == 3:
            for process in worker_of(tmp_path / "out" / watch.runs[number].name):
                os.kill(int(process), signal.SIGKILL)

    watch = Watch(kill)
    outcome = run_benchmark(settings, tmp_path / "out", jobs=1, onlooker=watch)
    assert (outcome.done, outcome.runs, outcome.stopped) == (1, 3, False)
    failed = {f.run.arm: f for f in outcome.failures}
    assert "not finite" in failed["wild"].message
    assert "train.lr" in failed["wild"].hint
    assert "killed by signal 9" in failed["killed"].message
    assert "log.txt" in failed["killed"].hint
    ended = {arm: failure is None for arm, failure in watch.ended}
    assert ended == {"supervised": True, "wild": False, "killed": False}
    assert "supervised (baseline)" in (tmp_path / "out" / "tables.md").read_text()
    done = call(str(file), "--out", "out", cwd=tmp_path)
    assert done.returncode == 5
    assert "1 of 3 runs failed" in done.stderr
    assert "land/wild-50-seed0" in done.stderr
    assert threading.active_count() < 10
