"""The bytes of a cloud-optimised GeoTIFF around blocks that are compressed already.

GDAL says what stands in the tags: it writes the same raster a few pixels large into memory, and coordinate system,
colours, names and metadata are taken from there, so that they are exactly what GDAL would have written. The layout is
that of GDAL's COG driver (https://gdal.org/drivers/raster/cog.html): all directories first, then the blocks of the
coarsest level, and so on to the finest; each block between its size and its last four bytes. Sizes are known before
the first byte is written, so a file of any size is one pass over the disk.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.io import MemoryFile

ADOBE_DEFLATE, HORIZONTAL = 8, 2
LEADER, TRAILER = 4, 4
_CLASSIC_LIMIT = 2**32 - 2**20  # offsets of four bytes reach no further
_SHORT, _LONG, _LONG8 = 3, 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
# BitsPerSample, Photometric, SamplesPerPixel, PlanarConfiguration, ColorMap, ExtraSamples, SampleFormat, nodata
_EVERY_LEVEL = (258, 262, 277, 284, 320, 338, 339, 42113)
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeys, GDAL's metadata
_FINEST_ONLY = (33550, 33922, 34264, 34735, 34736, 34737, 42112)


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a TIFF directory: its type code, how many values, and their bytes (little-endian)."""

    kind: int
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a raster.

    Attributes:
        height: rows.
        width: columns.
        sizes: bytes of each compressed block, in row-major order, without leader and trailer.
    """

    height: int
    width: int
    sizes: Sequence[int]

    @property
    def stored(self) -> int:
        """Bytes of all blocks with their leaders and trailers."""
        return sum(self.sizes) + len(self.sizes) * (LEADER + TRAILER)


def tags_by_gdal(profile: Mapping[str, Any], describe: Any) -> dict[int, Tag]:
    """Return the tags of a small GeoTIFF that GDAL writes.

    Args:
        profile: rasterio's keywords of the raster; its size is not used.
        describe: called with the open dataset, to set names, colours and metadata.
    """
    small = {**profile, "driver": "GTiff", "height": 16, "width": 16, "interleave": "pixel"}
    with MemoryFile(ext=".tif") as memory:
        with memory.open(**small) as dataset:
            describe(dataset)
        found = read_tags(bytes(memory.getbuffer()))
    return {code: found[code] for code in (*_EVERY_LEVEL, *_FINEST_ONLY) if code in found}


def read_tags(content: bytes) -> dict[int, Tag]:
    """Return the entries of the first directory of a little-endian classic TIFF, by tag number."""
    order, magic, start = struct.unpack_from("<2sHI", content)
    if (order, magic) != (b"II", 42):
        raise ValueError(f"not a little-endian classic TIFF: {content[:4]!r}")
    (count,) = struct.unpack_from("<H", content, start)
    tags = {}
    for number in range(count):
        place = start + 2 + 12 * number
        code, kind, values = struct.unpack_from("<HHI", content, place)
        length = values * _SIZES[kind]
        offset = place + 8 if length <= 4 else struct.unpack_from("<I", content, place + 8)[0]
        tags[code] = Tag(kind, values, content[offset : offset + length])
    return tags


def framed(block: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a compressed block between its leader and trailer."""
    return (struct.pack("<I", len(block)), block, block[-TRAILER:].rjust(TRAILER, b"\0"))


def header(levels: Sequence[Level], tags: Mapping[int, Tag], *, block: int, predictor: int) -> bytes:
    """Return all that stands before the blocks; the blocks of the last level follow, then those of the one before.

    Args:
        levels: from the finest to the coarsest.
        tags: of `tags_by_gdal`.
        block: side of the blocks in pixels.
        predictor: 1 for none, 2 for horizontal differences.
    """
    data = sum(level.stored for level in levels)
    big = data + 32 * sum(len(level.sizes) for level in levels) > _CLASSIC_LIMIT
    length = len(_header(levels, [0] * len(levels), tags, block=block, predictor=predictor, big=big))
    begins, place = [0] * len(levels), length
    for number in reversed(range(len(levels))):
        begins[number] = place
        place += levels[number].stored
    return _header(levels, begins, tags, block=block, predictor=predictor, big=big)


def _header(
    levels: Sequence[Level], begins: Sequence[int], tags: Mapping[int, Tag], *, block: int, predictor: int, big: bool
) -> bytes:
    ghost = _ghost()
    begin = 16 if big else 8
    first = begin + len(ghost)
    content = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if big else struct.pack("<2sHI", b"II", 42, first)
    content += ghost
    for number, level in enumerate(levels):
        entries = _entries(level, begins[number], block=block, predictor=predictor, finest=number == 0, big=big)
        kept = {c: t for c, t in tags.items() if number == 0 or c in _EVERY_LEVEL}
        content += _directory(entries | kept, len(content), last=number == len(levels) - 1, big=big)
    return content


def _ghost() -> bytes:
    """Return the note by which GDAL knows the layout; the blank at the end is room for a YES."""
    lines = (
        b"LAYOUT=IFDS_BEFORE_DATA\n"
        b"BLOCK_ORDER=ROW_MAJOR\n"
        b"BLOCK_LEADER=SIZE_AS_UINT4\n"
        b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
        b"KNOWN_INCOMPATIBLE_EDITION=NO\n "
    )
    note = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(lines) + lines
    return note + b"\0" * (len(note) % 2)  # directories begin at even offsets


def _entries(level: Level, begin: int, *, block: int, predictor: int, finest: bool, big: bool) -> dict[int, Tag]:
    offsets, place = [], begin + LEADER
    for size in level.sizes:
        offsets.append(place)
        place += size + LEADER + TRAILER
    entries = {
        256: _numbers(_LONG, level.width), 257: _numbers(_LONG, level.height), 259: _numbers(_SHORT, ADOBE_DEFLATE),
        322: _numbers(_SHORT, block), 323: _numbers(_SHORT, block),
        324: _numbers(_LONG8 if big else _LONG, *offsets), 325: _numbers(_LONG, *level.sizes),
    }  # fmt: skip
    if not finest:
        entries[254] = _numbers(_LONG, 1)  # a reduced-resolution image
    if predictor != 1:
        entries[317] = _numbers(_SHORT, predictor)
    return entries


def _numbers(kind: int, *values: int) -> Tag:
    letter = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}[kind]
    return Tag(kind, len(values), struct.pack(f"<{len(values)}{letter}", *values))


def _directory(entries: Mapping[int, Tag], place: int, *, last: bool, big: bool) -> bytes:
    """Return a directory that begins at a place in the file, and the values that do not fit into its entries."""
    head, entry, room = ("<Q", "<HHQ", 8) if big else ("<H", "<HHI", 4)
    pointer = "<Q" if big else "<I"
    body = struct.calcsize(head) + len(entries) * (struct.calcsize(entry) + room) + room
    table, values = struct.pack(head, len(entries)), b""
    for code, tag in sorted(entries.items()):
        table += struct.pack(entry, code, tag.kind, tag.count)
        if len(tag.data) <= room:
            table += tag.data.ljust(room, b"\0")
        else:
            table += struct.pack(pointer, place + body + len(values))
            values += tag.data + b"\0" * (len(tag.data) % 2)
    values += b"\0" * ((body + len(values)) % 2)  # so that the next directory begins at an even offset
    return table + struct.pack(pointer, 0 if last else place + body + len(values)) + values
