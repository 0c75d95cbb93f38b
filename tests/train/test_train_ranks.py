"""Two processes on one CPU train one model: slow, because each imports torch and reads the data."""

import csv
import signal
import subprocess
import sys
import time

import pytest
import rasterio
import scenery
import yaml
from lightning.fabric import Fabric

from geosemi.config import load_settings
from geosemi.models.bundle import Bundle
from geosemi.train.checkpoint import checkpoints
from geosemi.train.run import Validator, prepare_run

pytestmark = pytest.mark.slow


def start(tmp_path, *more, steps=6):
    data = tmp_path / "data"
    if not data.exists():
        scenery.country(data, side=96)
        with rasterio.open(data / "labels" / "b.tif", "r+") as label:  # ground without truth, which `dwl` counts
            truth = label.read(1)
            truth[:, 50:70] = 255
            label.write(truth, 1)
        settings = scenery.run_settings(
            data, "supervised", train={"steps": steps, "devices": 2, "protocol": "dwl"}, augment={"size": 40}
        )
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "geosemi", "train", "--config", "run.yaml", "--out", "run", *more]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_of(path):
    with path.open() as file:
        return [int(r["step"]) for r in csv.DictReader(file)]


def test_two_ranks_make_one_run(tmp_path):
    out, err = (process := start(tmp_path)).communicate(timeout=240)
    assert process.returncode == 0, err
    # one voice
    assert out.count("model  ") == 1
    assert err.count("supervised with light") == 1
    assert err.count("step 6: mIoU") == 1
    run = tmp_path / "run"
    shipped = Bundle.load(run / "bundle.safetensors")
    assert shipped.card.provenance["step"] in (3, 6)
    # the two together measured what the shipped model scores, whichever of them saw a chip
    settings = load_settings(run / "config.yaml", {}, [], has_gpu=False)
    alone = Validator(settings, prepare_run(settings, scenery.Watch()))(shipped.model, Fabric(accelerator="cpu"))
    with (run / "validation.csv").open() as file:
        best = max(float(r["miou"]) for r in csv.DictReader(file))
    assert best == pytest.approx(alone.miou, abs=1e-6)
    assert steps_of(run / "metrics.csv") == list(range(6))
    assert steps_of(run / "validation.csv") == [3, 6]
    assert not [p for p in run.iterdir() if p.name.startswith(".")]


def test_a_signal_to_one_rank_stops_both_and_they_go_on(tmp_path):
    process = start(tmp_path, steps=400)
    deadline = time.monotonic() + 120
    metrics = tmp_path / "run" / "metrics.csv"
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.is_file() and metrics.stat().st_size > 100:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped after step" in err
    saved = int(checkpoints(tmp_path / "run" / "checkpoints")[0].stem.split("-")[1])
    assert 0 < saved < 400
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert config["train"]["devices"] == 2
    process = start(tmp_path, "--resume")
    while time.monotonic() < deadline + 120 and process.poll() is None:
        if metrics.is_file() and (steps_of(metrics) or [0])[-1] > saved + 20:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    found = steps_of(metrics)
    assert found == list(range(len(found)))
    assert len(found) > saved
