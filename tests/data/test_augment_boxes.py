import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.data.cutmix import draw_box, draw_boxes
from geosemi.data.keyed import keyed_generator


@settings(max_examples=100, deadline=None)
@given(st.integers(16, 600), st.integers(0, 2**31))
def test_boxes_fit_and_keep_their_law(size: int, seed: int):
    rows, columns = draw_box(size, keyed_generator(seed))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert 0 <= rows.start <= rows.stop <= size
    assert 0 <= columns.start <= columns.stop <= size
    assert height * width <= 0.4 * size**2
    assert (height + 1) * (width + 1) >= 0.02 * size**2
    assert (height + 1) / max(width, 1) >= 0.3
    assert height / (width + 1) <= 1 / 0.3


def test_half_of_the_crops_have_a_box_whose_area_is_uniform():
    boxes = draw_boxes(4000, 64, 0.5, keyed_generator(0))
    area = boxes.flatten(1).float().mean(dim=1)
    assert (area > 0).float().mean() == pytest.approx(0.5, abs=0.025)
    area = area[area > 0]
    assert area.mean() == pytest.approx(0.21, abs=0.015)  # of U(.02, .4), less what rounding down takes
    assert ((area > 0.21).float().mean()) == pytest.approx(0.48, abs=0.04)


def test_a_box_is_one_filled_rectangle():
    for box in draw_boxes(20, 32, 1.0, keyed_generator(1)):
        rows, columns = box.any(dim=1), box.any(dim=0)
        assert torch.equal(box, rows[:, None] & columns[None])
        assert rows.int().diff().abs().sum() <= 2


def test_probability_of_none_and_all():
    assert not draw_boxes(5, 32, 0.0, keyed_generator(2)).any()
    assert draw_boxes(5, 32, 1.0, keyed_generator(2)).flatten(1).any(dim=1).all()
