"""Windows as polygons: where they lie on the map, and which is which."""

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from geosemi.errors import OutputError
from geosemi.geo.grid import Grid
from geosemi.predict.tilegrid import LAYER, write_tile_grid

SKIPPED = np.array([[False, True, False], [False, False, True]])


def written(out, grid, **more):
    write_tile_grid(out, grid, (0, 30), (0, 40, 80), shape=(50, 60), skipped=SKIPPED, **more)
    return pyogrio.read_dataframe(out, layer=LAYER)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 450_000, 0, -0.5, 5_000_000), Affine(0.5, 0, 450_000, 0, 0.5, 5_000_000),
        Affine(0.4, 0.3, 450_000, 0.3, -0.4, 5_000_000),
    ],
)  # fmt: skip
def test_each_window_lies_where_its_pixels_do(tmp_path, transform):
    frame = written(tmp_path / "w.gpkg", Grid(CRS.from_epsg(32633), transform, 80, 140))
    assert frame.crs.to_epsg() == 32633
    assert list(zip(frame["row"], frame["col"], strict=True)) == [(r, c) for r in (0, 1) for c in (0, 1, 2)]
    assert frame["skipped"].tolist() == SKIPPED.ravel().tolist()
    for window in frame.itertuples():
        corners = [(0, 0), (60, 0), (60, 50), (0, 50)]
        wanted = shapely.Polygon([transform * (window.first_col + x, window.first_row + y) for x, y in corners])
        assert window.geometry.normalize().equals_exact(wanted.normalize(), 1e-6)
        assert window.geometry.exterior.is_ccw


def test_a_scene_without_a_place_has_windows_in_pixels(tmp_path):
    frame = written(tmp_path / "w.gpkg", Grid(None, Affine.identity(), 80, 140))
    assert frame.crs is None
    assert tuple(frame.total_bounds) == (0, 0, 140, 80)


def test_the_same_windows_are_the_same_bytes_and_nothing_is_overwritten(tmp_path):
    grid = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 12, 0, -1e-4, 50), 80, 140)
    written(tmp_path / "a.gpkg", grid)
    written(tmp_path / "b.gpkg", grid)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    with pytest.raises(OutputError, match="exists") as caught:
        written(tmp_path / "a.gpkg", grid)
    assert "--overwrite" in caught.value.hint
    assert len(written(tmp_path / "a.gpkg", grid, overwrite=True)) == 6
    with pytest.raises(OutputError, match="no name for a tile grid") as wrong:
        written(tmp_path / "a.geojson", grid)
    assert ".gpkg" in wrong.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "b.gpkg"]
