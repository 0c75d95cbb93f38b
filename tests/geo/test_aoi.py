"""The area of interest: the same pixels as GDAL burns from finely cut edges, in every crs, format and window."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from ground import NORTH_UP
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from strategies import windows_inside

from geosemi.errors import InputError, SceneUnreadable
from geosemi.geo.aoi import AreaOfInterest
from geosemi.geo.grid import Grid
from geosemi.geo.window import Window, cover

UTM = CRS.from_epsg(32636)
GRID = Grid(UTM, NORTH_UP, 120, 160)
# a pixel in the middle of the last degree of the zone: straight lines of latitude bend by many pixels here
WIDE = Grid(UTM, Affine(30, 0, 300_000, 0, -30, 6_700_000), 900, 1000)


def on_ground(grid: Grid, pixels: shapely.Geometry) -> shapely.Geometry:
    t = grid.transform
    return shapely.affinity.affine_transform(pixels, [t.a, t.b, t.d, t.e, t.c, t.f])


def write(path: Path, shapes: list, crs: object = "EPSG:32636", **columns) -> Path:
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def inside(grid: Grid, shapes: list) -> np.ndarray:
    return geometry_mask(shapes, grid.shape, grid.transform, invert=True)


# no edge runs through the centres of pixels, where the last bit of a number would decide
STAR = shapely.affinity.translate(
    shapely.Polygon([(20, 10), (90, 30), (140, 15), (110, 60), (150, 110), (80, 85), (30, 115), (45, 60)]), 0.12, 0.07
)
HOLED = shapely.box(10, 10, 100, 100).difference(shapely.box(30, 40, 70, 60))


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".fgb"])
def test_pixels_whose_centre_lies_inside(tmp_path, suffix):
    shapes = [on_ground(GRID, STAR), on_ground(GRID, HOLED)]
    crs = "EPSG:32636"
    if suffix == ".geojson":  # its crs is WGS 84
        frame = gpd.GeoSeries(shapes, crs=crs).to_crs("EPSG:4326")
        shapes, crs = list(frame), "EPSG:4326"
    area = AreaOfInterest.load(write(tmp_path / f"a{suffix}", shapes, crs), GRID)
    expected = inside(GRID, [on_ground(GRID, STAR), on_ground(GRID, HOLED)])
    wrong = area.read(GRID.window) != expected
    assert wrong.sum() <= (20 if suffix == ".geojson" else 0)  # 7 decimals of a degree: 0.02 pixels
    assert 0.2 < expected.mean() < 0.8


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.5, 0, 450_000, 0, 0.5, 39_000),
        Affine.translation(450_000, 40_000) * Affine.rotation(33) * Affine.scale(0.5, -0.4),
    ],
    ids=["south up", "turned"],
)
def test_any_grid(tmp_path, transform):
    grid = Grid(UTM, transform, 120, 160)
    shape = on_ground(grid, STAR)
    area = AreaOfInterest.load(write(tmp_path / "a.gpkg", [shape]), grid)
    np.testing.assert_array_equal(area.read(grid.window), inside(grid, [shape]))


def test_long_edges_bend_as_they_do_on_the_ground(tmp_path):
    """A box in degrees over a whole UTM scene; its upper edge bows by 20 pixels. The control is the unbent one."""
    west, south, east, north = 29.6, 60.25, 29.98, 60.37
    box = shapely.box(west, south, east, north)
    area = AreaOfInterest.load(write(tmp_path / "a.gpkg", [box], "EPSG:4326"), WIDE).read(WIDE.window)
    to_degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    rows, cols = np.mgrid[: WIDE.height, : WIDE.width] + 0.5
    lons, lats = to_degrees.transform(*(WIDE.transform * (cols, rows)))
    truth = (lons > west) & (lons < east) & (lats > south) & (lats < north)
    assert truth.any()
    assert (area != truth).sum() < 0.002 * truth.sum()
    corners = gpd.GeoSeries([box], crs="EPSG:4326").to_crs(UTM)
    assert (inside(WIDE, list(corners)) != truth).sum() > 5 * (area != truth).sum()


def test_a_polygon_of_the_whole_world_covers_the_scene(tmp_path):
    """Most of it has no place in UTM."""
    world = shapely.box(-180, -90, 180, 90)
    area = AreaOfInterest.load(write(tmp_path / "a.gpkg", [world], "EPSG:4326"), WIDE)
    assert area.read(WIDE.window).all()


@given(data=st.data())
@settings(max_examples=25)
def test_windows_are_parts_of_the_whole(tmp_path, data):
    points = st.tuples(st.floats(-40, 200), st.floats(-40, 160))
    corners = data.draw(st.lists(st.tuples(points, points, points), min_size=1, max_size=4))
    shapes = [on_ground(GRID, shapely.Polygon(c)) for c in corners]
    path = tmp_path / "a.gpkg"
    path.unlink(missing_ok=True)
    write(path, [*shapes, on_ground(GRID, shapely.box(0, 0, 9, 9))])
    area = AreaOfInterest.load(path, GRID)
    whole = area.read(GRID.window)
    for window in [data.draw(windows_inside(*GRID.shape)), *cover(*GRID.shape, 50, 3)]:
        part = area.read(window)
        np.testing.assert_array_equal(part, whole[window.slices])
        assert area.touches(window) or not part.any()


def test_windows_far_away_are_not_touched(tmp_path):
    area = AreaOfInterest.load(write(tmp_path / "a.gpkg", [on_ground(GRID, shapely.box(10, 10, 30, 30))]), GRID)
    assert area.touches(Window(5, 5, 20, 20))
    assert not area.touches(Window(40, 40, 20, 20))
    assert not area.read(Window(40, 40, 20, 20)).any()


def test_a_bow_tie_is_mended(tmp_path):
    tie = shapely.Polygon([(10, 10), (50, 50), (50, 10), (10, 50)])
    area = AreaOfInterest.load(write(tmp_path / "a.gpkg", [on_ground(GRID, tie)]), GRID)
    np.testing.assert_array_equal(area.read(GRID.window), inside(GRID, [on_ground(GRID, shapely.make_valid(tie))]))


def test_lines_and_points_are_no_area(tmp_path):
    line = on_ground(GRID, shapely.LineString([(0, 0), (90, 90)]))
    with pytest.raises(SceneUnreadable, match="holds no polygons") as caught:
        AreaOfInterest.load(write(tmp_path / "a.gpkg", [line]), GRID)
    assert "as polygons" in caught.value.hint


def test_an_area_elsewhere_is_told(tmp_path):
    for name, shape, crs in [
        ("a", on_ground(GRID, shapely.box(500, 500, 600, 600)), "EPSG:32636"),
        ("b", shapely.box(100, -50, 101, -49), "EPSG:4326"),
    ]:
        with pytest.raises(InputError, match=f"no polygon of `.*{name}.gpkg` lies on the scene") as caught:
            AreaOfInterest.load(write(tmp_path / f"{name}.gpkg", [shape], crs), GRID)
        assert "crs of both files" in caught.value.hint


def test_a_missing_crs_is_told_on_either_side(tmp_path):
    shape = on_ground(GRID, STAR)
    nowhere = Grid(None, GRID.transform, *GRID.shape)
    with pytest.raises(InputError, match=r"`.*a.gpkg` has no coordinate system") as caught:
        AreaOfInterest.load(write(tmp_path / "a.gpkg", [shape], None), GRID)
    assert "export it again" in caught.value.hint
    with pytest.raises(InputError, match="the scene has no coordinate system") as caught:
        AreaOfInterest.load(write(tmp_path / "b.gpkg", [shape]), nowhere)
    assert "--assume-crs" in caught.value.hint
    same = AreaOfInterest.load(tmp_path / "a.gpkg", nowhere)  # both in the same numbers
    np.testing.assert_array_equal(same.read(GRID.window), inside(GRID, [shape]))


@pytest.mark.parametrize("name", ["none.gpkg", "area.txt", "vrt.geojson", "vrt.gpkg", "cut.gpkg"])
def test_what_is_no_vector_file(tmp_path, name):
    path = tmp_path / name
    if name.startswith("vrt"):  # OGR would open what it names
        write(tmp_path / "secret.gpkg", [on_ground(GRID, STAR)])
        path.write_text(
            '<OGRVRTDataSource><OGRVRTLayer name="secret">'
            f"<SrcDataSource>{tmp_path / 'secret.gpkg'}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
        )
        assert len(gpd.read_file(path)) == 1  # the control
    elif name == "cut.gpkg":
        path.write_bytes(write(tmp_path / "whole.gpkg", [on_ground(GRID, STAR)]).read_bytes()[:3000])
    elif name == "area.txt":
        path.write_text("here")
    with pytest.raises(SceneUnreadable) as caught:
        AreaOfInterest.load(path, GRID)
    assert name in caught.value.message
    assert caught.value.hint
