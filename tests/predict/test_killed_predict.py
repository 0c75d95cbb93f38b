"""A prediction that is killed at any moment leaves the old output or the new one, never a part."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hashlib, os, signal, sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from fakes import EdgeSegmenter, bundle_of
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

scene, out = Path(sys.argv[2]), Path(sys.argv[3])


def start():
    # imports take seconds and are the same every time: a child is forked after them, before any tensor exists
    child = os.fork()
    if child == 0:
        predict_scene(bundle_of(EdgeSegmenter()), scene, out, PredictSettings(device="cpu"), overwrite=True)
        os._exit(0)
    return child


def state():
    return hashlib.sha256(out.read_bytes()).hexdigest() if out.exists() else "absent"


begin = time.monotonic()
assert os.waitpid(start(), 0)[1] == 0
span = time.monotonic() - begin
complete = state()
for old in ("absent", "old"):
    for number in range(12):
        out.unlink(missing_ok=True)
        if old == "old":
            out.write_text("old")
        before = state()
        child = start()
        time.sleep(span * (number + 0.5) / 10)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = state()
        assert found in (before, complete), (old, number, found)
        print("old" if found == before else "new")
assert os.waitpid(start(), 0)[1] == 0
assert state() == complete
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_sigkill_at_24_moments(make_scene, tmp_path):
    scene = make_scene(height=400, width=400)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(scene), str(tmp_path / "mask.tif")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count("old") >= 8  # most were killed before the end, or this test shows nothing
