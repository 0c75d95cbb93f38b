"""Opinions that are wrong about one class lose their say about it, and about no other."""

import pytest
import torch

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.methods.base import Progress
from geosemi.methods.build import build_method
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.settings import SemiEarthSettings
from geosemi.models.light import LightSegmenter
from geosemi.purify.rules import PurifySettings
from geosemi.purify.trust import FEW, Reliability

CLASSES, SIDE = 3, 32


def claims(
    *, right: dict[int, float], teacher: float, confidence: float = 0.5, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A batch on which the opinion claims a class on every pixel, and is right with the given chances."""
    generator = torch.Generator().manual_seed(seed)
    claimed = torch.randint(CLASSES, (2, SIDE, SIDE), generator=generator)

    def happens(share: torch.Tensor) -> torch.Tensor:
        return torch.rand(claimed.shape, generator=generator) < share

    chance = torch.tensor([right[k] for k in range(CLASSES)])[claimed]
    truth = torch.where(happens(chance), claimed, (claimed + 1) % CLASSES)
    label = torch.where(happens(torch.full(claimed.shape, teacher)), truth, (truth + 1) % CLASSES)
    opinion = torch.nn.functional.one_hot(claimed, CLASSES).movedim(-1, 1).bool()
    return {
        "label": label, "confidence": torch.full(claimed.shape, confidence), "opinion": opinion, "truth": truth,
    }  # fmt: skip


def observed(*batches: dict[str, torch.Tensor]) -> torch.Tensor:
    reliability = Reliability(CLASSES)
    for batch in batches:
        reliability.observe(**batch, tau=0.7)
    return reliability.weights()


def test_a_class_that_the_opinion_gets_wrong_is_silenced_and_no_other():
    assert observed(claims(right={0: 0.9, 1: 0.8, 2: 0.1}, teacher=0.6)).tolist() == [1, 1, 0]


@pytest.mark.parametrize(("teacher", "weight"), [(0.3, 1.0), (0.6, 1.0), (0.8, 0.5), (1.0, 0.2)])
def test_trust_shrinks_with_what_the_teacher_knows_better(teacher: float, weight: float):
    # the opinion is right in .6; weight = 2 · .6 / teacher − 1
    many = [claims(right=dict.fromkeys(range(CLASSES), 0.6), teacher=teacher, seed=s) for s in range(8)]
    assert observed(*many).tolist() == pytest.approx([weight] * CLASSES, abs=0.05)


def test_sure_pixels_and_pixels_without_truth_do_not_count():
    sure = claims(right={0: 0, 1: 0, 2: 0}, teacher=1.0, confidence=0.8)
    unknown = claims(right={0: 0, 1: 0, 2: 0}, teacher=1.0) | {"truth": torch.full((2, SIDE, SIDE), 255)}
    assert observed(sure, unknown).tolist() == [1, 1, 1]


def test_few_pixels_are_no_judgement():
    batch = claims(right={0: 0, 1: 0, 2: 0}, teacher=1.0)
    few = {name: t[..., :4, :8] for name, t in batch.items()}
    assert few["label"].numel() < FEW
    assert observed(few).tolist() == [1, 1, 1]


def test_what_is_not_met_is_not_forgotten():
    bad = claims(right={0: 0, 1: 0, 2: 0}, teacher=1.0)
    silent = bad | {"opinion": torch.zeros_like(bad["opinion"])}
    assert observed(bad, *[silent] * 500).tolist() == [0, 0, 0]


def test_old_judgements_fade():
    bad, good = (claims(right=dict.fromkeys(range(CLASSES), p), teacher=0.9) for p in (0.1, 0.9))
    assert observed(bad, *[good] * 200).tolist() == pytest.approx([1, 1, 1], abs=0.1)


def wrong_about_two(seed: int) -> Batch:
    """Crops whose first band shows the class; opinions call class 0 by its name and say class 2 for class 1."""
    generator = torch.Generator().manual_seed(seed)

    def crops() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        truth = torch.randint(CLASSES, (4, 2, 2), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
        image = 0.8 * torch.randn(4, 3, SIDE, SIDE, generator=generator)
        image[:, 0] += truth - 1.0
        return image, truth, torch.stack([truth == 0, torch.zeros_like(truth, dtype=torch.bool), truth == 1], dim=1)

    (image, truth, opinion), (weak, _, other) = crops(), crops()
    none = torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    return Batch(Labelled(image, truth, opinion), Unlabelled(weak, (weak,), (none,), ~none, other, ("x@0,0",) * 4))


def light(seed: int) -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LightSegmenter(bands=3, classes=CLASSES)


@pytest.mark.parametrize("trust", ["full", "measured"])
def test_training_hears_it_or_not(trust: str):
    purify = PurifySettings(trust=trust, tau_conf=0.95)
    method = build_method(SemiEarthSettings(purify=purify, ema=0.9, warm_up=1), light(0), another=light).train()
    assert isinstance(method, FixMatch)
    optimizer = torch.optim.AdamW(method.student.parameters(), lr=2e-3)
    for step in range(60):
        optimizer.zero_grad()
        torch.stack(list(method(wrong_about_two(step), Progress(step, 60)).values())).sum().backward()
        optimizer.step()
        method.after_step(Progress(step, 60))
    batch = wrong_about_two(1000)
    assert batch.unlabelled is not None
    method.eval()
    held = method.beliefs(batch.unlabelled)
    wrong = held.after.trusted & (held.after.label == 2) & (held.before.label != 2)
    facts = {name: float(value) for name, value in method.report().items() if name.startswith("trust/")}
    if trust == "full":
        assert facts == {}
        assert wrong.float().mean() > 0.02  # the opinion's mistakes are learnt
    else:
        assert (facts["trust/1"], facts["trust/2"]) == (1, 0)  # class 1 is never claimed, class 2 always wrongly
        assert facts["trust/0"] > 0.9
        assert not wrong.any()


def test_labelled_crops_carry_opinions_only_where_they_are_judged():
    assert build_method(SemiEarthSettings(), light(0), another=light).judges_opinions is False
    purify = PurifySettings(trust="measured")
    method = build_method(SemiEarthSettings(purify=purify), light(0), another=light)
    assert method.judges_opinions is True
    assert {"purifier.reliability.said", "purifier.reliability.right", "purifier.reliability.teacher"} <= set(
        method.state_dict()
    )
