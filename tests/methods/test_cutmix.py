"""CutMix-Seg: its loss against a slow twin."""

import math

import pytest
import torch
from torch import Tensor
from witness import Witness, log_softmax, noise, pixels, slow_supervised

from geosemi.methods.base import Progress
from geosemi.methods.cutmix import CutMix
from geosemi.methods.settings import CutMixSettings

STEP = Progress(2, 10)


def method_of(**numbers: object) -> tuple[CutMix, Witness, Witness]:
    method = CutMix(Witness(), CutMixSettings(**numbers)).train()  # type: ignore[arg-type]
    student, teacher = method.student, method.teacher
    assert isinstance(student, Witness)
    assert isinstance(teacher, Witness)
    return method, student, teacher


def probabilities(logits: list[float]) -> list[float]:
    return [math.exp(v) for v in log_softmax(logits)]


def slow_distance(said: Tensor, clean: Tensor, *, box: Tensor, valid: Tensor, threshold: float) -> tuple[float, ...]:
    """Sum of squared distances on all valid and on sure pixels; how many there are of each."""
    all_pixels, sure_pixels, count, sure = 0.0, 0.0, 0, 0
    student, teacher = pixels(said), pixels(clean)
    for n, mask in enumerate(box.tolist()):
        for row, line in enumerate(mask):
            for column, moved in enumerate(line):
                source = len(box) - 1 - n if moved else n
                if not valid[source, row, column]:
                    continue
                wanted = probabilities(teacher[source][row][column])
                found = probabilities(student[n][row][column])
                distance = sum((p - q) ** 2 for p, q in zip(found, wanted, strict=True))
                all_pixels, count = all_pixels + distance, count + 1
                if max(wanted) >= threshold:
                    sure_pixels, sure = sure_pixels + distance, sure + 1
    return all_pixels, sure_pixels, count, sure


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per_pixel", [False, True])
def test_the_loss_is_that_of_a_slow_twin(seed: int, per_pixel: bool):
    batch, (method, student, teacher) = noise(seed, side=8), method_of(threshold=0.9, per_pixel=per_pixel, weight=3)
    u = batch.unlabelled
    assert u is not None
    losses = method(batch, STEP)
    ((training, clean),) = teacher.images
    assert not training
    assert torch.equal(clean, u.weak)
    mixed, strong = student.images[0][1][4:], u.strong[0]
    box = ((mixed == strong.flip(0)) & (mixed != strong)).all(dim=1)
    assert torch.equal(mixed, torch.where(box[:, None], strong.flip(0), strong))
    # half of every crop comes from the partner; sides are rounded to pixels
    assert all(abs(share - 0.5) < 0.15 for share in box.float().mean((1, 2)).tolist())
    everywhere, where_sure, count, sure = slow_distance(
        student.said[0][4:], teacher.said[0], box=box, valid=u.valid, threshold=0.9
    )
    assert 0 < sure < count
    mean = where_sure / sure if per_pixel else everywhere / count
    assert losses["consistency"].item() == pytest.approx(3 * sure / count * mean, rel=1e-5)
    assert losses["supervised"].item() == pytest.approx(
        slow_supervised(student.said[0][:4], batch.labelled.label), rel=1e-5
    )
    assert method.report()["trusted"].item() == pytest.approx(sure / count)


def test_a_teacher_that_is_sure_of_nothing_teaches_nothing():
    batch, (method, student, _) = noise(0), method_of(threshold=0.9)
    student.scale.data.zero_()
    method.after_step(Progress(0, 10))  # the first step copies the student
    assert method(batch, STEP)["consistency"].item() == 0
    assert method.report()["trusted"].item() == 0


def test_the_teacher_is_shipped_and_averaged():
    method, student, teacher = method_of(ema=0.8)
    assert method.predictor() is teacher
    values = []
    for step, value in enumerate([4.0, 2.0, 0.0, 10.0, 3.0, 5.0, 5.0]):
        with torch.no_grad():
            student.scale.fill_(value)
        method.after_step(Progress(step, 7))
        values.append(teacher.scale.mean().item())
    assert values == pytest.approx([4, 3, 2, 4, 3.8, 4.04, 4.232], abs=1e-5)
