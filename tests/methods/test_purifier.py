"""Purification around every method that learns from pseudo-labels, and around no other."""

from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter
from tiny_teachers import told
from torch import Tensor
from witness import CLASSES, Witness, noise

from geosemi.config import load_settings
from geosemi.data.batch import Batch, Unlabelled
from geosemi.errors import ConfigError
from geosemi.methods.base import Method, Progress
from geosemi.methods.build import build_method
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.purifier import Purifier
from geosemi.methods.settings import KINDS, FixMatchSettings, MethodSettings, PseudoLabelled
from geosemi.models.light import LightSegmenter
from geosemi.purify.fuse import purify
from geosemi.purify.rules import RULES
from geosemi.purify.trust import Reliability

PSEUDO = [name for name, kind in KINDS.items() if issubclass(kind, PseudoLabelled)]
OTHERS = [name for name in KINDS if name not in PSEUDO]
START = Progress(6, 10)  # late enough for methods that begin without pseudo-labels


def make(name: str, **settings: object) -> Method:
    parsed = TypeAdapter(MethodSettings).validate_python(told(name) | settings)
    return build_method(parsed, Witness(0), another=Witness).train()


def batch_of(seed: int, share: float = 0.4) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    batch = noise(seed)
    assert batch.unlabelled is not None
    bits = torch.rand(2, *batch.unlabelled.weak.shape, generator=generator) < share
    return Batch(replace(batch.labelled, opinion=bits[0]), replace(batch.unlabelled, opinion=bits[1]))


def outcome(method: Method, batch: Batch) -> list[Tensor]:
    losses = method(batch, START)
    torch.stack(list(losses.values())).sum().backward()
    return [*losses.values(), *(p.grad for p in method.parameters() if p.grad is not None)]


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(found) == len(wanted) and all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_methods_with_pseudo_labels_are_these():
    assert {"fixmatch", "semiearth", "fixmatch_v1", "unimatch", "unimatch_v2", "cps"} <= set(PSEUDO)
    assert {"supervised", "mean_teacher", "cutmix", "cct"} <= set(OTHERS)


class Slow(FixMatch):
    """SemiEarth as it was written before there was a hook: FixMatch, and purification in the middle of it."""

    def __init__(self) -> None:
        super().__init__(Witness(0), FixMatchSettings())
        self.reliability = Reliability(CLASSES)

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        x = batch.labelled
        sure, label = self.teach(x.image).softmax(dim=1).max(dim=1)
        assert x.opinion is not None
        self.reliability.observe(label, sure, opinion=x.opinion, truth=x.label, tau=0.7)
        return dict(super().forward(batch, progress))

    def beliefs(self, crops: Unlabelled) -> Beliefs:
        said = super().beliefs(crops).after
        assert crops.opinion is not None
        pure = purify(
            said.label, said.confidence, opinion=crops.opinion, valid=crops.valid, rules=RULES["recommended"],
            trust=self.reliability.weights(),
        )  # fmt: skip
        trusted = pure.keep & (pure.confidence >= 0.95) & crops.valid
        return Beliefs(said, Pseudo(pure.label, pure.confidence, trusted, crops.valid))


def test_semiearth_is_fixmatch_with_purification_bit_for_bit():
    slow = Slow().train()
    ways = [("semiearth", {}), ("fixmatch", {"mode": "recommended"})]
    methods = [make(name, purify={"trust": "measured", **purify}) for name, purify in ways]
    for seed in range(3):
        for each in (slow, *methods):
            each.zero_grad()
        wanted = outcome(slow, batch_of(seed))
        assert all(same(outcome(method, batch_of(seed)), wanted) for method in methods)
    assert slow.reliability.said.min() > 0  # what was counted has been compared
    for method in methods:
        assert method.purifier is not None
        assert torch.equal(method.purifier.reliability.weights(), slow.reliability.weights())  # type: ignore[union-attr]


@pytest.mark.parametrize("name", PSEUDO)
def test_each_is_purified_where_it_has_an_opinion_and_nowhere_else(name: str):
    batch = batch_of(0)
    assert batch.unlabelled is not None
    silent = Batch(batch.labelled, replace(batch.unlabelled, opinion=None))
    plain, pure = make(name, purify=None), make(name, purify={"mode": "recommended"})
    assert (plain.uses_opinions, pure.uses_opinions, pure.judges_opinions) == (False, True, False)
    assert same(outcome(pure, silent), outcome(make(name, purify=None), batch))
    assert not any(key.startswith("purify/") for key in pure.report())
    outcome(pure, batch)
    assert pure.report()["purify/changed"] > 0
    assert pure.report()["purify/changed"] <= 1
    held = pure.beliefs(batch.unlabelled)
    assert held is not None
    assert not torch.equal(held.after.trusted, held.before.trusted)
    assert make(name, purify={"mode": "off"}).uses_opinions is False


@pytest.mark.parametrize("name", PSEUDO)
def test_what_is_learnt_was_heard(name: str, monkeypatch: pytest.MonkeyPatch):
    """A purifier that trusts nothing leaves the labels alone to learn from, whatever the method."""

    def nothing(self: Purifier, target: Pseudo, opinion: Tensor | None) -> Beliefs:
        assert opinion is not None
        none = torch.zeros_like(target.trusted)
        return Beliefs(target, replace(target, trusted=none))

    monkeypatch.setattr(Purifier, "forward", nothing)
    for settings in [{"cutmix": True}, {"cutmix": False}] if name == "cps" else [{}]:
        losses = make(name, purify={}, **settings)(batch_of(1), START)
        assert losses["supervised"] > 0
        if settings == {"cutmix": False}:
            continue  # it learns from its labelled crops, too, which were not heard
        # of labels, of teachers, and in `muca` of probabilities and maps
        unheard = {"supervised", "distill"} | ({"consistency", "features"} if name == "muca" else set())
        assert not any(value.item() for key, value in losses.items() if key not in unheard)
        assert not name.startswith("fixmatch") or not losses.keys() <= unheard


def test_cps_without_cutmix_hears_opinions_of_unlabelled_crops_alone():
    batch, method = batch_of(2), make("cps", cutmix=False, purify={"mode": "recommended"})
    assert batch.unlabelled is not None
    first, (heard,) = len(batch.labelled.label), [make("cps", cutmix=False)]
    both = [torch.cat([batch.labelled.image, batch.unlabelled.weak])] * 2
    plain = heard._said(both, batch.labelled, batch.unlabelled)  # type: ignore[operator]
    pure = method._said(both, batch.labelled, batch.unlabelled)  # type: ignore[operator]
    for before, after in zip(plain, pure, strict=True):
        assert torch.equal(before.label[:first], after.label[:first])
        assert torch.equal(before.trusted[:first], after.trusted[:first])
        assert not torch.equal(before.label[first:], after.label[first:])


@pytest.mark.parametrize("name", PSEUDO)
def test_judging_moves_no_average_of_batch_norm(name: str):
    def network(seed: int) -> LightSegmenter:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return LightSegmenter(bands=3, classes=CLASSES)

    states = []
    for trust in ("full", "measured"):
        parsed = TypeAdapter(MethodSettings).validate_python(told(name) | {"purify": {"trust": trust}})
        method = build_method(parsed, network(0), another=network).train()
        assert method.judges_opinions == (trust == "measured")
        for _ in range(2):  # the first step of a stage may have nobody yet who could judge
            method(batch_of(3), START)
        states.append({k: v for k, v in method.state_dict().items() if "running" in k})
        if trust == "measured":
            assert method.state_dict()["purifier.reliability.said"].sum() > 0
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", OTHERS)
def test_purification_of_nothing_is_refused_with_the_reason(name: str):
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"method.name": name}, ["method.purify.mode=paper"], has_gpu=False)
    said = str(caught.value)
    assert f"method: `{name}` has nothing to purify: it" in said
    assert "such as `semiearth`, or leave `purify` out" in said
    assert "unknown key" not in said


@pytest.mark.parametrize("name", OTHERS)
def test_no_purification_may_be_asked_of_all(name: str):
    """So one line of a benchmark can switch it off for every method."""
    assert load_settings(None, {"method.name": name}, ["method.purify.mode=off"], has_gpu=False).method.name == name


@pytest.mark.parametrize(("name", "more", "has"), [
    ("dwl", [], "`dwl` has none"), ("cps", [], "`cps` has none"), ("fixmatch", ["method.threshold=0.7"], "one of 0.7"),
])  # fmt: skip
def test_the_released_rules_need_a_filter_behind_which_they_are_idle(name: str, more: list[str], has: str):
    with pytest.raises(ConfigError, match=r"mode `released`.*" + has) as caught:
        load_settings(None, {"method.name": name}, [*more, "method.purify.mode=released"], has_gpu=False)
    assert "choose `recommended` or `paper`" in str(caught.value)
