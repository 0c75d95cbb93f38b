from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from ground import NORTH_UP
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.features import rasterize

from geosemi.errors import LegendError, SceneUnreadable
from geosemi.geo.burn import VectorLabels, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.scene import Scene
from geosemi.geo.window import Window, cover
from geosemi.legend import ClassDef, Legend

LEGEND = Legend(
    (
        ClassDef(0, "land", "#999999"),
        ClassDef(1, "building", "#aa2020", synonyms=("house", "Gebäude")),
        ClassDef(2, "water", "#2060c0", values=(20, 21)),
    )
)
GRID = Grid(CRS.from_epsg(32636), NORTH_UP, 60, 80)
TURNED = Grid(GRID.crs, GRID.transform * Affine.rotation(30), 60, 80)


def on_ground(shapes: list[shapely.Geometry], grid: Grid = GRID) -> list[shapely.Geometry]:
    """Turn (column, row) into map coordinates."""
    return [shapely.transform(s, lambda xy: np.array([grid.transform * tuple(p) for p in xy])) for s in shapes]


def layer(path: Path, shapes: list[shapely.Geometry], classes: list, *, column: str = "class", **options) -> Path:
    grid = options.pop("grid", GRID)
    crs = options.pop("crs", grid.crs)
    frame = gpd.GeoDataFrame({column: classes, "note": "x"}, geometry=on_ground(shapes, grid), crs=grid.crs)
    if crs is None:
        frame = frame.set_crs(None, allow_override=True)
    elif crs != grid.crs:
        frame = frame.to_crs(crs)
    frame.to_file(path, **options)
    return path


def whole(labels: VectorLabels, grid: Grid = GRID) -> np.ndarray:
    return labels.read(grid.window)


quarters = st.integers(-60, 400).map(lambda n: n / 4)  # vertices on pixel centres and corners too: the awkward ties
corners = st.one_of(quarters, st.floats(-20, 100))
rings = st.lists(st.tuples(corners, corners), min_size=3, max_size=7)
polygons = rings.map(lambda points: shapely.make_valid(shapely.Polygon(points)))


@settings(max_examples=50)
@given(st.lists(st.tuples(polygons, st.integers(0, 2)), min_size=1, max_size=5), st.integers(17, 50), st.integers(0, 6))
def test_windows_pieced_together_are_rasterio_on_the_whole_scene(drawn: list, size: int, overlap: int):
    shapes = np.array([shape for shape, _ in drawn], dtype=object)
    labels = VectorLabels(shapes, np.array([k for _, k in drawn], np.uint8), outside=255)
    pairs = [(shape, k) for shape, k in drawn if not shape.is_empty]
    expected = rasterize(pairs, out_shape=GRID.shape, fill=255, dtype=np.uint8) if pairs else np.full(GRID.shape, 255)
    pieced = np.zeros(GRID.shape, np.uint8)
    for window in cover(*GRID.shape, size, overlap):
        pieced[window.slices] = labels.read(window)
    other = np.argwhere(pieced != expected)
    edges = shapely.union_all([shape.boundary for shape, _ in drawn])
    for row, col in other:  # where an edge passes through a centre, the last bit of its slope decides
        assert edges.distance(shapely.Point(col + 0.5, row + 0.5)) < 1e-9
    assert len(other) <= 3


@pytest.mark.parametrize("grid", [GRID, TURNED], ids=["north up", "turned"])
@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb"])
def test_a_pixel_belongs_to_the_polygon_over_its_centre(tmp_path: Path, suffix: str, grid: Grid):
    """Also after a trip through another system. GeoJSON is written and read in degrees."""
    boxes = [shapely.box(10, 5, 30, 25), shapely.box(50.6, 40.4, 60.4, 55.6)]
    crs = "EPSG:4326" if suffix == "geojson" else grid.crs
    path = layer(tmp_path / f"labels.{suffix}", boxes, ["building", "water"], grid=grid, crs=crs)
    expected = np.full(grid.shape, 255)
    expected[5:25, 10:30] = 1
    expected[40:56, 51:60] = 2
    np.testing.assert_array_equal(whole(VectorLabels.load(path, grid, LEGEND), grid), expected)
    assert is_vector(path)
    assert is_vector(path.with_suffix(f".{suffix.upper()}"))
    assert not is_vector(Path("labels.tif"))


def test_the_last_polygon_wins_where_two_lie(tmp_path: Path):
    boxes = [shapely.box(0, 0, 40, 40), shapely.box(20, 20, 60, 60)]
    labels = VectorLabels.load(layer(tmp_path / "a.gpkg", boxes, ["building", "water"]), GRID, LEGEND)
    assert whole(labels)[30, 30] == 2
    assert whole(labels)[10, 10] == 1


def test_reprojected_labels_lie_where_they_belong(tmp_path: Path):
    path = layer(tmp_path / "a.gpkg", [shapely.box(10, 5, 30, 25)], ["building"], crs="EPSG:3857")
    got = whole(VectorLabels.load(path, GRID, LEGEND))
    expected = np.full(GRID.shape, 255)
    expected[5:25, 10:30] = 1
    np.testing.assert_array_equal(got, expected)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_layer_without_crs_is_taken_as_the_scenes(tmp_path: Path):
    path = layer(tmp_path / "a.shp", [shapely.box(0, 0, 8, 8)], ["water"], crs=None)
    assert (whole(VectorLabels.load(path, GRID, LEGEND)) == 2).sum() == 64


@pytest.mark.parametrize("column", ["class", "Class_Name", "LABEL", "landcover", "landuse", "type", "name"])
def test_the_class_column_is_found_by_its_name(tmp_path: Path, column: str):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)], ["water"], column=column)
    assert (whole(VectorLabels.load(path, GRID, LEGEND)) == 2).sum() == 64


def test_the_name_of_a_street_is_no_class(tmp_path: Path):
    path = layer(tmp_path / "osm.gpkg", [shapely.box(0, 0, 8, 8)], ["water"], column="landuse")
    frame = gpd.read_file(path)
    frame.insert(0, "name", ["Main Street"])
    frame.to_file(path)
    assert (whole(VectorLabels.load(path, GRID, LEGEND)) == 2).sum() == 64


def test_the_class_column_can_be_named(tmp_path: Path):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)], ["water"], column="what")
    with pytest.raises(LegendError, match=r"has no class column; its columns are \['what', 'note'\]") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert "`--column` of evaluate, `--set data.label_column=…` of train" in caught.value.hint
    with pytest.raises(LegendError, match="has no class column `kind`"):
        VectorLabels.load(path, GRID, LEGEND, column="kind")
    assert (whole(VectorLabels.load(path, GRID, LEGEND, column="what")) == 2).sum() == 64


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["HOUSE", " gebäude "], [1, 1]),
        ([1, 20], [1, 2]),
        ([1.0, 21.0], [1, 2]),
        (["0", "20"], [0, 2]),
    ],
)
def test_words_synonyms_and_numbers_mean_classes(tmp_path: Path, values: list, ids: list[int]):
    boxes = [shapely.box(0, 0, 10, 10), shapely.box(20, 20, 30, 30)]
    got = whole(VectorLabels.load(layer(tmp_path / "a.gpkg", boxes, values), GRID, LEGEND))
    assert [got[5, 5], got[25, 25]] == ids


@pytest.mark.parametrize(("value", "told"), [("moon", "moon"), (2, "2")])
def test_an_unknown_class_is_refused_by_name(tmp_path: Path, value: object, told: str):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)] * 2, ["water" if value != 2 else 20, value])
    with pytest.raises(LegendError, match=rf"a\.gpkg` holds classes that `legend` does not know: .*{told}") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert "synonyms" in caught.value.hint


def test_a_polygon_without_a_class_is_refused(tmp_path: Path):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)] * 3, ["water", None, None])
    with pytest.raises(LegendError, match=r"a\.gpkg` has 2 polygons without a class in `class`") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert "fill in their class" in caught.value.hint


def test_ground_that_no_polygon_covers(tmp_path: Path):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)], ["building"])
    assert set(np.unique(whole(VectorLabels.load(path, GRID, LEGEND)))) == {1, 255}
    assert set(np.unique(whole(VectorLabels.load(path, GRID, LEGEND, outside="Land")))) == {0, 1}
    with pytest.raises(LegendError, match="`sea` is no class of `legend`") as caught:
        VectorLabels.load(path, GRID, LEGEND, outside="sea")
    assert caught.value.hint == "choose one of land, building, water"
    far = VectorLabels.load(path, GRID, LEGEND).read(Window(40, 40, 10, 10))
    assert (far == 255).all()


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:4326"])
def test_labels_elsewhere_on_earth_are_refused(tmp_path: Path, crs: str):
    path = tmp_path / "a.gpkg"
    place = shapely.box(5, 52, 6, 53) if crs == "EPSG:4326" else shapely.box(0, 0, 9, 9)
    gpd.GeoDataFrame({"class": ["water"]}, geometry=[place], crs=crs).to_file(path)
    with pytest.raises(SceneUnreadable, match=r"no polygon of `.*a\.gpkg` lies on its scene") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert caught.value.hint == "check the crs of both files"


def test_a_scene_without_crs_takes_no_layer_with_one(tmp_path: Path):
    path = layer(tmp_path / "a.gpkg", [shapely.box(0, 0, 8, 8)], ["water"])
    with pytest.raises(SceneUnreadable, match="has a coordinate system but its scene has none") as caught:
        VectorLabels.load(path, Grid(None, NORTH_UP, 60, 80), LEGEND)
    assert "gdal_translate -a_srs" in caught.value.hint


def test_a_bow_tie_and_an_empty_geometry_do_not_stop_the_rest(tmp_path: Path):
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    shapes = [bow, shapely.Polygon(), None, shapely.box(20, 20, 30, 30)]
    geometry = [None if s is None else on_ground([s])[0] for s in shapes]
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame({"class": ["water"] * 4}, geometry=geometry, crs=GRID.crs).to_file(path)
    got = whole(VectorLabels.load(path, GRID, LEGEND))
    assert (got[20:30, 20:30] == 2).all()
    assert 40 <= (got[:10, :10] == 2).sum() <= 60


@pytest.mark.parametrize("shape", [shapely.Point(5, 5), shapely.LineString([(0, 0), (50, 50)])])
def test_points_and_lines_are_no_labels(tmp_path: Path, shape: shapely.Geometry):
    path = layer(tmp_path / "a.gpkg", [shape], ["water"])
    with pytest.raises(SceneUnreadable, match=r"a\.gpkg` holds no polygons") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert caught.value.hint


def test_lines_beside_polygons_are_left_out(tmp_path: Path):
    path = tmp_path / "a.geojson"
    shapes = on_ground([shapely.box(0, 0, 8, 8), shapely.LineString([(20, 20), (50, 50)])])
    frame = gpd.GeoDataFrame({"class": ["water", "river"]}, geometry=shapes, crs=GRID.crs)
    frame.to_crs("EPSG:4326").to_file(path)
    assert (whole(VectorLabels.load(path, GRID, LEGEND)) != 255).sum() == 64


def test_labels_in_one_of_several_layers(tmp_path: Path):
    """Points and empty tables beside the labels do no harm; of two layers of polygons either may be meant."""
    path = tmp_path / "a.gpkg"
    layer(path, [shapely.Point(5, 5)], ["land"], layer="photos")
    layer(path, [shapely.box(0, 0, 8, 8)], ["water"], layer="labels")
    assert (whole(VectorLabels.load(path, GRID, LEGEND)) == 2).sum() == 64
    layer(path, [shapely.box(0, 0, 80, 60)], ["land"], layer="project")
    with pytest.raises(SceneUnreadable, match="holds polygons in 2 layers: `labels`, `project`") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert "ogr2ogr one.gpkg a.gpkg labels" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"no layer at all", b'{"type": "FeatureCollection", "features": []}'])
def test_what_is_no_layer(tmp_path: Path, content: bytes):
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(SceneUnreadable, match=r"is no readable vector file|holds no polygons|is empty") as caught:
        VectorLabels.load(path, GRID, LEGEND)
    assert ("export" if content else "copy it again") in caught.value.hint
    with pytest.raises(SceneUnreadable, match="does not exist"):
        VectorLabels.load(tmp_path / "none.gpkg", GRID, LEGEND)


def test_a_table_without_geometry_is_no_label_layer(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('[{"class": "water"}]')
    with pytest.raises(SceneUnreadable, match=r"is no readable vector file|holds no polygons"):
        VectorLabels.load(path, GRID, LEGEND)


def test_real_buildings_on_their_orthophoto(shared: Path):
    """Kampala: the burnt area is the polygons' own, to the pixel noise of their outlines."""
    folder = shared / "data" / "kampala"
    grid = Scene.open(folder / "scene.tif").grid
    legend = Legend((ClassDef(0, "ground", "#999999"), ClassDef(1, "building", "#aa2020")))
    labels = VectorLabels.load(folder / "buildings.gpkg", grid, legend, outside="ground")
    assert len(labels.shapes) == 108
    burnt = sum(int((labels.read(w) == 1).sum()) for w in cover(*grid.shape, 1024))
    on_scene = shapely.intersection(
        shapely.union_all(shapely.make_valid(labels.shapes)), shapely.box(0, 0, grid.width, grid.height)
    )
    assert burnt == pytest.approx(on_scene.area, rel=2e-3)
    assert 0.05 < burnt / (grid.width * grid.height) < 0.6
