"""LSST: which pixels are the surest, the three stages, and the loss against a slow twin."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from witness import CLASSES, Witness, log_softmax, noise, pixels, slow_supervised

from geosemi.methods.base import IGNORE, Progress
from geosemi.methods.lsst import Lsst, surest
from geosemi.methods.purifier import Purifier
from geosemi.methods.settings import LsstSettings
from geosemi.models.light import LightSegmenter
from geosemi.purify.rules import PurifySettings

LATE = Progress(6, 10)


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 0), (2, 0), (3, 1), (7, 1), (8, 2), (100, 20)])
def test_a_fifth_is_rounded_half_up(count: int, kept: int):
    counted = (torch.arange(120) < count).view(1, 10, 12)
    zeros = torch.zeros(1, 10, 12, dtype=torch.int64)
    assert surest(torch.zeros(1, 10, 12), zeros, counted, classes=1, share=0.2).sum() == kept


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.2, 0.5, 1.0]))
def test_the_surest_are_those_of_a_slow_twin(seed: int, share: float):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randint(0, 6, (3, 5, 7), generator=generator).float()  # some are equal
    label = torch.randint(CLASSES, (3, 5, 7), generator=generator)
    counted = torch.rand(3, 5, 7, generator=generator) < 0.8
    kept = surest(score, label, counted, classes=CLASSES, share=share)
    for n in range(3):
        wanted = set()
        for k in range(CLASSES):
            places = [i for i in range(35) if counted[n].flatten()[i] and label[n].flatten()[i] == k]
            places.sort(key=lambda i: -score[n].flatten()[i].item())  # stable: the first of equals comes first
            wanted |= set(places[: int(share * len(places) + 0.5)])
        assert set(kept[n].flatten().nonzero()[:, 0].tolist()) == wanted


def test_the_first_stage_learns_labels_alone():
    batch, student = noise(0), Witness()
    method = Lsst(student, LsstSettings()).train()
    losses = method(batch, Progress(4, 10))
    ((training, seen),) = student.images
    assert training
    assert torch.equal(seen, batch.labelled.image)
    assert losses["consistency"] == 0
    assert losses["supervised"].item() == pytest.approx(slow_supervised(student.said[0], batch.labelled.label))
    assert batch.unlabelled is not None
    assert method.beliefs(batch.unlabelled) is None
    assert set(method.networks()) == {"student"}


def test_at_the_boundary_the_network_becomes_the_teacher_and_starts_again():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        method = Lsst(LightSegmenter(bands=3, classes=CLASSES), LsstSettings(pretraining=0.5)).train()
    first = {k: t.clone() for k, t in method.student.state_dict().items()}
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.1)
    for step in range(5):
        method(noise(step, side=32), Progress(step, 10))["supervised"].backward()
        optimizer.step()
    assert not method.retraining
    learnt = {k: t.clone() for k, t in method.student.state_dict().items()}
    assert not torch.equal(learnt["classify.weight"], first["classify.weight"])
    started: dict[str, Tensor] = {}
    hook = method.student.register_forward_pre_hook(
        lambda network, _: started.update({k: t.clone() for k, t in network.state_dict().items()})
    )
    method(noise(5, side=32), Progress(5, 10))
    hook.remove()
    assert all(torch.equal(started[k], first[k]) for k in first)
    assert all(torch.equal(t, learnt[k]) for k, t in method.teacher.state_dict().items())
    method(noise(6, side=32), Progress(6, 10))  # and does so once
    assert all(torch.equal(t, learnt[k]) for k, t in method.teacher.state_dict().items())
    assert set(method.networks()) == {"student", "teacher"}


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_a_slow_twin(seed: int):
    batch, student = noise(seed), Witness()
    u = batch.unlabelled
    assert u is not None
    method = Lsst(student, LsstSettings()).train()
    losses = method(batch, LATE)
    ((training, weak),) = method.teacher.images
    assert not training
    assert torch.equal(weak, u.weak)
    logits = method.teacher.said[0]
    kept = surest(logits.amax(dim=1), logits.argmax(dim=1), u.valid, classes=CLASSES, share=0.2)
    assert method.report()["trusted"].item() == pytest.approx(int(kept.sum()) / int(u.valid.sum()))
    image = student.images[0][1]
    assert torch.equal(image[:4], batch.labelled.image)
    box = u.boxes[0][:, None].expand_as(u.weak)
    assert torch.equal(image[4:][~box], u.strong[0][~box])
    assert not torch.isin(image[4:][box], u.strong[0][box]).any()  # noise
    said = pixels(student.said[0][4:])
    total, count = 0.0, int((batch.labelled.label != IGNORE).sum())
    of_truth = slow_supervised(student.said[0][:4], batch.labelled.label) * count
    for n, row, column in (kept & ~u.boxes[0]).nonzero().tolist():
        total -= log_softmax(said[n][row][column])[int(logits[n, :, row, column].argmax())]
        count += 1
    assert losses["supervised"].item() == pytest.approx(of_truth / count)
    assert losses["consistency"].item() == pytest.approx(total / count)


def test_an_opinion_moves_the_rank_as_far_as_the_log_odds():
    crops = noise(0, count=1, side=2).unlabelled
    assert crops is not None
    method = Lsst(Witness(), LsstSettings(share=0.25)).train()
    method(noise(1), LATE)
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.2, 0.0, 0.0], [1.4, 0.0, 0.0], [0.8, 0.0, 0.0]]).view(1, 2, 2, 3)
    method.teacher.forward = lambda image: logits.movedim(-1, 1)  # type: ignore[method-assign]
    opinion = torch.zeros(1, 3, 2, 2, dtype=torch.bool)
    opinion[0, 0, 1, 1] = True
    crops = replace(crops, valid=torch.ones_like(crops.valid), opinion=opinion)
    plain = method.beliefs(crops)
    assert plain is not None
    assert plain.after.trusted.flatten().tolist() == [False, False, True, False]
    rules = LsstSettings(purify=PurifySettings(mode="recommended")).rules()
    assert rules is not None
    method.purify_with(Purifier(rules, classes=3, measured=False))
    pure = method.beliefs(crops)
    assert pure is not None
    assert pure.after.trusted.flatten().tolist() == [False, False, False, True]
    assert pure.facts["purify/agreeing"] == 0.25


@given(st.integers(1, 500), st.lists(st.floats(0.01, 0.99), max_size=3).map(sorted))
def test_stages_cover_a_run_without_gaps(total: int, restarts: list[float]):
    stages = [Progress(step, total).stage(restarts) for step in range(total)]
    assert stages[0][0] == 0
    assert stages[0][1].step == 0
    for (number, within), (next_, after) in pairwise(stages):
        if next_ == number:
            assert after == Progress(within.step + 1, within.total)
        else:
            assert next_ > number
            assert within.step == within.total - 1
            assert after.step == 0
    assert stages[-1][1].step <= stages[-1][1].total - 1
