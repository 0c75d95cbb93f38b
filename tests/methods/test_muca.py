"""MUCA, re-interpreted: where the teacher is certain, how far features are apart, and who learns what."""

import math

import pytest
import torch
from torch import Tensor
from witness import CLASSES, Witness, log_softmax, noise, pixels, slow_supervised

from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.methods.losses import ramp_up
from geosemi.methods.muca import Muca, certainty, masked_huber
from geosemi.methods.settings import MucaSettings
from geosemi.models.light import LightSegmenter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def method_of(student: object, **numbers: object) -> Muca:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Muca(student, MucaSettings(**numbers)).train()  # type: ignore[arg-type]


def light() -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return LightSegmenter(bands=3, classes=CLASSES)


def huber(distance: float) -> float:
    return distance**2 / 2 if abs(distance) <= 1 else abs(distance) - 0.5


@pytest.mark.parametrize(("t", "ramp"), [(0, 0.00674), (0.25, 0.0601), (0.5, 0.2865), (0.75, 0.7316), (1, 1)])
def test_the_threshold_grows_from_half_a_coin_to_a_coin(t: float, ramp: float):
    assert ramp_up(t) == pytest.approx(ramp, rel=1e-3)
    assert certainty(Progress(round(100 * t), 300)) == pytest.approx((1 + ramp) / 2 * math.log(2), rel=1e-3)
    assert certainty(Progress(299, 300)) == pytest.approx(math.log(2))


def test_entropy_is_that_of_the_mean_over_passes():
    student = Witness()
    method, crops = method_of(student, passes=3), noise(0).unlabelled
    assert crops is not None
    _, said, entropy = method._ask(crops, seeded())
    teacher = method.teacher
    assert [training for training, _ in teacher.images] == [False]
    *passes, whole = teacher.said
    assert len(passes) == 3
    assert torch.equal(said, whole)
    assert not torch.equal(passes[0], passes[1])
    mean = torch.stack([logits.double().softmax(dim=1) for logits in passes]).mean(dim=0)
    for n, row, column in ((0, 0, 0), (1, 2, 3), (3, 4, 4)):
        wanted = -sum(p * math.log(p) for p in mean[n, :, row, column].tolist())
        assert entropy[n, row, column].item() == pytest.approx(wanted, rel=1e-4)


def test_a_certain_teacher_has_no_entropy_and_an_undecided_one_all():
    crops = noise(0).unlabelled
    assert crops is not None
    method = method_of(Witness())
    for logits, wanted in ((torch.tensor([500.0, 0, 0]), 0.0), (torch.zeros(3), math.log(3))):
        method.teacher.decode = lambda features, size, logits=logits: logits.view(1, 3, 1, 1).expand(4, -1, *size)  # type: ignore[method-assign]
        entropy = method._ask(crops, seeded())[2]
        torch.testing.assert_close(entropy, torch.full_like(entropy, wanted))


def test_the_distance_of_maps_is_that_of_loops():
    own, their = (3 * torch.randn(2, 4, 2, 3, generator=seeded(n)) for n in range(2))
    certain = torch.rand(2, 7, 11, generator=seeded(2)) < 0.5  # padded to 8 × 12: each position has 4 × 4 pixels
    total = weight = 0.0
    for n in range(2):
        for row in range(2):
            for column in range(3):
                share = int(certain[n, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].sum()) / 16
                each = [huber(float(own[n, c, row, column] - their[n, c, row, column])) for c in range(4)]
                total += share * sum(each) / 4
                weight += share
    assert masked_huber(own, their, certain, 4).item() == pytest.approx(total / (2 * weight), rel=1e-5)
    assert masked_huber(own, their, torch.zeros_like(certain), 4) == 0


@pytest.mark.parametrize("seed", range(2))
def test_the_losses_are_those_of_a_slow_twin(seed: int):
    batch, student, progress = noise(seed), Witness(), Progress(25, 100)
    u = batch.unlabelled
    assert u is not None
    method = method_of(student)
    losses = method(batch, progress)
    assert torch.equal(student.images[0][1], torch.cat([batch.labelled.image, u.strong[0]]))
    assert torch.equal(method.teacher.images[0][1], u.weak)
    theirs, (on_both, attended) = pixels(method.teacher.said[-1]), student.said
    mine, after = pixels(on_both[4:]), pixels(attended)
    apart = wrong = 0.0
    places = u.valid.nonzero().tolist()
    for n, row, column in places:
        a, b = mine[n][row][column], theirs[n][row][column]
        apart += sum(huber(x - y) for x, y in zip(a, b, strict=True)) / CLASSES
        wrong -= log_softmax(after[n][row][column])[b.index(max(b))]
    weight = 3 * math.exp(-5 * 0.75**2)
    assert losses["consistency"].item() == pytest.approx(weight * apart / len(places), rel=1e-4)
    assert losses["attention"].item() == pytest.approx(0.25 * wrong / len(places), rel=1e-4)
    assert losses["supervised"].item() == pytest.approx(slow_supervised(on_both[:4], batch.labelled.label), rel=1e-4)
    entropy = torch.stack([logits.softmax(dim=1) for logits in method.teacher.said[:4]]).mean(dim=0)
    entropy = -(entropy * entropy.log()).sum(dim=1)
    certain = (entropy < certainty(progress)) & u.valid
    assert method.report()["certain"].item() == pytest.approx(int(certain.sum()) / len(places))
    levels = [masked_huber(m[4:], t, certain, 1) for m, t in zip(student.maps[0], method.teacher.maps[0], strict=True)]
    assert losses["features"].item() == pytest.approx(weight * float(sum(levels)), rel=1e-4)


def test_attention_is_trained_by_pseudo_labels_and_features_by_the_teacher():
    method = method_of(light())
    losses = method(noise(0, side=32), Progress(90, 100))

    def touched(name: str) -> set[str]:
        method.zero_grad()
        losses[name].backward(retain_graph=True)
        return {key for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}

    assert {key for key, _ in method.named_parameters() if key.startswith("across.")} <= touched("attention")
    assert not any(key.startswith("across.") for key in touched("consistency"))
    assert not any(key.startswith("teacher.") for key in touched("attention"))
    reached = touched("features")
    if losses["features"] > 0:
        assert any(key.startswith("student.stages") for key in reached)
        assert not any(key.startswith("student.classify") for key in reached)


def test_attention_modules_stay_from_step_to_step():
    """In the released code they are drawn anew in every step, and nothing trains them."""
    method = method_of(light())
    before: dict[str, Tensor] = {k: t.clone() for k, t in method.across.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        torch.stack(list(method(noise(step, side=32), Progress(step, 10)).values())).sum().backward()
        optimizer.step()
    assert not any(torch.equal(t, before[k]) for k, t in method.across.state_dict().items())
    assert not any(key.startswith("across") for key in method.predictor().state_dict())


def test_crops_that_are_no_multiple_of_the_stride():
    assert all(loss.isfinite() for loss in method_of(light())(noise(0, side=27), Progress(5, 10)).values())


def test_a_network_without_feature_maps_is_refused():
    with pytest.raises(InputError, match="`muca` compares feature maps"):
        Muca(Witness(widths=()), MucaSettings())


def test_without_dropout_the_entropy_is_that_of_the_answer():
    crops = noise(0).unlabelled
    assert crops is not None
    _, said, entropy = method_of(Witness(), dropout=0)._ask(crops, seeded())
    p = said.double().softmax(dim=1)
    torch.testing.assert_close(entropy.double(), -(p * p.log()).sum(dim=1), atol=1e-5, rtol=1e-4)


def test_maps_that_have_attended_move_no_average_of_batch_norm():
    """The network is shown others in evaluation: with their averages `light` lost all classes but two."""
    batch, averages = noise(0, side=32), []
    for heads in (1, 3):  # other attention, other maps
        method = method_of(light(), heads=heads)
        method(batch, Progress(0, 10))
        averages.append({k: t for k, t in method.student.state_dict().items() if "running" in k})
        assert {m.momentum for m in method.student.modules() if hasattr(m, "momentum")} == {0.1}
    assert all(torch.equal(averages[0][k], averages[1][k]) for k in averages[0])
