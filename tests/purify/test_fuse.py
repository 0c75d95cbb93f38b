"""Numbers of the tables are those worked out by hand in the notes on the paper; K = 6 classes of Potsdam."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.purify.fuse import Audit, Purified, evidence, fuse, purify
from geosemi.purify.rules import RULES, Rules

ROAD, BUILDING, LOW, TREE, CAR, CLUTTER = range(6)
PAPER, RELEASED, RECOMMENDED = RULES["paper"], RULES["released"], RULES["recommended"]
GAMMA_EQ10 = replace(RECOMMENDED, fusion="eq10")
DROP = "drop"

# pixel: teacher's class and confidence, classes of the opinion, then what each set of rules makes of it
EXAMPLES = {
    "A": (TREE, 0.92, {TREE}, (TREE, 0.920), (TREE, 0.920), (TREE, 0.920), (TREE, 0.920)),
    "B": (TREE, 0.60, {TREE}, (TREE, 0.657), (TREE, 0.650), (TREE, 0.563), (TREE, 0.980)),
    "C": (CAR, 0.26, {CAR}, (CAR, 0.725), (CAR, 0.694), (CAR, 0.311), (CAR, 0.963)),
    "D": (LOW, 0.55, {TREE}, (TREE, 1.000), (TREE, 0.950), (LOW, 0.460), (TREE, 0.950)),
    "E": (LOW, 0.55, {LOW, TREE}, (LOW, 0.539), (LOW, 0.534), (LOW, 0.493), (LOW, 0.764)),
    "F": (ROAD, 0.45, {LOW, TREE}, (LOW, 0.500), DROP, (ROAD, 0.328), DROP),
    "G": (BUILDING, 0.50, set(), (BUILDING, 0.500), (BUILDING, 0.500), (BUILDING, 0.405), (BUILDING, 0.500)),
    "H": (ROAD, 0.22, {TREE}, (TREE, 1.000), (TREE, 0.950), (TREE, 0.341), (TREE, 0.950)),
    "I": (ROAD, 0.22, {LOW, TREE}, (LOW, 0.500), DROP, (LOW, 0.282), DROP),
    "J": (LOW, 0.22, set(), (LOW, 0.220), (LOW, 0.220), (ROAD, 0.167), (LOW, 0.220)),
}
COLUMNS = {"paper": PAPER, "gamma eq10": GAMMA_EQ10, "released": RELEASED, "recommended": RECOMMENDED}


def examples(rules: Rules) -> Purified:
    """All ten pixels in one image of one row, so that `released` knows the image has detections."""
    label = torch.tensor([[[row[0] for row in EXAMPLES.values()]]])
    confidence = torch.tensor([[[row[1] for row in EXAMPLES.values()]]])
    opinion = torch.zeros(1, 6, 1, 10, dtype=torch.bool)
    for n, row in enumerate(EXAMPLES.values()):
        opinion[0, list(row[2]), 0, n] = True
    return purify(label, confidence, opinion=opinion, valid=torch.ones(1, 1, 10, dtype=torch.bool), rules=rules)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("pixel", EXAMPLES)
def test_worked_examples(pixel: str, column: str):
    result, n = examples(COLUMNS[column]), list(EXAMPLES).index(pixel)
    expected = EXAMPLES[pixel][3 + list(COLUMNS).index(column)]
    if expected is DROP:
        assert not result.keep[0, 0, n]
    else:
        assert result.keep[0, 0, n]
        assert result.label[0, 0, n] == expected[0]
        assert float(result.confidence[0, 0, n]) == pytest.approx(expected[1], abs=1e-3)


@pytest.mark.parametrize(
    ("rules", "threshold", "trained"),
    [
        (PAPER, 0.7, "ACDH"),
        (GAMMA_EQ10, 0.7, "ADH"),
        (RECOMMENDED, 0.7, "ABCDEH"),
        (PAPER, 0.95, "DH"),
        (RECOMMENDED, 0.95, "BCDH"),  # D and H lie exactly on .95, as float32
        (RELEASED, 0.95, ""),
    ],
)
def test_which_examples_are_trained(rules: Rules, threshold: float, trained: str):
    result = examples(replace(rules, post_threshold=threshold))
    passing = (result.keep & (result.confidence >= threshold))[0, 0].tolist()
    assert "".join(name for name, yes in zip(EXAMPLES, passing, strict=True) if yes) == trained
    assert float(result.audit.passing_after) == pytest.approx(len(trained) / 10)


SCORES = (1.0, 0.95, 0.5, 0.475, 0.3409)
EQ10 = {
    0.17: (0.798, 0.761, 0.420, 0.401, 0.299),
    0.20: (0.771, 0.736, 0.414, 0.396, 0.301),
    0.25: (0.732, 0.700, 0.411, 0.395, 0.308),
    0.30: (0.700, 0.671, 0.414, 0.400, 0.323),
    0.35: (0.675, 0.650, 0.425, 0.412, 0.345),
    0.40: (0.657, 0.636, 0.443, 0.432, 0.375),
    0.50: (0.643, 0.629, 0.500, 0.493, 0.455),
    0.60: (0.657, 0.650, 0.586, 0.582, 0.563),
    0.65: (0.675, 0.671, 0.639, 0.637, 0.628),
    0.69: (0.694, 0.694, 0.687, 0.687, 0.685),
}
NOISY_OR = {
    0.17: (0.958, 0.564), 0.20: (0.960, 0.580), 0.25: (0.962, 0.606), 0.30: (0.965, 0.633), 0.35: (0.968, 0.659),
    0.40: (0.970, 0.685), 0.50: (0.975, 0.738), 0.60: (0.980, 0.790), 0.65: (0.982, 0.816), 0.69: (0.984, 0.837),
}  # fmt: skip


@pytest.mark.parametrize("c", EQ10)
def test_equation_10_table(c: float):
    got = fuse(torch.full((5,), c), torch.tensor(SCORES), tau=0.7, fusion="eq10")
    assert got.tolist() == pytest.approx(EQ10[c], abs=1e-3)


@pytest.mark.parametrize("c", NOISY_OR)
def test_noisy_or_table(c: float):
    got = fuse(torch.full((2,), c), torch.tensor([0.95, 0.475]), tau=0.7, fusion="noisy_or")
    assert got.tolist() == pytest.approx(NOISY_OR[c], abs=1e-3)


@pytest.mark.parametrize("v", [1.0, 0.95, 0.5])
def test_equation_10_is_lowest_at_half_the_score(v: float):
    c = torch.linspace(0, 0.7, 7001)
    got = fuse(c, torch.full_like(c, v), tau=0.7, fusion="eq10")
    assert float(c[got.argmin()]) == pytest.approx(v / 2, abs=1e-3)
    assert (float(got[0]), float(got[-1])) == (pytest.approx(v), pytest.approx(0.7))


@given(*[st.floats(0, 1, width=32)] * 4)
def test_noisy_or_grows_with_both(c: float, v: float, more_c: float, more_v: float):
    one, both = torch.tensor([c, v]), torch.tensor([max(c, more_c), max(v, more_v)])
    joint = [float(fuse(x[0], x[1], tau=0.7, fusion="noisy_or")) for x in (one, both)]
    assert joint[1] >= joint[0] - 1e-6
    assert joint[0] >= max(c, v) - 1e-6
    assert joint[0] <= 1


@pytest.mark.parametrize(
    ("classes", "seen", "score", "other"),
    [(5, 1, 0.3926, 0.1518), (5, 2, 0.3164, 0.1224), (5, 3, 0.2650, 0.1025), (6, 1, 0.3409, 0.1318),
     (6, 2, 0.2819, 0.1090), (6, 3, 0.2404, 0.0930), (7, 1, 0.3012, 0.1165), (7, 2, 0.2542, 0.0983),
     (7, 3, 0.2199, 0.0851), (8, 1, 0.2697, 0.1043), (8, 2, 0.2315, 0.0895), (8, 3, 0.2027, 0.0784)],
)  # fmt: skip
def test_released_softmax_table(classes: int, seen: int, score: float, other: float):
    opinion = torch.zeros(1, classes, 1, 2, dtype=torch.bool)
    opinion[0, :seen, 0, 0] = True
    got = evidence(opinion, RELEASED)[0, :, 0]
    assert got[:, 0].tolist() == pytest.approx([score] * seen + [other] * (classes - seen), abs=1e-4)
    assert got[:, 1].tolist() == pytest.approx([1 / classes] * classes)  # silent pixel of an image with detections
    assert not evidence(torch.zeros_like(opinion), RELEASED).any()  # nothing said at all


def scene(seed: int, classes: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sharpness = 5 * torch.rand(2, 1, 8, 8, generator=generator)
    logits = sharpness * torch.randn(2, classes, 8, 8, generator=generator)
    confidence, label = logits.softmax(dim=1).max(dim=1)
    opinion = torch.rand(2, classes, 8, 8, generator=generator) < 0.3
    opinion[1] &= bool(seed % 2)  # every other time, an image of which nothing was said
    valid = torch.rand(2, 8, 8, generator=generator) < 0.8
    return {"label": label, "confidence": confidence, "opinion": opinion, "valid": valid}


PIXEL_B = {
    "label": torch.tensor([[[TREE]]]),
    "confidence": torch.tensor([[[0.6]]]),
    "opinion": torch.tensor([False, False, False, True, False, False]).reshape(1, 6, 1, 1),
    "valid": torch.ones(1, 1, 1, dtype=torch.bool),
}


def run(pixels: dict[str, torch.Tensor], rules: Rules, trust: torch.Tensor | None = None) -> Purified:
    label, confidence = pixels["label"], pixels["confidence"]
    return purify(label, confidence, opinion=pixels["opinion"], valid=pixels["valid"], rules=rules, trust=trust)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.sampled_from([0.75, 0.95]))
def test_released_rules_cannot_change_training(seed: int, classes: int, threshold: float):
    pixels = scene(seed, classes)
    result = run(pixels, replace(RELEASED, post_threshold=threshold))
    before = pixels["confidence"] >= threshold
    after = result.keep & (result.confidence >= threshold)
    assert torch.equal(before, after)  # the loss sees the same pixels …
    assert torch.equal(result.label[before], pixels["label"][before])  # … with the same labels …
    assert torch.equal(result.confidence[before], pixels["confidence"][before])
    assert result.audit.refined_passing == result.audit.changed == 0  # … and the audit says so


def test_released_rules_do_rewrite_labels_that_nobody_trains_on():
    pixels = scene(1, 6)
    result = run(pixels, RELEASED)
    assert (result.label != pixels["label"]).any()
    assert result.audit.replaced > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([*RULES.values(), GAMMA_EQ10, replace(RECOMMENDED, fusion="max")]))
def test_sure_pixels_stay_and_the_audit_adds_up(seed: int, rules: Rules):
    pixels = scene(seed, 6)
    result = run(pixels, rules)
    sure = pixels["confidence"] >= rules.tau_conf
    assert torch.equal(result.label[sure], pixels["label"][sure])
    assert torch.equal(result.confidence[sure], pixels["confidence"][sure])
    assert result.keep[sure].all()
    assert ((result.confidence >= 0) & (result.confidence <= 1)).all()
    audit = result.audit
    parts = audit.agreeing + audit.conflicting + audit.ambiguous + audit.silent
    torch.testing.assert_close(parts, audit.low)
    assert audit.dropped == (audit.ambiguous if rules.ambiguous == "drop" else 0)
    passed = (pixels["confidence"] >= rules.post_threshold) & pixels["valid"]
    passes = result.keep & (result.confidence >= rules.post_threshold) & pixels["valid"]
    changed = (passed ^ passes) | (passed & passes & (result.label != pixels["label"]))
    torch.testing.assert_close(audit.changed, changed.sum() / pixels["valid"].sum())
    assert audit.refined_passing <= audit.passing_after <= audit.passing_before + audit.refined_passing + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([PAPER, RECOMMENDED, GAMMA_EQ10]))
def test_silence_changes_nothing(seed: int, rules: Rules):
    pixels = scene(seed, 6)
    result = run(pixels, rules)
    silent = ~pixels["opinion"].any(dim=1)
    assert torch.equal(result.label[silent], pixels["label"][silent])
    assert torch.equal(result.confidence[silent], pixels["confidence"][silent])
    assert result.keep[silent].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([PAPER, RECOMMENDED, GAMMA_EQ10]), st.permutations(range(6)))
def test_class_order_matters_only_where_the_paper_takes_the_first(seed: int, rules: Rules, order: list[int]):
    pixels = scene(seed, 6)
    place = torch.tensor(order).argsort()  # where each class went
    moved = pixels | {"label": place[pixels["label"]], "opinion": pixels["opinion"][:, order]}
    plain, other = run(pixels, rules), run(moved, rules)
    one = pixels["opinion"].sum(dim=1) <= 1 if rules is PAPER else torch.ones_like(plain.keep)
    assert torch.equal(place[plain.label][one], other.label[one])
    torch.testing.assert_close(plain.confidence[one], other.confidence[one])


def test_conflict_limit_leaves_surer_teachers_alone():
    rules = replace(RECOMMENDED, conflict_max_conf=0.4)
    opinion = torch.zeros(1, 3, 1, 2, dtype=torch.bool)
    opinion[0, 2] = True
    confidence = torch.tensor([[[0.39, 0.41]]])
    valid, label = torch.ones(1, 1, 2, dtype=torch.bool), torch.zeros(1, 1, 2, dtype=torch.long)
    result = purify(label, confidence, opinion=opinion, valid=valid, rules=rules)
    assert result.label.flatten().tolist() == [2, 0]
    assert result.confidence.flatten().tolist() == pytest.approx([0.95, 0.41])
    assert (float(result.audit.conflicting), float(result.audit.replaced)) == (1.0, 0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([PAPER, RECOMMENDED, GAMMA_EQ10]), st.integers(0, 5))
def test_a_class_without_trust_is_not_heard(seed: int, rules: Rules, silenced: int):
    pixels = scene(seed, 6)
    trust = torch.ones(6).index_fill(0, torch.tensor(silenced), 0)
    quiet = pixels["opinion"].clone()
    quiet[:, silenced] = False
    told, never = run(pixels, rules, trust), run(pixels | {"opinion": quiet}, rules)
    assert torch.equal(told.label, never.label)
    assert torch.equal(told.confidence, never.confidence)
    assert torch.equal(told.keep, never.keep)
    full, plain = run(pixels, rules, torch.ones(6)), run(pixels, rules)
    assert torch.equal(full.confidence, plain.confidence)


def test_less_trust_is_less_confidence():
    result = [run(PIXEL_B, RECOMMENDED, torch.full((6,), t)) for t in (1.0, 0.5, 0.1)]
    assert [float(r.confidence) for r in result] == pytest.approx([0.98, 1 - 0.4 * 0.525, 1 - 0.4 * 0.905])


def test_nothing_valid_gives_zero_shares():
    pixels = scene(3, 6) | {"valid": torch.zeros(2, 8, 8, dtype=torch.bool)}
    audit = run(pixels, RECOMMENDED).audit
    assert [float(getattr(audit, f.name)) for f in fields(Audit)] == [0.0] * 11
