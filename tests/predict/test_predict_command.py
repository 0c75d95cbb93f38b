"""`geosemi predict` as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyogrio
import pytest
import rasterio
from rasterio.errors import RasterioIOError
from typer.testing import CliRunner

from geosemi.cli.main import app
from geosemi.cli.mapping import command_of
from geosemi.errors import InputError


def run(*words):
    return CliRunner().invoke(app, ["predict", *words])


def test_the_newest_run_maps_a_scene_into_all_outputs(make_scene, place):
    make_scene(height=150, width=170)
    done = run("scene.tif", "--out", "mask.tif", "--polygons", "map.gpkg", "--confidence", "sure.tif", "--batch", "2")
    assert done.exit_code == 0, done.output
    assert "model    runs/first/bundle.safetensors (light, 4 classes)" in done.stderr
    assert "hectares" in done.stderr
    assert "class d" in done.stderr
    count = len(pyogrio.read_dataframe("map.gpkg", layer="segments"))
    words = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert words == [["mask", "mask.tif"], ["confidence", "sure.tif"], ["polygons", f"map.gpkg ({count:,})"]]
    with rasterio.open("mask.tif") as mask:
        assert mask.shape == (150, 170)
        assert mask.tags()["GEOSEMI_COMMAND"] == "geosemi predict scene.tif --out=mask.tif"  # no folder of this machine
        assert json.loads(mask.tags()["GEOSEMI_LEGEND"])["classes"][3]["name"] == "class d"


@pytest.mark.parametrize("name", ["map.gpkg", "map.shp", "map.geojson"])
def test_polygons_are_made_again_where_that_is_asked_for(make_scene, place, name):
    make_scene(height=70, width=60)
    for more in ([], ["--overwrite"]):
        done = run("scene.tif", "--out", "mask.tif", "--polygons", name, *more)
        assert done.exit_code == 0, done.output
    again = run("scene.tif", "--out", "other.tif", "--polygons", name)
    assert "exists" in again.exception.message
    assert "--overwrite" in again.exception.hint


def test_polygons_in_degrees_of_a_scene_that_is_said_where_it_lies(make_scene, place):
    make_scene(height=70, width=60, crs=None)
    refused = run("scene.tif", "--out", "mask.tif", "--polygons", "map.geojson")
    assert "the mask has no crs" in refused.exception.message
    done = run("scene.tif", "--out", "mask.tif", "--polygons", "map.geojson", "--assume-crs", "EPSG:32633")
    assert done.exit_code == 0, done.output
    west, south, east, north = pyogrio.read_bounds("map.geojson")[1][:, 0]
    assert 14 < west < east < 15  # 450 km east in zone 33
    assert 0.35 < south < north < 0.37  # 40 km north of the equator


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["--model", "nowhere.safetensors"], "BundleError", "nowhere.safetensors"),
        (["--bands", "1,rot,3"], "BandMismatch", "not ['rot']"),
        (["--resolution", "fine"], "ConfigError", "`--resolution fine` is no size"),
        (["--resolution", "inf"], "ConfigError", "`--resolution inf` is no size"),
        (["--resolution", "nan"], "ConfigError", "`--resolution nan` is no size"),
        (["--resolution", "-1"], "ConfigError", "`--resolution -1` is no size"),
        (["--resolution", "1e9"], "InputError", "it is 32 m across, 3.2e-08 pixels of 1e+09 m"),
        (["--uncertainty-as", "luck"], "ConfigError", "cannot be 'luck'"),
        (["--tta", "all"], "ConfigError", "`--tta` cannot be 'all'"),
        (["--bands", "1,2"], "BandMismatch", "names 2 bands"),
        (["--precision", "fp8"], "ConfigError", "`--precision` cannot be 'fp8'"),
        (["--polygons", "map.dwg"], "OutputError", "no known extension"),
        (["--polygons", "gone/map.gpkg"], "OutputError", "does not exist"),
        (["--overlap", "64"], "ConfigError", "cannot overlap by 64"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(make_scene, place, words, kind, text):
    make_scene()
    before = sorted(p.name for p in place.iterdir())
    done = run("scene.tif", "--out", "mask.tif", *words)
    assert type(done.exception).__name__ == kind
    assert text in done.exception.message
    assert done.exception.hint
    assert sorted(p.name for p in place.iterdir()) == before


def test_without_any_run_the_way_out_is_shown(make_scene, place):
    make_scene()
    shutil.rmtree("runs")
    done = run("scene.tif", "--out", "mask.tif")
    assert "no trained model" in done.exception.message
    assert "geosemi train" in done.exception.hint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_two_lines_and_leaves_nothing(make_scene, place, number):
    make_scene(height=9000, width=1500)
    command = [sys.executable, "-m", "geosemi", "predict", "scene.tif", "--out", "mask.tif", "--tile", "64"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert "model" in process.stderr.readline()  # imports are over
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert out == ""
    assert "stopped by you" in err
    assert "Traceback" not in err
    assert {p.name for p in place.iterdir()} <= {".mask.tif.unfinished", "runs", "scene.tif"}
    with pytest.raises(RasterioIOError), rasterio.open("mask.tif"):
        pass


def test_several_scenes_go_into_folders_and_one_that_fails_stops_no_other(make_scene, place):
    Path("in").mkdir()
    for name in ("a", "b", "c"):
        make_scene(name=f"in/{name}.tif", height=70, width=60)
    Path("in/b.tif").write_text("<html>")
    for folder in ("masks", "sure", "maps"):
        Path(folder).mkdir()
    words = ("in", "--out", "masks", "--confidence", "sure", "--polygons", "maps")
    done = run(*words)
    assert type(done.exception).__name__ == "InputError"
    assert "1 of 3 scenes could not be mapped" in done.exception.message
    assert "b.tif" in done.exception.message
    assert sorted(p.name for p in Path().glob("masks/*.tif")) == ["a.tif", "c.tif"]
    assert sorted(p.name for p in Path().glob("sure/*")) == ["a.tif", "c.tif"]
    assert sorted(p.name for p in Path().glob("maps/*")) == ["a.gpkg", "c.gpkg"]
    shutil.copy("in/a.tif", "in/b.tif")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("which exists") == 2
    assert Path("masks/b.tif").exists()


def test_several_scenes_cannot_become_one_file(make_scene, place):
    make_scene(name="a.tif")
    make_scene(name="b.tif")
    done = run("a.tif", "b.tif", "--out", "mask.tif")
    assert "2 scenes cannot become one file" in done.exception.message
    assert "without a suffix: mask" in done.exception.hint


def test_damage_that_was_left_out_has_an_exit_code_of_its_own(make_scene, place):
    make_scene(height=200, width=130, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    content = bytearray(Path("scene.tif").read_bytes())
    with rasterio.open("scene.tif") as dataset:
        begin = int(dataset.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    content[begin : begin + 40] = bytes(40)
    Path("scene.tif").write_bytes(content)
    done = run("scene.tif", "--out", "mask.tif", "--on-bad-block", "nodata")
    assert done.exit_code == 6, done.output
    assert "1 damaged block is nodata" in done.stderr
    assert "mask.tif.damage.json" in done.stdout


@pytest.mark.parametrize(
    "more", [["--resume"], ["--device", "cpu,cpu", "--overwrite"], ["--device=cuda:1", "--restart"]]
)
def test_provenance_names_the_command_without_what_changes_no_pixel(more):
    words = ["predict", "/data/scene.tif", *more, "--out=/home/a/mask.tif", "--stitch", "centre"]
    assert command_of(words) == "geosemi predict scene.tif --out=mask.tif --stitch centre"


def test_polygons_that_a_kill_kept_from_being_made_are_made_of_the_mask(make_scene, place):
    scene = make_scene(height=70, width=90)
    words = [str(scene), "--out", "mask.tif", "--polygons", "map.gpkg"]
    assert run(*words).exit_code == 0
    mask, polygons = Path("mask.tif").read_bytes(), Path("map.gpkg").read_bytes()
    Path("map.gpkg").unlink()
    done = run(*words, "--resume")
    assert done.exit_code == 0, done.output
    assert "kept     mask.tif, which is complete" in done.stderr
    assert (Path("mask.tif").read_bytes(), Path("map.gpkg").read_bytes()) == (mask, polygons)
    Path("map.gpkg").unlink()
    done = run(*words, "--stitch", "centre")
    assert isinstance(done.exception, InputError)
    assert "another model, scene or setting made it" in str(done.exception)
    assert "geosemi vectorize mask.tif" in done.exception.hint
    assert run(*words, "--overwrite", "--stitch", "centre").exit_code == 0


def test_several_scenes_make_the_folder_they_go_to(make_scene, place):
    scenes = [str(make_scene(name, height=40, width=40, seed=n)) for n, name in enumerate(("a.tif", "b.tif"))]
    assert run(*scenes, "--out", "maps", "--polygons", "shapes").exit_code == 0
    assert {p.name for p in Path("shapes").iterdir()} == {"a.gpkg", "b.gpkg"}
    Path("shapes/b.gpkg").unlink()
    done = run(*scenes, "--out", "maps", "--polygons", "shapes")
    assert done.exit_code == 0, done.output
    assert "kept     maps/a.tif, which exists" in done.stderr
    assert "kept     maps/b.tif, which is complete" in done.stderr
    assert Path("shapes/b.gpkg").exists()
