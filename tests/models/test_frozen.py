"""A frozen expert is invisible to training and checkpoints, and still follows its method."""

import copy

import torch
from torch import nn

from geosemi.models.frozen import Frozen


class Learner(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.expert = Frozen(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9)))


def test_it_is_in_no_state_and_among_no_parameters():
    learner = Learner()
    assert set(learner.state_dict()) == {"head.weight", "head.bias"}
    assert sum(p.numel() for p in learner.parameters()) == 8
    learner.load_state_dict(Learner().state_dict(), strict=True)


def test_it_follows_to_and_stays_in_eval_mode():
    learner = Learner().train().to(torch.float64)
    image = torch.ones(1, 3, dtype=torch.float64)
    first = learner.expert(image)
    assert first.dtype == torch.float64
    assert torch.equal(first, learner.expert(image))  # dropout would differ


def test_no_gradient_goes_through():
    learner = Learner()
    out = learner.expert(torch.ones(1, 3, requires_grad=True))
    assert not out.requires_grad


def test_a_copy_has_its_own_expert():
    learner = Learner()
    twin = copy.deepcopy(learner)
    image = torch.ones(1, 3)
    before = twin.expert(image)
    learner.expert.to(torch.float64)
    assert torch.equal(twin.expert(image), before)
