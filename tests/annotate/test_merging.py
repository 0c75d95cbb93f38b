"""Objects that tiles' borders cut are put together; neighbours are not."""

import time
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.boxes import MAX_BOXES, Box
from geosemi.annotate.drawing import fill
from geosemi.annotate.merging import merge
from geosemi.annotate.vision import touching
from geosemi.geo.window import Window, cover

LEFT, RIGHT = Window(0, 0, 100, 100), Window(0, 80, 100, 100)  # share the columns 80 … 99


def test_an_object_that_reaches_across_is_one():
    merged = merge([Box(0, 60, 10, 100, 30), Box(0, 80, 11, 140, 30)], [LEFT, RIGHT])
    assert merged.object_of == (0, 0)
    assert [hull.edges for hull in merged.hulls] == [(60, 10, 140, 30)]


def test_an_object_in_the_overlap_is_one():
    assert merge([Box(0, 82, 10, 95, 30), Box(0, 83, 10, 95, 31)], [LEFT, RIGHT]).object_of == (0, 0)


def test_other_classes_other_places_and_the_same_tile_stay_apart():
    boxes = [Box(0, 60, 10, 100, 30), Box(1, 80, 10, 140, 30), Box(0, 80, 60, 140, 90), Box(0, 61, 10, 100, 30)]
    assert merge(boxes, [LEFT, RIGHT, RIGHT, LEFT]).object_of == (0, 1, 2, 3)


def test_boxes_that_meet_outside_of_what_both_tiles_show_stay_apart():
    """Each tile sees a part of the ground that the other does not; there they cannot confirm each other."""
    far = Window(0, 100, 100, 100)
    assert merge([Box(0, 60, 10, 100, 30), Box(0, 100, 10, 140, 30)], [LEFT, far]).object_of == (0, 1)


def test_a_chain_over_many_tiles_is_one_object():
    tiles = [Window(0, 80 * n, 100, 100) for n in range(10)]
    boxes = [Box(2, tile.col, 40, tile.stop_col, 60) for tile in tiles]
    merged = merge(boxes, tiles)
    assert set(merged.object_of) == {0}
    assert merged.hulls[0].edges == (0, 40, 820, 60)


def test_nothing_is_nothing():
    assert merge([], []).hulls == ()
    assert touching([], [LEFT]) == [[]]


RECTANGLE = st.tuples(
    st.integers(0, 2), st.integers(0, 250), st.integers(0, 250), st.integers(8, 120), st.integers(8, 120)
)


@given(st.lists(RECTANGLE, max_size=8))
def test_tiles_draw_what_the_scene_has(rectangles):
    """Seen perfectly, cut by tiles, merged and drawn again: every pixel of a rectangle, and none beside all hulls."""
    tiles = list(cover(300, 300, 128, 32))
    truth = [Box(k, x, y, min(x + w, 300), min(y + h, 300)) for k, x, y, w, h in rectangles]
    seen, where = [], []
    for tile in tiles:
        for box in truth:
            left, right = max(box.left, tile.col), min(box.right, tile.stop_col)
            top, bottom = max(box.top, tile.row), min(box.bottom, tile.stop_row)
            if left < right and top < bottom:
                seen.append(Box(box.id, left, top, right, bottom))
                where.append(tile)
    merged = merge(seen, where)
    whole = Window(0, 0, 300, 300)
    drawn = np.zeros((300, 300), np.uint8)
    for tile, boxes in zip(tiles, touching(merged.hulls, tiles), strict=True):
        drawn[tile.slices] |= fill(boxes, tile, np.uint8)
    assert np.array_equal(drawn, fill(merged.hulls, whole, np.uint8))
    assert np.array_equal(drawn & fill(truth, whole, np.uint8), fill(truth, whole, np.uint8))
    assert len(merged.hulls) <= len(seen)


def slow_merge(boxes: list[Box], tiles: list[Window]) -> tuple[int, ...]:
    """Compare every box with every other one, from the sentence that says what one object is."""

    def seen(box: Box, window: Window) -> Box | None:
        left, right = max(box.left, window.col), min(box.right, window.stop_col)
        top, bottom = max(box.top, window.row), min(box.bottom, window.stop_row)
        return Box(box.id, left, top, right, bottom) if left < right and top < bottom else None

    group = list(range(len(boxes)))
    for (m, (a, here)), (n, (b, there)) in combinations(enumerate(zip(boxes, tiles, strict=True)), 2):
        shared = here.intersection(there)
        if a.id != b.id or here == there or shared is None:
            continue
        mine, theirs = seen(a, shared), seen(b, shared)
        if mine and theirs and (both := mine.overlap(theirs)) >= (mine.area + theirs.area - both) / 2:
            group = [group[m] if g == group[n] else g for g in group]
    numbers = {g: number for number, g in enumerate(dict.fromkeys(group))}
    return tuple(numbers[g] for g in group)


@given(st.lists(RECTANGLE, min_size=1, max_size=5), st.integers(0, 2**32), st.integers(0, 40))
def test_the_same_objects_as_by_comparing_all_with_all(truth, seed, count):
    """Tiles that say about the same of a few rectangles, and now and then call one by another name."""
    rng = np.random.default_rng(seed)
    grid = list(cover(300, 300, 128, 64))
    boxes, tiles = [], []
    for n in rng.integers(len(truth), size=count):
        k, x, y, w, h = truth[n]
        left, top = (x, y) + rng.integers(-4, 5, 2) * rng.choice([1, 0.5, 3])
        boxes.append(Box(k if rng.random() < 0.9 else (k + 1) % 3, left, top, left + w, top + h))
        tiles.append(grid[rng.integers(len(grid))])
    assert merge(boxes, tiles).object_of == slow_merge(boxes, tiles)


def test_the_time_grows_with_the_tiles_and_not_with_what_a_model_says():
    """A model that names as much as it may, everywhere: 36 tiles once took minutes and gigabytes."""
    tiles = list(cover(2752, 2752, 512, 64))
    assert len(tiles) == 36
    numbers = np.random.default_rng(0).uniform(0, 200, (len(tiles), MAX_BOXES, 2))
    boxes, where = [], []
    for tile, corners in zip(tiles, numbers, strict=True):
        boxes += [Box(0, tile.col + x, tile.row + y, tile.col + 312 + x, tile.row + 312 + y) for x, y in corners]
        where += [tile] * MAX_BOXES
    begun = time.process_time()
    merged = merge(boxes, where)
    assert time.process_time() - begun < 10
    assert len(merged.object_of) == 36 * MAX_BOXES


def test_a_pixel_belongs_to_a_box_by_its_centre():
    bits = fill([Box(1, 10.4, 10.5, 12.6, 12.51)], Window(10, 10, 5, 5), np.uint8)
    expected = np.zeros((5, 5), np.uint8)
    expected[:3, :3] = 2
    assert np.array_equal(bits, expected)
