"""Read safetensors from anywhere: the only weights format, because reading it runs no code.

torch's own format is a pickle: it can run code when loaded, a flipped bit in it goes unnoticed, and torch's refusal
tells people how to switch the refusal off. So such files are recognised here and refused in our words.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from geosemi.errors import BundleError, UnsafeInput

_PICKLES = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
_HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What a safetensors file holds.

    Attributes:
        data: the file's bytes.
        tensors: name → tensor on the CPU.
        metadata: free text by key.
    """

    data: bytes
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def read_tensors(path: Path) -> TensorFile:
    """Read a whole safetensors file.

    Raises:
        UnsafeInput: the file is a pickle, which can run code when loaded.
        BundleError: the file is missing, of another kind, incomplete or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"`{path}` cannot be read: {error.strerror}", hint="check the path; a model is one .safetensors file"
        ) from error
    header = _header(path, data)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise BundleError(f"`{path}` is damaged: {error}", hint="copy the file again from where it came") from error
    return TensorFile(data, tensors, header.get("__metadata__", {}))


def _header(path: Path, data: bytes) -> dict[str, Any]:
    """Return the JSON header after checking that the file is what it says and as long as it says."""
    if data.startswith(_PICKLES):
        raise UnsafeInput(
            f"`{path}` is a pickle (.pth, .pt, .bin, .ckpt), which wants to run code when loaded",
            hint="ask its author for a .safetensors file",
        )
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length > _HEADER_LIMIT or data[8:9] != b"{":
        begin = data[:16].decode("ascii", errors="replace")
        what = "is empty" if not data else f"is not a safetensors file (it begins with {begin!r})"
        raise BundleError(
            f"`{path}` {what}", hint="give a .safetensors file; a web page or a text file was saved here?"
        )
    if len(data) < 8 + length:
        raise _incomplete(path, len(data), 8 + length)
    try:
        header = json.loads(data[8 : 8 + length])
        spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
        end = 8 + length + max((int(stop) for _, stop in spans), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"the header of `{path}` is damaged", hint="copy the file again") from error
    if len(data) < end:
        raise _incomplete(path, len(data), end)
    return dict(header)


def _incomplete(path: Path, present: int, wanted: int) -> BundleError:
    return BundleError(
        f"`{path}` is incomplete ({present:,} of at least {wanted:,} bytes)",
        hint="copy it again; the copy or download was interrupted",
    )
