"""Vector labels burnt onto a scene's grid: polygons with a class column become class ids, window by window."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize

from geosemi.errors import LegendError, SceneUnreadable
from geosemi.geo.grid import Grid
from geosemi.geo.vectorfile import SUFFIXES, read_polygons
from geosemi.geo.window import Window
from geosemi.legend import Legend

VECTOR_SUFFIXES = SUFFIXES
# `name` comes last: in an extract of OpenStreetMap it is what a street is called
COLUMNS = (
    "class", "class_name", "class_id", "label", "landcover", "land_cover", "landuse", "land_use", "type", "name"
)  # fmt: skip


def class_column(frame: gpd.GeoDataFrame, asked: str | None) -> tuple[str | None, list[str]]:
    """Return the column that holds the classes, the one that was asked for if any, and the names of all columns."""
    fields = [str(c) for c in frame.columns if c != frame.geometry.name]
    found = asked or next((c for name in COLUMNS for c in fields if c.casefold() == name), None)
    return found if found in fields else None, fields


@dataclass(frozen=True)
class VectorLabels:
    """Polygons of one scene's truth, in pixel coordinates of its grid. Build with `load`.

    Attributes:
        shapes: N polygons; x = column, y = row of the scene, counted from its upper left corner.
        ids: (N,) uint8, class ids.
        outside: value of pixels that no polygon covers.
    """

    shapes: npt.NDArray[Any]
    ids: npt.NDArray[np.uint8]
    outside: int

    @classmethod
    def load(
        cls, path: Path, grid: Grid, legend: Legend, *, column: str | None = None, outside: str | None = None
    ) -> "VectorLabels":
        """Read a vector file, reproject it to the scene's crs and translate its class column.

        Args:
            path: GeoPackage, GeoJSON, Shapefile or FlatGeobuf with polygons in any crs.
            grid: the scene's grid, which must have a crs if the file has one.
            legend: says which name, synonym or number means which class.
            column: the class column; found by its name (`class`, `class_name`, `label`, …) when None.
            outside: the class of pixels that no polygon covers; None leaves them without truth.

        Raises:
            SceneUnreadable: the file cannot be read or lies elsewhere on Earth than the scene.
            LegendError: there is no class column, or it holds a class that the legend does not know.
        """
        frame = read_polygons(path)
        frame = _in_crs_of(frame, grid, path)
        ids = _class_ids(frame, path, legend, column)
        inverse = ~grid.transform
        matrix = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
        shapes = np.asarray(frame.geometry.affine_transform(matrix).values)
        if not shapely.intersects(shapes, shapely.box(0, 0, grid.width, grid.height)).any():
            raise SceneUnreadable(f"no polygon of `{path}` lies on its scene", hint="check the crs of both files")
        return cls(shapes, ids, _outside_value(outside, legend))

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        """Return class ids (h, w) of a window; a pixel belongs to the last polygon that covers its centre."""
        frame = shapely.box(window.col, window.row, window.stop_col, window.stop_row)
        near = shapely.intersects(self.shapes, frame)
        out = np.full(window.shape, self.outside, dtype=np.uint8)
        if not near.any():
            return out
        moved = shapely.transform(self.shapes[near], lambda xy: xy - (window.col, window.row))
        pairs = zip(moved, self.ids[near].tolist(), strict=True)
        burnt: npt.NDArray[np.uint8] = rasterize(pairs, out=out)
        return burnt


def is_vector(path: Path) -> bool:
    """Tell by its suffix whether a file is a vector layer."""
    return path.suffix.lower() in VECTOR_SUFFIXES


def _in_crs_of(frame: gpd.GeoDataFrame, grid: Grid, path: Path) -> gpd.GeoDataFrame:
    if frame.crs is None or frame.crs == grid.crs:
        return frame
    if grid.crs is None:
        raise SceneUnreadable(
            f"`{path}` has a coordinate system but its scene has none",
            hint="georeference the scene, e.g. gdal_translate -a_srs",
        )
    return frame.to_crs(grid.crs)


def _outside_value(name: str | None, legend: Legend) -> int:
    if name is None:
        return legend.ignore
    found = legend.find(name)
    if found is None:
        raise LegendError(f"`{name}` is no class of `{legend.name}`", hint=f"choose one of {', '.join(legend.names)}")
    return found.id


def _class_ids(frame: gpd.GeoDataFrame, path: Path, legend: Legend, column: str | None) -> npt.NDArray[np.uint8]:
    chosen, fields = class_column(frame, column)
    if chosen is None:
        raise LegendError(
            f"`{path}` has no class column" + (f" `{column}`" if column else "") + f"; its columns are {fields}",
            hint="name the column: `--column` of evaluate, `--set data.label_column=…` of train",
        )
    if unnamed := int(frame[chosen].isna().sum()):
        raise LegendError(
            f"`{path}` has {unnamed} polygons without a class in `{chosen}`",
            hint="fill in their class, or delete them: ground without polygons has no truth",
        )
    words = [str(v) for v in frame[chosen]]
    known = {word: legend.find(word.removesuffix(".0")) for word in set(words)}
    unknown = sorted(word for word, found in known.items() if found is None)
    if unknown:
        raise LegendError(
            f"`{path}` holds classes that `{legend.name}` does not know: {', '.join(unknown[:5])}",
            hint="add them to the legend as classes or as `synonyms:`",
        )
    return np.array([found.id for word in words if (found := known[word]) is not None], dtype=np.uint8)
