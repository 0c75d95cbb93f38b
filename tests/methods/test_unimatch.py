"""UniMatch V1 and its FixMatch: losses against slow twins, on a network that behaves differently in train mode."""

import pytest
import torch
from torch import Tensor
from witness import Witness, believed, log_softmax, noise, pixels, slow_consistency, slow_supervised

from geosemi.data.batch import Unlabelled
from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.methods.fixmatch_v1 import FixMatchV1
from geosemi.methods.perturb import channel_dropout
from geosemi.methods.settings import FixMatchV1Settings, UniMatchSettings
from geosemi.methods.unimatch import UniMatch

STEP = Progress(3, 10)


class Moody(Witness):
    """Says something else in train mode, as a network with batch norm does."""

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        logits = super().decode(features, size).roll(1, dims=1) if self.training else super().decode(features, size)
        self.said[-1] = logits.detach()
        return logits


def crops_of(seed: int) -> Unlabelled:
    crops = noise(seed).unlabelled
    assert crops is not None
    return crops


def slow_unmixed(logits: Tensor, own: Tensor, valid: Tensor, threshold: float) -> float:
    """Cross entropy with un-mixed labels."""
    total, count = 0.0, 0
    for n, (said, weak) in enumerate(zip(pixels(logits), pixels(own), strict=True)):
        for row, line in enumerate(said):
            for column, values in enumerate(line):
                label, sure = believed(weak[row][column], threshold)
                here = bool(valid[n, row, column])
                count += here
                total -= log_softmax(values)[label] if sure and here else 0.0
    return total / max(1, count)


@pytest.mark.parametrize("seed", range(3))
def test_fixmatch_is_that_of_a_slow_twin(seed: int):
    batch, u, student = noise(seed), crops_of(seed), Moody()
    losses = FixMatchV1(student, FixMatchV1Settings(threshold=0.9)).train()(batch, STEP)
    assert [training for training, _ in student.images] == [False, True, True]
    assert torch.equal(student.images[0][1], u.weak)
    assert torch.equal(student.images[1][1], torch.cat([batch.labelled.image, u.weak]))
    partner, together, strong = student.said
    on_x, weak = together.chunk(2)
    wanted = slow_consistency(strong, weak, partner=partner, box=u.boxes[0], valid=u.valid, threshold=0.9)
    assert wanted > 0
    assert losses["consistency"].item() == pytest.approx(wanted / 2, rel=1e-5)
    assert losses["supervised"].item() == pytest.approx(slow_supervised(on_x, batch.labelled.label) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_unimatch_is_that_of_a_slow_twin(seed: int):
    batch, u, student = noise(seed), crops_of(seed), Moody()
    losses = UniMatch(student, UniMatchSettings(threshold=0.9)).train()(batch, STEP)
    assert [training for training, _ in student.images] == [False, True, True]
    partner, together, strong = student.said
    on_x, weak, disturbed = together.chunk(3)
    views = [
        slow_consistency(logits, weak, partner=partner, box=box, valid=u.valid, threshold=0.9)
        for logits, box in zip(strong.chunk(2), u.boxes, strict=True)
    ]
    assert losses["supervised"].item() == pytest.approx(slow_supervised(on_x, batch.labelled.label) / 2)
    assert losses["consistency"].item() == pytest.approx(sum(views) / 4 / 2, rel=1e-5)
    features = slow_unmixed(disturbed, weak, u.valid, 0.9)
    assert features > 0
    assert losses["features"].item() == pytest.approx(features / 2 / 2, rel=1e-5)


def test_unimatch_drops_channels_of_every_map_of_the_weak_view_alone():
    student = Moody()
    UniMatch(student, UniMatchSettings()).train()(noise(0), STEP)
    ratios = []
    for before, after in zip(student.maps[1], student.changed[1], strict=True):
        assert torch.equal(after[:8], before)  # labelled and weak crops go on whole
        ratio = after[8:] / before[4:]
        assert torch.allclose(ratio, ratio[..., :1, :1].expand_as(ratio))
        assert set(ratio.round(decimals=4).flatten().tolist()) == {0.0, 2.0}
        ratios.append(ratio[..., 0, 0])
    assert not torch.equal(*ratios)  # each map its own
    assert all(torch.equal(a, b) for a, b in zip(student.maps[2], student.changed[2], strict=True))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5])
def test_channel_dropout_keeps_the_mean(p: float):
    dropped = channel_dropout(torch.ones(4, 5000, 2, 2), torch.Generator().manual_seed(1), p=p)
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.02)


def test_pseudo_labels_carry_no_gradient_to_the_weak_view():
    """With a threshold that nothing passes, what is left is supervised; with none, targets are still constants."""
    student = Moody()
    method = FixMatchV1(student, FixMatchV1Settings(threshold=0.999999))
    assert method(noise(0), STEP)["consistency"].item() == 0
    assert not method.report()["trusted"].requires_grad


@pytest.mark.parametrize("kind", [FixMatchV1, UniMatch])
def test_pseudo_labels_may_grow_in_weight(kind: type[FixMatchV1]):
    def unsupervised(warm_up: float) -> float:
        settings = {FixMatchV1: FixMatchV1Settings, UniMatch: UniMatchSettings}[kind]
        losses = kind(Moody(), settings(threshold=0.9, warm_up=warm_up))(noise(0), Progress(10, 100))
        return sum(loss.item() for name, loss in losses.items() if name != "supervised")

    assert unsupervised(0.2) == pytest.approx(0.2865 * unsupervised(0.0), rel=1e-3)


def test_a_network_without_feature_maps_is_refused_by_unimatch_alone():
    FixMatchV1(Witness(widths=()), FixMatchV1Settings())
    with pytest.raises(InputError, match="`unimatch` disturbs feature maps"):
        UniMatch(Witness(widths=()), UniMatchSettings())
