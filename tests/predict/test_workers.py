"""Bands of a scene in processes of their own: the bytes of one process, and nothing lost when one of them dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import EdgeSegmenter, bundle_of
from hypothesis import given
from hypothesis import strategies as st
from rasters import break_blocks

from geosemi.errors import ConfigError, Interrupted, ResourceError, SceneUnreadable
from geosemi.geo.unfinished import folder_of
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle
from geosemi.predict.bands import bands_of
from geosemi.predict.forward import choose_devices
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

TWO = PredictSettings(device="cpu,cpu", tile=96)
ONE = PredictSettings(device="cpu", tile=96)


@pytest.fixture(autouse=True)
def one_thread():
    """Two processes share the threads, and the number of threads decides last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    card = bundle_of(EdgeSegmenter()).card
    made = Bundle(build_segmenter(ModelSpec(), bands=3, classes=4, seed=0).eval(), card)
    path = tmp_path_factory.mktemp("model") / "bundle.safetensors"
    made.save(path)
    return Bundle.load(path)


@pytest.fixture
def scene(make_scene):
    image = np.random.default_rng(0).integers(30, 220, (3, 2200, 100)).astype("uint8")
    image[:, 480:560, 20:70] = 0
    return make_scene(image=image, nodata=0, compress="lzw", tiled=True, blockxsize=128, blockysize=128)


def run(bundle, scene, folder, settings, **options):
    extras = {"confidence": folder / "sure.tif"}
    return predict_scene(bundle, scene, folder / "mask.tif", settings, extras=extras, overwrite=True, **options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def wanted(bundle, scene, tmp_path):
    folder = tmp_path / "wanted"
    folder.mkdir()
    run(bundle, scene, folder, ONE)
    return content(folder)


@given(st.integers(1, 20_000), st.integers(1, 9))
def test_bands_are_whole_rows_of_blocks_and_even(height, count):
    bands = bands_of(height, count)
    assert [row for band in bands for row in (band.start, band.stop)] == [
        0, *(row for band in bands[1:] for row in (band.start, band.start)), height
    ]  # fmt: skip
    assert all(band.start % 512 == 0 and len(band) for band in bands)
    assert len(bands) == min(count, -(-height // 512))
    assert max(map(len, bands)) - min(map(len, bands)) <= 1024


def test_two_processes_give_the_bytes_of_one(bundle, scene, tmp_path, wanted):
    steps = []
    out = tmp_path / "two"
    out.mkdir()
    facts = run(bundle, scene, out, TWO, on_progress=lambda *step: steps.append(step))
    assert content(out) == wanted
    assert facts.device == "cpu,cpu"
    assert sum(facts.pixels) + facts.nodata == 2200 * 100
    assert steps[-1][0] == steps[-1][1]
    assert len(steps) > 10


@pytest.mark.slow
def test_a_bundle_in_memory_and_resampled_pixels(bundle, scene, tmp_path):
    """The model is written for the processes, and bands of other pixels meet without a gap."""
    made = Bundle(bundle.model, bundle.card)
    for name, device in (("one", "cpu"), ("two", "cpu,cpu")):
        (tmp_path / name).mkdir()
        run(made, scene, tmp_path / name, PredictSettings(device=device, tile=96, resolution=0.35, stitch="centre"))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_stopped_they_keep_their_rows(bundle, scene, tmp_path, wanted):
    out = tmp_path / "two"
    out.mkdir()

    def stop(done, total):
        if done > 0.8 * total:
            raise Interrupted("enough", hint="go on")

    with pytest.raises(Interrupted, match="enough"):
        run(bundle, scene, out, TWO, on_progress=stop)
    assert not (out / "mask.tif").exists()
    assert not multiprocessing.active_children()
    facts = run(bundle, scene, out, TWO, resume=True)
    assert facts.resumed >= 512
    assert content(out) == wanted


@pytest.mark.slow
def test_one_that_is_killed_is_named_and_its_rows_are_kept(bundle, scene, tmp_path, wanted):
    out = tmp_path / "two"
    out.mkdir()

    def kill(done, total):
        if done > 0.6 * total:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ResourceError, match=r"process on `cpu` died \(exit code -9\)") as error:
        run(bundle, scene, out, TWO, on_progress=kill)
    assert "the same command goes on" in error.value.hint
    assert not (out / "mask.tif").exists()
    run(bundle, scene, out, TWO)
    assert content(out) == wanted


@pytest.mark.slow
def test_what_one_of_them_cannot_read_is_said_here(bundle, scene, tmp_path):
    break_blocks(scene, [(6, 0)])
    with pytest.raises(SceneUnreadable, match=r"scene\.tif"):
        run(bundle, scene, tmp_path, TWO)
    facts = run(bundle, scene, tmp_path, TWO.model_copy(update={"on_bad_block": "nodata"}))
    assert facts.damaged == 1
    assert (tmp_path / "mask.tif.damage.json").exists()


SCRIPT = """
import sys, time
from pathlib import Path
from geosemi.models.bundle import Bundle
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.3)

if __name__ == "__main__":
    model, scene, out = map(Path, sys.argv[1:])
    settings = PredictSettings(device="cpu,cpu", tile=96)
    sure = {"confidence": out.with_name("sure.tif")}
    predict_scene(Bundle.load(model), scene, out, settings, extras=sure, overwrite=True, on_progress=slowly)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_parent_that_is_killed_leaves_no_process_behind(bundle, scene, tmp_path, wanted):
    out = tmp_path / "two" / "mask.tif"
    out.parent.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), str(bundle.path), str(scene), str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        for _ in range(3):
            parent.stdout.readline()
        parent.kill()
    until = time.monotonic() + 30
    while _holding(folder_of(out)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _holding(folder_of(out))
    assert not out.exists()
    run(bundle, scene, out.parent, TWO)
    assert content(out.parent) == wanted


def _holding(folder):
    """Return the processes that have a file of the folder open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            found.append(link.parts[2])
    return found


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("cpu,cuda:99", "no device `cuda:99`", "cpu"),
        (",", "`` is no device", "choose auto"),
        ("cpu,all", "`all` is no device", "`all`, alone, means every GPU"),
        ("cpu,meta", "has no device `meta`", "cpu"),
    ],
)
def test_devices_that_are_not_there(name, message, hint):
    with pytest.raises(ConfigError, match=message) as error:
        choose_devices(name)
    assert hint in error.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU does")
def test_all_means_gpus():
    with pytest.raises(ConfigError, match="no GPU"):
        choose_devices("all")


@pytest.mark.parametrize("name", ["cpu,cpu", "cpu, cpu", "cpu,,cpu,"])
def test_a_device_may_be_named_twice_and_a_comma_names_none(name):
    assert [str(device) for device in choose_devices(name)] == ["cpu", "cpu"]
