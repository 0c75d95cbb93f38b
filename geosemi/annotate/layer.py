"""An existing map as an opinion: a cadastre, an OpenStreetMap extract, last year's land cover, in any crs."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject, transform_bounds

from geosemi.annotate.classtable import ClassTable, is_empty
from geosemi.annotate.maps import MapReader, Seen
from geosemi.errors import InputError, LegendError, SceneUnreadable
from geosemi.geo.affines import applied
from geosemi.geo.burn import COLUMNS, class_column, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.vectorfile import POLYGONS, read_layers
from geosemi.geo.window import Window

SILENT = 255
_MARGIN = 2  # pixels of the map around what a window needs


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
    """Shapes with a class column; where those of several classes lie over each other, all are seen.

    All layers of a file are read. Lines and points are as wide as the table says, and left out where it does not.
    """

    def __init__(self, path: Path, grid: Grid, table: ClassTable) -> None:
        layers = read_layers(path)
        if grid.crs is None and any(frame.crs is not None for frame in layers.values()):
            raise _unplaced(path)
        columns, self._missing = _columns(path, layers, table)
        parts = [_speaking(layers[name], grid, table, chosen) for name, chosen in columns.items()]
        shapes, ids = (np.concatenate(arrays) for arrays in zip(*((p.shapes, p.ids) for p in parts), strict=True))
        self._layers, self._columns, self._thin = list(layers), list(columns), sum(part.thin for part in parts)
        self._unplaced = [n for n in columns if layers[n].crs is None and grid.crs is not None]
        if (ids == SILENT).all():
            raise _only_thin(path) if self._thin else _nothing(path, table)
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
        """Return how many shapes speak, and what does not."""
        silent = [name for name in self._layers if name not in self._columns]
        told = {"missing_columns": self._missing, "without_column": silent, "without_crs": self._unplaced}
        known = {"shapes": len(self._shapes), "without_width": self._thin, "unknown": self._table.unknown}
        return known | {name: layers for name, layers in told.items() if layers}


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
        cols, rows = zip(*(applied(~mine.transform, *corner) for corner in corners), strict=True)
        top, left = int(np.floor(min(rows))) - _MARGIN, int(np.floor(min(cols))) - _MARGIN
        height, width = int(np.ceil(max(rows))) + _MARGIN - top, int(np.ceil(max(cols))) + _MARGIN - left
        return Window(top, left, height, width).intersection(mine.window)


@dataclass(frozen=True)
class _Part:
    """What a layer says: areas in pixels, their classes (255: silent), and how many shapes have no width."""

    shapes: npt.NDArray[np.object_]
    ids: npt.NDArray[np.uint8]
    thin: int


def _columns(
    path: Path, layers: Mapping[str, gpd.GeoDataFrame], table: ClassTable
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the class columns of the layers that have any, and those that were asked for and are in none.

    Raises:
        LegendError: no layer has one.
    """
    fields = {name: class_column(frame, None)[1] for name, frame in layers.items()}
    every = {c for names in fields.values() for c in names}
    asked = table.columns
    if not asked:  # one for all of them: `landuse` of the areas must not bring in the `name` of the shops
        asked = next(
            (tuple(c for c in every if c.casefold() == name) for name in COLUMNS if name in _folded(every)), ()
        )
    missing = [c for c in asked if c not in every]
    if len(missing) == len(asked):
        named = f" `{'`, `'.join(missing)}`" if missing else ""
        where = "; ".join(f"those of `{name}` are {names}" for name, names in fields.items())
        columns = f"its columns are {next(iter(fields.values()))}" if len(fields) == 1 else where
        raise LegendError(
            f"`{path}` has no class column{named}; {columns}",
            hint="name it with `--column`, or as `column:` in the table of `--map`",
        )
    found = {name: [c for c in asked if c in names] for name, names in fields.items()}
    return {name: columns for name, columns in found.items() if columns}, missing


def _plain(value: Any) -> Any:
    return value if isinstance(value, Hashable) else str(value)  # lists of words and the like


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}


def _speaking(frame: gpd.GeoDataFrame, grid: Grid, table: ClassTable, columns: Sequence[str]) -> _Part:
    """Return what a layer says; of several columns the first one that is not empty speaks."""
    if frame.crs is not None and frame.crs != grid.crs:
        frame = frame.to_crs(grid.crs)
    rows = zip(*(map(_plain, frame[c]) for c in columns), strict=True)
    said = [
        next(((c, v) for c, v in zip(columns, row, strict=True) if not is_empty(v)), (columns[-1], None))
        for row in rows
    ]
    found = {(c, v): table.find(v, n, column=c) for (c, v), n in Counter(said).most_common()}
    ids = np.array([SILENT if (k := found[pair]) is None else k for pair in said], dtype=np.uint8)
    shapes, thin = _areas(frame, grid, [table.width(v, column=c) for c, v in said])
    ids[shapely.is_empty(shapes)] = SILENT
    return _Part(shapes, ids, thin)


def _areas(frame: gpd.GeoDataFrame, grid: Grid, widths: Sequence[float | None]) -> tuple[npt.NDArray[np.object_], int]:
    """Return shapes as areas in pixels of a grid, empty where a line or point has no width, and how many of those."""
    inverse = ~grid.transform
    matrix = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
    shapes = np.asarray(frame.geometry.affine_transform(matrix).values)
    thin = ~frame.geom_type.isin(POLYGONS).to_numpy()
    side = grid.metres_per_pixel()
    radius = np.array([0.0 if w is None or side is None else w / side / 2 for w in widths])
    shapes[thin] = shapely.buffer(shapes[thin], radius[thin], cap_style="round")
    return shapes, int((thin & (radius == 0)).sum())


def _only_thin(path: Path) -> LegendError:
    return LegendError(
        f"`{path}` holds lines or points alone, and nothing says how wide they are",
        hint="say it in a table: `--map table.yaml` with `widths: {road: 5}`, in metres, by value or class",
    )


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
