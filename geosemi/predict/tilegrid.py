"""The windows that a scene is cut into, as a GeoPackage: to be laid over the scene before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio.raw
import shapely

from geosemi.errors import OutputError
from geosemi.geo.commit import private_folder, publish, require_writable
from geosemi.geo.grid import Grid
from geosemi.polygons.vectors import GPKG_VERSION, crs_text, silent_without_crs, writing

LAYER = "windows"


def require_tile_grid(out: Path, *, overwrite: bool) -> None:
    """Check, before any work, that windows can be written to a file of this name.

    Raises:
        OutputError: it is no `.gpkg`, exists, or its folder cannot be written to.
    """
    if out.suffix.lower() != ".gpkg":
        raise OutputError(f"`{out}` is no name for a tile grid", hint="end it in .gpkg")
    require_writable(out, overwrite=overwrite)


def write_tile_grid(
    out: Path,
    grid: Grid,
    rows: Sequence[int],
    cols: Sequence[int],
    *,
    shape: tuple[int, int],
    skipped: npt.NDArray[np.bool_],
    overwrite: bool = False,
) -> None:
    """Write every window as a polygon, row by row.

    Attributes: `row` and `col` (which window it is, from 0), `first_row` and `first_col` (where it begins, in pixels),
    `skipped` (1 where nothing in it is asked for).

    Args:
        out: a `.gpkg`; its layer is `windows`.
        grid: of the scene.
        rows: first rows of the windows, R of them.
        cols: first columns, C of them.
        shape: (h, w) of the windows in pixels.
        skipped: (R, C).
        overwrite: replace an existing file.

    Raises:
        OutputError: as `require_tile_grid`, or the disk fails.
    """
    require_tile_grid(out, overwrite=overwrite)
    row, col = (n.ravel() for n in np.indices(skipped.shape, dtype=np.int32))
    top, left = np.asarray(rows, np.int32)[row], np.asarray(cols, np.int32)[col]
    columns = {"row": row, "col": col, "first_row": top, "first_col": left, "skipped": skipped.ravel().astype(np.int32)}
    with private_folder(out) as folder:
        made = folder / "windows.gpkg"
        with writing(out), silent_without_crs():
            pyogrio.raw.write(
                made, shapely.to_wkb(_polygons(grid, top, left, shape)), list(columns.values()),
                np.array(list(columns), dtype=object), layer=LAYER, driver="GPKG", geometry_type="Polygon",
                crs=crs_text(grid), promote_to_multi=False, dataset_options={"VERSION": GPKG_VERSION},
            )  # fmt: skip
        publish({made: out})


def _polygons(
    grid: Grid, top: npt.NDArray[np.int32], left: npt.NDArray[np.int32], shape: tuple[int, int]
) -> npt.NDArray[np.object_]:
    """Return windows in map coordinates, their rings counter-clockwise there."""
    down, across = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]).T
    if grid.transform.determinant > 0:  # a mirrored grid turns everything round
        down, across = down[::-1], across[::-1]
    y, x = top[:, None] + down * shape[0], left[:, None] + across * shape[1]
    t = grid.transform
    corners = np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=-1)
    polygons: npt.NDArray[np.object_] = shapely.polygons(corners)
    return polygons
