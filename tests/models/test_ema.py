"""The moving average against a loop, and its ratio against the published table."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geosemi.models.ema import ema_ratio, frozen_copy, update_ema


@pytest.mark.parametrize(
    ("step", "ratio"), [(0, 0), (1, 0.5), (3, 0.75), (9, 0.9), (99, 0.99), (249, 0.996), (1_000_000, 0.996)]
)
def test_ratio(step, ratio):
    assert ema_ratio(step) == pytest.approx(ratio, abs=1e-12)


def test_another_ceiling():
    assert ema_ratio(10_000, ceiling=0.999) == 0.999


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2))
    with torch.no_grad():
        for tensor in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        module[1].num_batches_tracked.fill_(seed)
    return module


@given(ratio=st.floats(0, 1))
def test_parameters_and_buffers_move_and_counters_are_copied(ratio):
    teacher, student = frozen_copy(network(1)), network(2)
    old = {n: t.clone() for n, t in teacher.state_dict().items()}
    new = {n: t.clone() for n, t in student.state_dict().items()}
    update_ema(teacher, student, ratio)
    for name, tensor in teacher.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, ratio * old[name] + (1 - ratio) * new[name], rtol=1e-5, atol=1e-6)
        else:
            assert tensor == 2
            assert tensor.dtype == torch.int64
    assert all(torch.equal(t, new[n]) for n, t in student.state_dict().items())


def test_ratio_zero_copies_and_one_keeps_bit_for_bit():
    teacher, student = frozen_copy(network(1)), network(2)
    update_ema(teacher, student, 0.0)
    assert all(torch.equal(t, s) for t, s in zip(teacher.parameters(), student.parameters(), strict=True))
    before = [p.clone() for p in teacher.parameters()]
    update_ema(teacher, network(3), 1.0)
    assert all(torch.equal(t, b) for t, b in zip(teacher.parameters(), before, strict=True))


def test_another_architecture_is_refused():
    with pytest.raises(ValueError, match="teacher and student differ"):
        update_ema(nn.Linear(2, 2), nn.Linear(2, 3), 0.5)


def test_a_frozen_copy_is_independent_and_in_eval_mode():
    student = network(1)
    teacher = frozen_copy(student)
    with torch.no_grad():
        student[0].weight.add_(1)
    assert not torch.equal(teacher[0].weight, student[0].weight)
    assert not teacher.training
    assert student.training
