"""Figures of a confusion matrix against scikit-learn, closed forms and the rules of the published protocols."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from geosemi.errors import LegendError
from geosemi.legend import ClassDef, Legend
from geosemi.metrics import PRESETS, Confusion, Protocol, score

POTSDAM = Legend(
    tuple(
        ClassDef(i, n, f"#{i:02x}8080")
        for i, n in enumerate(["impervious", "building", "low vegetation", "tree", "car", "clutter"])
    ),
    name="potsdam",
)


def legend_of(k: int) -> Legend:
    return Legend(tuple(ClassDef(i, f"class {i}x", "#102030") for i in range(k)))


pairs = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k), hnp.arrays(np.uint8, (2, 60), elements=st.sampled_from([*range(k), 255]))
    )
)  # fmt: skip


def confusion_of(pred: object, truth: object, k: int) -> Confusion:
    made = Confusion(k)
    made.add(np.asarray(pred), np.asarray(truth))
    return made


@given(pairs)
def test_all_figures_agree_with_scikit_learn(case: tuple[int, np.ndarray]) -> None:
    k, (pred, truth) = case
    found = score(confusion_of(pred, truth, k), legend_of(k))
    both = (pred != 255) & (truth != 255)
    p, t, labels = pred[both], truth[both], list(range(k))
    if not both.any():
        assert math.isnan(found.oa)
        assert math.isnan(found.miou)
        return
    assert (found.confusion.matrix == sk.confusion_matrix(t, p, labels=labels)).all()
    theirs = {
        "iou": sk.jaccard_score(t, p, labels=labels, average=None, zero_division=0),
        "f1": sk.f1_score(t, p, labels=labels, average=None, zero_division=0),
        "precision": sk.precision_score(t, p, labels=labels, average=None, zero_division=0),
        "recall": sk.recall_score(t, p, labels=labels, average=None, zero_division=0),
    }
    here = np.isin(labels, np.concatenate([t, p]))
    for name, values in theirs.items():
        mine = np.array([getattr(c, name) for c in found.classes])
        np.testing.assert_allclose(mine[here], values[here], atol=1e-12)
        assert np.isnan(mine[~here]).all()
        assert getattr(found, f"m{name}") == pytest.approx(values[here].mean())
    assert found.oa == pytest.approx(sk.accuracy_score(t, p))
    if len(np.unique(np.concatenate([t, p]))) > 1:
        assert found.kappa == pytest.approx(sk.cohen_kappa_score(t, p, labels=labels), abs=1e-12)
    else:
        assert math.isnan(found.kappa)


@given(pairs, st.integers(0, 60))
def test_adding_in_parts_or_merging_is_adding_at_once(case: tuple[int, np.ndarray], cut: int) -> None:
    k, (pred, truth) = case
    whole = confusion_of(pred, truth, k)
    parts, other = confusion_of(pred[:cut], truth[:cut], k), confusion_of(pred[cut:], truth[cut:], k)
    parts.merge(other)
    for name in ("matrix", "ignored", "unpredicted"):
        assert (getattr(parts, name) == getattr(whole, name)).all()


@given(pairs, st.permutations(range(6)))
def test_renaming_classes_moves_figures_with_them(case: tuple[int, np.ndarray], order: list[int]) -> None:
    k, (pred, truth) = case
    table = np.arange(256, dtype=np.uint8)
    table[:k] = [i for i in order if i < k]
    before, after = (
        score(confusion_of(p, t, k), legend_of(k)) for p, t in ((pred, truth), (table[pred], table[truth]))
    )
    for i in range(k):
        np.testing.assert_equal(before.classes[i].iou, after.classes[table[i]].iou)
    np.testing.assert_allclose([before.miou, before.oa, before.kappa], [after.miou, after.oa, after.kappa], atol=1e-12)


def test_closed_form() -> None:
    # truth 0: 6 right, 2 called 1; truth 1: 1 called 0, 11 right
    found = score(confusion_of([0] * 6 + [1] * 2 + [0] + [1] * 11, [0] * 8 + [1] * 12, 2), legend_of(2))
    assert [c.iou for c in found.classes] == pytest.approx([6 / 9, 11 / 14])
    assert [c.f1 for c in found.classes] == pytest.approx([12 / 15, 22 / 25])
    assert found.classes[0].precision == pytest.approx(6 / 7)
    assert found.classes[0].recall == pytest.approx(6 / 8)
    assert found.oa == pytest.approx(17 / 20)
    chance = (8 * 7 + 12 * 13) / 400
    assert found.kappa == pytest.approx((0.85 - chance) / (1 - chance))
    assert found.iou == {"class 0x": pytest.approx(6 / 9), "class 1x": pytest.approx(11 / 14)}


@pytest.mark.parametrize(("preset", "absent"), [("default", math.nan), ("semiearth_code", 0.0)])
def test_absent_class_is_left_out_or_counts_zero(preset: str, absent: float) -> None:
    found = score(confusion_of([0, 1], [0, 1], 3), legend_of(3), PRESETS[preset])
    np.testing.assert_equal(found.classes[2].iou, absent)
    assert found.miou == pytest.approx(1.0 if math.isnan(absent) else 2 / 3)


def test_semiearth_paper_and_code_differ_by_clutter_in_the_mean_only() -> None:
    counts = confusion_of([0, 1, 2, 3, 4, 5, 0], [0, 1, 2, 3, 4, 4, 5], 6)
    paper, code = (score(counts, POTSDAM, PRESETS[f"semiearth_{n}"]) for n in ("paper", "code"))
    assert [c.iou for c in paper.classes] == [c.iou for c in code.classes] == pytest.approx([0.5, 1, 1, 1, 0.5, 0])
    assert paper.miou == pytest.approx(4 / 5)
    assert code.miou == pytest.approx(4 / 6)
    assert [c.averaged for c in paper.classes] == [True] * 5 + [False]


def test_dwl_counts_predictions_on_ignored_truth_as_false_positives() -> None:
    counts = confusion_of([0, 0, 1, 1], [0, 255, 1, 1], 6)
    assert score(counts, POTSDAM).classes[0].iou == 1.0
    dwl = score(counts, POTSDAM, PRESETS["dwl"])
    assert dwl.classes[0].iou == pytest.approx(1 / 2)
    assert dwl.classes[0].recall == 1.0
    assert dwl.oa == pytest.approx(3 / 4)  # the ignored row is part of accuracy and kappa
    assert dwl.kappa == pytest.approx((3 / 4 - (1 / 4 * 2 / 4 + 2 / 4 * 2 / 4)) / (1 - (1 / 4 * 2 / 4 + 2 / 4 * 2 / 4)))


def test_s5_takes_clutter_for_no_truth_but_a_clutter_prediction_still_misses() -> None:
    found = score(confusion_of([0, 1, 5], [0, 5, 2], 6), POTSDAM, PRESETS["s5"])
    assert [c.iou for c in found.classes[:3]] == pytest.approx([1.0, math.nan, 0.0], nan_ok=True)
    assert found.oa == pytest.approx(1 / 2)
    assert not found.classes[5].averaged


@given(pairs)
def test_rsmtdf_equals_dropping_the_class_from_the_truth_before_counting(case: tuple[int, np.ndarray]) -> None:
    _, (pred, truth) = case
    dropped = np.where(truth == 5, 255, truth)
    ours = score(confusion_of(pred, truth, 6), POTSDAM, PRESETS["rsmtdf"])
    slow = score(
        confusion_of(pred, dropped, 6), POTSDAM, Protocol("slow", exclude_from_mean=("clutter",), absent="zero")
    )
    np.testing.assert_equal([ours.miou, ours.mf1, ours.oa, ours.kappa], [slow.miou, slow.mf1, slow.oa, slow.kappa])


def test_loveda_background_is_averaged_by_every_preset() -> None:
    loveda = Legend((ClassDef(0, "background", "#ffffff"), ClassDef(1, "building", "#ff0000")))
    for protocol in PRESETS.values():
        found = score(confusion_of([0, 1], [0, 1], 2), loveda, protocol)
        assert all(c.averaged for c in found.classes), protocol.name


@pytest.mark.parametrize("swap", [False, True])
def test_a_value_outside_the_legend_is_named(swap: bool) -> None:
    pred, truth = ([7, 0], [0, 0]) if not swap else ([0, 0], [7, 0])
    with pytest.raises(LegendError, match=r"the values \[7\], which are no class of 0 … 2") as caught:
        confusion_of(pred, truth, 3)
    assert "use the legend that it was made with" in caught.value.hint


def test_floats_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(TypeError, match="must be integers"):
        Confusion(2).add(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match="differ in shape"):
        Confusion(2).add(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ValueError, match="cannot merge 3 classes into 2"):
        Confusion(2).merge(Confusion(3))
    with pytest.raises(ValueError, match="has 3 classes"):
        score(Confusion(3), legend_of(2))


def test_dictionary_is_plain_json_without_nan() -> None:
    found = score(confusion_of([0, 0], [0, 255], 3), legend_of(3)).to_dict()
    text = json.dumps(found, allow_nan=False)
    back = json.loads(text)
    assert back["classes"]["class 2x"]["iou"] is None
    assert back["confusion"] == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert back["ignored"] == [1, 0, 0]
