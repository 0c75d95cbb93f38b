"""A run in stages: learning rate and optimiser start anew at the boundary, and a resumed run crosses it alike."""

import csv

import pytest
import torch
from fakes import TinySegmenter
from lightning.fabric import Fabric
from test_train_loop import Lesson, fit, same, trainer_of, weights
from torch import nn

from geosemi.errors import Interrupted
from geosemi.methods.lsst import Lsst
from geosemi.methods.settings import LsstSettings
from geosemi.train.settings import TrainSettings


def rates(folder):
    return [float(row["lr"]) for row in csv.DictReader((folder / "metrics.csv").open(encoding="utf-8"))]


def lsst():
    return Lsst(TinySegmenter(), LsstSettings(pretraining=0.5))


def test_rates_are_those_of_two_runs(tmp_path):
    method = Lesson()
    method.restarts = (0.25,)
    fit(trainer_of(tmp_path, method))
    factor = TrainSettings().learning_rate_factor
    wanted = [0.01 * factor(step, 2) for step in range(2)] + [0.01 * factor(step, 6) for step in range(6)]
    assert rates(tmp_path) == pytest.approx(wanted, rel=1e-4)


def test_without_stages_nothing_starts_anew(tmp_path):
    fit(trainer_of(tmp_path, Lesson()))
    wanted = [0.01 * TrainSettings().learning_rate_factor(step, 8) for step in range(8)]
    assert rates(tmp_path) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(("restarts", "counted"), [((), 8), ((0.5,), 4), ((0.25, 0.75), 2)])
def test_the_optimiser_remembers_its_stage_alone(tmp_path, restarts, counted):
    method, seen = Lesson(), []
    method.restarts = restarts
    trainer = trainer_of(tmp_path, method)
    fabric = Fabric(accelerator="cpu", devices=1)
    setup = fabric.setup

    def watched(*parts):
        wrapped, optimizer = setup(*parts)
        seen.append(optimizer)
        return wrapped, optimizer

    fabric.setup = watched
    trainer.fit(fabric, resume=False)
    assert {int(entry["step"]) for entry in seen[0].state.values()} == {counted}


class Again(Lesson):
    """Goes downhill from the same place in each half of a run."""

    restarts = (0.5,)

    def __init__(self):
        super().__init__()
        self.height = nn.Parameter(torch.tensor(2.0))
        self.path = []

    def forward(self, batch, progress):
        self.seen.append((progress.step,))
        if progress.stage(self.restarts)[1].step == 0:
            self.height.data.fill_(2)
        self.path.append(self.height.item())
        return {"main": self.height**2 + 0 * self.student(batch.labelled.image).sum()}


def test_both_halves_go_the_same_way_where_both_begin_alike(tmp_path):
    method = Again()
    fit(trainer_of(tmp_path, method))
    assert method.path[:4] == method.path[4:]
    assert len(set(method.path)) == 4


@pytest.mark.parametrize("stop", [2, 4, 5])
def test_a_resumed_run_crosses_the_boundary_alike(tmp_path, stop):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts, resumed = lsst(), lsst(), lsst()
    fit(trainer_of(tmp_path / "whole", whole, save_every=1))
    trainer = trainer_of(tmp_path / "parts", parts, save_every=1)
    forward = parts.forward

    def stopping(batch, progress):
        if progress.step == stop:
            raise Interrupted("stopped", hint="")
        return forward(batch, progress)

    parts.forward = stopping
    with pytest.raises(Interrupted):
        fit(trainer)
    fit(trainer_of(tmp_path / "parts", resumed, save_every=1), resume=True)
    assert same(weights(whole), weights(resumed))
    assert rates(tmp_path / "whole") == rates(tmp_path / "parts")
    assert torch.equal(resumed.retraining, torch.tensor(True))
