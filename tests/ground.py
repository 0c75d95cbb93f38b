"""Where the small rasters of the tests lie, and what is in them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

UTM = "EPSG:32636"
NORTH_UP = Affine(0.5, 0, 450_000, 0, -0.5, 40_000)


def noise(height: int, width: int, bands: int = 3, dtype: str = "uint8", seed: int = 0) -> npt.NDArray[Any]:
    """Return (bands, height, width) pixels without structure: 0 … 255 for integers, normal for floats."""
    random = np.random.default_rng(seed)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return random.normal(100, 30, (bands, height, width)).astype(dtype)
    return random.integers(0, 256, (bands, height, width)).astype(dtype)
