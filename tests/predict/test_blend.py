"""Blending: weights, the rolling strip against a whole-scene sum, constants, and numbers that are none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.errors import ResourceError
from geosemi.geo.window import cover, starts
from geosemi.predict.blend import Blend, ramp

CPU = torch.device("cpu")
cuts = st.integers(1, 24).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 1)))
shapes = st.tuples(st.integers(1, 50), st.integers(1, 50))


def blend_of(shape, classes, tile, overlap, *, confidence=True):
    return Blend(
        shape, classes=classes, tile=tile, overlap=overlap, ignore=255, device=CPU, confidence=confidence
    )  # fmt: skip


def rows_of(blend, shape, tile, overlap, answer, valid=None, skip=()):
    """Feed windows of a whole-scene answer (K, H, W) and collect what comes out."""
    out = []
    for window in cover(*shape, tile, overlap):
        if window in skip:
            continue
        out += blend.close(window.row)
        seen = torch.ones(window.shape, dtype=torch.bool) if valid is None else valid[window.slices]
        blend.add(window, answer[:, *window.slices], seen)
    out += blend.close(shape[0])
    assert [r.row for r in out] == np.cumsum([0, *(len(r.classes) for r in out[:-1])]).tolist()
    return np.concatenate([r.classes for r in out]), np.concatenate([r.confidence for r in out])


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


@given(shapes, cuts, st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=40)
def test_one_answer_for_the_whole_scene_comes_back_whole(shape, cut, classes, seed):
    random = np.random.default_rng(seed)
    # one class leads everywhere by far, so rounding in the weights cannot change the winner
    leader = random.integers(0, classes, shape)
    answer = torch.full((classes, *shape), 0.2 / max(1, classes - 1))
    answer.scatter_(0, torch.from_numpy(leader)[None], 0.8)
    found, sure = rows_of(blend_of(shape, classes, *cut), shape, *cut, answer)
    assert (found == leader).all()
    assert (sure == round(0.8 * 254)).all()


@given(shapes, cuts, st.integers(0, 9))
@settings(max_examples=30)
def test_the_strip_decides_as_a_sum_over_the_whole_scene_does(shape, cut, seed):
    generator = torch.Generator().manual_seed(seed)
    blend, whole, rows = blend_of(shape, 3, *cut), torch.zeros(3, *shape), []
    total = torch.zeros(shape)
    for window in cover(*shape, *cut):
        answer = torch.rand(3, *window.shape, generator=generator).softmax(0)  # each window says something else
        rows += blend.close(window.row)
        blend.add(window, answer, torch.ones(window.shape, dtype=torch.bool))
        down, across = (
            ramp(size, min(cut[1], size - 1), first=begin == 0, last=begin + size == length)
            for begin, size, length in zip((window.row, window.col), window.shape, shape, strict=True)
        )
        weight = torch.outer(down, across)
        whole[:, *window.slices] += weight * answer
        total[window.slices] += weight
    rows += blend.close(shape[0])
    assert (np.concatenate([r.classes for r in rows]) == whole.argmax(0).numpy()).mean() > 0.999
    share = (whole.amax(0) / total * 254).numpy()
    assert np.abs(np.concatenate([r.confidence for r in rows]) - share).max() <= 0.51


@given(shapes, cuts, st.integers(0, 9))
def test_nodata_becomes_ignore_even_where_windows_were_skipped(shape, cut, seed):
    valid = torch.from_numpy(np.random.default_rng(seed).random((-(-shape[0] // 8), -(-shape[1] // 8))) < 0.4)
    valid = valid.repeat_interleave(8, 0).repeat_interleave(8, 1)[: shape[0], : shape[1]]
    skip = {w for w in cover(*shape, *cut) if not valid[w.slices].any()}
    answer = torch.zeros(2, *shape)
    answer[1] = 1
    found, sure = rows_of(blend_of(shape, 2, *cut), shape, *cut, answer, valid, skip)
    assert (found == np.where(valid, 1, 255)).all()
    assert (sure == np.where(valid, 254, 255)).all()


def test_the_scene_s_own_rim_does_not_fade():
    assert ramp(32, 8, first=True)[:16].tolist() == [1.0] * 16
    assert ramp(32, 8, last=True)[16:].tolist() == [1.0] * 16
    assert ramp(32, 31, first=True, last=True).tolist() == [1.0] * 32


def test_a_later_window_counts_less_at_its_rim_than_its_neighbour_does_there():
    """A step between two windows that disagree lies in the middle of what they share, not at its edge."""
    blend, rows = blend_of((16, 28), 2, 16, 4), []
    for col in starts(28, 16, 4):
        answer = torch.tensor([1.0, 0.0] if col == 0 else [0.0, 1.0])[:, None, None].expand(2, 16, 16)
        window = next(w for w in cover(16, 28, 16, 4) if w.col == col)
        blend.add(window, answer, torch.ones(16, 16, dtype=torch.bool))
    rows += blend.close(16)
    assert rows[0].classes[8].tolist() == [0] * 14 + [1] * 14


def test_not_a_number_is_refused_on_valid_pixels_and_harmless_elsewhere():
    answer = torch.full((2, 8, 8), 0.5)
    answer[:, 3, 3] = torch.nan
    valid = torch.ones(8, 8, dtype=torch.bool)
    with pytest.raises(ResourceError, match="is not a number in rows 0 … 7") as caught:
        rows_of(blend_of((8, 8), 2, 8, 0), (8, 8), 8, 0, answer, valid)
    assert "fp32" in caught.value.hint
    valid[3, 3] = False
    found, _ = rows_of(blend_of((8, 8), 2, 8, 0), (8, 8), 8, 0, answer, valid)
    assert found[3, 3] == 255
    assert (np.delete(found.ravel(), 27) == 0).all()


def test_memory_does_not_grow_with_height():
    low, high = (blend_of((h, 40), 3, 16, 4)._sum.numel() for h in (100, 100_000))
    assert low == high == 3 * 16 * 40


def test_a_window_off_the_strip_is_refused():
    blend = blend_of((32, 8), 1, 8, 0)
    later = list(cover(32, 8, 8))[1]
    with pytest.raises(ValueError, match="does not lie on the strip that begins at row 0"):
        blend.add(later, torch.ones(1, 8, 8), torch.ones(8, 8, dtype=torch.bool))
