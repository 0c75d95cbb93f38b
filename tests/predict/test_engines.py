"""Engines: chosen by a rule, refused with a way out, and held to what eager torch in fp32 says."""

import re

import numpy as np
import pytest
import torch
from fakes import EdgeSegmenter, TinySegmenter, bundle_of

from geosemi.errors import ConfigError, OutputError
from geosemi.geo.scene import Scene, Tile, reading
from geosemi.geo.window import Window
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.predict import engines, exported
from geosemi.predict.engines import ENGINES, choose_engine, layout
from geosemi.predict.forward import ready

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OUTSIDE = tuple(exported.NEEDS)
ABSENT = {engine: exported.missing(engine) for engine in OUTSIDE}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def installed(request):
    """Skip where the engine's libraries are not here."""
    if absent := ABSENT[request.param]:
        pytest.skip(f'{", ".join(absent)} not installed here: pip install "geosemi[engines]"')
    return request.param


def needs(*names):
    return pytest.mark.parametrize("installed", names, indirect=True)


def pretend(monkeypatch, *, libraries, bf16=True):
    monkeypatch.setattr(exported, "find_spec", lambda name: name if name in libraries else None)
    monkeypatch.setattr(engines, "has_bf16", lambda: bf16)


ALL = ("onnx", "onnxscript", "onnxruntime", "openvino")

# --- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "precision", "libraries", "bf16", "engine", "why"),
    [
        (CPU, "fp32", ALL, False, "openvino", "it is installed and the device is a CPU"),
        (CPU, "bf16", ALL, True, "openvino", "it is installed and the device is a CPU"),
        (CPU, "bf16", ALL, False, "torch", "this CPU has no bf16"),
        (CPU, "fp16", ALL, True, "torch", "OpenVINO has no fp16; fp16 takes ten times as long as fp32 on a CPU"),
        (CPU, "fp32", (), True, "torch", 'not installed (pip install "geosemi[engines]")'),
        (CPU, "fp32", ("openvino",), True, "torch", "not installed"),  # without onnx there is no export
        (GPU, "fp32", ALL, True, "torch", "the device is no CPU"),
    ],
)
def test_auto_follows_its_rule(monkeypatch, device, precision, libraries, bf16, engine, why):
    pretend(monkeypatch, libraries=libraries, bf16=bf16)
    name, note = choose_engine("auto", device, precision)
    assert name == engine
    assert note.startswith(f"engine {engine}: ")
    assert why in note


@pytest.mark.parametrize(("libraries", "engine"), [(ALL, "openvino"), (("onnx", "onnxscript", "onnxruntime"), "onnx")])
def test_int8_is_run_by_what_is_installed(monkeypatch, libraries, engine):
    pretend(monkeypatch, libraries=libraries)
    assert choose_engine("auto", CPU, "int8") == (engine, None)


def test_a_named_engine_is_taken_at_its_word(monkeypatch):
    pretend(monkeypatch, libraries=ALL)
    for name in set(ENGINES) - {"auto"}:
        assert choose_engine(name, CPU, "fp32") == (name, None)


def test_what_is_slow_or_not_what_was_asked_for_is_said(monkeypatch):
    pretend(monkeypatch, libraries=ALL, bf16=False)
    assert choose_engine("openvino", CPU, "bf16") == ("openvino", "this CPU has no bf16; OpenVINO computes in fp32")
    assert "bf16 is faster than both" in choose_engine("torch", CPU, "fp16")[1]
    assert choose_engine("torch", GPU, "fp16") == ("torch", None)


@pytest.mark.parametrize(
    ("name", "libraries", "device", "precision", "cause", "hint"),
    [
        ("openvino", (), CPU, "fp32", "needs `onnx`, `onnxscript`, `openvino`, not installed", r"geosemi\[engines\]"),
        ("onnx", ("onnx", "onnxscript"), CPU, "fp32", "needs `onnxruntime`, not installed", "--engine torch"),
        ("onnx", ALL, CPU, "bf16", "`onnx` has no precision bf16", "choose fp32 or int8, or `--engine torch`"),
        ("openvino", ALL, CPU, "fp16", "`openvino` has no precision fp16", "choose fp32 or bf16"),
        ("openvino", ALL, GPU, "int8", "runs on the CPU, not on `cuda`", "--device cpu"),
        ("auto", ALL, GPU, "int8", "runs on the CPU, not on `cuda`", "--device cpu"),
        ("auto", (), CPU, "int8", "`openvino` needs `onnx`, `onnxscript`, `openvino`", r"geosemi\[engines\]"),
        ("torch", ALL, CPU, "int8", "`torch` has no precision int8", "--engine auto"),
        ("compile", ALL, GPU, "int8", "`compile` has no precision int8", "--engine auto"),
        ("openvino", ALL, GPU, "fp32", "runs on the CPU, not on `cuda`", "--device cpu"),
    ],
)
def test_an_engine_that_cannot_run_says_why_and_the_way_out(
    monkeypatch, name, libraries, device, precision, cause, hint
):  # fmt: skip
    pretend(monkeypatch, libraries=libraries)
    with pytest.raises(ConfigError, match=cause) as caught:
        choose_engine(name, device, precision)
    assert re.search(hint, caught.value.hint)


@pytest.mark.parametrize(
    ("kind", "half", "wanted"),
    [
        ("cpu", None, torch.channels_last),
        ("cpu", torch.bfloat16, torch.channels_last),
        ("cuda", None, torch.contiguous_format),
        ("cuda", torch.float16, torch.channels_last),
        ("mps", torch.float16, torch.contiguous_format),
    ],
)
def test_the_layout_follows_device_and_precision(kind, half, wanted):
    assert layout(torch.device(kind), half) == wanted


# --- torch.compile ----------------------------------------------------------------------------------------------------


def test_compiling_without_a_compiler_is_refused_before_any_work(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with (
        pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, and there is no `no-such-compiler`") as caught,
        ready(bundle_of(TinySegmenter()), CPU, batch=None, shape=(32, 32), precision="fp32", engine="compile"),
    ):
        pass
    assert "--engine torch" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_says_what_eager_says(precision):
    model = EdgeSegmenter()
    assert agreement(model, noise(), engine="compile", precision=precision, tile=64) >= 0.99
    if precision == "fp32":
        assert agreement(model, noise(), engine="compile", precision=precision, tile=64) >= 0.999


# --- exports ----------------------------------------------------------------------------------------------------------


def noise(count=2, side=64):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (count, 3, side, side), dtype=np.uint8)
    return [Tile(i, np.ones((side, side), bool), Window(0, 0, side, side)) for i in image]


def real_tiles(shared, side):
    """Two tiles of a drone scene and two of an aerial one."""
    tiles = []
    for name in ("kampala/scene.tif", "naip-santa-monica/santa_monica_2020_10.tif"):
        scene = Scene.open(shared / "data" / name).select([1, 2, 3])
        with reading(scene) as reader:
            tiles += [reader.read(Window(0, at, side, side)) for at in (0, scene.grid.width - side)]
    return tiles


def agreement(model, tiles, *, engine, precision, tile, tta="none"):
    """The share of pixels that get the label of eager torch in fp32."""
    labels = []
    for name, kind in ((engine, precision), ("torch", "fp32")):
        with ready(
            bundle_of(model), CPU, batch=None, shape=(tile, tile), precision=kind, engine=name, tta=tta
        ) as forward:
            assert forward.engine == name
            labels.append(forward(tiles).argmax(1))
    return float((labels[0] == labels[1]).float().mean())


@needs(*OUTSIDE)
def test_fp32_engines_agree_with_eager_torch_on_real_tiles(shared, installed):
    model = build_segmenter(ModelSpec(), bands=3, classes=6, seed=0)
    assert agreement(model, real_tiles(shared, 192), engine=installed, precision="fp32", tile=192) >= 0.999


@needs("openvino")
def test_bf16_agrees_with_eager_torch_on_real_tiles(shared, installed):
    model = build_segmenter(ModelSpec(), bands=3, classes=6, seed=0)
    # 0.995 was measured; the weights are random, so the classes lie closer together than trained ones do
    assert agreement(model, real_tiles(shared, 192), engine=installed, precision="bf16", tile=192) >= 0.98


@pytest.mark.slow
@needs(*OUTSIDE)
def test_a_vision_transformer_agrees_too(shared, installed):
    weights = shared / "weights" / "dinov2-small"
    if not weights.is_dir():
        pytest.skip("no folder `shared/weights/dinov2-small` beside the repository")
    model = build_segmenter(ModelSpec(name="dinov2_small", weights=str(weights)), bands=3, classes=6, seed=0)
    assert agreement(model, real_tiles(shared, 126), engine=installed, precision="fp32", tile=126) >= 0.999


@needs("onnx")
def test_every_size_that_scales_ask_for_is_exported(installed, tmp_path):
    tiles = noise(side=64)
    assert agreement(EdgeSegmenter(), tiles, engine=installed, precision="fp32", tile=64, tta="scales") >= 0.999
    assert len(list((tmp_path / "cache/geosemi/engines").glob("*.onnx"))) == 3


@needs(*OUTSIDE)
def test_an_engine_gives_the_same_bits_every_time(installed):
    answers = []
    for _ in range(2):
        with ready(
            bundle_of(EdgeSegmenter()), CPU, batch=None, shape=(64, 64), precision="fp32", engine=installed
        ) as forward:
            answers += [forward(noise()), forward(noise())]
    assert all(torch.equal(answers[0], other) for other in answers[1:])


def test_the_cache_knows_networks_by_their_weights_and_mends_what_is_damaged(monkeypatch):
    made = []
    monkeypatch.setattr(exported, "_onnx", lambda model, shape: made.append(shape) or b"export %d" % len(made))
    shape, model = (1, 3, 8, 8), TinySegmenter()
    first = exported.exported_file(model, shape)
    assert exported.exported_file(model, shape) == first
    assert exported.exported_file(model, (1, 3, 9, 9)) != first
    model.classify.weight.data += 1
    assert exported.exported_file(model, shape) != first
    model.classify.weight.data -= 1
    assert made == [shape, (1, 3, 9, 9), shape]
    first.write_bytes(b"expo")
    mended = exported.exported_file(model, shape)
    assert mended.read_bytes() == b"export 4"
    assert not first.exists()


def test_the_cache_keeps_the_newest_exports_only(monkeypatch):
    monkeypatch.setattr(exported, "_onnx", lambda model, shape: repr(shape).encode())
    paths = [exported.exported_file(TinySegmenter(), (1, 3, side, side)) for side in range(1, 12)]
    assert {path.exists() for path in paths[-8:]} == {True}
    assert len(list(exported.cache_folder().iterdir())) == 8


def test_a_cache_that_cannot_be_made_is_said_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"the cache `.*file/geosemi/engines` cannot be made") as caught:
        exported.exported_file(TinySegmenter(), (1, 3, 8, 8))
    assert "XDG_CACHE_HOME" in caught.value.hint


@needs(*OUTSIDE)
def test_an_engine_that_answers_otherwise_is_refused(installed, monkeypatch):
    wrong = exported.exported_file(TinySegmenter(seed=1).eval(), (1, 3, 32, 32))
    monkeypatch.setattr(exported, "exported_file", lambda model, shape: wrong)
    with (
        pytest.raises(ConfigError, match=f"`{installed}` does not say what torch says of this network") as caught,
        ready(bundle_of(TinySegmenter(seed=0)), CPU, batch=None, shape=(32, 32), precision="fp32", engine=installed),
    ):
        pass
    assert str(wrong) in caught.value.hint
    assert "--engine torch" in caught.value.hint
