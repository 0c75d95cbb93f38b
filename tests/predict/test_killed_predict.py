"""Mapping and making polygons, killed at any moment: the short form of `benchmarks/killed.py`."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("device", "kills"), [("cpu", 8), pytest.param("cpu,cpu", 4, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(root, device, kills):
    words = [sys.executable, str(root / "benchmarks" / "killed.py"), "--kills", str(kills), "--device", device]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every run ended in the same bytes" in done.stdout
    assert int(done.stdout.split()[0]) >= kills
