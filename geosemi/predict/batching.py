"""How tiles reach the device: gathered in buffers of a fixed shape, in batches that fit into its memory."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from geosemi.geo.scene import Tile

MAX_BATCH = 32
_SHARE = 0.7  # of the free memory: stitching, and whoever else is on that GPU, need some too


class Staging:
    """The way of tiles from the host to the device. On CUDA the next batch travels while the last is computed.

    Args:
        device: where they go.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream_of(device)
        # two pinned buffers: one is filled while the other may still be read by its copy
        self._buffers = [torch.empty(0)] * (1 if self._stream is None else 2)
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._buffers)
        self._turn = 0

    def __call__(self, tiles: Sequence[Tile], count: int) -> Tensor:
        """Return raw pixels (count, C, h, w) on the device, valid until the next call; uint8 or float32.

        The tiles are of one shape; missing ones are repetitions of the last.
        """
        self._turn = (self._turn + 1) % len(self._buffers)
        host = self._free(tiles[0], count)
        for number, row in enumerate(host.numpy()):
            row[...] = tiles[min(number, len(tiles) - 1)].image
        return host.to(self._device) if self._stream is None else self._sent(host, self._stream)

    def _free(self, like: Tile, count: int) -> Tensor:
        """Return this turn's buffer once nobody reads it."""
        if (event := self._copied[self._turn]) is not None:
            event.synchronize()
        # bytes travel as they are; torch knows few of the other kinds
        dtype = torch.uint8 if like.image.dtype == np.uint8 else torch.float32
        shape = (count, *like.image.shape)
        buffer = self._buffers[self._turn]
        if (tuple(buffer.shape), buffer.dtype) != (shape, dtype):
            buffer = torch.empty(shape, dtype=dtype, pin_memory=self._stream is not None)
            self._buffers[self._turn] = buffer
        return buffer

    def _sent(self, host: Tensor, stream: torch.cuda.Stream) -> Tensor:
        with torch.cuda.stream(stream):
            raw = host.to(self._device, non_blocking=True)
            self._copied[self._turn] = stream.record_event()
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(stream)
        raw.record_stream(computing)  # its memory belongs to the copying stream, which must not reuse it too early
        return raw


def batch_that_fits(device: torch.device, forward_one: Callable[[], object]) -> int:
    """Return how many tiles a device takes at once, from its free memory and what one tile needs.

    One on a CPU: larger batches are no faster there (within 3 % for convolutions and transformers alike).

    Args:
        device: what is asked.
        forward_one: runs the network on one tile there.
    """
    if device.type != "cuda":
        return 1 if device.type == "cpu" else 8
    forward_one()  # libraries claim their workspaces at the first call
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    forward_one()
    each = torch.cuda.max_memory_allocated(device) - before
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - before
    return fitting(free, each)


def fitting(free: int, each: int) -> int:
    """Return the largest power of two, at most `MAX_BATCH`, of tiles that take a safe share of the memory; at least 1.

    Args:
        free: bytes.
        each: bytes that one tile takes at the network's widest point.
    """
    number = int(_SHARE * free) // max(each, 1)
    return min(MAX_BATCH, 1 << max(number.bit_length() - 1, 0))


def lacks_memory(error: RuntimeError) -> bool:
    """Tell whether an error says that memory ran out; on a CPU torch raises a plain RuntimeError for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _stream_of(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream for copies; None where copies do not overlap with computing."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
