"""A run that is only tried says what the run would be, fails as it would, and leaves nothing."""

import re

import pytest
import scenery
import torch
from typer.testing import CliRunner

from geosemi.cli.main import app
from geosemi.errors import ConfigError, OutputError
from geosemi.models.light import LightSegmenter
from geosemi.train.dry import try_run
from geosemi.train.optimise import make_optimizer
from geosemi.train.run import train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96)


def parameters() -> int:
    return sum(p.numel() for p in LightSegmenter(bands=3, classes=3).parameters())


def test_what_a_run_would_be(root, tmp_path):
    trial = try_run(scenery.run_settings(root, train={"steps": 30}), tmp_path / "run")
    assert (trial.network, trial.trainable, trial.frozen) == (parameters(), parameters(), parameters())
    assert trial.steps == 30
    assert trial.chips == trial.full
    assert trial.seconds > 0
    assert 2**26 < trial.memory < 2**36
    assert trial.lines[0].startswith("fixmatch with light")
    assert not (tmp_path / "run").exists()


def test_labels_alone_take_twice_the_labelled_chips(root, tmp_path):
    settings = scenery.run_settings(root, "supervised", train={"steps": None, "epochs": 2})
    trial = try_run(settings, tmp_path / "run")
    assert trial.full == (2 * settings.chips.labelled, 0)
    assert trial.frozen == 0
    train(settings, tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]
    assert len(rows) == trial.steps, "an epoch has as many steps as said"


def test_one_process_stands_for_many(root, tmp_path):
    """Four devices and their readers started for one step said the same fault four times, after minutes."""
    epochs = {"steps": None, "epochs": 2}
    alone = try_run(scenery.run_settings(root, train=epochs), tmp_path / "run")
    many = scenery.run_settings(root, train={**epochs, "devices": 4}, chips={"workers": 4})
    trial = try_run(many, tmp_path / "run")
    assert torch.distributed.is_available()
    assert not torch.distributed.is_initialized()
    assert trial.steps == 2 * max(1, alone.steps // 2 // 4)
    assert trial.full == alone.full


def test_torch_is_left_as_it_was(root, tmp_path):
    before = torch.get_rng_state()
    try_run(scenery.run_settings(root, train={"steps": 30}), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_large_network_runs_its_step_on_a_cpu_with_few_chips(root, tmp_path):
    spec = {"name": "dinov2_small", "weights": None}
    settings = scenery.run_settings(
        root, model=spec, chips={"labelled": 3, "unlabelled": 5, "size": 32}, augment={"size": 28}
    )
    trial = try_run(settings, tmp_path / "run")
    assert (trial.chips, trial.full) == ((2, 2), (3, 5))


def test_errors_are_those_of_the_run(root, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "bundle.safetensors").write_bytes(b"")
    with pytest.raises(OutputError, match="holds a run already") as caught:
        try_run(scenery.run_settings(root), tmp_path / "run")
    assert "--out" in caught.value.hint
    with pytest.raises(ConfigError, match="leaves no labelled block") as caught:
        try_run(scenery.run_settings(root, split={"ratio": 0.1}), tmp_path / "new")
    assert "--ratio" in caught.value.hint


def test_the_command_prints_it_and_writes_nothing(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", str(root), "--method", "supervised", "--model", "light", "--steps", "7", "--dry-run"]
    sizes = ["chips.size=48", "augment.size=48", "data.validation=[b]", "data.test=[c]", "split.block=32"]
    sets = [part for size in (*sizes, "split.ratio=50") for part in ("--set", size)]
    done = CliRunner().invoke(app, [*words, *sets])
    assert done.exit_code == 0, done.exception
    assert re.search(r"^method   supervised, trains [\d,]{7,} parameters$", done.stdout, re.MULTILINE)
    assert re.search(r"^steps    7$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("nothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimiser_that_was_asked_for(root, tmp_path, name):
    settings = scenery.run_settings(root, train={"steps": 3, "optimizer": name, "lr": 0.01, "weight_decay": 0.1})
    net = torch.nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(2.0)
    optimizer = make_optimizer(net, settings.train)
    for _ in range(2):
        optimizer.zero_grad()
        (3 * net.weight).sum().backward()
        optimizer.step()
    if name == "sgd":  # w ← w − lr v, v ← .9 v + g + .1 w
        v1 = 3 + 0.1 * 2
        w1 = 2 - 0.01 * v1
        expected = w1 - 0.01 * (0.9 * v1 + 3 + 0.1 * w1)
    else:  # a constant gradient moves Adam by lr a step; decay apart
        w1 = 2 * (1 - 0.001) - 0.01
        expected = w1 * (1 - 0.001) - 0.01
    assert net.weight.item() == pytest.approx(expected, rel=1e-5)


def test_sgd_goes_on_from_a_checkpoint(root, tmp_path):
    watch = scenery.Watch()
    settings = scenery.run_settings(root, "supervised", train={"steps": 4, "optimizer": "sgd", "save_every": 2})
    train(settings, tmp_path / "run", watcher=watch)
    (tmp_path / "run" / "checkpoints" / "step-00000004.safetensors").unlink()
    again = scenery.Watch()
    train(settings, tmp_path / "run", resume=True, watcher=again)
    assert [v["loss"] for _, v in again.steps] == [v["loss"] for _, v in watch.steps][2:]
