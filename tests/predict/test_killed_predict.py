"""The command, killed at any moment, goes on to the same bytes: the short form of `benchmarks/killed.py`."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def killed(root, *options):
    words = [sys.executable, str(root / "benchmarks" / "killed.py"), *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every run ended in the same bytes" in done.stdout
    return int(done.stdout.split()[0])


def test_at_random_moments(root):
    assert killed(root, "--kills", "4") >= 4


@pytest.mark.slow
def test_at_random_moments_in_two_processes(root):
    assert killed(root, "--kills", "4", "--device", "cpu,cpu") >= 4


@pytest.mark.slow
def test_at_every_rename_and_removal(root):
    """Also between the side files and the mask, between the mask and its polygons, and while the folder is removed."""
    assert killed(root, "--renames") >= 15
