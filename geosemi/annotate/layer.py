"""An existing map as an opinion: a cadastre, an OpenStreetMap extract, last year's land cover, in any crs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject, transform_bounds

from geosemi.annotate.maps import MapReader, Seen
from geosemi.errors import ConfigError, InputError, LegendError, SceneUnreadable
from geosemi.geo.burn import COLUMNS, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.vectorfile import read_polygons
from geosemi.geo.window import Window
from geosemi.legend import Legend
from geosemi.yamlfile import read_yaml

SILENT = 255
_MARGIN = 2  # pixels of the map around what a window needs
_MAX_UNKNOWN = 20


@dataclass(frozen=True)
class ClassTable:
    """Which value of a map means which class.

    Attributes:
        values: text of a value → class id, or None where it says nothing.
        column: of a vector layer, or None to find it by its name.
        legend: decides on values that the table does not name, by names, synonyms and numbers.
    """

    values: Mapping[str, int | None]
    legend: Legend
    column: str | None = None
    unknown: dict[str, int] = field(default_factory=dict, compare=False)
    """Values that mean no class, and how many polygons or pixels have them."""

    @classmethod
    def load(cls, path: Path | None, legend: Legend, *, column: str | None = None) -> "ClassTable":
        """Read a table: YAML with `values: {forest: tree, 41: tree, residential: null}` and perhaps `column: landuse`.

        Raises:
            ConfigError: the file is missing or has another form.
            LegendError: it names a class that the legend does not know.
        """
        content: Any = {"values": {}} if path is None else read_yaml(path)
        values = content.get("values") if isinstance(content, Mapping) else None
        if not isinstance(values, Mapping) or set(content) - {"values", "column"}:
            raise ConfigError(
                f"`{path}` is no table of classes", hint="write `values: {forest: tree, residential: null}`"
            )
        known: dict[str, int | None] = {}
        for value, name in values.items():
            found = None if name is None else legend.find(str(name))
            if name is not None and found is None:
                raise LegendError(
                    f"`{path}` maps `{value}` to `{name}`, which is no class of `{legend.name}`",
                    hint=f"choose from {', '.join(legend.names)}, or null for nothing",
                )
            known[_text(value)] = None if found is None else found.id
        return cls(known, legend, column or content.get("column"))

    def fresh(self) -> "ClassTable":
        """Return the table with nothing counted."""
        return replace(self, unknown={})

    def find(self, value: Any, count: int = 1) -> int | None:
        """Return the class of a value; what is unknown is counted."""
        text = _text(value)
        if text in self.values:
            return self.values[text]
        found = self.legend.find(text)
        if found is None:
            name = text[:80] if text[:80] in self.unknown or len(self.unknown) < _MAX_UNKNOWN else "…"
            self.unknown[name] = self.unknown.get(name, 0) + count
        return None if found is None else found.id


@contextmanager
def reading_layer(path: Path, grid: Grid, table: ClassTable) -> Iterator[MapReader]:
    """Open a map that covers at least a part of a scene.

    Raises:
        SceneUnreadable: it cannot be read, or lies elsewhere.
        LegendError: it has no such column, or none of its values means a class.
    """
    if is_vector(path):
        yield VectorLayer(path, grid, table)
        return
    with open_raster(path) as file:
        yield RasterLayer(file, grid, table)


class VectorLayer:
    """Polygons with a class column; where polygons of several classes lie over each other, all are seen."""

    def __init__(self, path: Path, grid: Grid, table: ClassTable) -> None:
        frame = read_polygons(path)
        if grid.crs is None and frame.crs is not None:
            raise _unplaced(path)
        if frame.crs is not None and frame.crs != grid.crs:
            frame = frame.to_crs(grid.crs)
        fields = [str(c) for c in frame.columns if c != frame.geometry.name]
        column = table.column or next((c for name in COLUMNS for c in fields if c.casefold() == name), None)
        if column not in fields:
            raise LegendError(
                f"`{path}` has no class column" + (f" `{column}`" if column else "") + f"; its columns are {fields}",
                hint="name it with `--column`, or as `column:` in the table of `--map`",
            )
        found = {value: table.find(value, int(n)) for value, n in frame[column].value_counts(dropna=False).items()}
        ids = np.array([SILENT if (k := found.get(v)) is None else k for v in frame[column]], dtype=np.uint8)
        if (ids == SILENT).all():
            raise _nothing(path, table)
        inverse = ~grid.transform
        matrix = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
        shapes = np.asarray(frame.geometry.affine_transform(matrix).values)
        inside = shapely.intersects(shapes, shapely.box(0, 0, grid.width, grid.height))
        if not inside.any():
            raise _elsewhere(path)
        chosen = inside & (ids != SILENT)
        self._shapes, self._ids = shapes[chosen], ids[chosen]
        self._tree = shapely.STRtree(self._shapes)
        self._path, self._table = path, table

    def read(self, window: Window) -> Seen:
        """Return (K, h, w) bool; a pixel belongs to the polygons that cover its centre."""
        seen = np.zeros((len(self._table.legend), *window.shape), dtype=bool)
        near = self._tree.query(shapely.box(window.col, window.row, window.stop_col, window.stop_row))
        for k in np.unique(self._ids[near]).tolist():
            mine = self._shapes[near[self._ids[near] == k]]
            moved = shapely.transform(mine, lambda xy: xy - (window.col, window.row))
            seen[k] = rasterize(moved.tolist(), out_shape=window.shape, dtype=np.uint8).astype(bool)
        return seen

    def words(self) -> str:
        """Return who speaks."""
        return f"map {self._path.name}"

    def record(self) -> Mapping[str, Any]:
        """Return how many polygons speak, and values that mean nothing."""
        return {"polygons": len(self._shapes), "unknown": self._table.unknown}


class RasterLayer:
    """A class raster in any crs and at any resolution; each pixel of the scene takes the nearest one's class."""

    def __init__(self, file: RasterFile, grid: Grid, table: ClassTable) -> None:
        if file.count != 1:
            raise LegendError(
                f"`{file.path}` has {file.count} bands; a map of classes has one",
                hint="give the raster of class numbers, not a picture of it",
            )
        if (file.grid.crs is None) != (grid.crs is None):
            raise _unplaced(Path(str(file.path)))
        if grid.crs is None:
            grid.require_same(file.grid, mine="the scene", theirs=str(file.path))
        self._file, self._grid, self._table = file, grid, table
        self._ids: dict[float, int] = {}
        self._any = False
        if self._source(grid.window) is None:
            raise _elsewhere(Path(str(file.path)))

    def read(self, window: Window) -> Seen:
        """Return (K, h, w) bool."""
        ids = np.full(window.shape, SILENT, dtype=np.uint8)
        source = self._source(window)
        if source is not None:
            known = self._classes(self._file.read(source, 1))
            if self._grid.crs is None:
                ids = known[: window.height, : window.width] if source == window else ids
            else:
                here, there = self._grid.crop(window), self._file.grid.crop(source)
                reproject(
                    known, ids, src_transform=there.transform, src_crs=there.crs, src_nodata=SILENT,
                    dst_transform=here.transform, dst_crs=here.crs, dst_nodata=SILENT, resampling=Resampling.nearest,
                )  # fmt: skip
        seen: Seen = ids[None] == np.arange(len(self._table.legend), dtype=np.uint8)[:, None, None]
        self._any |= bool(seen.any())
        return seen

    def words(self) -> str:
        """Return who speaks.

        Raises:
            LegendError: no pixel of the map means a class.
        """
        if not self._any:
            raise _nothing(Path(str(self._file.path)), self._table)
        return f"map {Path(str(self._file.path)).name}"

    def record(self) -> Mapping[str, Any]:
        """Return values that mean nothing."""
        return {"unknown": self._table.unknown}

    def _classes(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        values, where, counts = np.unique(raw, return_inverse=True, return_counts=True)
        ids = np.full(len(values), SILENT, dtype=np.uint8)
        for number, (value, count) in enumerate(zip(values.tolist(), counts.tolist(), strict=True)):
            if value == self._file.nodata or value != value:  # noqa: PLR0124 - NaN differs from itself
                continue
            found = self._table.find(value, count)
            ids[number] = SILENT if found is None else found
        return ids[where.reshape(raw.shape)]

    def _source(self, window: Window) -> Window | None:
        """Return the window of the map that holds a window of the scene, or None where they do not meet."""
        if self._grid.crs is None:
            return window
        crop, mine = self._grid.crop(window), self._file.grid
        try:
            bounds = transform_bounds(crop.crs, mine.crs, *crop.bounds, densify_pts=21)
        except RasterioError as error:
            raise _elsewhere(Path(str(self._file.path))) from error
        corners = [(x, y) for x in bounds[::2] for y in bounds[1::2]]
        if not np.isfinite(corners).all():
            return None
        cols, rows = zip(*(~mine.transform * corner for corner in corners), strict=True)
        top, left = int(np.floor(min(rows))) - _MARGIN, int(np.floor(min(cols))) - _MARGIN
        height, width = int(np.ceil(max(rows))) + _MARGIN - top, int(np.ceil(max(cols))) + _MARGIN - left
        return Window(top, left, height, width).intersection(mine.window)


def _text(value: Any) -> str:
    """Return a value of a map as the text that a table names it by: 41, 41.0 and "41" are one."""
    text = str(value).strip()
    return text.removesuffix(".0").casefold()


def _nothing(path: Path, table: ClassTable) -> LegendError:
    some = ", ".join(list(table.unknown)[:5])
    return LegendError(
        f"no value of `{path}` means a class of `{table.legend.name}`" + (f": it holds {some}" if some else ""),
        hint="say what they mean in a table: `--map table.yaml` with `values: {forest: tree}`",
    )


def _elsewhere(path: Path) -> InputError:
    return SceneUnreadable(f"`{path}` does not lie on its scene", hint="check the crs of both files")


def _unplaced(path: Path) -> InputError:
    return SceneUnreadable(
        f"of `{path}` and its scene only one has a coordinate system",
        hint="georeference the other, e.g. gdal_translate -a_srs",
    )
