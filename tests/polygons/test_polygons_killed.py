"""Making polygons, killed at any moment: the old file or the new one under its name, and the same bytes at last."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_polygons import write_mask
from test_polygons_coverage import blobs

SCRIPT = """
import hashlib, os, random, signal, sys, time
from pathlib import Path

import numpy as np
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.legend import ClassDef, Legend

legend = Legend(tuple(ClassDef(k, f"class {k}", f"#0000{k}0") for k in range(4)))
mask, out, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings = PolygonSettings(simplify_px=1.5, min_area_m2=1.0, band_rows=64)
rng = random.Random(0)


def start():
    # imports take seconds and are the same every time: a child is forked after them
    child = os.fork()
    if child == 0:
        polygonize(mask, out, legend, settings, overwrite=True)
        os._exit(0)
    return child


def state():
    files = sorted(p for p in out.parent.glob(out.stem + ".*") if p != mask)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


begin = time.monotonic()
assert os.waitpid(start(), 0)[1] == 0
span = time.monotonic() - begin
complete = state()
for number in range(kills):
    for path in complete:
        out.with_name(path).unlink(missing_ok=True)
    if number % 2 and out.suffix != ".shp":
        out.write_text("old")
    before = state()
    begin, child = time.monotonic(), start()
    over, ended = begin + span * 1.1 * (number + rng.random()) / kills, 0
    while not ended and time.monotonic() < over:
        time.sleep(0.001)
        ended = os.waitpid(child, os.WNOHANG)[0]
    if ended:  # the first run, or one on a busier machine, took longer: the moments close up
        span = min(span, time.monotonic() - begin)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    found = state()
    assert not ended or found == complete, (number, found)
    if out.suffix == ".shp":  # of several files the main one comes last
        assert out.name not in found or found == complete, (number, found)
        assert all(complete[name] == digest for name, digest in found.items()), (number, found)
    else:
        assert found in (before, complete), (number, found)
    print("old" if found == before else "new")
assert os.waitpid(start(), 0)[1] == 0
assert state() == complete
left = [p.name for p in out.parent.iterdir() if p != mask and p.name not in complete]
assert left == [], left
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("map.gpkg", 6),
        ("map.shp", 4),
        pytest.param("map.gpkg", 60, marks=pytest.mark.slow),
        pytest.param("map.fgb", 20, marks=pytest.mark.slow),
        pytest.param("map.geojson", 20, marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_random_moments(tmp_path: Path, name: str, kills: int) -> None:
    mask = write_mask(tmp_path / "mask.tif", np.kron(blobs(300, 7), np.ones((3, 3), np.uint8)))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(mask), str(tmp_path / name), str(kills)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count("old") >= kills // 3  # most were killed before the end, or this shows nothing
