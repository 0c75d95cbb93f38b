import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import windows

from geosemi.geo.window import Window, cover, starts

lengths = st.integers(1, 400)


@st.composite
def sizes_and_overlaps(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, 80))
    return size, draw(st.integers(0, size - 1))


def pixels(window: Window | None) -> set[tuple[int, int]]:
    """Slow twin: the window as the set of its pixels."""
    if window is None:
        return set()
    rows, cols = range(window.row, window.stop_row), range(window.col, window.stop_col)
    return {(r, c) for r in rows for c in cols}


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 0), (-1, 5)])
def test_an_empty_window_is_refused_with_both_sizes(height: int, width: int):
    with pytest.raises(ValueError, match=f"must not be empty, got height={height}, width={width}"):
        Window(0, 0, height, width)


def test_slices_address_an_array_of_the_scene():
    scene = np.arange(60).reshape(6, 10)
    window = Window(row=1, col=2, height=3, width=4)
    assert scene[window.slices].shape == window.shape == (3, 4)
    assert scene[window.slices][0, 0] == 12
    assert (window.stop_row, window.stop_col) == (4, 6)


@given(windows(reach=8, largest=8), windows(reach=8, largest=8))
def test_intersection_is_that_of_the_pixel_sets(a: Window, b: Window):
    assert pixels(a.intersection(b)) == pixels(a) & pixels(b)
    assert a.contains(b) == (pixels(b) <= pixels(a))


@given(windows(), windows(), windows())
def test_intersection_algebra(a: Window, b: Window, c: Window):
    assert a.intersection(a) == a
    assert a.intersection(b) == b.intersection(a)
    ab, bc = a.intersection(b), b.intersection(c)
    assert (ab and ab.intersection(c)) == (bc and a.intersection(bc))
    assert ab is None or (a.contains(ab) and b.contains(ab))


@given(windows(), st.integers(-99, 99), st.integers(-99, 99))
def test_shifts_add_up_and_keep_the_shape(window: Window, rows: int, cols: int):
    there = window.shifted(rows=rows, cols=cols)
    assert there.shape == window.shape
    assert (there.row - window.row, there.col - window.col) == (rows, cols)
    assert there.shifted(rows=-rows, cols=-cols) == window == window.shifted()


@given(lengths, sizes_and_overlaps())
def test_starts_cover_every_pixel_and_leave_the_scene_nowhere(length: int, size_overlap: tuple[int, int]):
    size, overlap = size_overlap
    begin = starts(length, size, overlap)
    used = min(size, length)
    assert begin[0] == 0
    assert begin[-1] + used == length
    steps = np.diff(begin)
    assert (steps > 0).all()
    assert (steps <= size - overlap).all()  # each window overlaps the next by `overlap` or more
    assert len(begin) == (1 if length <= size else -(-(length - overlap) // (size - overlap)))  # and none is needless


@given(st.integers(1, 90), st.integers(1, 90), sizes_and_overlaps())
def test_cover_touches_every_pixel_with_full_windows_in_row_order(height: int, width: int, size_overlap):
    size, overlap = size_overlap
    count = np.zeros((height, width), dtype=int)
    scene = Window(0, 0, height, width)
    cut = list(cover(height, width, size, overlap))
    for window in cut:
        assert window.shape == (min(size, height), min(size, width))
        assert scene.contains(window)
        count[window.slices] += 1
    assert count.min() >= 1
    assert cut == sorted(cut, key=lambda w: (w.row, w.col))
    assert len(set(cut)) == len(cut)


def test_cover_without_overlap_of_a_multiple_touches_once():
    count = np.zeros((12, 8), dtype=int)
    for window in cover(12, 8, 4):
        count[window.slices] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("wrong", [(0, 4, 0), (10, 0, 0), (10, 4, 4), (10, 4, -1)])
def test_starts_refuses_what_cannot_cover(wrong: tuple[int, int, int]):
    with pytest.raises(ValueError, match="need length > 0 and 0 <= overlap < size, got length="):
        starts(*wrong)
