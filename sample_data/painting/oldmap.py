"""An older, coarser map of the same town: what a GIS analyst really has at hand as an opinion.

Drawn from the truth and then aged: ground cover in cells of two metres, outlines straightened, some houses not built
yet, some woods cleared since, all of it a little beside its place. Cars are on no map.
"""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from affine import Affine
from rasterio.features import rasterize, shapes

from geosemi.geo.grid import Grid
from geosemi.legend import Legend
from painting.files import write_frame

COLUMN = "landuse"
NAMES = {"road": "street", "building": "building", "grass": "meadow", "tree": "woodland", "water": "river"}
_CELL = 8  # pixels
_STRAIGHT = 1.0  # metres that outlines may give way
_SMALLEST = 10.0  # m² that are worth a polygon
_BUILT, _CLEARED = 0.75, 0.07  # shares of houses that stood already, of woods that are meadows now
_MOVED = (0.75, -0.5)  # metres east and north


def draw_map(label: npt.NDArray[np.uint8], where: Grid, legend: Legend, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Return polygons of a scene's classes (H, W), with the names of the map in column `landuse`."""
    house = legend.names.index("building")
    found = [(shapely.geometry.shape(g), house) for g, _ in _pieces(label, label == house, where.transform)]
    found = [(g.minimum_rotated_rectangle, house) for g, _ in found if rng.random() < _BUILT]
    cells, coarse = _coarse(label, house, legend.names.index("car")), where.transform * Affine.scale(_CELL)
    ground = [(shapely.geometry.shape(g), int(v)) for g, v in _pieces(cells, cells != legend.ignore, coarse)]
    found = [(g.simplify(_STRAIGHT), v) for g, v in ground if g.area >= _SMALLEST] + found
    names = [legend.names[v] for _, v in found]
    aged = ["tree" if name == "grass" and rng.random() < _CLEARED else name for name in names]
    return gpd.GeoDataFrame(
        {COLUMN: [NAMES[name] for name in aged]},
        geometry=[shapely.affinity.translate(g, *_MOVED) for g, _ in found],
        crs=where.crs,
    )


def write_map(path: Path, parts: Sequence[gpd.GeoDataFrame]) -> None:
    """Write the maps of all scenes as one file in geographic coordinates."""
    write_frame(path, gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=parts[0].crs))


def measure(
    drawn: gpd.GeoDataFrame, label: npt.NDArray[np.uint8], where: Grid, legend: Legend
) -> npt.NDArray[np.int64]:
    """Count pixels (K, 3) of a scene: mapped rightly, mapped, there to be mapped."""
    counts = np.zeros((len(legend), 3), np.int64)
    known = label != legend.ignore
    for k, name in enumerate(legend.names):
        mine = drawn.geometry[drawn[COLUMN] == NAMES.get(name)]
        claim = rasterize(mine, out_shape=where.shape, transform=where.transform).astype(bool) if len(mine) else ~known
        counts[k] = (claim & (label == k)).sum(), (claim & known).sum(), (label == k).sum()
    return counts


def _pieces(values: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], transform: Affine) -> list:
    return list(shapes(values, mask=mask, transform=transform))


def _coarse(label: npt.NDArray[np.uint8], *objects: int) -> npt.NDArray[np.uint8]:
    """Return the commonest class of each cell (H / 8, W / 8), objects that stand on the ground left out; 255: none."""
    height, width = (side - side % _CELL for side in label.shape)
    blocks = label[:height, :width].reshape(height // _CELL, _CELL, width // _CELL, _CELL)
    counts = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(int(label[label != 255].max()) + 1)])
    counts[list(objects)] = 0
    return np.where(counts.max(axis=0) > _CELL**2 // 2, counts.argmax(axis=0), 255).astype(np.uint8)
