"""A run that was stopped and resumed ends with the very bits of one that was not."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import scenery
import torch
import yaml

from geosemi.config import plan_run
from geosemi.errors import BundleError, ConfigError, Interrupted
from geosemi.train import prepared
from geosemi.train.checkpoint import checkpoints
from geosemi.train.run import train

STEPS = 7


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96, opinions=True)


def settings_of(root, method="fixmatch", **more):
    return scenery.run_settings(root, method, train={"steps": STEPS, **more})


def interrupt_at(step):
    """A watcher that presses Ctrl-C while the given step ends."""

    def press(done):
        if done == step:
            os.kill(os.getpid(), signal.SIGINT)

    return scenery.Watch(press)


def stopped(settings, out, step):
    with pytest.raises(Interrupted) as caught:
        train(settings, out, watcher=interrupt_at(step))
    assert f"stopped after step {step + 1} of {STEPS}" in caught.value.message
    assert "--resume" in caught.value.hint
    return out


def tensors(out):
    with checkpoints(out / "checkpoints")[0].open("rb") as file:
        return safetensors.torch.load(file.read())


def differences(one, two):
    """Names of tensors that are not the same, bit for bit."""
    a, b = tensors(one), tensors(two)
    assert a.keys() == b.keys()
    return [name for name in a if a[name].dtype != b[name].dtype or not torch.equal(a[name], b[name])]


def rows(path):
    with path.open() as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """Runs that nobody stopped, by method."""
    found = {}
    for method in ("fixmatch", "semiearth"):
        out, watch = tmp_path_factory.mktemp(method) / "run", scenery.Watch()
        train(settings_of(root, method), out, watcher=watch)
        found[method] = (out, watch)
    return found


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("method", ["fixmatch", "semiearth"])
def test_resuming_changes_no_bit(whole, root, tmp_path, method, step):
    expected, all_in_one = whole[method]
    settings = settings_of(root, method)
    # torch's own state must not matter: another process has another one
    torch.manual_seed(step)
    out = stopped(settings, tmp_path / "run", step)
    assert checkpoints(out / "checkpoints")[0].name == f"step-{step + 1:08d}.safetensors"
    torch.manual_seed(99)
    watch = scenery.Watch()
    train(settings, out, resume=True, watcher=watch)
    assert watch.begun == [(STEPS, step + 1)]
    assert watch.steps == all_in_one.steps[step + 1 :]
    assert differences(expected, out) == []
    assert (out / "bundle.safetensors").read_bytes() == (expected / "bundle.safetensors").read_bytes()
    assert (out / "validation.png").read_bytes() == (expected / "validation.png").read_bytes()
    for name in ("metrics.csv", "validation.csv", "split.json", "config.yaml"):
        assert (out / name).read_bytes() == (expected / name).read_bytes()
    assert [yaml.safe_load((f / "run.json").read_text())["best_step"] for f in (out, expected)] == [
        max(all_in_one.scores, key=lambda s: s[1].miou)[0]
    ] * 2


def test_opinions_were_looked_at(whole):
    for method, (out, _) in whole.items():
        assert any(c.startswith("purify/") for c in rows(out / "metrics.csv")[0]) == (method == "semiearth")


def test_another_seed_changes_bits(whole, root, tmp_path):
    # the comparison above can fail
    expected, _ = whole["fixmatch"]
    train(settings_of(root, "fixmatch", seed=1), tmp_path / "run")
    assert len(differences(expected, tmp_path / "run")) > 50
    assert (tmp_path / "run" / "bundle.safetensors").read_bytes() != (expected / "bundle.safetensors").read_bytes()


def test_lost_moments_change_bits(whole, root, tmp_path):
    # the comparison sees the optimiser, too
    expected, _ = whole["fixmatch"]
    settings = settings_of(root, "fixmatch")
    out = stopped(settings, tmp_path / "run", 4)
    from geosemi.train import checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_restore", lambda found, method, _: method.load_state_dict(
            {k.removeprefix("method."): t for k, t in found.items() if k.startswith("method.")}
        ))  # fmt: skip
        train(settings, out, resume=True)
    assert differences(expected, out)


def test_a_finished_run_can_be_resumed_to_no_effect(root, tmp_path):
    out = tmp_path / "run"
    settings = settings_of(root, "supervised")
    train(settings, out)
    before = {n: (out / n).read_bytes() for n in ("bundle.safetensors", "metrics.csv", "validation.csv", "run.json")}
    watch = scenery.Watch()
    train(settings, out, resume=True, watcher=watch)
    assert watch.steps == []
    after = {n: (out / n).read_bytes() for n in before}
    assert {n for n in before if before[n] != after[n]} <= {"run.json"}
    assert yaml.safe_load(after["run.json"])["best_step"] == yaml.safe_load(before["run.json"])["best_step"]


def test_band_statistics_are_measured_once(root, tmp_path, monkeypatch):
    settings = settings_of(root, "supervised")
    out = stopped(settings, tmp_path / "run", 4)
    train(settings, tmp_path / "whole")

    def measure(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(prepared, "measure_radiometry", measure)
    train(settings, out, resume=True)
    assert differences(tmp_path / "whole", out) == []


def test_a_scene_that_was_replaced_meanwhile_is_noticed(tmp_path):
    root = scenery.country(tmp_path / "data", side=96)
    settings = settings_of(root, "supervised")
    out = stopped(settings, tmp_path / "run", 4)
    another = scenery.picture(scenery.truth(96, 96), seed=5)
    scenery.write_tif(root / "images" / "a.tif", another, scenery.place(), tiled=True)
    with pytest.raises(ConfigError, match="or have changed"):
        train(settings, out, resume=True)


def test_a_run_goes_on_from_another_folder(root, tmp_path, monkeypatch):
    """The config was given a relative folder of data; the run's own config holds where that is."""
    monkeypatch.chdir(root.parent)
    settings = settings_of(root, "supervised")
    given = settings.model_copy(update={"data": settings.data.model_copy(update={"root": Path(root.name)})})
    out = stopped(given, tmp_path / "run", 4)
    train(given, tmp_path / "whole")
    monkeypatch.chdir(tmp_path)
    own, folder = plan_run(out / "config.yaml", {}, [], out=out, resume=True)
    assert own.data.root == root.resolve()
    assert train(own, folder, resume=True).is_file()
    assert differences(tmp_path / "whole", out) == []


class TestStopping:
    def test_ctrl_c_in_the_last_step_finishes_the_run(self, root, tmp_path):
        out = train(settings_of(root, "supervised"), tmp_path / "run", watcher=interrupt_at(STEPS - 1))
        assert out.is_file()

    def test_handlers_are_given_back(self, root, tmp_path):
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        stopped(settings_of(root, "supervised"), tmp_path / "run", 0)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_sigterm_is_an_interruption_too(self, root, tmp_path):
        def end(step):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Interrupted, match="after step 3"):
            train(settings_of(root, "supervised"), tmp_path / "run", watcher=scenery.Watch(end))


class TestDamage:
    @pytest.fixture
    def run(self, root, tmp_path):
        settings = settings_of(root, "supervised", save_every=2)
        return settings, stopped(settings, tmp_path / "run", 4)  # saved at 2, 4, and 5

    @staticmethod
    def flip(path):
        content = bytearray(path.read_bytes())
        content[-1000] ^= 1
        path.write_bytes(content)

    def test_a_damaged_newest_checkpoint_is_passed_over_with_a_note(self, run, root, tmp_path):
        settings, out = run
        newest, before = checkpoints(out / "checkpoints")
        assert [newest.name, before.name] == ["step-00000005.safetensors", "step-00000004.safetensors"]
        self.flip(newest)
        watch = scenery.Watch()
        train(settings, out, resume=True, watcher=watch)
        assert watch.begun == [(STEPS, 4)]
        notes = [n for n in watch.notes if n.startswith("passed over a checkpoint: ")]
        assert len(notes) == 1
        assert newest.name in notes[0]
        # and the curve has every step once
        assert [r[0] for r in rows(out / "metrics.csv")[1:]] == [str(i) for i in range(STEPS)]
        train(settings, tmp_path / "whole")
        assert differences(tmp_path / "whole", out) == []

    def test_nothing_whole(self, run):
        settings, out = run
        for path in checkpoints(out / "checkpoints"):
            self.flip(path)
        with pytest.raises(BundleError, match=r"no checkpoint in .* is whole") as caught:
            train(settings, out, resume=True)
        assert "without `--resume`" in caught.value.hint

    def test_no_checkpoint_left(self, run):
        settings, out = run
        for path in checkpoints(out / "checkpoints"):
            path.unlink()
        with pytest.raises(ConfigError, match="holds no checkpoint"):
            train(settings, out, resume=True)


@pytest.mark.slow
def test_a_killed_process_can_be_resumed(root, tmp_path):
    """SIGKILL leaves no time to save: the run goes on from its last checkpoint, and ends with the same bits."""
    settings = settings_of(root, "fixmatch", steps=40, save_every=3, validate_every=20)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    out = tmp_path / "run"
    command = [sys.executable, "-m", "geosemi", "train", "--config", str(config), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None and not checkpoints(out / "checkpoints"):
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    saved = int(checkpoints(out / "checkpoints")[0].stem.split("-")[1])
    assert process.returncode == -signal.SIGKILL
    assert saved < 40
    assert not (out / "run.json").exists()
    watch = scenery.Watch()
    train(settings, out, resume=True, watcher=watch)
    assert watch.begun == [(40, saved)]
    assert [r[0] for r in rows(out / "metrics.csv")[1:]] == [str(i) for i in range(40)]
    train(settings, tmp_path / "whole")
    assert differences(tmp_path / "whole", out) == []
    assert (out / "bundle.safetensors").read_bytes() == (tmp_path / "whole" / "bundle.safetensors").read_bytes()
    assert (out / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()
