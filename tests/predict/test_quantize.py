"""int8: made by NNCF, measured on labelled windows, refused where it costs too much or was never measured."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fakes import EdgeSegmenter, bundle_of, legend_of
from sklearn.metrics import jaccard_score

from geosemi.errors import BundleError, ConfigError, Interrupted, OutputError
from geosemi.geo.sources import find_scenes
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.forward import ready
from geosemi.predict.int8 import Int8, Record, int8_file
from geosemi.predict.predict import predict_scene
from geosemi.predict.quantize import quantize
from geosemi.predict.samples import draw_samples
from geosemi.predict.settings import PredictSettings, QuantizeSettings
from geosemi.predict.task import Task

CPU, TILE, CLASSES = torch.device("cpu"), 64, 4
AWAY = Affine(0.5, 0, 460_000, 0, -0.5, 40_000)
LIBRARIES = ("onnx", "onnxscript", "openvino", "nncf")
ABSENT = [name for name in LIBRARIES if find_spec(name) is None]
has_libraries = pytest.mark.skipif(
    bool(ABSENT), reason=f'{", ".join(ABSENT)} not installed here: pip install "geosemi[engines]"'
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def smooth(seed, height=256, width=256):
    """Noise that has edges and plains, as photographs do."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, height // 8, width // 8)).repeat(8, 1).repeat(8, 2)
    return (0.8 * coarse + rng.integers(0, 51, coarse.shape)).astype(np.uint8)


def fragile(worst=1e5):
    """A network whose first channel is huge and says nothing: in 8 bits the others drown in its steps."""
    model = EdgeSegmenter(classes=CLASSES)
    model.first.weight.data[0], model.first.bias.data[0] = worst, worst
    model.second.weight.data[:, 0] = 0
    return model


@pytest.fixture
def case(make_scene, tmp_path):
    """Return a function: network → (bundle with a path, labelled scenes, labels, scenes to calibrate with).

    The truth is what torch says of the scene, with a tenth of the pixels changed.
    """

    def made(model):
        (tmp_path / "bundle.safetensors").write_bytes(b"the bundle")
        bundle = replace(bundle_of(model, tile=TILE), path=tmp_path / "bundle.safetensors")
        image = smooth(0)
        with torch.inference_mode():
            truth = model((torch.from_numpy(image.astype("float32"))[None] - 100) / 50).argmax(1).numpy().astype("u1")
        wrong = np.random.default_rng(1).random(truth.shape) < 0.1
        truth[wrong] = (truth[wrong] + 1) % CLASSES
        scenes = find_scenes([make_scene("scene.tif", image=image)])
        labels = [make_scene("label.tif", image=truth)]
        return bundle, scenes, labels, find_scenes([make_scene("other.tif", image=smooth(2), transform=AWAY)])

    return made


@pytest.fixture
def twin(case):
    """A bundle with its int8 twin, checked with OpenVINO."""
    bundle, scenes, labels, others = case(EdgeSegmenter(classes=CLASSES))
    return bundle, quantize(bundle, scenes, labels, QuantizeSettings(max_cost=5), calibrate=others), scenes[0].place


def mapped(bundle, samples, precision, engine):
    with ready(bundle, CPU, batch=None, shape=(TILE, TILE), precision=precision, engine=engine) as forward:
        return np.stack([forward([tile])[0].argmax(0).numpy() for tile, _ in samples.check])


@has_libraries
@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_the_figures_are_those_of_what_runs_afterwards(case, engine):
    if engine == "onnx" and find_spec("onnxruntime") is None:
        pytest.skip('onnxruntime not installed here: pip install "geosemi[engines]"')
    bundle, scenes, labels, others = case(EdgeSegmenter(classes=CLASSES))
    settings, told = QuantizeSettings(engine=engine, max_cost=5), []
    facts = quantize(
        bundle, scenes, labels, settings, calibrate=others, on_progress=lambda *counts: told.append(counts)
    )
    samples = draw_samples(bundle.card, settings, scenes, labels, others)
    truth = np.stack([known for _, known in samples.check])
    fp32, int8 = mapped(bundle, samples, "fp32", "torch"), mapped(bundle, samples, "int8", engine)
    record = facts.record
    for ids, miou in ((fp32, record.miou_fp32), (int8, record.miou)):
        assert miou == pytest.approx(jaccard_score(truth.ravel(), ids.ravel(), average="macro"))
    assert record.same == pytest.approx((fp32 == int8).mean())
    assert 0.9 < record.same < 1  # it is another network, and nearly the same
    assert record.cost == pytest.approx(100 * (record.miou_fp32 - record.miou))
    assert (record.model, record.tile, record.engine) == ("f" * 64, TILE, engine)
    assert (record.calibrated, record.checked, record.pixels) == (16, 16, 256 * 256)
    assert set(record.iou) == {c.name for c in legend_of(CLASSES)}
    assert {"geosemi", "torch", "nncf", "onnx"} < set(record.versions)
    assert told == [*((i, 32) for i in range(1, 32)), *told[31:-1], (32, 32)]  # rises by one, ends once


@has_libraries
def test_the_same_work_gives_the_same_bytes(case):
    bundle, scenes, labels, others = case(EdgeSegmenter(classes=CLASSES))
    facts = quantize(bundle, scenes, labels, calibrate=others)
    first = facts.path.read_bytes()
    with pytest.raises(OutputError, match=r"bundle\.int8\.onnx` exists") as caught:
        quantize(bundle, scenes, labels, calibrate=others)
    assert "--overwrite" in caught.value.hint
    assert quantize(bundle, scenes, labels, calibrate=others, overwrite=True).path.read_bytes() == first


@has_libraries
@pytest.mark.parametrize("when", [3, 20])  # in the midst of calibrating, and of checking
def test_a_stop_is_heard_and_leaves_nothing(case, tmp_path, when):
    bundle, scenes, labels, others = case(EdgeSegmenter(classes=CLASSES))
    before = sorted(p.name for p in tmp_path.iterdir())

    def stop(done, total):
        if done == when:
            raise Interrupted("stopped by you", hint="run the same command again")

    with pytest.raises(Interrupted, match="stopped by you"):
        quantize(bundle, scenes, labels, calibrate=others, on_progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == before


@has_libraries
def test_what_int8_breaks_is_refused_and_nothing_is_written(case, tmp_path):
    bundle, scenes, labels, others = case(fragile())
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(BundleError, match=r"int8 costs this model [\d.]+ points of mIoU.*`--max-cost` is 1") as caught:
        quantize(bundle, scenes, labels, calibrate=others)
    assert "--precision bf16" in caught.value.hint
    assert [line.split(":")[0] for line in caught.value.lines[1:]] == [c.name for c in legend_of(CLASSES)]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == before
    facts = quantize(bundle, scenes, labels, QuantizeSettings(max_cost=100), calibrate=others)
    assert facts.record.cost > 1  # by leave, it is written, and says so
    assert Int8.of(bundle, "openvino").record == facts.record


@has_libraries
def test_masks_of_int8_say_so_and_are_those_of_int8(twin, tmp_path):
    bundle, facts, scene = twin
    out, settings = tmp_path / "mask.tif", PredictSettings(precision="int8", engine="auto", device="cpu", overlap=0)
    predict_scene(bundle, scene, out, settings)
    with rasterio.open(out) as mask:
        ids, tags = mask.read(1), mask.tags()
    done = json.loads(tags["GEOSEMI_SETTINGS"])
    assert done["precision"] == "int8"
    assert done["int8_sha256"] == Int8.of(bundle, "openvino").digest
    assert tags["GEOSEMI_ENGINE"] == "openvino"
    predict_scene(bundle, scene, tmp_path / "plain.tif", replace_settings(settings, precision="fp32", engine="torch"))
    with rasterio.open(tmp_path / "plain.tif") as mask:
        assert (mask.read(1) == ids).mean() == pytest.approx(facts.record.same, abs=1e-3)


def replace_settings(settings, **changes):
    return settings.model_copy(update=changes)


@has_libraries
@pytest.mark.parametrize(
    ("settings", "cause", "hint"),
    [
        ({"tile": 32}, r"takes windows of 64 × 64 pixels, not of 32 × 32", "--tile 64"),
        ({"tta": "scales"}, "takes windows of one size, and `--tta scales` shows others", "flips or d4"),
        ({"engine": "onnx"}, "was checked with the engine `openvino`, not with `onnx`", "--engine openvino"),
        ({"engine": "torch"}, "the engine `torch` has no precision int8", "--engine auto"),
    ],
)
def test_what_was_not_checked_does_not_run(twin, tmp_path, settings, cause, hint):
    if settings.get("engine") == "onnx" and find_spec("onnxruntime") is None:
        pytest.skip('onnxruntime not installed here: pip install "geosemi[engines]"')
    bundle, _, scene = twin
    asked = PredictSettings(precision="int8", device="cpu", **{"engine": "openvino", **settings})
    with pytest.raises(ConfigError, match=cause) as caught:
        predict_scene(bundle, scene, tmp_path / "mask.tif", asked)
    assert hint in caught.value.hint
    assert not list(tmp_path.glob("*mask*"))


@has_libraries
def test_a_twin_belongs_to_one_bundle(twin):
    bundle, facts, _ = twin
    with pytest.raises(ConfigError, match=r"was made of another model than `.*bundle\.safetensors`") as caught:
        Int8.of(replace(bundle, digest="e" * 64), "openvino")
    assert "geosemi quantize" in caught.value.hint
    assert "--overwrite" in caught.value.hint
    assert Int8.of(bundle, "openvino").record == facts.record


@has_libraries
def test_a_damaged_twin_is_known(twin):
    bundle, facts, _ = twin
    onnx = pytest.importorskip("onnx")
    good = facts.path.read_bytes()
    weights = max((t.raw_data for t in onnx.load_model_from_string(good).graph.initializer), key=len)
    flipped = bytes([weights[0] ^ 1]) + weights[1:]
    plain = onnx.load_model_from_string(good)
    del plain.metadata_props[:]
    older = onnx.load_model_from_string(good)
    older.metadata_props[0].value = older.metadata_props[0].value.replace('"format": 1', '"format": 2')
    for data, cause in (
        (good.replace(weights, flipped), "is damaged: its contents do not match their SHA-256"),
        (good[: len(good) // 2], "is damaged: it is no ONNX file"),
        (plain.SerializeToString(), "does not say what int8 costs"),
        (older.SerializeToString(), "is of another geosemi"),
    ):
        facts.path.write_bytes(data)
        with pytest.raises(BundleError, match=cause) as caught:
            Int8.of(bundle, "openvino")
        assert "geosemi quantize" in caught.value.hint


def test_without_a_twin_the_command_that_makes_it_is_told(tmp_path):
    bundle = bundle_of(EdgeSegmenter())
    with pytest.raises(ConfigError, match="this model is of no file"):
        Int8.of(bundle, "openvino")
    path = tmp_path / "bundle.safetensors"
    with pytest.raises(ConfigError, match=r"there is no `.*bundle\.int8\.onnx`") as caught:
        Int8.of(replace(bundle, path=path), "openvino")
    assert f"geosemi quantize SCENE… --labels LABELS --model {path}" in caught.value.hint
    assert int8_file(path) == tmp_path / "bundle.int8.onnx"


def test_libraries_that_are_missing_are_named_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr("geosemi.predict.quantize.find_spec", lambda _: None)
    monkeypatch.setattr("geosemi.predict.exported.find_spec", lambda name: None if name == "openvino" else name)
    bundle = replace(bundle_of(EdgeSegmenter()), path=tmp_path / "bundle.safetensors")
    with pytest.raises(ConfigError, match="int8 needs `openvino`, `nncf`, not installed here") as caught:
        quantize(bundle, [], [])
    assert "geosemi[engines]" in caught.value.hint


@has_libraries
def test_another_twin_is_other_work(twin):
    """A run that was interrupted does not go on with an int8 network that was made anew."""
    bundle, facts, scene = twin
    settings = PredictSettings(precision="int8", engine="openvino", device="cpu")
    before = Task.of(bundle, scene, settings).choices
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(facts.path.read_bytes())
    text = Record.model_validate_json(model.metadata_props[0].value).model_copy(update={"calibrated": 99})
    model.metadata_props[0].value = text.model_dump_json()
    facts.path.write_bytes(model.SerializeToString())
    assert Task.of(bundle, scene, settings).choices != before


COMMAND = """
import sys
from geosemi.cli.main import main
try:
    main()
finally:
    import nncf.telemetry.wrapper as wrapper
    print(type(wrapper.telemetry).__name__, "openvino_telemetry" in sys.modules)
"""


@has_libraries
def test_the_command_prints_what_it_costs_and_nncf_reports_to_nobody(make_scene, tmp_path):
    """In a process of its own: under pytest NNCF reports nothing anyway."""
    spec = ModelSpec(name="light")
    card = Card(spec, legend_of(CLASSES), ("a", "b", "c"), (100.0,) * 3, (50.0,) * 3, TILE, None, "0")
    Bundle(build_segmenter(spec, bands=3, classes=CLASSES, seed=0).eval(), card).save(tmp_path / "bundle.safetensors")
    scene = make_scene("scene.tif", image=smooth(0, 128, 128))
    label = make_scene("label.tif", image=np.random.default_rng(0).integers(0, CLASSES, (1, 128, 128), dtype=np.uint8))
    words = ["quantize", scene, "--labels", label, "--model", tmp_path / "bundle.safetensors", "--max-cost", "50"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "bundle.int8.onnx"), "MagicMock False"]
    assert "int8 with openvino costs" in done.stderr
    assert "on 2 windows of 64 px (2 others calibrated it)" in done.stderr
    assert "Statistics" not in done.stderr
    assert Path(done.stdout.splitlines()[0]).is_file()


@pytest.mark.slow
@has_libraries
def test_a_vision_transformer_keeps_its_labels(shared, make_scene, tmp_path):
    weights = shared / "weights" / "dinov2-small"
    if not weights.is_dir():
        pytest.skip("no folder `shared/weights/dinov2-small` beside the repository")
    spec = ModelSpec(name="dinov2_small", weights=str(weights))
    bundle = bundle_of(build_segmenter(spec, bands=3, classes=CLASSES, seed=0), tile=126)
    bundle = replace(bundle, path=tmp_path / "bundle.safetensors", card=replace(bundle.card, spec=spec))
    scene = find_scenes([make_scene("scene.tif", image=smooth(0, 256, 504))])
    label = make_scene("label.tif", image=np.random.default_rng(0).integers(0, CLASSES, (1, 256, 504), dtype=np.uint8))
    facts = quantize(bundle, scene, [label], QuantizeSettings(max_cost=5))
    assert facts.record.same >= 0.9
