"""Opinions that need no model: somebody's map of the same ground, read window by window and written as class bits."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi import __version__
from geosemi.annotate.answer import whole_characters
from geosemi.geo.commit import private_folder
from geosemi.geo.opinion import opinion_layer, pack
from geosemi.geo.scene import Scene, reading
from geosemi.geo.style import qml_bits
from geosemi.geo.unfinished import Unfinished
from geosemi.geo.window import Window
from geosemi.geo.writer import RasterSet
from geosemi.legend import Legend

STRIP = 512
Seen = npt.NDArray[np.bool_]


class MapReader(Protocol):
    """Anything that says of windows which classes are there."""

    def read(self, window: Window) -> Seen:
        """Return (K, h, w) bool for a window of the scene."""

    def words(self) -> str:
        """Return who speaks, in words; asked when everything was read."""

    def record(self) -> Mapping[str, Any]:
        """Return what else is worth knowing, JSON values by name; asked when everything was read."""


@dataclass(frozen=True, slots=True)
class OpinionFacts:
    """What an opinion says.

    Attributes:
        path: the raster.
        source: who speaks, in words.
        legend: the classes.
        pixels: how many pixels each class was seen on.
        several: pixels with more than one class.
        spoken: pixels with any class.
        total: pixels of the scene.
        warnings: what a person should know, one sentence each.
    """

    path: Path
    source: str
    legend: Legend
    pixels: tuple[int, ...]
    several: int
    spoken: int
    total: int
    warnings: tuple[str, ...] = ()


class Tally:
    """Counts class bits as they are written."""

    def __init__(self, legend: Legend) -> None:
        self._legend = legend
        self._values: dict[int, int] = {}

    def add(self, bits: npt.NDArray[np.unsignedinteger]) -> None:
        """Count rows of class bits."""
        for value, count in zip(*np.unique(bits, return_counts=True), strict=True):
            self._values[int(value)] = self._values.get(int(value), 0) + int(count)

    def facts(self, path: Path, source: str) -> OpinionFacts:
        """Return the counts."""
        seen = {value: count for value, count in self._values.items() if value}
        pixels = tuple(sum(n for value, n in seen.items() if value >> c.id & 1) for c in self._legend)
        several = sum(n for value, n in seen.items() if value & (value - 1))
        total = sum(self._values.values())
        return OpinionFacts(path, source, self._legend, pixels, several, sum(seen.values()), total)

    def style(self) -> str:
        """Return the QGIS style of what occurs, the most frequent first."""
        return qml_bits(self._legend, sorted(self._values, key=lambda value: -self._values[value]))


def files_for(out: Path) -> tuple[Path, Path, Path]:
    """Return the names of an opinion's style and record beside it, and its own, the order in which they get them."""
    return out.with_suffix(".qml"), out.with_suffix(".jsonl"), out


def write_map(
    scene: Scene,
    reader: MapReader,
    out: Path,
    *,
    legend: Legend,
    key: Mapping[str, Any],
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> OpinionFacts:
    """Write what a map says of a scene, as `out`, its style and its record; nodata pixels of the scene stay silent.

    Args:
        scene: whose grid is used.
        reader: the map.
        out: the opinion raster.
        legend: the classes.
        key: what was asked for, for the record.
        on_progress: told how many rows of how many are done.

    Raises:
        OutputError: the disk is full or fails.
        InputError: the scene or the map cannot be read.
    """
    style, record, _ = files_for(out)
    tally = Tally(legend)
    layer = opinion_layer(legend, "")
    height, width = scene.grid.shape
    with (
        private_folder(out) as folder,  # a map takes seconds: what was interrupted begins anew
        Unfinished(folder, []) as work,
        RasterSet({out: layer}, scene.grid, work) as raster,
        reading(scene) as pixels,
    ):
        for row in range(0, height, STRIP):
            window = Window(row, 0, min(STRIP, height - row), width)
            bits = np.zeros(window.shape, dtype=layer.dtype)
            for col in range(0, width, STRIP):
                part = Window(row, col, window.height, min(STRIP, width - col))
                seen = reader.read(part)
                if scene.may_have_nodata:
                    seen = seen & pixels.read(part).valid
                bits[:, col : col + part.width] = pack(seen)
            tally.add(bits)
            raster.write(row, [bits])
            on_progress(window.stop_row, height)
        facts = tally.facts(out, reader.words())
        line = {"scene": scene.path.name, **key, "source": facts.source, **reader.record(), **counts_of(facts)}
        tags = {"GEOSEMI_SOURCE": facts.source, "GEOSEMI_VERSION": __version__}
        raster.finish(tags, {style: tally.style(), record: json_line(line)})
    return facts


def counts_of(facts: OpinionFacts) -> dict[str, Any]:
    """Return the counts of an opinion as JSON values."""
    by_name = dict(zip(facts.legend.names, facts.pixels, strict=True))
    return {"pixels": by_name, "several": facts.several, "spoken": facts.spoken, "total": facts.total}


def json_line(value: Mapping[str, Any]) -> str:
    """Return a JSON value as a line of text; of names of files, what is no UTF-8 is replaced."""
    return whole_characters(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + "\n"


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
