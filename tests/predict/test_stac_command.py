"""`geosemi predict --stac`: what it writes is held against what STAC 1.1 and the extensions that it names ask for."""

import json
import re
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
import rasterio
import shapely
from typer.testing import CliRunner

import geosemi
from geosemi.cli.main import app
from geosemi.errors import ConfigError

PREFIXES = {
    "proj": "projection", "raster": "raster", "classification": "classification", "processing": "processing",
    "file": "file", "mlm": "mlm",
}  # fmt: skip
MLM = {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"}


def run(*words):
    return CliRunner().invoke(app, ["predict", *words])


def keys_of(value) -> set[str]:
    """All names in a JSON document, at any depth."""
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def require_item(path: Path) -> dict:
    """Return an item that is what item-spec 1.1.0 asks for, and whose links lead to something."""
    item = json.loads(path.read_text(encoding="utf-8"))
    assert {"type", "stac_version", "id", "geometry", "properties", "links", "assets"} <= set(item)
    assert (item["type"], item["stac_version"]) == ("Feature", "1.1.0")
    assert item["id"]
    require_place(item)
    require_times(item["properties"])
    for link in item["links"]:
        assert link["rel"]
        assert (path.parent / unquote(link["href"])).exists()
    for asset in item["assets"].values():
        assert (path.parent / unquote(asset["href"])).is_file()
        assert isinstance(asset["type"], str)
        assert asset["roles"]
    require_extensions(item)
    for asset in item["assets"].values():
        require_classes(asset.get("classification:classes", []))
    return item


def require_place(item: dict) -> None:
    if item["geometry"] is None:
        assert "bbox" not in item
        return
    shape = shapely.geometry.shape(item["geometry"])
    assert shape.is_valid
    assert shape.geom_type in {"Polygon", "MultiPolygon"}
    west, south, east, north = item["bbox"]
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    assert -90 <= south <= north <= 90


def require_times(properties: dict) -> None:
    names = ["datetime"] if properties["datetime"] else ["start_datetime", "end_datetime"]
    times = [properties[name] for name in names]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", t) for t in times)
    assert times == sorted(times, key=datetime.fromisoformat)


def require_extensions(item: dict) -> None:
    """Every prefix that is used is declared once, and none is declared for nothing."""
    pattern = r"https://stac-extensions\.github\.io/([\w-]+)/v[\d.]+/schema\.json"
    declared = [re.fullmatch(pattern, extension)[1] for extension in item["stac_extensions"]]
    used = {PREFIXES[key.partition(":")[0]] for key in keys_of(item) if ":" in key}
    assert sorted(declared) == sorted(used)
    about = item["properties"]
    assert about["proj:code"] is None or re.fullmatch(r"[A-Z]+:\d+", about["proj:code"])
    assert len(about["proj:shape"]) == 2
    assert len(about["proj:transform"]) in {6, 9}
    assert set(about) >= MLM
    (model,) = [a for a in item["assets"].values() if "mlm:model" in a["roles"]]
    assert re.fullmatch(r"1220[0-9a-f]{64}", model["file:checksum"])


def require_classes(classes: list[dict]) -> None:
    values, names = [c["value"] for c in classes], [c["name"] for c in classes]
    assert len(set(values)) == len(set(names)) == len(classes)
    for c in classes:
        assert isinstance(c["value"], int)
        assert re.fullmatch(r"[0-9A-Za-z_-]+", c["name"])
        assert re.fullmatch(r"[0-9A-F]{6}", c.get("color_hint", "000000"))


def test_the_command_writes_an_item_that_is_one(make_scene, place):
    make_scene()
    outputs = ["--out", "mask.tif", "--confidence", "sure.tif", "--probabilities", "p.tif"]
    done = run("scene.tif", *outputs, "--stac", "mask.json", "--datetime", "2024-06-01/2024-06-30")
    assert done.exit_code == 0, done.output
    assert ["stac", "item", "mask.json"] in [line.split() for line in done.stdout.splitlines()]
    item = require_item(Path("mask.json"))
    assert set(item["assets"]) == {"mask", "confidence", "probabilities", "style", "model"}
    assert item["properties"]["datetime"] is None
    with rasterio.open(item["assets"]["mask"]["href"]) as mask:
        assert list(mask.shape) == item["properties"]["proj:shape"]
        assert list(mask.transform)[:6] == item["properties"]["proj:transform"]
        assert str(mask.crs) == item["properties"]["proj:code"]


def test_of_several_scenes_there_is_an_item_each(make_scene, place):
    for name in ("a", "b"):
        make_scene(name=f"in/{name}.tif", tags={"": {"TIFFTAG_DATETIME": f"2023:05:0{'ab'.index(name) + 1} 07:08:09"}})
    Path("out").mkdir()
    refused = run("in", "--out", "out", "--stac", "items.json")
    assert "2 scenes cannot become one file, and `items.json` is no folder" in refused.exception.message
    done = run("in", "--out", "out", "--stac", "out")
    assert done.exit_code == 0, done.output
    items = [require_item(Path("out") / f"{name}.json") for name in ("a", "b")]
    assert [i["id"] for i in items] == ["a", "b"]
    assert [i["properties"]["datetime"] for i in items] == ["2023-05-01T07:08:09Z", "2023-05-02T07:08:09Z"]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--datetime", "2024-06-01"], "none is asked for", "--stac item.json"),
        (["--stac", "mask.json"], "does not say when it was taken", "--datetime"),
        (["--stac", "mask.json", "--datetime", "June"], "`June` is no date", "write 2024-06-01"),
        (["--stac", "mask.tif", "--datetime", "2024-06-01"], "no name for a STAC item", ".json"),
    ],
)
def test_what_an_item_lacks_is_said_before_the_work(make_scene, place, words, message, hint):
    make_scene()
    done = run("scene.tif", "--out", "mask.tif", *words)
    assert message in done.exception.message
    assert hint in done.exception.hint
    assert not Path("mask.tif").exists()


def test_from_python_the_item_is_the_same(make_scene, place):
    make_scene()
    assert run("scene.tif", "--out", "mask.tif", "--stac", "mask.json", "--datetime", "2024-06-01").exit_code == 0
    written = Path("mask.json").read_bytes()
    facts = geosemi.predict(
        "scene.tif", out="mask.tif", stac="mask.json", taken="2024-06-01", device="cpu", overwrite=True
    )  # fmt: skip
    assert Path("mask.json") in facts.files
    assert Path("mask.json").read_bytes() == written
    with pytest.raises(ConfigError, match="`out` names none") as caught:
        geosemi.predict("scene.tif", stac="mask.json", taken="2024-06-01")
    assert "out" in caught.value.hint
