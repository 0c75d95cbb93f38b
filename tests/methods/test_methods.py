"""What sets each method apart, on a network whose logits are the image itself, so that losses can be worked by hand."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from tiny_teachers import told
from torch import Tensor, nn

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.methods.base import Progress
from geosemi.methods.build import METHODS, build_method
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.mean_teacher import MeanTeacher, MeanTeacherSettings
from geosemi.methods.settings import FixMatchSettings, MethodSettings, SemiEarthSettings
from geosemi.methods.supervised import Supervised, SupervisedSettings
from geosemi.models.segmenter import Segmenter
from geosemi.purify.rules import PurifySettings

START, LATER = Progress(0, 100), Progress(50, 100)


class Scaled(Segmenter):
    """Logits = scale · image; `encode` notes in which mode it ran and what it saw."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = self.bands = classes
        self.widths, self.stride = (classes,), 1
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[bool, Tensor]] = []

    def encode(self, image: Tensor) -> list[Tensor]:
        self.seen.append((self.training, image))
        return [self.scale * image]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return features[0]


def semiearth(**settings: object) -> FixMatch:
    method = build_method(SemiEarthSettings(**settings), Scaled(), another=another)
    assert type(method) is FixMatch
    return method


def another(_: int) -> Segmenter:
    return Scaled()


def logits(*probabilities: tuple[float, ...]) -> Tensor:
    """One crop (1, K, 1, n) whose softmax is as given."""
    return torch.tensor(probabilities).clamp(min=1e-9).log().T[None, :, None]


def unlabelled(weak: Tensor, strong: Tensor, **changes: object) -> Unlabelled:
    shape = weak[:, 0].shape
    none = torch.zeros(shape, dtype=torch.bool)
    crops = Unlabelled(weak, (strong,), (none,), torch.ones_like(none), None, ("scene.tif@0,0",) * len(weak))
    return replace(crops, **changes)  # type: ignore[arg-type]


def labelled(width: int = 4) -> Labelled:
    """Every class equally likely, so the cross entropy is log 3."""
    return Labelled(torch.zeros(1, 3, 1, width), torch.zeros(1, 1, width, dtype=torch.long))


WEAK = logits((0.97, 0.02, 0.01), (0.01, 0.98, 0.01), (0.60, 0.30, 0.10), (0.20, 0.25, 0.55))
STRONG = logits((0.50, 0.25, 0.25), (0.25, 0.25, 0.50), (0.50, 0.25, 0.25), (0.50, 0.25, 0.25))


def test_fixmatch_by_hand():
    losses = FixMatch(Scaled(), FixMatchSettings())(Batch(labelled(), unlabelled(WEAK, STRONG)), START)
    assert losses["supervised"].item() == pytest.approx(math.log(3) / 2)
    # two of four valid pixels are trusted: class 0 at .5, class 1 at .25
    assert losses["consistency"].item() == pytest.approx((math.log(2) + math.log(4)) / 4 / 2)


def test_fixmatch_mixes_pseudo_labels_of_unmixed_views():
    weak, strong = torch.cat([WEAK, WEAK.flip(-1)]), torch.cat([STRONG, STRONG])
    box = torch.zeros(2, 1, 4, dtype=torch.bool)
    box[0, 0, 2] = True  # crop 0 takes its third pixel from crop 1: label 1, trusted, strong logits of crop 1 there
    method = FixMatch(Scaled(), FixMatchSettings())
    losses = method(Batch(labelled(), unlabelled(weak, strong, boxes=(box,))), START)
    teacher, student = method.teacher.seen[0][1], method.student.seen[0][1]  # type: ignore[union-attr]
    assert torch.equal(teacher, weak)
    assert torch.equal(student[1:], strong)  # the same values lie there, so mixing shows in the label alone
    crop = [math.log(2), math.log(4), math.log(4)]  # classes 0, 1 and the partner's 1
    partner = [math.log(4), math.log(2)]  # WEAK flipped: trusted are its last two, of classes 1 and 0
    assert losses["consistency"].item() == pytest.approx((sum(crop) + sum(partner)) / 8 / 2)


def test_the_teacher_judges_in_eval_mode_even_after_train_was_called():
    method = FixMatch(Scaled(), FixMatchSettings())
    method.train()
    method.predictor().train()
    method(Batch(labelled(), unlabelled(WEAK, STRONG)), START)
    assert [mode for mode, _ in method.teacher.seen] == [False]  # type: ignore[union-attr]
    assert [mode for mode, _ in method.student.seen] == [True]  # type: ignore[union-attr]


def test_one_student_pass_over_labelled_and_strong():
    method = FixMatch(Scaled(), FixMatchSettings())
    method(Batch(labelled(), unlabelled(WEAK, STRONG)), START)
    (_, seen), *more = method.student.seen  # type: ignore[union-attr]
    assert not more
    assert torch.equal(seen, torch.cat([labelled().image, STRONG]))


@pytest.mark.parametrize("kind", [FixMatch, MeanTeacher])
def test_the_teacher_is_the_average(kind: type[FixMatch]):
    settings = {FixMatch: FixMatchSettings, MeanTeacher: MeanTeacherSettings}[kind]
    method = kind(Scaled(), settings(ema=0.8))  # type: ignore[arg-type]
    student, teacher = method.student, method.teacher
    values = []
    for step, value in enumerate([4.0, 2.0, 0.0, 10.0, 3.0, 5.0, 5.0]):
        with torch.no_grad():
            student.scale.fill_(value)  # type: ignore[union-attr,operator]
        method.after_step(Progress(step, 7))
        values.append(teacher.scale.item())  # type: ignore[union-attr,operator]
    # ρ = 0, 1/2, 2/3, 3/4, .8, .8, .8: a plain mean at first, then a moving one
    assert values == pytest.approx([4, 3, 2, 4, 3.8, 4.04, 4.232], abs=1e-5)


def test_mean_teacher_by_hand():
    method = MeanTeacher(Scaled(), MeanTeacherSettings(weight=3))
    losses = method(Batch(labelled(), unlabelled(WEAK, STRONG)), LATER)
    distance = (WEAK.softmax(1) - STRONG.softmax(1)).square().sum(1).mean().item()
    assert losses["supervised"].item() == pytest.approx(math.log(3) / 2)
    assert losses["consistency"].item() == pytest.approx(3 * distance / 2)


@pytest.mark.parametrize(("step", "share"), [(0, 0.00674), (5, 0.2865), (10, 1), (50, 1)])
def test_mean_teacher_ramps_up_over_the_first_tenth(step: int, share: float):
    method, batch = MeanTeacher(Scaled(), MeanTeacherSettings()), Batch(labelled(), unlabelled(WEAK, STRONG))
    full = method(batch, Progress(100, 100))["consistency"].item()
    assert method(batch, Progress(step, 100))["consistency"].item() == pytest.approx(share * full, rel=1e-3)
    assert MeanTeacher(Scaled(), MeanTeacherSettings(ramp=0))(batch, START)["consistency"].item() == pytest.approx(full)


@pytest.mark.parametrize(("step", "share"), [(0, 0.00674), (10, 0.2865), (20, 1), (50, 1)])
@pytest.mark.parametrize("kind", ["fixmatch", "semiearth"])
def test_pseudo_labels_may_grow_in_weight(kind: str, step: int, share: float):
    def consistency_of(**numbers: float) -> float:
        settings = TypeAdapter(MethodSettings).validate_python({"name": kind, **numbers})
        losses = build_method(settings, Scaled(), another=another)(
            Batch(labelled(), unlabelled(WEAK, STRONG)), Progress(step, 100)
        )
        assert losses["supervised"].item() == pytest.approx(math.log(3) / 2)
        return float(losses["consistency"].item())

    assert consistency_of(warm_up=0.2) == pytest.approx(share * consistency_of(), rel=1e-3)


def test_mean_teacher_does_not_mix():
    box = torch.ones(2, 1, 4, dtype=torch.bool)
    crops = unlabelled(torch.cat([WEAK, STRONG]), torch.cat([STRONG, WEAK]))
    plain, boxed = (
        MeanTeacher(Scaled(), MeanTeacherSettings())(Batch(labelled(), c), LATER)["consistency"]
        for c in (crops, replace(crops, boxes=(box,)))
    )
    assert torch.equal(plain, boxed)


def test_supervised_is_cross_entropy_alone():
    losses = Supervised(Scaled(), SupervisedSettings())(Batch(labelled(), unlabelled(WEAK, STRONG)), START)
    assert {name: loss.item() for name, loss in losses.items()} == {"supervised": pytest.approx(math.log(3))}


def bits(*classes: set[int]) -> Tensor:
    opinion = torch.zeros(1, 3, 1, len(classes), dtype=torch.bool)
    for n, seen in enumerate(classes):
        opinion[0, list(seen), 0, n] = True
    return opinion


def noise(seed: int, opinion: float = 0.3) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def random() -> Tensor:
        return 4 * torch.randn(3, 3, 8, 8, generator=generator)

    def coin(share: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) < share

    crops = unlabelled(
        random(), random(), boxes=(coin(0.5, 3, 8, 8),), valid=coin(0.8, 3, 8, 8), opinion=coin(opinion, 3, 3, 8, 8)
    )
    return Batch(Labelled(random(), torch.randint(3, (3, 8, 8), generator=generator)), crops)


def bitwise_equal(method: nn.Module, other: nn.Module, batch: Batch) -> bool:
    results = []
    for one in (method, other):
        losses = one(batch, START)
        torch.stack(list(losses.values())).sum().backward()
        results.append([*losses.values(), *(p.grad for p in one.parameters() if p.grad is not None)])
    return all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["paper", "released", "recommended", "off"])
def test_semiearth_without_opinions_is_fixmatch_bit_for_bit(mode: str, seed: int):
    batch = noise(seed)
    assert batch.unlabelled is not None
    silent = Batch(batch.labelled, replace(batch.unlabelled, opinion=None))
    method = semiearth(purify=PurifySettings(mode=mode))
    assert bitwise_equal(method, FixMatch(Scaled(), FixMatchSettings()), silent)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["released", "off"])
def test_released_rules_train_exactly_like_fixmatch(mode: str, seed: int):
    method = semiearth(purify=PurifySettings(mode=mode))
    assert bitwise_equal(method, FixMatch(Scaled(), FixMatchSettings()), noise(seed))


@pytest.mark.parametrize("mode", ["paper", "recommended"])
def test_the_other_rules_do_not(mode: str):
    method = semiearth(purify=PurifySettings(mode=mode))
    assert not bitwise_equal(method, FixMatch(Scaled(), FixMatchSettings()), noise(0))


def test_semiearth_by_hand():
    opinion = bits({0}, set(), {0}, {1})
    method = semiearth()
    losses = method(Batch(labelled(), unlabelled(WEAK, STRONG, opinion=opinion)), START)
    # sure pixels 0 and 1 as before; pixel 2 agrees: 1 − .4 · .05 = .98; pixel 3 is replaced by class 1 at .95
    four = math.log(2) + math.log(4) + math.log(2) + math.log(4)
    assert losses["consistency"].item() == pytest.approx(four / 4 / 2)
    facts = {name: value.item() for name, value in method.report().items()}
    assert facts == {
        "trusted": 1.0, "purify/low": 0.5, "purify/agreeing": 0.25, "purify/conflicting": 0.25, "purify/ambiguous": 0.0,
        "purify/silent": 0.0, "purify/dropped": 0.0, "purify/replaced": 0.25, "purify/passing_before": 0.5,
        "purify/passing_after": 1.0, "purify/refined_passing": 0.5, "purify/changed": 0.5,
    }  # fmt: skip


def test_purification_comes_before_mixing():
    """Crop 1 is silent on its first pixel; mixed into crop 0, which has an opinion there, it must stay silent."""
    weak = logits((0.5, 0.3, 0.2)).repeat(2, 1, 1, 1)
    opinion = torch.cat([bits({0}), bits(set())])
    box = torch.tensor([True, False]).reshape(2, 1, 1)
    method = semiearth()
    losses = method(Batch(labelled(1), unlabelled(weak, weak, opinion=opinion, boxes=(box,))), START)
    assert method.report()["trusted"].item() == 0.5  # crop 0's pixel, before mixing
    assert losses["consistency"].item() == 0  # and crop 1's unsure pixel took its place


def test_ambiguous_pixels_are_kept_out():
    opinion = bits({0}, set(), {0}, {0, 1})
    method = semiearth(threshold=0.5)
    method(Batch(labelled(), unlabelled(WEAK, STRONG, opinion=opinion)), START)
    assert method.report()["trusted"].item() == 0.75  # .55 would pass the filter
    assert method.report()["purify/ambiguous"].item() == 0.25
    assert method.report()["purify/dropped"].item() == 0.25


def test_the_last_filter():
    assert SemiEarthSettings().rules().post_threshold == 0.95  # type: ignore[union-attr]
    assert SemiEarthSettings(threshold=0.8).rules().post_threshold == 0.8  # type: ignore[union-attr]
    paper = SemiEarthSettings(purify=PurifySettings(mode="paper"))
    assert paper.rules().post_threshold == 0.7  # type: ignore[union-attr]
    own = SemiEarthSettings(threshold=0.8, purify=PurifySettings(post_threshold=0.9))
    assert own.rules().post_threshold == 0.9  # type: ignore[union-attr]
    assert SemiEarthSettings(purify=PurifySettings(mode="off")).rules() is None


def test_purification_off_asks_for_no_opinions():
    assert semiearth().uses_opinions
    assert not semiearth(purify=PurifySettings(mode="off")).uses_opinions


def test_every_method_is_built_from_its_name():
    for name, kind in METHODS.items():
        settings = TypeAdapter(MethodSettings).validate_python(told(name))
        assert type(build_method(settings, Scaled(), another=another)) is kind


def test_unknown_methods_and_keys_are_refused():
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        TypeAdapter(MethodSettings).validate_python({"name": "fixmatsch"})
    with pytest.raises(ValidationError, match="treshold"):
        TypeAdapter(MethodSettings).validate_python({"name": "fixmatch", "treshold": 0.9})
