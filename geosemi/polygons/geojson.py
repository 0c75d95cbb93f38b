"""GeoJSON whose polygons are valid as written.

GDAL cuts polygons at the date line, then rounds them to the decimals of the file. A curve that leaves the cut within
half a unit of the last decimal falls back onto it, and the ring touches itself. Rounding does the same to curves finer
than the last decimal. So what was written is read again, and lines (one a feature) that hold such a ring are mended.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

_BATCH = 2**22  # characters of features that are looked at together
_BEGIN = '{ "type": "Feature", '


def with_valid_polygons(path: Path, decimals: int) -> Path:
    """Return the file as it is, or, if polygons of it are invalid, another beside it that has them mended.

    Args:
        path: GeoJSON as GDAL writes it, one feature a line, in a private folder.
        decimals: of its coordinates.
    """
    if not any(len(broken) for _, broken in _looked_at(path)):
        return path
    mended = path.with_stem(f"{path.stem}-mended")
    with mended.open("w", encoding="utf-8", newline="\n") as file:
        for lines, broken in _looked_at(path):
            for k in broken.tolist():
                lines[k] = _mended(lines[k], decimals)
            file.writelines(lines)
    return mended


def _looked_at(path: Path) -> Iterator[tuple[list[str], npt.NDArray[np.int64]]]:
    """Yield the lines of a file in batches, and which of them hold an invalid polygon."""
    with path.open(encoding="utf-8") as file:
        while lines := file.readlines(_BATCH):
            features = np.array([k for k, line in enumerate(lines) if line.startswith(_BEGIN)], dtype=np.int64)
            texts = np.array([lines[k].rstrip().removesuffix(",") for k in features.tolist()], dtype=object)
            yield lines, features[~shapely.is_valid(shapely.from_geojson(texts))]


def _mended(line: str, decimals: int) -> str:
    text = line.rstrip()
    feature = json.loads(text.removesuffix(","))
    given = shapely.from_geojson(json.dumps(feature["geometry"]))
    valid = shapely.make_valid(given, method="structure", keep_collapsed=False)
    # on the lattice of the decimals, or the next rounding would undo it
    found = shapely.orient_polygons(shapely.set_precision(valid, 10.0**-decimals))
    if not found.is_empty:  # narrower than the last decimal: nothing that could be drawn
        feature["geometry"] = _rounded(shapely.geometry.mapping(found), decimals)
    return json.dumps(feature, ensure_ascii=False) + ("," if text.endswith(",") else "") + "\n"


def _rounded(value: Any, decimals: int) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part, decimals) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part, decimals) for part in value]
    return round(value, decimals) if isinstance(value, float) else value
