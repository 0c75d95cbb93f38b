"""What the values of a raster mean: the layers that a prediction can write, and how each opens in QGIS."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from geosemi.errors import OutputError
from geosemi.geo.commit import require_writable
from geosemi.geo.style import LEGEND_TAG, aux_xml, colour_table, qml_raster
from geosemi.geo.target import shown
from geosemi.legend import Legend

SCALE_TAG = "GEOSEMI_SCALE"  # of amounts: what their values mean
CONFIDENCE_BAND = "confidence"
NO_CONFIDENCE_BANDS = ("class", "entropy", "margin")  # one byte a pixel too, but their mean is no confidence
AMOUNT_STEPS = 254  # an amount of 1 is stored as 254; 255 is nodata


@dataclass(frozen=True, slots=True)
class Layer:
    """What the values of a raster mean.

    Attributes:
        bands: what each band is.
        nodata: the value that means nothing.
        overviews: how coarser levels are made: `MODE` for classes, `AVERAGE` for amounts.
        dtype: of the values.
        colours: value → (red, green, blue, alpha), or None.
        scale: value × scale = amount.
        tags: metadata that belongs to the meaning.
        sides: texts of side files by their names, in which {name} and {stem} are the raster's.
    """

    bands: tuple[str, ...]
    nodata: float
    overviews: Literal["MODE", "AVERAGE"]
    dtype: Literal["uint8", "uint16", "uint32", "float16"] = "uint8"
    colours: Mapping[int, tuple[int, int, int, int]] | None = None
    scale: float = 1.0
    tags: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.overviews == "MODE" and self.dtype == "float16":
            raise ValueError("classes are whole numbers, not float16")


def mask_layer(legend: Legend) -> Layer:
    """Return the layer of a class mask: class ids, `legend.ignore` is nodata, coloured and named for QGIS."""
    return Layer(
        ("class",),
        legend.ignore,
        "MODE",
        colours=colour_table(legend),
        tags={LEGEND_TAG: json.dumps(legend.to_dict(), ensure_ascii=False)},
        sides={"{name}.aux.xml": aux_xml(legend), "{stem}.qml": qml_raster(legend)},
    )


def amount_layer(bands: Sequence[str], meaning: str) -> Layer:
    """Return a layer of amounts in 0 … 1: 0 … 254 mean 0 … 1, 255 is nodata.

    Args:
        bands: what each band is.
        meaning: ends the sentence "value / 254 is …".
    """
    note = f"value / {AMOUNT_STEPS} is {meaning}; 255 is nodata"
    return Layer(tuple(bands), 255, "AVERAGE", scale=1 / AMOUNT_STEPS, tags={SCALE_TAG: note})


def files_of(path: Path, layer: Layer) -> tuple[Path, ...]:
    """Return all files that a raster is written as, side files first."""
    sides = (path.with_name(side.format(name=path.name, stem=path.stem)) for side in layer.sides)
    return (*sides, path)


def require_free(path: Path, layer: Layer, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check, before any work, that a raster and its side files can be written.

    Raises:
        OutputError: the name is no `.tif`, the folder is missing, or a file exists or is an input.
    """
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise OutputError(f"`{shown(path)}` is no name for a GeoTIFF", hint="end it in .tif")
    for file in reversed(files_of(path, layer)):
        require_writable(file, overwrite=overwrite, inputs=inputs)
