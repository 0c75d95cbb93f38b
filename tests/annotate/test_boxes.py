"""Boxes of models on the scene: every frame, clipping, and what is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.answer import Answer, Claim
from geosemi.annotate.boxes import MAX_BOXES, MAX_UNKNOWN, Box, Frame, place_boxes
from geosemi.geo.window import Window

TILE = Window(100, 200, 400, 500)  # rows 100 … 499, columns 200 … 699
CLASSES = {"road": 0, "building": 1}


def placed(*claims: tuple[str, tuple[float, float, float, float]], frame: Frame, seen=(400, 500), tile=TILE):
    answer = Answer(tuple(Claim(label, numbers) for label, numbers in claims), "json", truncated=False, unusable=0)
    return place_boxes(answer, CLASSES.get, frame=frame, tile=tile, seen=seen)


@pytest.mark.parametrize(
    ("frame", "numbers", "seen"),
    [
        (Frame.PICTURE, (50, 40, 150, 200), (400, 500)),
        (Frame.SEEN, (50, 40, 150, 200), (400, 500)),
        (Frame.SEEN, (100, 80, 300, 400), (800, 1000)),  # the model enlarged the picture
        (Frame.SEEN, (25, 10, 75, 50), (100, 250)),  # and reduced it, not the same both ways
        (Frame.UNIT, (0.1, 0.1, 0.3, 0.5), (77, 77)),
        (Frame.MILLE, (100, 100, 300, 500), (77, 77)),
        (Frame.MILLE_YX, (100, 100, 500, 300), (77, 77)),
        (Frame.MILLE, (300, 500, 100, 100), (77, 77)),  # corners the other way round
    ],
)
def test_the_same_box_in_every_frame(frame, numbers, seen):
    (box,) = placed(("road", numbers), frame=frame, seen=seen).boxes
    assert box.id == 0
    assert box.edges == pytest.approx((250, 140, 350, 300))


def test_the_frame_error_of_the_released_code_would_be_seen():
    """448 of 518: a box at the far corner comes out at 0.865 of it where pixels are taken for those of the scene."""
    tile = Window(0, 0, 518, 518)
    (right,) = placed(("road", (224, 224, 448, 448)), frame=Frame.SEEN, seen=(448, 448), tile=tile).boxes
    (wrong,) = placed(("road", (224, 224, 448, 448)), frame=Frame.PICTURE, seen=(518, 518), tile=tile).boxes
    assert right.edges == pytest.approx((259, 259, 518, 518))
    assert wrong.right / right.right == pytest.approx(0.865, abs=1e-3)


def test_what_leaves_the_tile_is_clipped():
    (box,) = placed(("road", (-50, 300, 100, 900)), frame=Frame.PICTURE).boxes
    assert box.edges == (200, 400, 300, 500)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((10, 10, 13.9, 100), "small"),
        ((10, 10, 10, 10), "small"),
        ((10, 398, 100, 900), "small"),  # after clipping
        ((0, 0, 500, 400), "whole picture"),
        ((2, 2, 499, 399), "whole picture"),
        ((600, 10, 700, 100), "outside"),
        ((-100, 10, -20, 100), "outside"),
    ],
)
def test_a_box_that_is_none_is_dropped(numbers, reason):
    result = placed(("road", numbers), frame=Frame.PICTURE)
    assert (result.boxes, result.dropped) == ((), {reason: 1})


def test_a_repetition_is_dropped_and_a_box_of_several_classes_altogether():
    one, two = (10, 10, 60, 60), (100, 100, 200, 200)
    result = placed(("road", one), ("road", one), ("road", two), ("building", two), frame=Frame.PICTURE)
    assert [box.edges for box in result.boxes] == [(210, 110, 260, 160)]
    assert result.dropped == {"duplicate": 3}


def test_unknown_labels_are_counted_and_bounded():
    box = (10, 10, 60, 60)
    result = placed(("boat", box), ("boat", box), ("road", box), frame=Frame.PICTURE)
    assert result.unknown == {"boat": 2}
    assert len(result.boxes) == 1
    many = placed(*[(f"thing {n}", box) for n in range(200)], frame=Frame.PICTURE)
    assert len(many.unknown) == MAX_UNKNOWN + 1
    assert sum(many.unknown.values()) == 200


def test_what_a_tile_may_say_is_bounded():
    boxes = [("road", (n % 20 * 10, n // 20 * 10, n % 20 * 10 + 9, n // 20 * 10 + 9)) for n in range(MAX_BOXES + 30)]
    result = placed(*boxes, frame=Frame.PICTURE)
    assert len(result.boxes) == MAX_BOXES
    assert result.dropped == {"too many": 30}
    assert result.boxes == placed(*boxes[:MAX_BOXES], frame=Frame.PICTURE).boxes


NUMBER = st.floats(-2000, 3000) | st.integers(-2000, 3000)


@given(
    st.lists(st.tuples(st.sampled_from(["road", "building", "boat"]), st.tuples(*[NUMBER] * 4)), max_size=12),
    st.sampled_from(Frame),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
def test_every_claim_is_placed_or_counted(claims, frame, seen):
    result = placed(*claims, frame=frame, seen=seen)
    assert len(result.boxes) + sum(result.unknown.values()) + sum(result.dropped.values()) == len(claims)
    for box in result.boxes:
        assert 200 <= box.left <= box.right - 4 + 1e-6
        assert box.right <= 700
        assert 100 <= box.top <= box.bottom - 4 + 1e-6
        assert box.bottom <= 500
        assert box.area <= 0.9 * 400 * 500 + 1e-6


def test_overlap():
    assert Box(0, 0, 0, 10, 10).overlap(Box(0, 5, 8, 20, 20)) == 10
    assert Box(0, 0, 0, 10, 10).overlap(Box(0, 10, 0, 20, 10)) == 0
