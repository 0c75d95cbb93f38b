"""DWL: its weights against the table of the paper's formula, its memory against lists, its loss against a slow twin."""

import math
from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import ONE_OF_A_KIND, shrink
from witness import CLASSES, Witness, believed, log_softmax, noise, pixels, slow_supervised

from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.methods.dwl import ELEMENTS, RANKS, Dwl, RankMemory, rank_weight
from geosemi.methods.heads import decoder_of
from geosemi.methods.pseudo import Pseudo
from geosemi.methods.settings import DwlSettings
from geosemi.models.build import build_segmenter
from geosemi.models.light import LightSegmenter
from geosemi.models.spec import ModelSpec

GRID = [n / 40 for n in range(1, 40)]  # further apart than a bin
PIXEL = st.tuples(st.integers(0, CLASSES - 1), st.sampled_from(GRID), st.booleans())


def said(label: list[int], confidence: list[float], valid: list[bool] | None = None) -> Pseudo:
    known = torch.tensor([valid or [True] * len(label)])[None]
    return Pseudo(torch.tensor([[label]]), torch.tensor([[confidence]]), known, known)


def place(confidence: float) -> int:
    """The bin of a confidence: 1024 of them between the logits of 1e-7 and 1 − 1e-7."""
    inside = min(max(confidence, 1e-7), 1 - 1e-7)
    logit, rim = math.log(inside / (1 - inside)), math.log((1 - 1e-7) / 1e-7)
    return min(int(512 * (logit / rim + 1)), 1023)


def light(seed: int) -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LightSegmenter(bands=3, classes=CLASSES)


@pytest.mark.parametrize(
    ("kappa", "weights"),
    [(2, (0.050, 0.245, 0.462, 0.762)), (12, (0.291, 0.905, 0.995, 1.0)), (22, (0.501, 0.992, 1.0, 1.0))],
)
def test_weights_are_those_of_the_table(kappa: float, weights: tuple[float, ...]):
    found = rank_weight(torch.tensor([0.05, 0.25, 0.5, 1.0]), kappa)
    torch.testing.assert_close(found, torch.tensor(weights), atol=1e-3, rtol=0)


def test_sharpness_grows_with_the_run():
    method = Dwl(Witness(0), DwlSettings(), Witness(1))
    assert [method._kappa(Progress(step, 40)) for step in (0, 20, 40)] == [2, 12, 22]


def test_ranks_of_equally_spread_values():
    """Values 0, .01 … 1 have the thresholds .05, .10 … 1; .52 lies above ten of them."""
    memory = RankMemory(1)
    memory.counts.zero_()
    values = [n / 100 for n in range(101)]
    for start in range(0, 101, 51):  # a map is as wide as 64 at most
        part = values[start : start + 51]
        memory.remember(said([0] * len(part), part))
    asked = [0.0, 0.04, 0.06, 0.52, 0.56, 0.94, 1.0]
    rank = memory.rank(said([0] * len(asked), asked))[0, 0]
    torch.testing.assert_close(rank, torch.tensor([0, 0, 0.05, 0.5, 0.55, 0.9, 0.95]), atol=1e-6, rtol=0)
    assert rank_weight(rank[3], 2).item() == pytest.approx(0.462, abs=1e-3)


@settings(max_examples=12)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from(GRID), st.booleans()), min_size=1, max_size=8),
        max_size=60,
    )
)
def test_the_memory_is_that_of_lists(steps: list[list[tuple[int, float, bool]]]):
    memory = RankMemory(CLASSES)
    lists = [deque([[1.0]], maxlen=ELEMENTS) for _ in range(CLASSES)]
    for step in steps:
        label, confidence, valid = (list(column) for column in zip(*step, strict=True))
        memory.remember(said(label, confidence, valid))
        for k in range(CLASSES):
            values = [c for kind, c, known in step if kind == k and known]
            if values:
                lists[k].append(values)
    for k in range(CLASSES):
        ordered = sorted(value for element in lists[k] for value in element)
        thresholds = [ordered[j * (len(ordered) - 1) // RANKS] for j in range(1, RANKS + 1)]
        found = memory.rank(said([k] * len(GRID), GRID))[0, 0]
        wanted = [sum(b < c for b in thresholds) / RANKS for c in GRID]
        torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-6, rtol=0)


def test_confidences_that_crowd_below_one_keep_their_order():
    memory = RankMemory(1)
    memory.counts.zero_()
    crowd = [1 - 10 ** (-2 - n / 10) for n in range(41)]  # .99 … .999999
    memory.remember(said([0] * 41, crowd))
    rank = memory.rank(said([0] * 41, crowd))[0, 0]
    assert rank[0] == 0
    assert (rank.diff() >= 0).all()
    assert rank[20].item() == pytest.approx(0.45, abs=0.051)


def test_large_maps_are_remembered_at_64_pixels():
    memory = RankMemory(CLASSES)
    fields = torch.zeros(3, 256, 200, dtype=torch.int64), torch.full((3, 256, 200), 0.5), torch.ones(3, 256, 200) > 0
    memory.remember(Pseudo(*fields, fields[-1]))
    assert memory.counts.sum() == 3 * 64 * 64 + CLASSES  # and a value of 1 in each class


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_a_slow_twin(seed: int):
    batch, student, peer = noise(seed), Witness(0), Witness(1)
    u = batch.unlabelled
    assert u is not None
    method = Dwl(student, DwlSettings(warm_up=0), peer).train()
    losses = method(batch, Progress(25, 100))
    assert [seen.shape[0] for _, seen in student.images] == [4, 8]
    assert torch.equal(student.images[1][1], torch.cat([batch.labelled.image, u.strong[0]]))
    assert all(training for training, _ in student.images)
    weak, learnt = pixels(student.said[0]), pixels(peer.said[-1])
    held: list[list[float]] = [[1.0] for _ in range(CLASSES)]
    beliefs = []
    for n, row, column in u.valid.nonzero().tolist():
        label, _ = believed(weak[n][row][column], 0)
        confidence = math.exp(log_softmax(weak[n][row][column])[label])
        held[label].append(confidence)
        beliefs.append((label, confidence, learnt[n][row][column]))
    total = 0.0
    for label, confidence, logits in beliefs:
        ordered = sorted(held[label])
        rank = sum(place(ordered[j * (len(ordered) - 1) // 20]) < place(confidence) for j in range(1, 21)) / 20
        total -= (2 / (1 + math.exp(-7 * rank)) - 1) * log_softmax(logits)[label]
    assert losses["consistency"].item() == pytest.approx(total / len(beliefs), rel=1e-4)
    assert losses["supervised"].item() == pytest.approx(slow_supervised(student.said[1], batch.labelled.label))


def test_the_weight_grows_from_near_nothing():
    batch = noise(0)
    twice = []
    for progress in (Progress(0, 100), Progress(99, 100)):
        method = Dwl(Witness(0), DwlSettings(warm_up=0.5, sharpness=(2, 2)), Witness(1)).train()
        twice.append(method(batch, progress)["consistency"].item())
    assert twice[0] == pytest.approx(0.00674 * twice[1], rel=1e-2)


def test_heads_are_blended_before_the_first_step_of_each_part():
    method = Dwl(light(0), DwlSettings(alpha=0.25, blend_every=3), light(1)).train()
    batch, blended = noise(0, side=32), []
    learnt = dict(method.pseudo_head.named_parameters())
    encoder = {k: p for k, p in method.student.named_parameters() if k not in learnt}
    for step in range(12):
        before = {k: p.clone() for k, p in method.student.named_parameters()}
        method(batch, Progress(step, 12))
        after = dict(method.student.named_parameters())
        assert all(torch.equal(before[k], after[k]) for k in encoder)
        if any(not torch.equal(before[k], after[k]) for k in learnt):
            blended.append(step)
            for k, p in learnt.items():
                torch.testing.assert_close(after[k], 0.75 * before[k] + 0.25 * p)
    assert blended == [3, 6, 9]
    method(batch, Progress(9, 12))  # the same step again, as when a batch is shared out
    assert method.blended == 3


def test_truth_teaches_no_pseudo_head_and_pseudo_labels_no_main_head():
    method = Dwl(light(0), DwlSettings(warm_up=0), light(1)).train()
    losses = method(noise(0, side=32), Progress(5, 10))
    for name, untouched in (("supervised", "pseudo_head."), ("consistency", "student.classify")):
        method.zero_grad()
        losses[name].backward(retain_graph=True)
        touched = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        assert any(key.startswith("student.stem") for key in touched)
        assert not any(key.startswith(untouched) for key in touched)


def test_a_decoder_has_what_it_needs_and_nothing_else():
    whole, left = light(3).eval(), decoder_of(light(3)).eval()
    image = torch.randn(2, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    features = whole.features(image)
    assert torch.equal(left.logits(features, (40, 33)), whole.logits(features, (40, 33)))
    assert {key.split(".")[0] for key in left.state_dict()} == {"lateral", "fuse", "classify"}


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_every_network_has_a_decoder_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch):
    shrink(monkeypatch)
    whole, other = (build_segmenter(ModelSpec(name=name, weights=None), bands=3, classes=3, seed=0) for _ in range(2))
    left, image = decoder_of(other).eval(), torch.randn(1, 3, 70, 45, generator=torch.Generator().manual_seed(0))
    features = whole.eval().features(image)
    logits = left.logits(features, (70, 45))
    assert torch.equal(logits, whole.logits(features, (70, 45)))
    parameters = list(left.parameters())
    assert 0 < sum(p.numel() for p in parameters) < sum(p.numel() for p in whole.parameters())
    gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    assert all(gradient is not None for gradient in gradients)


def test_a_lone_parameter_of_the_encoder_goes_too():
    left = decoder_of(Witness(0))
    assert not list(left.parameters())
    maps = [torch.randn(1, 6, 2, 2) for _ in range(2)]
    assert left.logits(maps, (2, 2)).shape == (1, 3, 2, 2)


def test_a_network_without_feature_maps_is_refused():
    with pytest.raises(InputError, match="`dwl` shares feature maps") as caught:
        Dwl(Witness(widths=()), DwlSettings(), Witness(1))
    assert "--method fixmatch" in caught.value.hint
