"""Large arrays outside the C library's heap, where what comes and goes between them would leave holes."""

import math
import mmap
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_LARGE: Final = 2**20  # bytes; smaller arrays find their place


def roomy(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros that goes back to the system as soon as nobody holds it.

    A strip of a scene that is read while a network works takes the room that the network's next activation would have
    taken, and the heap grows by that: 60 MB over a scene of 36 Mpx (measured).
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _LARGE:
        return np.zeros(shape, kind)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, size, **private), kind).reshape(shape)
