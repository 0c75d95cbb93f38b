"""The allocator's thresholds: they take effect where there is glibc, and are refused politely elsewhere."""

import platform
import subprocess
import sys

import pytest

from geosemi import malloc

FAULTS = """
import resource, sys
import torch
from geosemi.malloc import keep_freed_memory
if sys.argv[1] == "on":
    assert keep_freed_memory()
# the first rounds settle where the heap ends; 48 MB is over the largest threshold that glibc chooses itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large blocks back at once")
def test_freed_blocks_are_used_again():
    faults = {
        mode: int(
            subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True).stdout
        )
        for mode in ("off", "on")
    }
    assert faults["on"] * 4 < faults["off"]


def test_other_platforms_are_left_alone(monkeypatch):
    monkeypatch.setattr(malloc.sys, "platform", "darwin")
    assert malloc.keep_freed_memory() is False
