"""A mask against truth: rasters, vectors, other label values, nodata, and files that do not belong together."""

import json
import subprocess

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import legend_of
from ground import UTM
from hypothesis import given
from hypothesis import strategies as st
from shapely import box
from typer.testing import CliRunner

from geosemi.cli.main import app
from geosemi.errors import GeosemiError, GridMismatch, InputError, LegendError
from geosemi.evaluate import evaluate, one_sided
from geosemi.legend import ClassDef, Legend
from geosemi.metrics import PRESETS, Confusion, score
from geosemi.plots import confusion_png
from geosemi.polygons.polygonize import PolygonSettings, polygonize

LEGEND = legend_of(4)


@given(st.integers(1, 1100), st.integers(1, 40), st.integers(0, 9))
def test_streaming_equals_counting_at_once(make_scene, height, width, seed):
    random = np.random.default_rng(seed)
    mask, truth = (random.choice([0, 1, 2, 3, 255], (1, height, width)).astype("uint8") for _ in range(2))
    both = (mask != 255) & (truth != 255)
    if not both.any():
        return
    calls = []
    found = evaluate(
        make_scene("mask.tif", image=mask, nodata=255), make_scene("truth.tif", image=truth), LEGEND,
        on_progress=lambda *c: calls.append(c),
    )  # fmt: skip
    slow = Confusion(4)
    slow.add(mask, truth)
    assert found.to_dict() == score(slow, LEGEND).to_dict()
    assert calls[-1] == (height, height)


def test_a_mask_agrees_with_its_own_polygons(make_scene, tmp_path):
    classes = np.kron(np.random.default_rng(0).integers(0, 4, (1, 9, 11)), np.ones((1, 7, 5), int)).astype("uint8")
    mask = make_scene("mask.tif", image=classes)
    polygonize(mask, tmp_path / "truth.gpkg", LEGEND, PolygonSettings())
    found = evaluate(mask, tmp_path / "truth.gpkg", LEGEND, column="class_name")
    assert found.oa == found.miou == 1
    assert found.confusion.matrix.sum() == classes.size


def test_labels_may_use_other_values_than_masks(make_scene):
    legend = Legend(
        (ClassDef(0, "a", "#000000", values=(10, 11)), ClassDef(1, "b", "#ffffff", values=(0,))), ignore=200
    )
    mask = make_scene("mask.tif", image=np.array([[[0, 1, 0, 200, 0]]], "uint8"))
    truth = make_scene("truth.tif", image=np.array([[[10, 0, 11, 0, 200]]], "uint8"))
    found = evaluate(mask, truth, legend)
    assert found.confusion.matrix.tolist() == [[2, 0], [0, 1]]
    assert found.confusion.ignored.tolist() == [1, 0]
    assert found.confusion.unpredicted.tolist() == [0, 1]


@pytest.fixture
def footprints(make_scene, tmp_path):
    """A mask of 6 × 10 pixels of houses, 4 × 10 of which are right, and polygons of the houses alone."""
    ids = np.zeros((1, 20, 20), "uint8")
    ids[0, 4:10, 5:15] = 1
    frame = gpd.GeoDataFrame({"class": ["class b"]}, geometry=[box(450_002.5, 39_994, 450_007.5, 39_997)], crs=UTM)
    frame.to_file(tmp_path / "houses.gpkg")
    yaml = tmp_path / "legend.yaml"
    yaml.write_text(
        'classes:\n- {id: 0, name: ground, colour: "#ff0000"}\n- {id: 1, name: class b, colour: "#00ff00"}\n'
    )
    return make_scene("mask.tif", image=ids), tmp_path / "houses.gpkg", yaml


def test_ground_outside_the_polygons_may_be_a_class(footprints):
    mask, labels, yaml = footprints
    legend = Legend.load(yaml)
    told = evaluate(mask, labels, legend, outside="ground")
    assert told.confusion.matrix.tolist() == [[320, 20], [20, 40]]  # rows are truth
    assert one_sided(told, labels) is None
    silent = evaluate(mask, labels, legend)
    assert silent.confusion.matrix.tolist() == [[0, 0], [20, 40]]
    assert silent.classes[1].precision == 1
    assert "all truth is `class b`" in one_sided(silent, labels)
    strict = evaluate(mask, labels, legend, PRESETS["dwl"])  # counts predictions without truth as errors
    assert strict.classes[1].precision == pytest.approx(2 / 3)
    assert one_sided(strict, labels) is None
    with pytest.raises(LegendError, match="`sea` is no class") as caught:
        evaluate(mask, labels, legend, outside="sea")
    assert "ground, class b" in caught.value.hint
    with pytest.raises(InputError, match="is a raster, which has no ground outside polygons to be `ground`") as caught:
        evaluate(mask, mask, legend, outside="ground")
    assert "leave `--outside` away" in caught.value.hint


def test_the_command_warns_of_polygons_of_a_single_class(footprints):
    mask, labels, yaml = footprints
    run = lambda *more: CliRunner().invoke(app, ["evaluate", str(mask), str(labels), "--legend", str(yaml), *more])  # noqa: E731
    doubtful = run("--json", "-")
    assert doubtful.exit_code == 0, doubtful.output
    (line,) = [line for line in doubtful.stderr.splitlines() if "warning" in line]
    assert "precision is 1 whatever the mask says: name the class outside with `--outside CLASS`" in line
    assert json.loads(doubtful.stdout)["classes"]
    told = run("--outside", "ground")
    assert told.exit_code == 0, told.output
    assert told.stderr == ""
    assert "OA 0.9000" in told.stdout
    rasters = CliRunner().invoke(app, ["evaluate", str(mask), str(mask), "--legend", str(yaml)])
    assert rasters.stderr == ""


def test_files_that_do_not_belong_together_are_refused(make_scene):
    ids = np.zeros((1, 20, 30), "uint8")
    mask = make_scene("mask.tif", image=ids)
    cases: list[tuple[dict, type[GeosemiError], str, str]] = [
        ({"image": ids[:, :10]}, GridMismatch, "10 × 30", "gdalwarp"),
        ({"image": ids, "transform": Affine(0.5, 0, 450_001, 0, -0.5, 40_000)}, GridMismatch, "beside", "gdalwarp"),
        ({"image": ids, "crs": "EPSG:32637"}, GridMismatch, "EPSG:32637", "reproject"),
        ({"image": ids + 9}, LegendError, "value 9", "legend"),
        ({"image": ids + 255}, InputError, "no pixel of .* has truth", "ignore"),
        ({"bands": 3, "height": 20, "width": 30}, InputError, "3 × uint8", "mask first"),
        ({"image": ids.astype("float32")}, InputError, "1 × float32", "mask first"),
    ]
    for number, (made, kind, text, hint) in enumerate(cases):
        with pytest.raises(kind, match=text) as caught:
            evaluate(mask, make_scene(f"{number}.tif", **made), LEGEND)
        assert hint in caught.value.hint
    with pytest.raises(LegendError, match=r"strange.tif` holds the value 7"):
        evaluate(make_scene("strange.tif", image=ids + 7), mask, LEGEND)


def test_a_picture_without_place_is_taken_if_its_size_fits(make_scene):
    ids = np.zeros((1, 20, 30), "uint8")
    assert (
        evaluate(make_scene("mask.tif", image=ids), make_scene("t.tif", image=ids, crs=None, transform=None), LEGEND).oa
        == 1
    )


def test_the_picture_shows_every_class(tmp_path):
    counts = Confusion(4)
    counts.add([0, 1, 2, 2] * 1000, [0, 1, 1, 2] * 1000)
    png = confusion_png(score(counts, LEGEND))
    assert png[:4] == b"\x89PNG"
    assert png == confusion_png(score(counts, LEGEND))  # no time, no version inside
    (tmp_path / "c.png").write_bytes(png)
    with rasterio.open(tmp_path / "c.png") as picture:
        pixels = picture.read([1, 2, 3])
    assert min(picture.shape) > 400
    assert len(np.unique(pixels.reshape(3, -1), axis=1).T) > 20


def test_the_command_prints_writes_and_draws(make_scene, tmp_path):
    mask = make_scene("mask.tif", image=np.array([[[0, 1, 1, 255]]], "uint8"))
    truth = make_scene("truth.tif", image=np.array([[[0, 1, 0, 1]]], "uint8"))
    yaml = tmp_path / "legend.yaml"
    yaml.write_text('classes:\n- {id: 0, name: roof, colour: "#ff0000"}\n- {id: 1, name: tree, colour: "#00ff00"}\n')
    run = lambda *more: CliRunner().invoke(app, ["evaluate", str(mask), str(truth), "--legend", str(yaml), *more])  # noqa: E731
    shown = run("--json", str(tmp_path / "s.json"), "--png", str(tmp_path / "c.png"))
    assert shown.exit_code == 0, shown.output
    assert "roof" in shown.stdout
    assert "OA 0.6667   mIoU 0.5000" in shown.stdout
    assert "1 pixels have truth but are nodata" in shown.stdout
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["oa"] == pytest.approx(2 / 3)
    assert (tmp_path / "c.png").stat().st_size > 5000
    assert json.loads(run("--json", "-").stdout) == written
    for wrong, text in [
        (["--protocol", "nope"], "no protocol `nope`"),
        (["--json", str(tmp_path / "s.json")], "exists"),
    ]:
        assert text in str(run(*wrong).exception)
    assert "does not say what its values mean" in str(
        CliRunner().invoke(app, ["evaluate", str(mask), str(truth)]).exception
    )


def test_evaluating_needs_no_torch():
    code = "import sys, geosemi.evaluate, geosemi.plots; assert 'torch' not in sys.modules"
    subprocess.run([__import__("sys").executable, "-c", code], check=True)
