"""UniMatch V2: complementary channel dropout, and its loss against a slow twin."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from witness import Witness, noise, slow_consistency, slow_supervised

from geosemi.data.batch import Batch
from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.perturb import complementary_masks, split_channels
from geosemi.methods.settings import FixMatchSettings, UniMatchV2Settings
from geosemi.methods.unimatch_v2 import UniMatchV2


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31))
def test_complementary_masks_double_what_the_other_loses(pairs: int, width: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randperm(pairs, generator=generator)[: pairs // 2]
    masks = complementary_masks(pairs, width, generator, kept)
    assert torch.equal(masks[0] + masks[1], torch.full((pairs, width), 2.0))
    for n in range(pairs):
        wanted = {1.0} if n in kept.tolist() else {0.0, 2.0}
        assert set(masks[0][n].tolist()) <= wanted


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_half_of_the_pairs_stay_whole_and_maps_of_one_width_share_a_mask(pairs: int, seed: int):
    maps = [torch.ones(2 * pairs, width, 2, 3) for width in (16, 16, 24)]
    split = split_channels(maps, torch.Generator().manual_seed(seed))
    for one in split:
        assert torch.equal(one[:pairs] + one[pairs:], torch.full_like(one[:pairs], 2))
        assert torch.equal(one, one[..., :1, :1].expand_as(one))  # all pixels alike
    assert torch.equal(split[0], split[1])
    whole = [n for n in range(pairs) if all((one[n] == 1).all() for one in split)]
    assert len(whole) == pairs // 2


def test_channels_are_dropped_half_of_the_time():
    split = split_channels([torch.ones(2, 10_000, 1, 1)], torch.Generator().manual_seed(0))[0]
    assert (split == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)


def method_of(threshold: float, **numbers: float) -> UniMatchV2:
    return UniMatchV2(Witness(), UniMatchV2Settings(threshold=threshold, **numbers))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_a_slow_twin(seed: int):
    batch, method = noise(seed), method_of(0.9)
    u = batch.unlabelled
    assert u is not None
    losses = method(batch, Progress(seed, 10))
    student, teacher = method.student, method.teacher
    assert isinstance(student, Witness)
    assert isinstance(teacher, Witness)
    assert torch.equal(student.images[0][1], batch.labelled.image)  # a pass of their own, and whole
    assert all(map(torch.equal, student.maps[0], student.changed[0]))
    ratios = [after / before for after, before in zip(student.changed[1], student.maps[1], strict=True)]
    assert torch.allclose(ratios[0], ratios[1])  # one mask for both maps
    assert torch.allclose(ratios[0][:4] + ratios[0][4:], torch.full_like(ratios[0][:4], 2))
    assert sum(bool((one == 1).all()) for one in ratios[0][:4].round()) == 2
    assert losses["supervised"].item() == pytest.approx(slow_supervised(student.said[0], batch.labelled.label) / 2)
    weak = teacher.said[0]
    views = [
        slow_consistency(logits, weak, partner=weak, box=box, valid=u.valid, threshold=0.9)
        for logits, box in zip(student.said[1].chunk(2), u.boxes, strict=True)
    ]
    assert min(views) > 0
    assert losses["consistency"].item() == pytest.approx(sum(views) / 2 / 2, rel=1e-5)


def test_views_are_mixed_with_boxes_of_their_own():
    batch, method = noise(1), method_of(0.5)
    u = batch.unlabelled
    assert u is not None
    method(batch, Progress(0, 10))
    student = method.student
    assert isinstance(student, Witness)
    seen = student.images[1][1].chunk(2)
    for view in range(2):
        wanted = torch.where(u.boxes[view][:, None], u.strong[view].flip(0), u.strong[view])
        assert torch.equal(seen[view], wanted)


def test_the_draw_follows_step_and_place():
    def changed(step: int, seed: int) -> torch.Tensor:
        method = method_of(0.9)
        method(noise(seed), Progress(step, 10))
        student = method.student
        assert isinstance(student, Witness)
        return student.changed[1][0] != 0

    assert torch.equal(changed(3, 0), changed(3, 0))
    assert not torch.equal(changed(3, 0), changed(4, 0))
    assert not torch.equal(changed(3, 0), changed(3, 1))


def test_pseudo_labels_are_those_of_fixmatch_and_may_grow_in_weight():
    batch = noise(2)
    assert batch.unlabelled is not None
    ours = method_of(0.9).beliefs(batch.unlabelled).after
    theirs = FixMatch(Witness(), FixMatchSettings(threshold=0.9)).beliefs(batch.unlabelled).after
    assert torch.equal(ours.label, theirs.label)
    assert torch.equal(ours.trusted, theirs.trusted)
    whole, half = (
        method_of(0.9, warm_up=share)(batch, Progress(10, 100))["consistency"].item() for share in (0.0, 0.2)
    )
    assert half == pytest.approx(0.2865 * whole, rel=1e-3)


def test_a_network_without_feature_maps_is_refused():
    with pytest.raises(InputError, match="`unimatch_v2` disturbs feature maps, and `Witness` shows none") as caught:
        UniMatchV2(Witness(widths=()), UniMatchV2Settings())
    assert "--method fixmatch" in caught.value.hint


def test_labels_alone_are_refused():
    with pytest.raises(InputError, match="learns from unlabelled crops"):
        method_of(0.9)(Batch(noise(0).labelled), Progress(0, 1))
