"""Stitching: which pixels a window finishes, weights, the rolling strip against a sum over the whole scene."""

import numpy as np
import pytest
import torch
from fakes import legend_of
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.errors import ResourceError
from geosemi.geo.scene import Tile
from geosemi.geo.window import Window, starts
from geosemi.predict.answers import Answers
from geosemi.predict.pipeline import Cut
from geosemi.predict.stitch import Axis, Rolling, make_stitch, ramp, spread, windows_for

CPU = torch.device("cpu")
RULES = ("blend", "centre")
rules = st.sampled_from(RULES)
cuts = st.integers(1, 24).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 1)))
shapes = st.tuples(st.integers(1, 50), st.integers(1, 50))


def windows_of(axes):
    down, across = axes
    return [Window(r, c, down.tile, across.tile) for r in down.starts for c in across.starts]


def stitched(rule, shape, cut, answer, *, valid=None, skip=(), rows=None, classes=None):
    """Feed windows, each with `answer(window)` logits, and return the layers (sure, classes) of these rows."""
    classes = classes or len(answer(Window(0, 0, 1, 1)))
    axes = Cut(*cut, rule).axes(*shape)
    answers = Answers(legend_of(classes), ("confidence",))
    rows = rows or range(shape[0])
    numbers = windows_for(axes[0], rule, rows)
    rolling = Rolling(make_stitch(rule, axes, classes=classes, device=CPU), answers, rows, numbers.start)
    out = []
    across = len(axes[1].starts)
    for window in windows_of(axes)[numbers.start * across : numbers.stop * across]:
        seen = np.ones(window.shape, bool) if valid is None else valid[window.slices]
        tile = Tile(np.zeros((1, *window.shape), "uint8"), seen, window)
        out += rolling.add(tile, None if window in skip else answer(window))
    assert [r.row for r in out] == (rows.start + np.cumsum([0, *(len(r.layers[1]) for r in out[:-1])])).tolist()
    return [np.concatenate([r.layers[i] for r in out]) for i in (0, 1)]


def part_of(whole):
    return lambda window: whole[:, *window.slices]


@given(st.integers(1, 200), cuts)
def test_windows_are_as_few_as_can_be_and_lie_evenly(length, cut):
    tile, overlap = min(cut[0], length), min(cut[1], min(cut[0], length) - 1)
    begins = spread(length, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] == length - tile
    steps = np.diff(begins)
    assert len(begins) == len(starts(length, tile, overlap))
    assert (steps <= tile - overlap).all()
    assert steps.size == 0 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize("wrong", [(10, 11, 0), (10, 5, 5), (10, 5, -1)])
def test_windows_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="overlap < size <= length"):
        spread(*wrong)


@given(st.integers(1, 200), cuts, rules)
def test_every_pixel_is_finished_by_one_window_that_holds_it(length, cut, rule):
    axis = Axis.of(length, *cut, rule)
    assert axis.bounds[0] == 0
    assert axis.bounds[-1] == length
    for begin, first, stop in zip(axis.starts, axis.bounds[:-1], axis.bounds[1:], strict=True):
        assert begin <= first <= stop <= begin + axis.tile


@given(st.integers(1, 200), cuts)
def test_centre_takes_each_pixel_where_it_lies_deepest(length, cut):
    axis = Axis.of(length, *cut, "centre")

    def depth(begin, pixel):  # the scene's own rim is no rim of a window
        before = pixel - begin if begin > 0 else length
        after = begin + axis.tile - 1 - pixel if begin + axis.tile < length else length
        return min(before, after) if begin <= pixel < begin + axis.tile else -1

    for pixel in range(length):
        owner = next(i for i, stop in enumerate(axis.bounds[1:]) if pixel < stop)
        assert depth(axis.starts[owner], pixel) >= max(depth(b, pixel) for b in axis.starts) - 1


@given(cuts)
def test_weights_are_positive_symmetric_and_at_most_one(cut):
    weight = ramp(*cut)
    assert weight.shape == (cut[0],)
    assert ((weight > 0) & (weight <= 1)).all()
    assert torch.equal(weight, weight.flip(0))


@given(st.integers(1, 30), st.data())
def test_neighbours_sum_to_one_where_they_share_exactly_the_overlap(half, data):
    overlap = data.draw(st.integers(0, half))
    weight = ramp(2 * half, overlap)
    if overlap:
        total = weight[-overlap:] + weight[:overlap]
        assert torch.allclose(total, torch.ones(overlap), atol=1e-5)
    assert (weight[overlap : 2 * half - overlap] == 1).all()


def test_the_outer_quarter_of_the_overlap_counts_next_to_nothing():
    weight = ramp(64, 16)
    assert (weight[:4] <= 1e-6).all()
    assert (weight[4:-4] > 0.1).all()


def test_the_scene_s_own_rim_does_not_fade():
    assert ramp(32, 8, first=True)[:16].tolist() == [1.0] * 16
    assert ramp(32, 8, last=True)[16:].tolist() == [1.0] * 16
    assert ramp(32, 31, first=True, last=True).tolist() == [1.0] * 32


@given(shapes, cuts, st.integers(1, 5), st.integers(0, 9), rules)
@settings(max_examples=60)
def test_one_answer_for_the_whole_scene_comes_back_whole(shape, cut, classes, seed, rule):
    random = np.random.default_rng(seed)
    # one class leads everywhere by far, so rounding in the weights cannot change the winner
    leader = random.integers(0, classes, shape)
    answer = torch.zeros(classes, *shape).scatter_(0, torch.from_numpy(leader)[None], 3.0)
    sure, found = stitched(rule, shape, cut, part_of(answer))
    assert (found == leader).all()
    assert (sure == round(float(answer.softmax(0).amax()) * 254)).all()


@given(shapes, cuts, st.integers(0, 9))
@settings(max_examples=40)
def test_the_strip_decides_as_a_sum_over_the_whole_scene_does(shape, cut, seed):
    """Each window says something else; the slow twin adds all of them up in arrays of the scene's size."""

    def answer(window):
        number = seed * 10**6 + window.row * 1000 + window.col
        return torch.randn(3, *window.shape, generator=torch.Generator().manual_seed(number))

    axes = Cut(*cut, "blend").axes(*shape)
    whole, total = torch.zeros(3, *shape), torch.zeros(shape)
    for window in windows_of(axes):
        down, across = (
            ramp(axis.tile, axis.overlap, first=begin == 0, last=begin + axis.tile == axis.length)
            for axis, begin in zip(axes, (window.row, window.col), strict=True)
        )
        weight = torch.outer(down, across)
        whole[:, *window.slices] += weight * answer(window).softmax(0)
        total[window.slices] += weight
    sure, found = stitched("blend", shape, cut, answer)
    assert (found == whole.argmax(0).numpy()).mean() > 0.999
    assert np.abs(sure - (whole.amax(0) / total * 254).numpy()).max() <= 0.51


@given(shapes, cuts, st.integers(0, 9), rules, st.data())
@settings(max_examples=60)
def test_some_rows_alone_are_the_same_bytes(shape, cut, seed, rule, data):
    """What resuming and bands rely on: windows that have no say are left out, and nothing changes."""
    begin = data.draw(st.integers(0, shape[0] - 1))
    rows = range(begin, data.draw(st.integers(begin + 1, shape[0])))

    def answer(window):
        number = seed * 10**6 + window.row * 1000 + window.col
        return torch.randn(3, *window.shape, generator=torch.Generator().manual_seed(number))

    whole = stitched(rule, shape, cut, answer)
    some = stitched(rule, shape, cut, answer, rows=rows)
    for one, other in zip(whole, some, strict=True):
        assert np.array_equal(one[rows.start : rows.stop], other)


@given(shapes, cuts, st.integers(0, 9), rules)
@settings(max_examples=60)
def test_nodata_becomes_ignore_even_where_windows_were_skipped(shape, cut, seed, rule):
    valid = np.random.default_rng(seed).random((-(-shape[0] // 8), -(-shape[1] // 8))) < 0.4
    valid = valid.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
    skip = {w for w in windows_of(Cut(*cut, rule).axes(*shape)) if not valid[w.slices].any()}
    answer = torch.zeros(2, *shape)
    answer[1] = 30
    sure, found = stitched(rule, shape, cut, part_of(answer), valid=valid, skip=skip)
    assert (found == np.where(valid, 1, 255)).all()
    assert (sure == np.where(valid, 254, 255)).all()


def test_a_step_between_windows_that_disagree_lies_in_the_middle_of_what_they_share():
    def answer(window):
        return torch.tensor([9.0, 0.0] if window.col == 0 else [0.0, 9.0])[:, None, None].expand(2, 16, 16)

    for rule in RULES:
        _, found = stitched(rule, (16, 28), (16, 4), answer)
        assert (found[:, :14] == 0).all()
        assert (found[:, 14:] == 1).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_number_that_is_none_is_told_unless_it_is_nodata(rule):
    answer = torch.zeros(2, 8, 8)
    answer[1, 3, 4] = torch.nan
    valid = np.ones((8, 8), bool)
    with pytest.raises(ResourceError, match="not a number") as caught:
        stitched(rule, (8, 8), (8, 0), part_of(answer), valid=valid)
    assert "fp32" in caught.value.hint
    valid[3, 4] = False
    sure, found = stitched(rule, (8, 8), (8, 0), part_of(answer), valid=valid)
    assert (found[3, 4], sure[3, 4]) == (255, 255)
    assert (found[valid] == 0).all()
