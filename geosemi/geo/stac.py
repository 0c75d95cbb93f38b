"""A mask as a STAC item: where it lies, what its values mean, what it was made from, and with which model.

STAC 1.1 with the extensions projection, raster, classification, processing, file and, where the model is a file that
can be linked to, mlm (https://stac-extensions.github.io). Nothing in it depends on the time or the machine.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyproj import CRS as ProjCRS

from geosemi.errors import ConfigError
from geosemi.geo.footprint import footprint_of
from geosemi.geo.grid import Grid
from geosemi.geo.layers import Layer
from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.target import url_of
from geosemi.legend import Legend

_SCHEMA = "https://stac-extensions.github.io/{}/schema.json"
_EXTENSIONS = ("projection/v2.0.0", "raster/v1.1.0", "classification/v2.0.0", "processing/v1.2.0", "file/v2.1.0")
_MLM = "mlm/v1.5.0"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_TASKS = ("semantic-segmentation",)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What an item says of the model.

    Attributes:
        name: of the network.
        legend: the classes that it tells apart.
        bands: names of the bands it takes, in order.
        mean: of each band, in the scene's units.
        std: of each band.
        tile: side of the windows that it was trained for.
        parameters: how many it has.
        path: its file, or None.
        sha256: of that file, in hex; empty where unknown.
    """

    name: str
    legend: Legend
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tile: int
    parameters: int
    path: Path | None = None
    sha256: str = ""


def stac_item(
    item: Path,
    layers: Mapping[Path, Layer],
    grid: Grid,
    *,
    taken: Mapping[str, str | None],
    source: Path | Remote | None,
    model: ModelFacts,
    version: str,
) -> dict[str, Any]:
    """Return a STAC item as JSON values; what is linked is named relative to the item.

    Args:
        item: the file that the item is for.
        layers: raster → what its values mean; the mask last.
        grid: of all of them.
        taken: when the scene was taken, as `moment` returns it.
        source: the scene, if it is a file or a URL.
        model: what mapped it.
        version: of geosemi.
    """
    *others, mask = layers
    place = footprint_of(grid)
    linked = model.path is not None
    assets = {"mask": _raster(item, mask, layers[mask], grid, title="land cover classes", roles=["data"])}
    assets["mask"]["classification:classes"] = _classes(model.legend)
    for path in others:
        bands = layers[path].bands
        name = bands[0] if len(bands) == 1 else "probabilities"
        assets[name] = _raster(item, path, layers[path], grid, title=name, roles=["data"])
    assets["style"] = {
        "href": _href(item, mask.with_suffix(".qml")), "type": "application/xml", "title": "QGIS style",
        "roles": ["metadata"],
    }  # fmt: skip
    if model.path is not None:
        assets["model"] = _model(item, model, model.path)
    links = [] if source is None else [{"rel": "derived_from", "href": _href(item, source), "title": source.name}]
    found = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_SCHEMA.format(e) for e in (*_EXTENSIONS, *([_MLM] if linked else []))],
        "id": mask.stem,
        "geometry": None if place is None else place.geometry,
        "properties": {**taken, **_projection(grid), **_processing(version), **_mlm(model)},
        "links": links,
        "assets": assets,
    }
    return found if place is None else {**found, "bbox": list(place.bbox)}


def moment(text: str) -> dict[str, str | None]:
    """Return STAC's `datetime`, and for a span `start_datetime` and `end_datetime`.

    Args:
        text: `2024-06-01`, `2024-06-01T10:15:00Z`, two of these with a slash between, or TIFF's
            `2024:06:01 10:15:00`. Without a zone it is UTC.

    Raises:
        ConfigError: it is no date.
    """
    try:
        days = [_moment(part) for part in text.strip().split("/")]
    except ValueError as error:
        raise ConfigError(
            f"`{text}` is no date", hint="write 2024-06-01, 2024-06-01T10:15:00Z, or two with a slash between"
        ) from error
    if len(days) > 2 or days != sorted(days):
        raise ConfigError(f"`{text}` is no span of time", hint="write its begin, a slash, and its end")
    if len(days) == 1:
        return {"datetime": _written(days[0])}
    return {"datetime": None, "start_datetime": _written(days[0]), "end_datetime": _written(days[1])}


def said_moment(scene: Path | Remote) -> str:
    """Return when a file says that it was taken (or, in its `DateTime`, made); empty where it says nothing."""
    with open_raster(scene) as file:
        acquired = file.dataset.tags(ns="IMAGERY").get("ACQUISITIONDATETIME", "")
        for text in (acquired, file.tags.get("ACQUISITIONDATETIME", ""), file.tags.get("TIFFTAG_DATETIME", "")):
            try:
                if text and moment(text):
                    return str(text)
            except ConfigError:  # `0000:00:00 00:00:00` is what some programs write
                continue
    return ""


def _moment(text: str) -> datetime:
    plain = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip())
    found = datetime.fromisoformat(plain)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _written(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


def _projection(grid: Grid) -> dict[str, Any]:
    found: dict[str, Any] = {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)[:6]}
    side = grid.metres_per_pixel()
    if side is not None:
        found["gsd"] = round(side, 6)
    if grid.crs is None:
        return {"proj:code": None, **found}
    crs = ProjCRS.from_user_input(grid.crs)
    authority = crs.to_authority(min_confidence=100)
    found["proj:bbox"] = list(grid.bounds)
    return {"proj:code": ":".join(authority), **found} if authority else {
        "proj:code": None, "proj:wkt2": crs.to_wkt(), **found,
    }  # fmt: skip


def _processing(version: str) -> dict[str, Any]:
    return {
        "processing:software": {"geosemi": version},
        "processing:lineage": "classes of land cover, one a pixel, as a network predicts them",
    }


def _mlm(model: ModelFacts) -> dict[str, Any]:
    shape, classes = [-1, len(model.bands), model.tile, model.tile], len(model.legend)
    scaling = [{"type": "z-score", "mean": m, "stddev": s} for m, s in zip(model.mean, model.std, strict=True)]
    return {
        "mlm:name": f"geosemi {model.name}",
        "mlm:architecture": model.name,
        "mlm:framework": "PyTorch",
        "mlm:tasks": list(_TASKS),
        "mlm:total_parameters": model.parameters,
        "mlm:input": [
            {
                "name": "scene",
                "bands": list(model.bands),
                "input": {
                    "shape": shape, "dim_order": ["batch", "bands", "height", "width"], "data_type": "float32",
                },
                "value_scaling": scaling,
                "resize_type": None,
            }
        ],
        "mlm:output": [
            {
                "name": "classes",
                "tasks": list(_TASKS),
                "result": {
                    "shape": [-1, classes, model.tile, model.tile],
                    "dim_order": ["batch", "class", "height", "width"], "data_type": "float32",
                },
                "classification:classes": _classes(model.legend)[:classes],
            }
        ],
    }  # fmt: skip


def _classes(legend: Legend) -> list[dict[str, Any]]:
    """Return the classes, and last what is none."""
    names = [_plain(c.name) for c in legend]
    found: list[dict[str, Any]] = [
        {
            "value": c.id,
            # a name has ASCII letters, digits and hyphens; the legend's own stands in the description
            "name": name if name and names.count(name) == 1 else f"class-{c.id}",
            "description": c.name,
            "color_hint": c.colour.removeprefix("#").upper(),
        }
        for c, name in zip(legend, names, strict=True)
    ]
    return [*found, {"value": legend.ignore, "name": "nodata", "description": "no data", "nodata": True}]


def _plain(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-")


def _raster(item: Path, path: Path, layer: Layer, grid: Grid, *, title: str, roles: Sequence[str]) -> dict[str, Any]:
    about: dict[str, Any] = {
        "data_type": layer.dtype, "sampling": "area", "nodata": "nan" if math.isnan(layer.nodata) else layer.nodata,
    }  # fmt: skip
    side = grid.metres_per_pixel()
    if side is not None:
        about["spatial_resolution"] = round(side, 6)
    if layer.scale != 1:
        about["scale"] = layer.scale
    bands = [{"name": name, **about} for name in layer.bands]
    return {"href": _href(item, path), "type": _COG, "title": title, "roles": list(roles), "raster:bands": bands}


def _model(item: Path, model: ModelFacts, path: Path) -> dict[str, Any]:
    found = {
        "href": _href(item, path),
        "type": "application/octet-stream; application=safetensors",
        "title": "the model",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "raster:bands": [{"name": name} for name in model.bands],
    }
    # a multihash: 12 is SHA-256, 20 its length in bytes
    return {**found, "file:checksum": f"1220{model.sha256}"} if model.sha256 else found


def _href(item: Path, target: Path | Remote) -> str:
    if isinstance(target, Remote):
        return str(target)
    url = url_of(target)
    if url is not None and _bucket(url) != _bucket(url_of(item) or ""):
        return url
    relative = Path(os.path.relpath(target.resolve(), item.parent.resolve())).as_posix()
    return quote(relative if relative.startswith("../") else f"./{relative}")


def _bucket(url: str) -> list[str]:
    return url.split("/")[:3]
