"""One multipolygon a class: polygons of a class touch in points at most, so nothing has to be computed, only collected.

They wait on disk, a file a class; in memory is one class at a time.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.polygons.vectors import Columns, PolygonLayer

_HEADER = struct.Struct("<BII")  # little endian, type, parts
_MULTIPOLYGON = 6
_SUMS = ("area_m2", "perim_m", "n_px")


class Dissolved:
    """Collects polygons by class; `finish` writes one feature for each class that has any.

    Args:
        folder: private, for the waiting polygons.
        layer: of multipolygons.
    """

    def __init__(self, folder: Path, layer: PolygonLayer) -> None:
        self._folder = folder
        self._layer = layer
        self._names: dict[int, str] = {}
        self._parts: dict[int, int] = {}
        self._sums: dict[int, dict[str, float]] = {}
        self._empty: Columns = {}

    def append(self, geometry: npt.NDArray[np.object_], columns: Columns) -> None:
        """Take a batch of WKB polygons with their attributes."""
        self._empty = {name: values[:0] for name, values in columns.items()}
        for k in np.unique(columns["class_id"]).tolist():
            chosen = np.flatnonzero(columns["class_id"] == k)
            self._names[k] = columns["class_name"][chosen[0]]
            self._parts[k] = self._parts.get(k, 0) + len(chosen)
            with self._file(k).open("ab") as file:
                file.writelines(geometry[chosen].tolist())
            sums = self._sums.setdefault(k, dict.fromkeys((*_SUMS, "conf", "known"), 0))
            for name in _SUMS:
                sums[name] += columns[name][chosen].sum()
            if "conf" in columns:
                conf, n_px = columns["conf"][chosen], columns["n_px"][chosen]
                is_known = ~np.isnan(conf)
                sums["conf"] += (conf * n_px)[is_known].sum()
                sums["known"] += n_px[is_known].sum()

    def finish(self) -> None:
        """Write the features, by class id."""
        self._layer.append(np.empty(0, dtype=object), self._empty)
        for k in sorted(self._parts):
            sums = self._sums[k]
            values = {"class_id": k, "class_name": self._names[k], **{name: sums[name] for name in _SUMS}}
            values["conf"] = sums["conf"] / sums["known"] if sums["known"] else np.nan
            columns = {name: np.array([values[name]], dtype=empty.dtype) for name, empty in self._empty.items()}
            geometry = np.empty(1, dtype=object)
            geometry[0] = _HEADER.pack(1, _MULTIPOLYGON, self._parts[k]) + self._file(k).read_bytes()
            self._layer.append(geometry, columns)
            self._file(k).unlink()

    def _file(self, k: int) -> Path:
        return self._folder / f"class-{k}.wkb"
