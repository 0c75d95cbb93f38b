"""Existing maps as opinions: any crs, any resolution, a table of classes, and what they do not know."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from fakes import legend_of
from rasterio.crs import CRS
from rasterio.warp import Resampling, calculate_default_transform, reproject
from rasters import UTM, grid_of

from geosemi.annotate.classtable import ClassTable
from geosemi.annotate.layer import reading_layer
from geosemi.annotate.others import annotate_from_layer
from geosemi.errors import ConfigError, LegendError, SceneUnreadable
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import reading_opinion
from geosemi.geo.window import Window, cover
from geosemi.legend import ClassDef, Legend

LEGEND = Legend(
    (
        ClassDef(0, "water", "#0000ff"),
        ClassDef(1, "tree", "#00ff00", ("forest", "wood")),
        ClassDef(2, "road", "#888888"),
    )
)
GRID = grid_of(300, 400)


def write(path: Path, pixels: np.ndarray, *, crs=UTM, transform=GRID.transform, nodata=None) -> Path:
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "nodata": nodata}
    with rasterio.open(
        path, "w", height=pixels.shape[1], width=pixels.shape[2], crs=crs, transform=transform, **profile
    ) as d:
        d.write(pixels)
    return path


def codes(shape=(300, 400)) -> np.ndarray:
    """ESA WorldCover's numbers in large blocks: 80 water, 10 trees, 50 built-up, which means nothing here."""
    rows, cols = np.indices(shape)
    return np.array([80, 10, 50], np.uint8)[(rows // 70 + cols // 90) % 3]


TABLE = ClassTable({"80": 0, "10": 1, "50": None}, LEGEND)


def seen_of(path: Path, table: ClassTable = TABLE, grid: Grid = GRID, tile: int = 128) -> np.ndarray:
    """Read window by window, as the writer does."""
    seen = np.zeros((len(LEGEND), *grid.shape), bool)
    with reading_layer(path, grid, table.fresh()) as reader:
        for window in cover(*grid.shape, tile):
            seen[:, *window.slices] = reader.read(window)
    return seen


def test_a_raster_on_the_same_grid(tmp_path: Path):
    pixels = codes()
    seen = seen_of(write(tmp_path / "map.tif", pixels))
    assert np.array_equal(seen[0], pixels == 80)
    assert np.array_equal(seen[1], pixels == 10)
    assert not seen[2].any()


@pytest.mark.parametrize("epsg", [4326, 3857, 32635])
def test_a_raster_in_another_crs_and_resolution(tmp_path: Path, epsg: int):
    """Held against GDAL's warp of the whole map at once."""
    pixels = codes()
    crs = CRS.from_epsg(epsg)
    transform, width, height = calculate_default_transform(UTM, crs, 400, 300, *GRID.bounds)
    transform, width, height = transform * Affine.scale(1.3), int(width / 1.3), int(height / 1.3)
    warped = np.zeros((height, width), np.uint8)
    reproject(pixels, warped, src_transform=GRID.transform, src_crs=UTM, dst_transform=transform, dst_crs=crs)
    path = write(tmp_path / "map.tif", warped, crs=crs, transform=transform, nodata=0)
    back = np.zeros(GRID.shape, np.uint8)
    reproject(
        warped, back, src_transform=transform, src_crs=crs, dst_transform=GRID.transform, dst_crs=UTM,
        resampling=Resampling.nearest,
    )  # fmt: skip
    seen = seen_of(path)
    for k, code in ((0, 80), (1, 10)):
        # GDAL's transformer is approximate, to an eighth of a pixel, and differently so from window to window
        assert (seen[k] != (back == code)).mean() < 2e-3
        assert (seen[k] & (pixels == code)).sum() / (pixels == code).sum() > 0.97


def test_a_coarse_map_that_covers_a_part(tmp_path: Path):
    coarse = Affine(10, 0, GRID.transform.c + 50, 0, -10, GRID.transform.f - 30)
    seen = seen_of(write(tmp_path / "map.tif", np.full((4, 5), 10, np.uint8), transform=coarse))
    rows, cols = np.nonzero(seen[1])
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (60, 139, 100, 199)
    assert seen.sum() == 80 * 100


def test_polygons_in_another_crs(tmp_path: Path):
    shapes = [shapely.box(450_010, 39_900, 450_060, 39_980), shapely.box(450_040, 39_920, 450_100, 39_960)]
    frame = gpd.GeoDataFrame({"landuse": ["forest", "80"]}, geometry=shapes, crs=UTM).to_crs(4326)
    path = tmp_path / "map.gpkg"
    frame.to_file(path)
    seen = seen_of(path, ClassTable({"80": 0}, LEGEND, columns=("landuse",)))
    wood, water = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    wood[40:200, 20:120] = True
    water[80:160, 80:200] = True
    assert (seen[1] != wood).sum() <= 4  # corners, rounded
    assert (seen[0] != water).sum() <= 4
    assert (seen.sum(axis=0) > 1).any()  # both are seen where they overlap


def test_names_and_synonyms_need_no_table(tmp_path: Path):
    shapes = [shapely.box(450_010, 39_900, 450_060, 39_980)] * 3
    frame = gpd.GeoDataFrame({"class": ["Wood", "meadow", "meadow"]}, geometry=shapes, crs=UTM)
    path = tmp_path / "map.geojson"
    frame.to_crs(4326).to_file(path)
    table = ClassTable.load(None, LEGEND)
    with reading_layer(path, GRID, table) as reader:
        assert reader.read(GRID.window)[1].sum() > 10_000
        assert reader.record() == {"shapes": 1, "without_width": 0, "unknown": {"meadow": 2}}
        assert reader.words() == "map map.gpkg".replace("gpkg", "geojson")


def roads(path: Path, crs) -> Path:
    """Two roads, a tree and a wood, as OpenStreetMap has them."""
    shapes = [
        shapely.LineString([(450_020, 39_900), (450_180, 39_900)]),
        shapely.LineString([(450_020, 39_950), (450_180, 39_950)]),
        shapely.Point(450_100, 39_980),
        shapely.box(450_020, 39_860, 450_060, 39_890),
    ]
    frame = gpd.GeoDataFrame({"kind": ["primary", "path", "single tree", "wood"]}, geometry=shapes, crs=UTM)
    frame.to_crs(crs).to_file(path)
    return path


@pytest.mark.parametrize("epsg", [32636, 4326, 3857])
def test_lines_and_points_are_as_wide_as_the_table_says(tmp_path: Path, epsg: int):
    """Metres on the ground, whatever the crs of map and scene."""
    path = roads(tmp_path / "osm.gpkg", epsg)
    table_file = tmp_path / "table.yaml"
    table_file.write_text(
        "column: kind\nvalues: {primary: road, path: road, single tree: tree}\n"
        "widths: {road: 4, primary: 10, tree: 8}\n"
    )
    with reading_layer(path, GRID, ClassTable.load(table_file, LEGEND)) as reader:
        seen = reader.read(GRID.window)
        assert reader.record()["without_width"] == 0
    assert seen[2][:, 200].nonzero()[0].tolist() == [*range(96, 104), *range(190, 210)]  # half a metre a pixel
    assert seen[1][30:50].sum() == pytest.approx(np.pi * 8**2, rel=0.05)
    assert seen[1][220:280, 40:120].all()


def test_lines_without_a_width_are_counted_and_left_out(tmp_path: Path):
    path = roads(tmp_path / "osm.gpkg", 4326)
    scene = write(tmp_path / "scene.tif", np.ones((3, 300, 400), np.uint8))
    table = ClassTable({"primary": 2, "path": 2, "single tree": 1}, LEGEND, columns=("kind",), widths={"primary": 10})
    facts = annotate_from_layer(scene, tmp_path / "out.tif", path, table=table)
    assert facts.warnings == ("2 lines and points of `osm.gpkg` are left out: no `widths:` says how wide they are",)
    frame = gpd.read_file(path).iloc[:2]
    frame.to_file(tmp_path / "lines.gpkg")
    bare = ClassTable({"primary": 2, "path": 2}, LEGEND, columns=("kind",))
    with pytest.raises(LegendError, match="holds lines or points alone") as caught:
        seen_of(tmp_path / "lines.gpkg", bare)
    assert "widths" in caught.value.hint


def extract(path: Path) -> Path:
    """What ogr2ogr makes of OpenStreetMap: a layer for each kind of shape, each with columns of its own."""
    x, y = 450_000, 40_000  # upper left corner; half a metre a pixel

    def box(left: float, top: float) -> shapely.Polygon:
        return shapely.box(x + left, y - top - 10, x + left + 10, y - top)

    def put(layer: str, shapes: list, **columns: list) -> None:
        frame = gpd.GeoDataFrame({"osm_id": "1", **columns}, geometry=shapes, crs=UTM)
        frame.to_crs(4326).to_file(path, layer=layer)

    put("points", [shapely.Point(x + 100, y - 100)], name=["Water Lane"], highway=["crossing"])
    road = shapely.LineString([(x + 20, y - 60), (x + 180, y - 60)])
    put("lines", [road], name=["Water Lane"], highway=["residential"])
    put(
        "multipolygons",
        [box(0, 0), box(20, 0), box(40, 0), box(60, 0), box(80, 0), box(100, 0)],
        building=["yes", None, "", "house", None, "no"],
        landuse=[None, "forest", None, "forest", None, "forest"],
        natural=[None, "water", "water", None, None, None],
    )
    put("other_relations", [shapely.GeometryCollection([box(0, 0)])], type=["site"])
    return path


def test_all_layers_of_an_extract_are_read_and_the_first_column_that_says_something_speaks(tmp_path: Path):
    """Only the first layer was read, and of it one column."""
    path, table_file = extract(tmp_path / "osm.gpkg"), tmp_path / "table.yaml"
    table_file.write_text(
        "column: [building, landuse, natural, highway]\n"
        "values: {building=*: road, building=no: null, building=yes: tree, house: water, "
        "forest: tree, crossing: null}\n"
        "widths: {highway=*: 5}\n"
    )
    table = ClassTable.load(table_file, LEGEND)
    with reading_layer(path, GRID, table) as reader:
        seen = reader.read(GRID.window)
        assert reader.record() == {
            "shapes": 4, "without_width": 0, "unknown": {"(empty)": 1, "highway=residential": 1},
            "without_column": ["other_relations"],
        }  # fmt: skip
    corners = [seen[:, 10, col].nonzero()[0].tolist() for col in range(10, 240, 40)]
    assert corners == [[1], [1], [0], [2], [], []]  # `building=*` before `house`, after `building=yes`
    table_file.write_text(
        table_file.read_text().replace("building=yes: tree", "building=yes: water, highway=residential: road")
    )
    with reading_layer(path, GRID, ClassTable.load(table_file, LEGEND)) as reader:
        seen = reader.read(GRID.window)
    assert seen[:, 10, 10].nonzero()[0].tolist() == [0]
    assert seen[2][:, 200].nonzero()[0].tolist() == [*range(115, 125)]


def test_the_table_of_the_documentation_reads_an_extract(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "annotate.md").read_text(encoding="utf-8")
    (tmp_path / "osm.yaml").write_text(page.split("`osm.yaml`:\n\n```yaml\n")[1].split("```")[0])
    names = ("road", "building", "grass", "tree", "water")
    legend = Legend(tuple(ClassDef(k, name, "#123456") for k, name in enumerate(names)))
    table = ClassTable.load(tmp_path / "osm.yaml", legend)
    with reading_layer(extract(tmp_path / "osm.gpkg"), GRID, table) as reader:
        seen = reader.read(GRID.window)
    assert [seen[:, 10, col].nonzero()[0].tolist() for col in range(10, 240, 40)] == [[1], [4], [4], [1], [], []]
    assert seen[0][:, 200].sum() == 12  # six metres
    assert table.find("residential", column="building") == 1
    assert table.find("residential", column="landuse") is None
    assert table.unknown == {"(empty)": 1, "highway=crossing": 1}


def test_what_was_not_read_of_a_map_is_told(tmp_path: Path):
    path = extract(tmp_path / "osm.gpkg")
    scene = write(tmp_path / "scene.tif", np.ones((3, 300, 400), np.uint8))
    table = ClassTable({"yes": 1, "forest": 1}, LEGEND, columns=("building", "leisure"))
    facts = annotate_from_layer(scene, tmp_path / "out.tif", path, table=table)
    assert facts.warnings == (
        "`osm.gpkg` has no column leisure",
        "layers of `osm.gpkg` without a class column are left out: points, lines, other_relations",
        "values of `osm.gpkg` that mean no class: (empty) (3), building=house (1), building=no (1)",
    )
    with pytest.raises(
        LegendError, match=r"no class column `kind`, `sort`; those of `points` are .*; those of `lines`"
    ):
        seen_of(path, ClassTable({}, LEGEND, columns=("kind", "sort")))
    # without a column of its own `landuse` is found; the names of streets and shops stay out
    with reading_layer(path, GRID, ClassTable.load(None, LEGEND)) as reader:
        assert reader.record()["without_column"] == ["points", "lines", "other_relations"]


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_map_without_a_crs_is_told(tmp_path: Path):
    frame = gpd.GeoDataFrame({"class": ["tree"]}, geometry=[shapely.box(450_020, 39_900, 450_060, 39_950)])
    frame.to_file(tmp_path / "map.gpkg")
    scene = write(tmp_path / "scene.tif", np.ones((3, 300, 400), np.uint8))
    facts = annotate_from_layer(scene, tmp_path / "out.tif", tmp_path / "map.gpkg", table=TABLE.fresh())
    assert facts.warnings == (
        "`map.gpkg` has no coordinate system: its coordinates are taken to be in that of the scene",
    )


def test_a_table_from_a_file(tmp_path: Path):
    path = tmp_path / "table.yaml"
    path.write_text("column: landuse\nvalues: {80: water, Forest: tree, 50: null, '7': road}\n")
    table = ClassTable.load(path, LEGEND)
    assert table.columns == ("landuse",)
    assert [table.find(v) for v in (80, 80.0, "80", "forest", "FOREST ", 50, 7, "wood", "road", 1)] == [
        0, 0, 0, 1, 1, None, 2, 1, 2, 1,
    ]  # fmt: skip
    assert table.unknown == {}
    assert table.find("moor", 3) is None
    assert table.unknown == {"moor": 3}


@pytest.mark.parametrize(
    ("text", "kind", "cause"),
    [
        ("values: [1, 2]", ConfigError, "is no table of classes"),
        ("classes: {1: water}", ConfigError, "is no table of classes"),
        ("widths: {road: wide}", ConfigError, "is no table of classes"),
        ("column: [landuse, 3]", ConfigError, "is no table of classes"),
        ("widths: {road: -1}", ConfigError, "is no table of classes"),
        ("values: {1: lava}", LegendError, "maps `1` to `lava`"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, text, kind, cause):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(kind, match=cause) as caught:
        ClassTable.load(path, LEGEND)
    assert "null" in caught.value.hint


def test_a_map_of_somewhere_else_is_refused(tmp_path: Path):
    far = Affine(1, 0, 700_000, 0, -1, 40_000)
    raster = write(tmp_path / "map.tif", codes(), transform=far)
    with pytest.raises(SceneUnreadable, match="does not lie on its scene") as caught:
        seen_of(raster)
    assert "crs" in caught.value.hint
    frame = gpd.GeoDataFrame({"class": ["water"]}, geometry=[shapely.box(7e5, 0, 7.1e5, 10)], crs=UTM)
    frame.to_file(tmp_path / "map.gpkg")
    with pytest.raises(SceneUnreadable, match="does not lie on its scene"):
        seen_of(tmp_path / "map.gpkg")


def test_a_map_without_a_crs_needs_the_same_pixels(tmp_path: Path):
    bare = Grid(None, Affine.identity(), 300, 400)
    path = write(tmp_path / "map.tif", codes(), crs=None, transform=Affine.identity())
    assert np.array_equal(seen_of(path, grid=bare)[0], codes() == 80)
    with pytest.raises(SceneUnreadable, match="only one has a coordinate system") as caught:
        seen_of(path)
    assert "georeference" in caught.value.hint


def test_a_map_that_knows_none_of_the_classes_is_refused(tmp_path: Path):
    raster = write(tmp_path / "map.tif", np.full((300, 400), 77, np.uint8))
    scene = write(tmp_path / "scene.tif", np.zeros((3, 300, 400), np.uint8))
    with pytest.raises(LegendError, match=r"no value of `.*map\.tif` means a class of `legend`: it holds 77") as caught:
        annotate_from_layer(scene, tmp_path / "out.tif", raster, table=TABLE.fresh())
    assert "--map" in caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.tif", "scene.tif"]
    with pytest.raises(LegendError, match="has 3 bands"):
        seen_of(scene)
    frame = gpd.GeoDataFrame({"kind": ["x"]}, geometry=[shapely.box(450_010, 39_900, 450_060, 39_980)], crs=UTM)
    frame.to_file(tmp_path / "map.gpkg")
    with pytest.raises(LegendError, match="no class column; its columns are \\['kind'\\]") as column:
        seen_of(tmp_path / "map.gpkg")
    assert "--column" in column.value.hint


def test_nodata_of_the_scene_stays_silent(tmp_path: Path):
    pixels = np.ones((3, 300, 400), np.uint8)
    pixels[:, 100:150] = 0
    scene = write(tmp_path / "scene.tif", pixels, nodata=0)
    out = tmp_path / "out.tif"
    facts = annotate_from_layer(scene, out, write(tmp_path / "map.tif", codes()), table=TABLE.fresh())
    with reading_opinion(out, GRID, LEGEND) as reader:
        seen = reader.read(GRID.window)
    assert not seen[:, 100:150].any()
    assert seen[0][:100].sum() == (codes()[:100] == 80).sum()
    assert facts.total == 300 * 400
    record = json.loads(out.with_suffix(".jsonl").read_text())
    assert (record["provider"], record["source"], len(record["sha256"])) == ("layer", "map map.tif", 64)


def test_many_classes_fill_wider_numbers(tmp_path: Path):
    """A legend of 20 classes takes 32 bits; the writer, its overviews and the reader all hold them."""
    legend = Legend(tuple(ClassDef(k, f"class {k}", "#123456") for k in range(20)))
    rows, cols = np.indices((700, 600))
    pixels = ((rows // 40 + cols // 40) % 20).astype(np.uint8)
    scene = write(tmp_path / "scene.tif", np.ones((3, 700, 600), np.uint8))
    out = tmp_path / "out.tif"
    annotate_from_layer(scene, out, write(tmp_path / "map.tif", pixels), table=ClassTable.load(None, legend))
    with rasterio.open(out) as d:
        assert (d.dtypes, d.nodata, d.overviews(1)) == (("uint32",), 0, [2])
        assert np.array_equal(d.read(1), np.uint32(1) << pixels.astype(np.uint32))
        assert set(np.unique(d.read(1, out_shape=(350, 300)))) == {1 << k for k in range(20)}
    with reading_opinion(out, grid_of(700, 600), legend) as reader:
        assert np.array_equal(reader.read(Window(0, 0, 700, 600)), pixels[None] == np.arange(20)[:, None, None])


def test_fakes_have_other_names():
    """A legend that shares no word with the map is told so, not silently mapped by its numbers."""
    assert ClassTable.load(None, legend_of(3)).find("forest") is None
