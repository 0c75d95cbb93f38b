"""Who shares ground with whom, against areas computed by shapely in one flat crs."""

import math

import numpy as np
import pytest
import scenery
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from geosemi.data.ground import footprint, ground_blocks, lies_on, shared_groups
from geosemi.geo.grid import Grid

spots = st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.5, 1.0, 2.0]), st.integers(8, 20))


def grid_of(spot, crs=scenery.UTM):
    col, row, pixel, side = spot
    return scenery.grid_at(450_000 + 10 * col, 40_000 - 10 * row, pixel, (side, side + 3), crs)


def in_utm(grid):
    """The footprint in UTM 36, its edges cut finely before they are moved there."""
    ring = shapely.segmentize(shapely.Polygon(grid.corners), 0.02 * math.dist(*grid.corners[:2]))
    move = Transformer.from_crs(grid.crs.to_wkt(), scenery.UTM, always_xy=True)
    return shapely.transform(ring, lambda xy: np.column_stack(move.transform(xy[:, 0], xy[:, 1])))


def connected(shapes):
    """Components of overlapping shapes the slow way: labels are passed on until nothing changes."""
    label = list(range(len(shapes)))
    while True:
        before = list(label)
        for i, a in enumerate(shapes):
            for j, b in enumerate(shapes):
                if a.intersection(b).area > 1e-3 * min(a.area, b.area):
                    label[i] = label[j] = min(label[i], label[j])
        if before == label:
            return label


def same_partition(one, two):
    pairs = set(zip(one, two, strict=True))
    return len(pairs) == len(set(one)) == len(set(two))


@given(st.lists(spots, min_size=1, max_size=8))
def test_groups_are_the_components_of_overlap(found):
    grids = [grid_of(s) for s in found]
    groups = shared_groups(grids, [f"s{i}" for i in range(len(grids))])
    assert same_partition(groups, connected([shapely.Polygon(g.corners) for g in grids]))


@given(st.lists(spots, min_size=1, max_size=4), st.lists(spots, min_size=1, max_size=4))
def test_lying_on_ground_is_overlap(some, others):
    grids, ground = [grid_of(s) for s in some], [grid_of(s) for s in others]
    shapes = [[shapely.Polygon(g.corners) for g in gs] for gs in (grids, ground)]
    expected = [any(a.intersection(b).area > 1e-3 * min(a.area, b.area) for b in shapes[1]) for a in shapes[0]]
    assert lies_on(grids, ground) == expected


def test_nothing_lies_on_no_ground():
    assert lies_on([grid_of((0, 0, 1.0, 8))], []) == [False]
    assert lies_on([], [grid_of((0, 0, 1.0, 8))]) == []


def test_given_groups_stay_together_and_are_merged_through_others():
    a, b, c, d = (scenery.grid_at(450_000 + east, 40_000, 1.0, (50, 50)) for east in (0, 40, 200, 230))
    groups = shared_groups([a, b, c, d], ["one", "two", "one", "three"])
    assert len(set(groups)) == 1  # a–b overlap, a and c are one group, c–d overlap


def test_neighbours_that_touch_share_nothing():
    grids = [
        scenery.grid_at(450_000 + 25.6 * i, 40_000 - 25.6 * j, 0.1, (256, 256)) for i in range(3) for j in range(3)
    ]
    assert len(set(shared_groups(grids, [str(i) for i in range(9)]))) == 9


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:32635", "EPSG:32736"])
def test_scenes_in_other_crs_meet(crs):
    home = scenery.grid_at(450_000, 40_000, 1.0, (400, 400))
    move = Transformer.from_crs(scenery.UTM, crs, always_xy=True)

    def there(east, north):
        """A scene of about 100 m whose upper left corner is that place, on a grid of the other crs."""
        x, y = move.transform(east, north)
        pixel = 1e-5 if crs == "EPSG:4326" else 1.0
        return Grid(CRS.from_user_input(crs), Affine(pixel, 0, x, 0, -pixel, y), 90, 90)

    inside, beside = there(450_380, 39_980), there(450_450, 39_980)
    assert in_utm(home).intersection(in_utm(inside)).area > 100
    assert in_utm(home).intersection(in_utm(beside)).area == 0
    assert lies_on([inside, beside], [home]) == [True, False]


def test_scenes_without_crs_are_alone():
    grids = [Grid(None, Affine.identity(), 64, 64) for _ in range(3)]
    assert len(set(shared_groups(grids, ["a", "b", "c"]))) == 3
    assert lies_on(grids[:1], grids[1:]) == [False]


def test_a_local_crs_is_a_space_of_its_own():
    local = CRS.from_wkt('LOCAL_CS["ground",UNIT["metre",1]]')
    a, b = Grid(local, scenery.place(), 64, 64), Grid(local, scenery.place(450_010), 64, 64)
    utm = scenery.grid_at(450_000, 40_000, 0.5, (64, 64))
    assert shared_groups([a, b, utm], ["a", "b", "c"]) == ["a", "a", "c"]


def test_a_footprint_follows_curved_edges():
    wide = scenery.grid_at(300_000, 5_800_000, 1.0, (10_000, 10_000))
    key, shape = footprint(wide)
    assert key == "degrees"
    to_degrees = Transformer.from_crs(scenery.UTM, "EPSG:4326", always_xy=True)
    west, south, east, north = wide.bounds
    share = np.linspace(0, 1, 197)
    for xs, ys in (
        (west + share * (east - west), np.full(197, north)),
        (np.full(197, east), south + share * (north - south)),
    ):
        far = shapely.distance(shape.exterior, shapely.points(*to_degrees.transform(xs, ys))).max()
        assert far * 111_000 < 0.05  # metres, of 10 km


@given(
    st.integers(-300, 300), st.integers(-300, 300), st.sampled_from([0.3, 0.5, 1.0]), st.integers(40, 300),
    st.integers(40, 300), st.sampled_from([40.0, 64.0, 100.0]), st.booleans(),
)  # fmt: skip
def test_blocks_lie_inside_their_cell(east, north, pixel, height, width, side, south_up):
    step = pixel if south_up else -pixel
    grid = Grid(
        CRS.from_user_input(scenery.UTM),
        Affine(pixel, 0, 450_000 + east / 3, 0, step, 40_000 + north / 3),
        height,
        width,
    )
    blocks = ground_blocks(grid, side)
    assert len({cell for cell, _ in blocks}) == len(blocks)
    for (i, j), window in blocks:
        assert grid.window.contains(window)
        assert min(window.shape) >= 32
        cell = shapely.box(i * side, j * side, (i + 1) * side, (j + 1) * side)
        ground = shapely.box(*grid.crop(window).bounds)
        assert cell.buffer(1e-5 * pixel).contains(ground)
        # and it is as large as it can be: a pixel more on any side would leave the cell or the scene
        assert ground.area > (cell & shapely.box(*grid.bounds)).area - 2 * pixel * (side * 2 + pixel * 2)


@pytest.mark.parametrize("east", [12.8 * 35_157, 12.8 * 35_157 + 64 * 0.05], ids=["on the mesh", "64 pixels beside"])
def test_pixels_on_the_mesh_are_not_lost_to_rounding(east):
    # 12.8 m are 256 pixels of 5 cm, and no edge is a whole number of metres
    blocks = ground_blocks(scenery.grid_at(east, 12.8 * 453_750, 0.05, (512, 768)), 12.8)
    assert sum(w.height * w.width for _, w in blocks) == 512 * 768
