"""From what is typed to scenes: files, folders, patterns, mosaics, STAC and URLs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from fakes import TinySegmenter, bundle_of
from ground import noise
from test_mosaic import source, vrt
from test_remote import Server

from geosemi.errors import GridMismatch, InputError, SceneUnreadable, UnsafeInput
from geosemi.geo.mosaic import Mosaic
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Scene, reading
from geosemi.geo.sources import find_scenes
from geosemi.predict.check import check_scene


def whole(place):
    scene = Scene.open(place)
    with reading(scene) as reader:
        return scene, reader.read(scene.grid.window)


def names(*sources, **more) -> list[str]:
    return [scene.name for scene in find_scenes(sources, **more)]


@pytest.fixture
def server(tmp_path: Path):
    served = Server(tmp_path)
    yield served
    served.stop()


# --- files, folders, patterns


def test_files_folders_and_patterns(make_scene, tmp_path):
    for name in ("b.tif", "a.tif", "deep/c.tif", "deep/d.TIF"):
        make_scene(name, height=4, width=4)
    (tmp_path / "notes.txt").write_text("no raster")
    vrt(tmp_path / "all.vrt", [source("a.tif", 1, (0, 0, 4, 4), (0, 0, 4, 4))], (4, 4))
    assert names(str(tmp_path / "b.tif"), tmp_path / "a.tif") == ["b", "a"]
    assert names(str(tmp_path)) == ["a", "all", "b"]
    assert names(str(tmp_path / "*.tif")) == ["a", "b"]
    assert names(str(tmp_path / "**" / "*.[tT][iI][fF]")) == ["a", "b", "c", "d"]
    assert names(str(tmp_path / "a.tif"), str(tmp_path)) == ["a", "all", "b"]  # twice named, once mapped
    assert find_scenes([tmp_path / "a.tif"])[0].place == tmp_path / "a.tif"


def test_same_names_are_numbered(make_scene, tmp_path):
    for name in ("x/s.tif", "y/s.tif", "z/s.tif", "z/s_2.tif"):
        make_scene(name, height=4, width=4)
    found = names(*(tmp_path / n for n in ("x/s.tif", "y/s.tif", "z/s.tif", "z/s_2.tif")))
    assert len(set(found)) == 4
    assert found[0] == "s"
    assert "s_2" in found


def test_a_name_with_magic_characters_is_a_file_first(make_scene, tmp_path):
    make_scene("a[1].tif", height=4, width=4)
    make_scene("a1.tif", height=4, width=4)
    assert find_scenes([str(tmp_path / "a[1].tif")])[0].place == tmp_path / "a[1].tif"


def test_nothing_found_is_told(make_scene, tmp_path):
    make_scene("there.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneUnreadable, match=r"`.*none.tif` does not exist") as caught:
        find_scenes([str(tmp_path / "none.tif")])
    assert "there.tif" in caught.value.hint
    with pytest.raises(SceneUnreadable) as caught:
        find_scenes([tmp_path / "no" / "none.tif"])
    assert "does not exist either" in caught.value.hint
    with pytest.raises(InputError, match="no file matches") as caught:
        find_scenes([str(tmp_path / "*.jp2")])
    assert "quotes" in caught.value.hint
    with pytest.raises(InputError, match="holds no rasters") as caught:
        find_scenes([tmp_path / "empty"])
    assert ".tif" in caught.value.hint
    with pytest.raises(InputError, match="no scene is given"):
        find_scenes([])


def test_a_url_is_a_url_only_as_text():
    (found,) = find_scenes(["https://a.org/deep/scene.tif?key=1"])
    assert (found.name, found.place) == ("scene", Remote.parse("https://a.org/deep/scene.tif?key=1"))
    assert find_scenes(["/vsis3/bucket/s.tif"])[0].place == Remote.parse("s3://bucket/s.tif")
    with pytest.raises(SceneUnreadable, match="does not exist"):
        find_scenes([Path("https://a.org/scene.tif")])
    with pytest.raises(InputError, match="is no GeoTIFF") as caught:
        find_scenes(["https://a.org/all.vrt"])
    assert "download it" in caught.value.hint


# --- STAC


def item(assets: dict, **more) -> dict:
    return {"type": "Feature", "stac_version": "1.0.0", "id": "S2A_31U", "assets": assets, "links": [], **more}


def write(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))
    return path


COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture
def sentinel(make_scene, tmp_path) -> Path:
    """An item as of Sentinel-2: a file a band, one of them coarser, and things that are no pixels."""
    assets = {"thumbnail": {"href": "t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}}
    for seed, (name, common) in enumerate([("B02", "blue"), ("B03", "green"), ("B04", "red")]):
        make_scene(f"{name}.tif", image=noise(20, 30, 1, "uint16", seed), nodata=0)
        bands = [{"name": name, "common_name": common}]
        assets[common] = {"href": f"./{name}.tif", "type": COG, "roles": ["data"], "eo:bands": bands}
    make_scene("B11.tif", image=noise(10, 15, 1, "uint16", 5), nodata=0, transform=Affine(1, 0, 450_000, 0, -1, 40_000))
    assets["swir16"] = {"href": "B11.tif", "type": COG, "roles": ["data"], "bands": [{"name": "B11"}]}
    make_scene("scl.tif", image=noise(10, 15, 1))
    assets["scl"] = {"href": "scl.tif", "type": COG, "roles": ["metadata"]}
    return write(tmp_path / "item.json", item(assets))


def test_a_file_a_band_becomes_one_scene(sentinel, tmp_path):
    (found,) = find_scenes([sentinel])
    assert found.name == "S2A_31U"
    scene, tile = whole(found.place)
    assert scene.bands == ("blue (B02)", "green (B03)", "red (B04)", "B11")
    assert scene.path == sentinel
    assert {f.name for f in scene.files} == {"item.json", "B02.tif", "B03.tif", "B04.tif", "B11.tif"}
    for plane, seed in ((0, 0), (2, 2)):
        np.testing.assert_array_equal(tile.image[plane], noise(20, 30, 1, "uint16", seed)[0])
    coarse = noise(10, 15, 1, "uint16", 5)[0]
    np.testing.assert_array_equal(tile.image[3], coarse.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(tile.valid, tile.image.any(axis=0))


@pytest.mark.parametrize("wanted", [["red", "green", "blue"], ["B4", "B3", "B2"], ["b04", "GREEN", "B02"]])
def test_bands_choose_assets(sentinel, wanted):
    (found,) = find_scenes([sentinel], bands=wanted)
    assert [p.name for p in found.place.members] == ["B04.tif", "B03.tif", "B02.tif"]
    assert Scene.open(found.place).select(wanted).bands == ("red (B04)", "green (B03)", "blue (B02)")
    with pytest.raises(InputError, match="has no band nir, or several") as caught:
        find_scenes([sentinel], bands=["red", "nir"])
    assert "red (B04)" in caught.value.hint


def test_an_asset_by_its_key(sentinel):
    (found,) = find_scenes([f"{sentinel}#swir16"])
    assert Scene.open(found.place).bands == ("B11",)
    (scl,) = find_scenes([f"{sentinel}#scl"])
    assert scl.place == sentinel.parent / "scl.tif"
    with pytest.raises(InputError, match="has no asset `nir`") as caught:
        find_scenes([f"{sentinel}#nir"])
    assert "swir16" in caught.value.hint


def test_one_asset_of_many_bands(make_scene, tmp_path):
    image = noise(12, 9, 4)
    make_scene("naip.tif", image=image, photometric="minisblack", nodata=0)
    bands = [{"name": n, "eo:common_name": n} for n in ("red", "green", "blue", "nir")]
    path = write(tmp_path / "i.json", item({"image": {"href": "naip.tif", "type": COG, "bands": bands}}))
    scene, tile = whole(find_scenes([path])[0].place)
    assert scene.bands == ("red", "green", "blue", "nir")
    np.testing.assert_array_equal(tile.image, image)
    np.testing.assert_array_equal(tile.valid, image.any(axis=0))  # one band of 0 is no nodata
    plain = write(tmp_path / "j.json", item({"image": {"href": "naip.tif"}}))
    assert find_scenes([plain])[0].place == tmp_path / "naip.tif"


@pytest.mark.parametrize("described", [{}, {"bands": [{"data_type": "uint8"}] * 4}], ids=["bare", "nameless"])
def test_one_asset_that_names_no_bands_is_the_file_with_its_own(make_scene, tmp_path, described):
    tif = make_scene("v.tif", bands=4, photometric="minisblack", descriptions=["nir", "red", "green", "blue"])
    visual = {"href": "v.tif", "type": COG, **described}
    path = write(tmp_path / "i.json", item({"visual": visual}))
    card = bundle_of(TinySegmenter(), names=("red", "green", "blue")).card
    for typed in (path, f"{path}#visual"):
        (found,) = find_scenes([typed], bands=card.bands)  # as `predict` asks without `--bands`
        assert found.place == tif
        assert check_scene(found.place, card).scene.indexes == (2, 3, 4)
    assert check_scene(found.place, card, bands=(1, 2, 3)).scene.bands == ("nir", "red", "green")
    two = write(tmp_path / "two.json", item({"visual": visual, "other": {**visual, "href": "o.tif"}}))
    with pytest.raises(InputError, match=r"has no band red, green, blue, or several") as caught:
        find_scenes([two], bands=card.bands)
    assert f"or one asset, `{two}#visual`, and its bands by number, e.g. `--bands 1,2,3`" in caught.value.hint
    assert find_scenes([f"{two}#visual"], bands=card.bands)[0].place == tif


def test_several_images_want_a_choice(make_scene, tmp_path):
    make_scene("v.tif")
    bands = [{"name": "r"}, {"name": "g"}, {"name": "b"}]
    assets = {k: {"href": "v.tif", "type": COG, "eo:bands": bands} for k in ("visual", "analytic")}
    path = write(tmp_path / "i.json", item(assets))
    with pytest.raises(InputError, match="several assets with pixels: visual, analytic") as caught:
        find_scenes([path])
    assert "i.json#visual" in caught.value.hint
    assert len(find_scenes([f"{path}#analytic"])) == 1


def test_collections_and_answers_of_a_search(sentinel, tmp_path):
    deep = tmp_path / "items"
    deep.mkdir()
    content = json.loads(sentinel.read_text())
    for asset in content["assets"].values():
        asset["href"] = f"../{asset['href']}"
    write(deep / "a.json", {**content, "id": "A"})
    write(deep / "b.json", {**content, "id": "B"})
    links = [{"rel": "item", "href": "items/a.json"}, {"rel": "item", "href": "./items/b.json"}, {"rel": "self"}]
    collection = {"type": "Collection", "stac_version": "1.0.0", "id": "c", "links": links}
    found = find_scenes([write(tmp_path / "collection.json", collection)], bands=["red"])
    assert [s.name for s in found] == ["A", "B"]
    assert Scene.open(found[1].place).bands == ("red (B04)",)
    answer = {"type": "FeatureCollection", "features": [json.loads(sentinel.read_text())]}
    assert names(write(tmp_path / "answer.json", answer)) == ["S2A_31U"]
    empty = write(tmp_path / "none.json", {**collection, "links": []})
    with pytest.raises(InputError, match="links to no items"):
        find_scenes([empty])


def test_bands_that_do_not_lie_on_each_other_are_refused(sentinel, make_scene):
    make_scene("B11.tif", image=noise(10, 15, 1, "uint16"), transform=Affine(1, 0, 450_001, 0, -1, 40_000))
    with pytest.raises(GridMismatch, match=r"B11.tif` lies up to 2 pixels beside") as caught:
        find_scenes([sentinel])
    assert "gdalwarp" in caught.value.hint
    make_scene("B11.tif", image=noise(10, 15, 1, "float32"), transform=Affine(1, 0, 450_000, 0, -1, 40_000))
    with pytest.raises(InputError, match="several dtypes"):
        find_scenes([sentinel])


@pytest.mark.parametrize(
    "href", ["http://127.0.0.1:9/x.tif", "/vsicurl/http://127.0.0.1:9/x.tif", "s3://b/x.tif", "file:///etc/passwd"]
)
def test_a_file_sends_nobody_to_the_network(tmp_path, href):
    path = write(tmp_path / "i.json", item({"image": {"href": href, "type": COG}}))
    with pytest.raises(UnsafeInput, match="a file opens no connection") as caught:
        find_scenes([path])
    assert "the item's own URL" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ('{"type": "FeatureCollection", "features": []}', "no STAC item"),
        ("[1]", "no STAC item"),
        (json.dumps(item({})), "no asset with pixels"),
        (json.dumps(item({"meta": {"href": "m.xml", "type": "text/xml"}})), "its assets are meta"),
    ],
)
def test_json_that_names_no_scene(tmp_path, content, told):
    path = tmp_path / "i.json"
    path.write_text(content)
    with pytest.raises(InputError, match=told) as caught:
        find_scenes([path])
    assert caught.value.hint


def test_an_item_behind_a_url(sentinel, tmp_path, server):
    (found,) = find_scenes([server.address("item.json")], bands=["red", "green"])
    assert isinstance(found.place, Mosaic)
    scene, tile = whole(found.place)
    assert (scene.path, scene.files) == (Path("item.json"), ())
    np.testing.assert_array_equal(tile.image[0], noise(20, 30, 1, "uint16", 2)[0])
    assert set(server.asked) == {"/item.json", "/B04.tif", "/B03.tif"}
    (one,) = find_scenes([server.address("item.json") + "#scl"])
    assert one.place == Remote.parse(server.address("scl.tif"))


def test_a_document_behind_a_url_names_no_local_file(tmp_path, server):
    for href in ("file:///etc/passwd", "/vsimem/x.tif"):
        write(tmp_path / "evil.json", item({"image": {"href": href, "type": COG}}))
        with pytest.raises(UnsafeInput, match="which is no URL") as caught:
            find_scenes([server.address("evil.json")])
        assert "download it" in caught.value.hint
    with pytest.raises(SceneUnreadable, match="cannot be fetched"):
        find_scenes([server.address("none.json")])
    with pytest.raises(InputError, match="in a bucket"):
        find_scenes(["s3://bucket/item.json"])


def test_a_folder_of_real_scenes(shared: Path, tmp_path):
    folder = shared / "data" / "geotiff-edge-cases"
    found = find_scenes([str(folder)])
    assert len(found) >= 10
    assert [s.place for s in found] == sorted(folder.glob("*.tif*"))
    shutil.copy(found[0].place, tmp_path / "one.tif")
    assert names(str(tmp_path)) == ["one"]
