"""CPS: its loss against a slow twin, with and without CutMix, and its masks against their law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from witness import Witness, believed, log_softmax, noise, pixels, slow_consistency, slow_supervised

from geosemi.data.cutmix import draw_masks
from geosemi.methods.base import IGNORE, Progress
from geosemi.methods.build import build_method
from geosemi.methods.cps import Cps
from geosemi.methods.settings import CpsSettings, MethodSettings
from geosemi.models.segmenter import Segmenter

STEP = Progress(2, 10)


def pair(**numbers: object) -> tuple[Cps, Witness, Witness]:
    student, peer = Witness(0), Witness(1)
    return Cps(student, CpsSettings(**numbers), peer).train(), student, peer  # type: ignore[arg-type]


def slow_cross(logits: Tensor, other: Tensor, counted: Tensor) -> float:
    """Mean cross entropy with the other network's likeliest class."""
    total, count = 0.0, 0
    for said, told, known in zip(pixels(logits), pixels(other), counted.tolist(), strict=True):
        for row in range(len(said)):
            for column in range(len(said[0])):
                if known[row][column]:
                    total -= log_softmax(said[row][column])[believed(told[row][column], 0)[0]]
                    count += 1
    return total / max(1, count)


@pytest.mark.parametrize("seed", range(3))
def test_without_cutmix_it_is_that_of_a_slow_twin(seed: int):
    batch, (method, student, peer) = noise(seed), pair(cutmix=False)
    u = batch.unlabelled
    assert u is not None
    losses = method(batch, STEP)
    for network in (student, peer):
        ((training, seen),) = network.images
        assert training
        assert torch.equal(seen, torch.cat([batch.labelled.image, u.weak]))
    first, second = student.said[0], peer.said[0]
    counted = torch.cat([batch.labelled.label != IGNORE, u.valid])
    wanted = 1.5 * (slow_cross(first, second, counted) + slow_cross(second, first, counted))
    assert losses["cross"].item() == pytest.approx(wanted, rel=1e-5)
    supervised = sum(slow_supervised(logits[:4], batch.labelled.label) for logits in (first, second))
    assert losses["supervised"].item() == pytest.approx(supervised, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_with_cutmix_it_is_that_of_a_slow_twin(seed: int):
    batch, (method, student, peer) = noise(seed, side=8), pair()
    u = batch.unlabelled
    assert u is not None
    losses = method(batch, STEP)
    mixed = student.images[1][1][4:]
    assert torch.equal(mixed, peer.images[1][1][4:])  # one mask for both networks
    box = ((mixed == u.weak.flip(0)) & (mixed != u.weak)).all(dim=1)
    assert torch.equal(mixed, torch.where(box[:, None], u.weak.flip(0), u.weak))
    assert box.any()
    assert [(training, torch.equal(seen, u.weak)) for training, seen in student.images] == [(True, True), (True, False)]

    def taught(learner: Witness, teacher: Witness) -> float:
        clean = teacher.said[0]
        return slow_consistency(learner.said[1][4:], clean, partner=clean, box=box, valid=u.valid, threshold=0)

    assert losses["cross"].item() == pytest.approx(taught(student, peer) + taught(peer, student), rel=1e-5)
    supervised = sum(slow_supervised(n.said[1][:4], batch.labelled.label) for n in (student, peer))
    assert losses["supervised"].item() == pytest.approx(supervised, rel=1e-5)


def test_each_network_learns_from_the_other_alone():
    """Where both say the same, each one's own labels would give the same loss; the gradient of one misses the other."""
    batch, (method, student, peer) = noise(0), pair(cutmix=False)
    method(batch, STEP)["cross"].backward()
    first = student.scale.grad
    assert first is not None
    again, student, _ = pair(cutmix=False)
    said = peer.said[0]
    u = batch.unlabelled
    assert u is not None
    logits = again.student(torch.cat([batch.labelled.image, u.weak]))
    counted = torch.cat([batch.labelled.label != IGNORE, u.valid])
    each = torch.nn.functional.cross_entropy(logits, said.argmax(dim=1), reduction="none")
    (1.5 * each[counted].mean()).backward()
    torch.testing.assert_close(first, student.scale.grad)


def test_weights_of_the_paper_and_a_ramp():
    def cross(**numbers: object) -> float:
        return float(pair(**numbers)[0](noise(0), Progress(10, 100))["cross"].item())

    assert cross(weight=6, cutmix=False) == pytest.approx(4 * cross(cutmix=False))
    assert cross(weight=5) == pytest.approx(5 * cross())
    assert cross(warm_up=0.2) == pytest.approx(0.2865 * cross(), rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 2**31))
def test_a_mask_of_one_box_is_a_box_of_the_share_asked_for(height: int, width: int, seed: int):
    mask = draw_masks(1, (height, width), boxes=1, area=(0.5, 0.5), generator=torch.Generator().manual_seed(seed))[0]
    rows, columns = mask.any(dim=1).sum().item(), mask.any(dim=0).sum().item()
    assert mask.sum().item() == rows * columns
    # both sides are rounded to pixels
    assert abs(rows * columns - height * width / 2) <= (rows + columns) / 2 + 1


def test_boxes_take_back_where_they_meet():
    """Two boxes of .71 of each side always share the middle of the crop."""
    masks = draw_masks(50, (40, 40), boxes=2, area=(1, 1), generator=torch.Generator().manual_seed(0))
    assert not masks[:, 13:27, 13:27].any()
    assert masks.flatten(1).any(dim=1).float().mean() > 0.9


def test_shares_are_uniform_and_divided_by_the_number_of_boxes():
    generator = torch.Generator().manual_seed(0)
    shares = draw_masks(3000, (40, 40), boxes=1, area=(0.25, 0.5), generator=generator).float().mean((1, 2))
    assert shares.mean().item() == pytest.approx(0.375, abs=0.01)
    assert shares.std().item() == pytest.approx(0.25 / math.sqrt(12), abs=0.01)
    three = draw_masks(3000, (40, 40), boxes=3, area=(0.25, 0.5), generator=generator).float().mean((1, 2))
    assert 0.2 < three.mean().item() < 0.375  # .125 each, less where they meet


def test_the_peer_starts_elsewhere_and_is_asked_for():
    asked: list[int] = []

    def another(seed: int) -> Segmenter:
        asked.append(seed)
        return Witness(1)

    wanted = TypeAdapter(MethodSettings).validate_python({"name": "cps"})
    method = build_method(wanted, Witness(0), another=another, seed=7)
    assert isinstance(method, Cps)
    assert len(asked) == 1
    assert asked != [7]
    assert set(method.networks()) == {"student", "peer"}
    assert method.predictor() is method.student
    build_method(TypeAdapter(MethodSettings).validate_python({"name": "unimatch"}), Witness(0), another=another)
    assert len(asked) == 1


def test_areas_are_shares():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        CpsSettings(area=(0.25, 2))
