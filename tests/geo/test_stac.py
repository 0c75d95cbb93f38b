"""STAC items of masks: the right place on the Earth, the right words, and the same bytes every time."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from fakes import TinySegmenter, bundle_of, legend_of
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from geosemi.errors import ConfigError, OutputError
from geosemi.geo.footprint import footprint_of
from geosemi.geo.grid import Grid
from geosemi.geo.layers import amount_layer, mask_layer
from geosemi.geo.stac import ModelFacts, moment, said_moment, stac_item
from geosemi.geo.stac_items import load_stac
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

MODEL = ModelFacts("light", legend_of(3), ("red", "nir"), (10.0, 20.0), (1.0, 2.0), 512, 1234)
UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(0.5, 0, 450_000, 0, -0.5, 5_000_000)


def polygons(geometry) -> shapely.Geometry:
    return shapely.geometry.shape(geometry)


@given(
    zone=st.integers(1, 60), east=st.floats(200_000, 800_000), north=st.floats(100_000, 8_000_000),
    turn=st.floats(0, 360), pixel=st.floats(0.1, 60), height=st.integers(1, 3000), width=st.integers(1, 3000),
)  # fmt: skip
def test_the_footprint_holds_every_pixel_and_no_more(zone, east, north, turn, pixel, height, width):
    """Rotated and mirrored too; the area on the ellipsoid is that of the pixels, the corners are the corners."""
    transform = Affine.translation(east, north) * Affine.rotation(turn) * Affine.scale(pixel, -pixel)
    grid = Grid(CRS.from_epsg(32600 + zone), transform, height, width)
    found = footprint_of(grid)
    shape = polygons(found.geometry)
    assert shape.is_valid
    lons, lats = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(
        *zip(*grid.corners, strict=True)
    )  # fmt: skip
    for lon, lat in zip(lons, lats, strict=True):
        assert shape.distance(shapely.Point(lon, lat)) < 1e-7
    area = sum(Geod(ellps="WGS84").geometry_area_perimeter(p)[0] for p in shapely.get_parts(shape))
    side = grid.metres_per_pixel()
    assert area == pytest.approx(side**2 * height * width, rel=0.02)  # > 0: counter-clockwise
    west, south, east_, north_ = found.bbox
    assert (south, north_) == pytest.approx((shape.bounds[1], shape.bounds[3]))
    if west <= east_:
        assert (west, east_) == pytest.approx((shape.bounds[0], shape.bounds[2]))


def test_long_edges_follow_their_course():
    """In a Lambert conic a row of pixels is no straight line in degrees."""
    grid = Grid(CRS.from_epsg(3034), Affine(1000, 0, 2_500_000, 0, -1000, 3_500_000), 2000, 3000)
    shape = polygons(footprint_of(grid).geometry)
    back = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    for share in np.linspace(0, 1, 13):
        edge = shapely.Point(back.transform(*(grid.transform * (share * grid.width, 0))))
        assert shape.exterior.distance(edge) < 0.1 * 0.02  # a tenth of a pixel, which is at most 0.02° wide
    assert len(shape.exterior.coords) > 20
    assert len(polygons(footprint_of(Grid(UTM, NORTH_UP, 100, 100)).geometry).exterior.coords) == 5


@pytest.mark.parametrize("crs", [32601, 32660])
def test_across_the_antimeridian_there_are_two_polygons(crs):
    east = 160_000 if crs == 32601 else 833_000
    grid = Grid(CRS.from_epsg(crs), Affine(10, 0, east, 0, -10, 100_000), 1000, 2000)
    found = footprint_of(grid)
    assert found.geometry["type"] == "MultiPolygon"
    assert found.bbox[0] > found.bbox[2]
    shape = polygons(found.geometry)
    assert shape.bounds[0] == -180
    assert shape.bounds[2] == 180
    assert shape.area < 1


def test_longitudes_beyond_180_are_turned_back():
    grid = Grid(CRS.from_epsg(4326), Affine(0.1, 0, 190, 0, -0.1, 10), 100, 100)
    found = footprint_of(grid)
    assert found.bbox == (-170, 0, -160, 10)
    whole = footprint_of(Grid(CRS.from_epsg(4326), Affine(1, 0, 0, 0, -1, 90), 180, 360))
    assert whole.bbox == (-180, -90, 180, 90)
    assert polygons(whole.geometry).area == pytest.approx(360 * 180)


def test_around_a_pole_the_footprint_reaches_it():
    grid = Grid(CRS.from_epsg(3413), Affine(1000, 0, -500_000, 0, -1000, 400_000), 1000, 1000)
    found = footprint_of(grid)
    assert found.bbox[0::2] == (-180, 180)
    shape = polygons(found.geometry)
    assert shape.is_valid
    assert shape.intersects(shapely.Point(12, 89.99))
    assert shape.intersects(shapely.Point(-100, 89.99))
    assert shape.bounds[3] == 90


def test_without_a_place_on_the_earth_there_is_no_geometry():
    local = CRS.from_wkt(
        'LOCAL_CS["a site",UNIT["metre",1]]'
    )  # fmt: skip
    for crs in (None, local):
        item = item_of(Grid(crs, NORTH_UP, 5, 6))
        assert item["geometry"] is None
        assert "bbox" not in item


def item_of(grid: Grid, model: ModelFacts = MODEL, source: Path | None = None, folder: Path = Path("/data/maps")):
    layers = {
        folder / "sure.tif": amount_layer(("confidence",), "the probability"),
        folder / "my map.tif": mask_layer(model.legend),
    }
    taken = moment("2024-06-01")
    return stac_item(folder / "item.json", layers, grid, taken=taken, source=source, model=model, version="1.2.3")


def test_an_item_says_all_that_it_must():
    item = item_of(Grid(UTM, NORTH_UP, 40, 60), source=Path("/data/scenes/a b.tif"))
    assert (item["type"], item["stac_version"], item["id"]) == ("Feature", "1.1.0", "my map")
    about = item["properties"]
    assert about["datetime"] == "2024-06-01T00:00:00Z"
    assert about["proj:code"] == "EPSG:32633"
    assert about["proj:shape"] == [40, 60]
    assert about["proj:transform"] == [0.5, 0, 450_000, 0, -0.5, 5_000_000]
    assert about["proj:bbox"] == [450_000, 4_999_980, 450_030, 5_000_000]
    assert about["gsd"] == pytest.approx(0.5, rel=1e-3)
    assert about["processing:software"] == {"geosemi": "1.2.3"}
    assert item["links"] == [{"rel": "derived_from", "href": "../scenes/a%20b.tif", "title": "a b.tif"}]
    mask = item["assets"]["mask"]
    assert mask["href"] == "./my%20map.tif"
    assert mask["raster:bands"][0]["data_type"] == "uint8"
    assert mask["raster:bands"][0]["nodata"] == 255
    classes = mask["classification:classes"]
    assert classes[0] == {"value": 0, "name": "class-a", "description": "class a", "color_hint": "D02020"}
    assert classes[-1] == {"value": 255, "name": "nodata", "description": "no data", "nodata": True}
    assert len(classes) == 4
    assert item["assets"]["confidence"]["raster:bands"][0]["scale"] == pytest.approx(1 / 254)
    assert item["assets"]["style"]["href"] == "./my%20map.qml"


def test_a_crs_without_a_code_is_written_out():
    grid = Grid(CRS.from_proj4("+proj=laea +lat_0=50 +lon_0=10 +ellps=WGS84"), NORTH_UP, 4, 6)
    about = item_of(grid)["properties"]
    assert about["proj:code"] is None
    assert "Lambert Azimuthal" in about["proj:wkt2"]


def test_the_model_is_described_and_its_file_linked():
    item = item_of(Grid(UTM, NORTH_UP, 40, 60))
    about = item["properties"]
    assert about["mlm:name"] == "geosemi light"
    assert about["mlm:architecture"] == "light"
    assert about["mlm:tasks"] == ["semantic-segmentation"]
    (given_,) = about["mlm:input"]
    assert given_["bands"] == ["red", "nir"]
    assert given_["input"]["shape"] == [-1, 2, 512, 512]
    assert given_["value_scaling"][1] == {"type": "z-score", "mean": 20.0, "stddev": 2.0}
    (answer,) = about["mlm:output"]
    assert answer["result"]["shape"] == [-1, 3, 512, 512]
    assert [c["value"] for c in answer["classification:classes"]] == [0, 1, 2]
    assert "model" not in item["assets"]
    assert not any("/mlm/" in e for e in item["stac_extensions"])  # it wants an asset that is the model
    here = ModelFacts(
        "light", legend_of(3), ("red", "nir"), (0.0, 0.0), (1.0, 1.0), 512, 9, Path("/runs/m.st"), "ab" * 32
    )
    linked = item_of(Grid(UTM, NORTH_UP, 40, 60), here)
    model = linked["assets"]["model"]
    assert model["href"] == "../../runs/m.st"
    assert "mlm:model" in model["roles"]
    assert model["mlm:artifact_type"] == "safetensors.torch.save_file"
    assert [b["name"] for b in model["raster:bands"]] == ["red", "nir"]
    assert model["file:checksum"] == "1220" + "ab" * 32
    assert any("/mlm/" in e for e in linked["stac_extensions"])


def test_names_are_what_the_schema_allows_and_differ():
    from geosemi.legend import ClassDef, Legend

    classes = [("Wald & Wiese", 0), ("Häuser", 1), ("道路", 2), ("Wald, Wiese", 3)]
    legend = Legend(tuple(ClassDef(i, n, "#010203") for n, i in classes))
    model = ModelFacts("light", legend, ("a",), (0.0,), (1.0,), 8, 1)
    found = item_of(Grid(UTM, NORTH_UP, 4, 6), model)["assets"]["mask"]["classification:classes"]
    assert [c["name"] for c in found] == ["class-0", "H-user", "class-2", "class-3", "nodata"]
    assert [c["description"] for c in found[:4]] == [n for n, _ in classes]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-06-01", {"datetime": "2024-06-01T00:00:00Z"}),
        ("2024-06-01T12:30:00+02:00", {"datetime": "2024-06-01T10:30:00Z"}),
        ("2024:06:01 10:30:05", {"datetime": "2024-06-01T10:30:05Z"}),
        (
            "2024-06-01/2024-06-30",
            {"datetime": None, "start_datetime": "2024-06-01T00:00:00Z", "end_datetime": "2024-06-30T00:00:00Z"},
        ),
    ],
)
def test_a_moment_is_utc_and_a_span_has_two(text, wanted):
    assert moment(text) == wanted


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-13-01", "2024-06-30/2024-06-01", "2024-01-01/2024-02-01/2024-03-01"]
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ConfigError, match=r"is no date|is no span") as caught:
        moment(text)
    assert "write" in caught.value.hint


def test_a_scene_says_when_it_was_taken(make_scene):
    assert said_moment(make_scene(tags={"": {"TIFFTAG_DATETIME": "2023:05:06 07:08:09"}})) == "2023:05:06 07:08:09"
    both = {"": {"TIFFTAG_DATETIME": "2023:05:06 07:08:09"}, "IMAGERY": {"ACQUISITIONDATETIME": "2022-01-02T03:04:05Z"}}
    assert said_moment(make_scene(tags=both)) in {"2022-01-02T03:04:05Z", "2023:05:06 07:08:09"}
    assert said_moment(make_scene(tags={"": {"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}})) == ""
    assert said_moment(make_scene()) == ""


CPU = PredictSettings(device="cpu", tile=32)


def predicted(scene: Path, folder: Path, **more) -> dict:
    folder.mkdir(exist_ok=True)
    facts = predict_scene(
        bundle_of(TinySegmenter()), scene, folder / "mask.tif", CPU, stac=folder / "mask.json",
        extras={"probabilities_float16": folder / "p.tif"}, **more,
    )  # fmt: skip
    assert folder / "mask.json" in facts.files
    return json.loads((folder / "mask.json").read_text())


def test_a_prediction_writes_its_item_which_reads_back_as_a_scene(make_scene, tmp_path):
    scene = make_scene(tags={"": {"TIFFTAG_DATETIME": "2023:05:06 07:08:09"}})
    item = predicted(scene, tmp_path / "a")
    assert item["properties"]["datetime"] == "2023-05-06T07:08:09Z"
    assert item["links"][0]["href"] == "../scene.tif"
    assert item["assets"]["probabilities"]["raster:bands"][0]["nodata"] == "nan"
    ((name, place),) = load_stac(tmp_path / "a" / "mask.json", asset="mask")
    assert name == "mask"
    assert place.resolve() == (tmp_path / "a" / "mask.tif").resolve()
    later = predicted(scene, tmp_path / "b", taken="2024-01-02")
    assert later["properties"]["datetime"] == "2024-01-02T00:00:00Z"
    predicted(scene, tmp_path / "c")
    assert (tmp_path / "a" / "mask.json").read_bytes() == (tmp_path / "c" / "mask.json").read_bytes()


def test_a_missing_date_or_a_taken_name_is_said_before_the_work(make_scene, tmp_path):
    scene, bundle = make_scene(), bundle_of(TinySegmenter())
    with pytest.raises(ConfigError, match="does not say when it was taken") as caught:
        predict_scene(bundle, scene, tmp_path / "m.tif", CPU, stac=tmp_path / "m.json")
    assert "--datetime" in caught.value.hint
    with pytest.raises(OutputError, match="no name for a STAC item") as wrong:
        predict_scene(bundle, scene, tmp_path / "m.tif", CPU, stac=tmp_path / "m.stac")
    assert ".json" in wrong.value.hint
    (tmp_path / "m.json").touch()
    with pytest.raises(OutputError, match="exists"):
        predict_scene(bundle, scene, tmp_path / "m.tif", CPU, stac=tmp_path / "m.json", taken="2024-01-01")
    assert not (tmp_path / "m.tif").exists()


def test_an_item_named_like_the_journal_of_the_work_harms_nothing(make_scene, tmp_path):
    predict_scene(
        bundle_of(TinySegmenter()), make_scene(), tmp_path / "m.tif", CPU, stac=tmp_path / "work.json",
        taken="2024-01-01",
    )  # fmt: skip
    assert json.loads((tmp_path / "work.json").read_text())["id"] == "m"


@pytest.mark.parametrize("crs", ["EPSG:32636", None])
def test_pystac_finds_the_item_valid(make_scene, tmp_path, crs):
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("jsonschema")
    scene = make_scene(crs=crs)
    predicted(scene, tmp_path / "a", taken="2024-01-02/2024-01-03")
    item = pystac.Item.from_file(tmp_path / "a" / "mask.json")
    core = {**item.to_dict(include_self_link=False, transform_hrefs=False), "stac_extensions": []}
    pystac.validation.validate_dict(core)  # the schema of the core comes with the package, no network is asked
