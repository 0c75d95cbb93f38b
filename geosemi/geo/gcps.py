"""Ground control points: where a raster lies that has no geotransform."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterio.crs import CRS

from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote


@dataclass(frozen=True, slots=True)
class ControlPoints:
    """Ground control points of a raster that has no geotransform.

    Attributes:
        points: rasterio's GroundControlPoint objects.
        crs: of their coordinates.
    """

    points: tuple[Any, ...]
    crs: CRS | None

    @classmethod
    def of(cls, place: Path | Remote) -> "ControlPoints | None":
        """Read a file's control points; None where it has none."""
        with open_raster(place) as file:
            points, crs = file.dataset.gcps
        return cls(tuple(points), crs) if points else None
