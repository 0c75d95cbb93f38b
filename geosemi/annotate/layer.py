"""An existing map as an opinion: a cadastre, an OpenStreetMap extract, last year's land cover, in any crs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject, transform_bounds

from geosemi.annotate.classtable import ClassTable
from geosemi.annotate.maps import MapReader, Seen
from geosemi.errors import InputError, LegendError, SceneUnreadable
from geosemi.geo.affines import applied
from geosemi.geo.burn import class_column, is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.vectorfile import POLYGONS, read_shapes
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

    Lines and points are as wide as the table says, and left out where it does not.
    """

    def __init__(self, path: Path, grid: Grid, table: ClassTable) -> None:
        frame = read_shapes(path)
        if grid.crs is None and frame.crs is not None:
            raise _unplaced(path)
        if frame.crs is not None and frame.crs != grid.crs:
            frame = frame.to_crs(grid.crs)
        column, fields = class_column(frame, table.column)
        if column is None:
            asked = f" `{table.column}`" if table.column else ""
            raise LegendError(
                f"`{path}` has no class column{asked}; its columns are {fields}",
                hint="name it with `--column`, or as `column:` in the table of `--map`",
            )
        found = {value: table.find(value, int(n)) for value, n in frame[column].value_counts(dropna=False).items()}
        ids = np.array([SILENT if (k := found.get(v)) is None else k for v in frame[column]], dtype=np.uint8)
        shapes, self._thin = _areas(frame, grid, [table.width(v) for v in frame[column]])
        ids[shapely.is_empty(shapes)] = SILENT
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
        return {"shapes": len(self._shapes), "without_width": self._thin, "unknown": self._table.unknown}


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
