"""What is said of a pixel: closed forms of the amounts, their order, and how they are stored."""

import numpy as np
import pytest
import torch
from fakes import legend_of
from hypothesis import given
from hypothesis import strategies as st

from geosemi.predict.answers import Answers, confidence, entropy, margin, winner

EVEN = torch.full((4, 1, 1), 0.25)
SURE = torch.tensor([0.0, 1.0, 0.0, 0.0]).reshape(4, 1, 1)
HALF = torch.tensor([0.5, 0.5, 0.0, 0.0]).reshape(4, 1, 1)


@pytest.mark.parametrize(
    ("amount", "even", "sure", "half"),
    [(confidence, 0.25, 1, 0.5), (margin, 1, 0, 1), (entropy, 1, 0, np.log(2) / np.log(4))],
)
def test_amounts_in_closed_form(amount, even, sure, half):
    for probability, wanted in ((EVEN, even), (SURE, sure), (HALF, half)):
        assert float(amount(probability)) == pytest.approx(wanted)


@given(st.integers(1, 6), st.integers(0, 99))
def test_amounts_lie_between_0_and_1_and_do_not_depend_on_the_order_of_classes(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    probability = (3 * torch.randn(classes, 5, 7, generator=generator)).softmax(0)
    shuffled = probability[torch.randperm(classes, generator=generator)]
    for amount in (confidence, margin, entropy):
        found = amount(probability)
        assert found.shape == (5, 7)
        assert ((found >= 0) & (found <= 1 + 1e-6)).all()
        assert torch.allclose(found, amount(shuffled), atol=1e-6)


@given(st.integers(1, 32), st.integers(0, 99))
def test_the_winner_is_the_first_of_the_largest(classes, seed):
    votes = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (classes, 9, 11)).astype("float32"))
    found, best = winner(votes)
    assert (found == votes.numpy().argmax(0)).all()
    assert (best == votes.amax(0).numpy()).all()


def test_all_layers_at_once_with_their_names_and_nodata():
    extras = ("confidence", "entropy", "margin", "probabilities", "probabilities_float16")
    answers = Answers(legend_of(4), extras)
    assert [layer.bands for layer in answers.layers] == [
        ("confidence",), ("entropy",), ("margin",), *[("class a", "class b", "class c", "class d")] * 2, ("class",)
    ]  # fmt: skip
    views = answers.empty(2, 3)
    valid = np.array([[True, True, False]] * 2)
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0])[:, None, None].expand(4, 2, 3)
    answers.fill(views, logits, valid, share=None)
    p = logits[:, 0, 0].softmax(0).numpy()
    assert views[0][:, :2] == pytest.approx(np.full((2, 2), round(p.max() * 254)))
    assert views[3][:, 0, 0] == pytest.approx(np.round(p * 254))
    assert views[4][:, 0, 0] == pytest.approx(p, abs=1e-3)
    assert (views[5] == [[1, 1, 255]] * 2).all()
    assert all((view[..., 2] == 255).all() for view in views[:4])
    assert np.isnan(views[4][..., 2]).all()
    answers.fill(views, None, np.zeros((2, 3), bool), share=None)
    assert all((view == 255).all() for view in (*views[:4], views[5]))
