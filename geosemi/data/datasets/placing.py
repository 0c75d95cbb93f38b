"""Where a picture of an original download lies: its own georeference, its world file, or nowhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from affine import Affine
from pyproj import CRS as ProjCRS
from rasterio.crs import CRS

from geosemi.errors import InputError
from geosemi.geo.affines import composed
from geosemi.geo.grid import Grid
from geosemi.geo.scene import Scene

LOCAL_CRS = 'LOCAL_CS["geosemi pixels",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'
WORLD_SUFFIXES = (".tfw", ".TFW", ".tifw", ".wld")


@dataclass(frozen=True, slots=True)
class Ground:
    """The coordinate system of a data set's world files, which name none, and where its pictures must lie in it.

    Attributes:
        epsg: code of the coordinate system.
        bounds: (west, south, east, north) around the site. A picture outside of it has other coordinates than is
            believed here, and is refused.
        place: name of the site, for messages.
    """

    epsg: int
    bounds: tuple[float, float, float, float]
    place: str

    def require_inside(self, image: Path, grid: Grid) -> None:
        """Check that a picture lies at the site.

        Raises:
            InputError: it does not.
        """
        west, south, east, north = self.bounds
        left, bottom, right, top = grid.bounds
        if not (west <= left and right <= east and south <= bottom and top <= north):
            raise InputError(
                f"`{image}` is placed at x = {left:.1f}, y = {top:.1f}, "
                f"which is not in {self.place} (EPSG:{self.epsg})",
                hint="its world file is not the original one; unpack the download again, or remove the world file "
                "to place the picture on invented ground",
            )


def place(grid: Grid, image: Path, ground: Ground | None) -> Grid:
    """Return the grid of a picture with what is known about its place; its crs stays None where nothing is known.

    The file's own crs wins; else the transform is the file's own or its world file's, and the crs is the data set's.

    Args:
        grid: as the raster file says.
        image: the file, beside which a world file may lie.
        ground: the data set's, or None for a data set without georeference.

    Raises:
        InputError: the world file is damaged or places the picture elsewhere.
    """
    # GeoTIFF keys without a datum ("unnamed, metres") say no more than a world file does
    if grid.crs is not None and ProjCRS.from_user_input(grid.crs).geodetic_crs is not None:
        return grid
    transform = grid.transform if grid.transform != Affine.identity() else _beside(image)
    if ground is None or transform is None:
        return Grid(None, Affine.identity(), grid.height, grid.width)
    placed = Grid(CRS.from_epsg(ground.epsg), transform, grid.height, grid.width)
    ground.require_inside(image, placed)
    return placed


def read_world_file(path: Path) -> Affine:
    """Return the transform (column, row of a pixel's corner → x, y) of a world file.

    The six lines of a world file are a, d, b, e, c, f with (c, f) the *centre* of the upper left pixel; the transform
    begins half a pixel before it.

    Raises:
        InputError: it does not hold six numbers.
    """
    try:
        numbers = [float(word) for word in path.read_bytes()[:4096].decode("utf-8-sig").split()]
        a, d, b, e, c, f = numbers
    except ValueError as error:
        raise InputError(
            f"the world file `{path}` does not hold six numbers",
            hint="unpack the download again, or remove the file to place the picture on invented ground",
        ) from error
    return composed(Affine(a, b, c, d, e, f), Affine.translation(-0.5, -0.5))


def on_invented_ground(scenes: Sequence[Scene], resolution: float, tile: int) -> list[Scene]:
    """Place scenes without crs on invented ground: on a square lattice, a tile or more apart."""
    homeless = [s for s in scenes if s.grid.crs is None]
    across = max(1, math.isqrt(max(0, len(homeless) - 1)) + 1)
    pitch = max((max(s.grid.shape) for s in homeless), default=0) + tile
    local, placed, number = CRS.from_wkt(LOCAL_CRS), [], 0
    for scene in scenes:
        if scene.grid.crs is not None:
            placed.append(scene)
            continue
        row, col = divmod(number, across)
        x, y = col * pitch * resolution, -row * pitch * resolution
        transform = Affine(resolution, 0.0, x, 0.0, -resolution, y)
        placed.append(replace(scene, grid=replace(scene.grid, crs=local, transform=transform)))
        number += 1
    return placed


def _beside(image: Path) -> Affine | None:
    """Read the world file of a picture. It is parsed here because the safe opener ignores side files."""
    path = next((p for suffix in WORLD_SUFFIXES if (p := image.with_suffix(suffix)).is_file()), None)
    return read_world_file(path) if path else None
