import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.methods.losses import consistency, cross_entropy, ramp_up, squared_distance
from geosemi.methods.pseudo import Pseudo


def logits_with_losses(*losses: float) -> torch.Tensor:
    """Two-class logits (1, 2, 1, n) whose cross entropy with class 0 is as given: log(1 + e^x) = loss."""
    x = torch.tensor([math.log(math.expm1(loss)) for loss in losses])
    return torch.stack([torch.zeros_like(x), x])[None, :, None]


def target(confidence: list[float], valid: list[bool], threshold: float = 0.95) -> Pseudo:
    c, v = torch.tensor(confidence)[None, None], torch.tensor(valid)[None, None]
    return Pseudo(torch.zeros_like(v, dtype=torch.long), c, (c >= threshold) & v, v)


def test_cross_entropy_averages_over_pixels_with_truth():
    label = torch.tensor([[[0, 0, 255, 255]]])
    assert cross_entropy(logits_with_losses(1, 2, 3, 4), label).item() == pytest.approx(1.5)


def test_cross_entropy_is_that_of_torch_where_all_is_known():
    logits, label = torch.randn(2, 5, 4, 4), torch.randint(5, (2, 4, 4))
    torch.testing.assert_close(cross_entropy(logits, label), torch.nn.functional.cross_entropy(logits, label))


def test_consistency_divides_by_valid_pixels():
    """Four pixels, CE 1, 2, 3, 4; the third is unsure, the fourth invalid: (1 + 2) / 3, not / 2 and not / 4."""
    pseudo = target([0.99, 0.96, 0.90, 0.99], [True, True, True, False])
    assert consistency(logits_with_losses(1, 2, 3, 4), pseudo).item() == pytest.approx(1.0)


def test_nothing_known_is_zero_with_a_zero_gradient():
    logits = torch.randn(1, 2, 1, 4, requires_grad=True)
    nothing = target([0.99] * 4, [False] * 4)
    probabilities = torch.full((1, 2, 1, 4), 0.5)
    loss = cross_entropy(logits, torch.full((1, 1, 4), 255)) + consistency(logits, nothing)
    loss = loss + squared_distance(logits, probabilities, nothing.valid)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_squared_distance_by_hand():
    # softmax (.75, .25) against (1, 0): 2 · .0625; against itself: 0; the third pixel is invalid
    logits = torch.tensor([math.log(3), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    probabilities = torch.tensor([[1.0, 0.75, 0.0], [0.0, 0.25, 1.0]]).reshape(1, 2, 1, 3)
    valid = torch.tensor([True, True, False]).reshape(1, 1, 3)
    assert squared_distance(logits, probabilities, valid).item() == pytest.approx(0.125 / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_losses_equal_loops(seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, 3, generator=generator)
    other = torch.randn(2, 3, 2, 3, generator=generator)
    valid = torch.rand(2, 2, 3, generator=generator) < 0.7
    pseudo = Pseudo.from_logits(other, valid, threshold=0.5)
    each, soft, count = 0.0, 0.0, 0
    for b in range(2):
        for row in range(2):
            for column in range(3):
                if not valid[b, row, column]:
                    continue
                count += 1
                p = logits[b, :, row, column].softmax(0)
                q = other[b, :, row, column].softmax(0)
                soft += ((p - q) ** 2).sum().item()
                if q.max() >= 0.5:
                    each += -p[q.argmax()].log().item()
    assert consistency(logits, pseudo).item() == pytest.approx(each / max(count, 1), abs=1e-5)
    assert squared_distance(logits, other.softmax(1), valid).item() == pytest.approx(soft / max(count, 1), abs=1e-5)


@pytest.mark.parametrize(("t", "weight"), [(0, 0.00674), (0.25, 0.0601), (0.5, 0.2865), (0.75, 0.7316), (1, 1), (9, 1)])
def test_ramp_table(t: float, weight: float):
    assert ramp_up(t) == pytest.approx(weight, abs=1e-4)
