"""How right pseudo-labels are, held against slow twins and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, precision_score

from geosemi.train.measure import Said, Tally, figures, near_boundary


def slow_near(truth: np.ndarray, radius: int) -> np.ndarray:
    out = np.zeros(truth.shape, dtype=bool)
    for row, col in np.ndindex(truth.shape):
        around = truth[max(0, row - radius) : row + radius + 1, max(0, col - radius) : col + radius + 1]
        out[row, col] = truth[row, col] != 255 and len(set(around[around != 255].tolist())) > 1
    return out


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 4))
def test_near_boundary_is_its_slow_twin(seed: int, radius: int):
    rng = np.random.default_rng(seed)
    cells = rng.choice([0, 1, 2, 255], (3, 4), p=[0.4, 0.3, 0.1, 0.2])
    truth = np.kron(cells, np.ones((5, 4), dtype=int))
    found = near_boundary(torch.from_numpy(truth)[None], radius)[0].numpy()
    assert np.array_equal(found, slow_near(truth, radius))


def test_three_pixels_on_both_sides():
    truth = torch.zeros(1, 1, 20, dtype=torch.long)
    truth[..., 10:] = 1
    assert near_boundary(truth)[0, 0].nonzero().flatten().tolist() == [7, 8, 9, 10, 11, 12]
    truth[..., 10:] = 255
    assert not near_boundary(truth).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_figures_are_those_of_scikit_learn(seed: int):
    generator = torch.Generator().manual_seed(seed)
    truth, label = (torch.randint(4, (2, 9, 9), generator=generator) for _ in range(2))
    label = torch.where(torch.rand(truth.shape, generator=generator) < 0.5, truth, label)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    trusted = torch.rand(truth.shape, generator=generator) < 0.6
    near = torch.rand(truth.shape, generator=generator) < 0.5
    tally = Tally(4)
    for crop in range(2):  # chip by chip
        part = slice(crop, crop + 1)
        tally.add(Said(label[part], trusted[part]), truth[part], near[part])
    for zone, where in (("all", truth < 255), ("near", (truth < 255) & near), ("inside", (truth < 255) & ~near)):
        out = figures(*tally.zones()[zone])
        heard = where & trusted
        y, p = truth[heard].numpy(), label[heard].numpy()
        assert (out["known"], out["said"]) == (where.sum(), heard.sum())
        assert out["share"] == pytest.approx(heard.sum().item() / where.sum().item())
        assert out["precision"] == pytest.approx((y == p).mean())
        assert out["miou"] == pytest.approx(jaccard_score(y, p, average="macro"))
        each = precision_score(y, p, average=None, labels=range(4), zero_division=np.nan)
        recall = [(heard & (truth == label) & (truth == k)).sum() / (where & (truth == k)).sum() for k in range(4)]
        for k in range(4):
            assert out[f"precision {k}"] == pytest.approx(each[k], nan_ok=True)
            assert out[f"recall {k}"] == pytest.approx(float(recall[k]), nan_ok=True)


def test_nothing_said_is_no_figure():
    tally = Tally(2)
    truth = torch.zeros(1, 4, 4, dtype=torch.long)
    tally.add(Said(truth, torch.zeros(1, 4, 4, dtype=torch.bool)), truth, torch.zeros(1, 4, 4, dtype=torch.bool))
    out = figures(*tally.zones()["all"])
    assert (out["known"], out["said"], out["share"], out["recall 0"]) == (16, 0, 0, 0)
    assert math.isnan(out["precision"])
    assert math.isnan(out["miou"])
    assert math.isnan(figures(*tally.zones()["near"])["share"])
