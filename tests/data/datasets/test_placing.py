"""World files and invented ground; GDAL itself is the oracle for the half pixel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import replicas
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from geosemi.data.datasets import DATASETS
from geosemi.data.datasets.placing import LOCAL_CRS, on_invented_ground, place, read_world_file
from geosemi.errors import InputError
from geosemi.geo.grid import Grid
from geosemi.geo.scene import Scene

GROUND = DATASETS["potsdam"].ground
NOWHERE = Grid(None, Affine.identity(), 96, 96)


def tile(folder, **world):
    path = folder / "a.tif"
    replicas.write(path, np.ones((3, 96, 96), np.uint8))
    replicas.world_file(folder / "a.tfw", **world)
    return path


def test_a_world_file_means_the_centre_of_the_pixel_as_gdal_reads_it(tmp_path):
    path = tile(tmp_path, pixel=0.05, x=366_976.025, y=5_807_999.975)
    ours = read_world_file(tmp_path / "a.tfw")
    assert ours == Affine(0.05, 0, 366_976.025, 0, -0.05, 5_807_999.975) * Affine.translation(-0.5, -0.5)
    with rasterio.open(path) as dataset:  # GDAL finds the world file by itself
        assert ours.almost_equals(dataset.transform, precision=1e-9)


def test_a_rotated_world_file_is_read_in_the_order_of_its_lines(tmp_path):
    path = tmp_path / "a.tif"
    replicas.write(path, np.ones((3, 8, 8), np.uint8))
    (tmp_path / "a.tfw").write_text("0.4\n0.3\n0.3\n-0.4\n500000\n5000000\n")
    with rasterio.open(path) as dataset:
        assert read_world_file(tmp_path / "a.tfw").almost_equals(dataset.transform, precision=1e-9)


def test_the_files_own_place_wins_and_the_world_file_is_next(tmp_path):
    path = tile(tmp_path, pixel=0.05, x=366_976.0, y=5_807_999.0)
    own = Grid(CRS.from_epsg(32633), Affine(0.05, 0, 1.0, 0, -0.05, 2.0), 96, 96)
    assert place(own, path, GROUND) == own
    bare = replace(own, crs=None, transform=Affine(0.05, 0, 366_000.0, 0, -0.05, 5_808_000.0))
    assert place(bare, path, GROUND).transform == bare.transform
    # keys without a datum say no more than a world file
    unnamed = replace(bare, crs=CRS.from_wkt('LOCAL_CS["unnamed",UNIT["metre",1]]'))
    assert place(unnamed, path, GROUND).crs.to_epsg() == 25833
    assert place(NOWHERE, path, GROUND).transform.c == pytest.approx(366_975.975)
    assert place(NOWHERE, tmp_path / "b.tif", GROUND).crs is None
    assert place(NOWHERE, path, None).crs is None


def test_a_world_file_of_another_town_is_refused(tmp_path):
    path = tile(tmp_path, pixel=0.05, x=3_497_000.0, y=5_420_000.0)
    with pytest.raises(InputError, match=r"not in Potsdam \(EPSG:25833\)") as caught:
        place(NOWHERE, path, GROUND)
    assert "remove the world file" in caught.value.hint


@pytest.mark.parametrize("text", ["", "1 2 3 4 5", "1 2 3 4 5 6 7", "0,05\n0\n0\n-0,05\n1\n2\n", "\xff"])
def test_a_damaged_world_file_is_named(tmp_path, text):
    path = tmp_path / "a.tfw"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"a\.tfw` does not hold six numbers") as caught:
        read_world_file(path)
    assert "unpack the download again" in caught.value.hint


def test_vaihingens_system_is_utm_zone_32():
    """The numbers in its world files are the town's in EPSG:32632, which is why that code is stated."""
    from pyproj import Transformer

    ground = DATASETS["vaihingen"].ground
    lon, lat = Transformer.from_crs(ground.epsg, 4326, always_xy=True).transform(497_000, 5_420_000)
    assert (lon, lat) == (pytest.approx(8.959, abs=0.01), pytest.approx(48.933, abs=0.01))  # Vaihingen an der Enz


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(1, 600)), min_size=1, max_size=30), st.integers(32, 256))
def test_invented_ground_is_never_shared_and_a_tile_apart(shapes, tile):
    scenes = [Scene(Path("x"), Grid(None, Affine.identity(), h, w), ("a",), (1,), "uint8") for h, w in shapes]
    placed = on_invented_ground(scenes, 0.5, tile)
    boxes = [s.grid.bounds for s in placed]
    assert all(s.grid.crs == CRS.from_wkt(LOCAL_CRS) and s.grid.pixel_size == (0.5, 0.5) for s in placed)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert apart >= tile * 0.5 - 1e-9


def test_scenes_that_have_a_place_stay_there():
    home = Scene(Path("x"), Grid(CRS.from_epsg(25833), Affine(1, 0, 5, 0, -1, 5), 4, 4), ("a",), (1,), "uint8")
    assert on_invented_ground([home], 0.5, 64) == [home]
