"""Large arrays outside the heap are plain arrays to everybody."""

from pathlib import Path

import numpy as np
import pytest

from geosemi.geo.roomy import roomy


@pytest.mark.parametrize("shape", [(3, 5), (0, 7), (3, 700, 800), (2**21,)])
@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "float32", "int16"])
def test_it_is_zeros_of_that_shape_and_can_be_written(shape, dtype):
    made = roomy(shape, dtype)
    assert np.array_equal(made, np.zeros(shape, dtype))
    assert (made.dtype, made.flags.writeable, made.flags.c_contiguous) == (np.dtype(dtype), True, True)
    made[...] = 1
    assert made.sum(dtype=float) == made.size


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_what_nobody_holds_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    for _ in range(20):
        roomy((2**25,), "uint8")[:] = 1  # 32 MiB each
    assert resident() - before < 2**26
