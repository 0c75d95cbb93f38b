"""A pixel grid on the ground: coordinate reference system, affine transform and shape."""

import math
from dataclasses import dataclass

from affine import Affine
from pyproj import CRS as ProjCRS
from pyproj import Transformer
from rasterio.crs import CRS

from geosemi.errors import GridMismatch, InputError
from geosemi.geo.affines import applied, composed
from geosemi.geo.window import Window

# A grid may differ from another by this share of a pixel at its far corner and still count as the same: two programs
# that write the same grid round the transform's last digits differently.
TOLERANCE_PX = 1e-3


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a raster lie.

    Attributes:
        crs: the coordinate reference system, or None where the file has none.
        transform: (column, row) of a pixel corner → (x, y) in units of the crs; rotation and south-up are allowed.
        height: rows.
        width: columns.
    """

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise InputError(f"a raster has no pixels ({self.height} × {self.width})", hint="copy the file again")
        numbers = tuple(self.transform)[:6]
        if not all(math.isfinite(n) for n in numbers) or abs(self.transform.determinant) < 1e-300:
            raise InputError(
                f"a raster has a degenerate geotransform {tuple(numbers)}",
                hint="georeference it again, e.g. with gdal_translate -a_ullr",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return (self.height, self.width)

    @property
    def window(self) -> Window:
        """The whole grid as a window."""
        return Window(0, 0, self.height, self.width)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """(x, y) of the four outer corners: top left, top right, bottom right, bottom left."""
        w, h = self.width, self.height
        return tuple(applied(self.transform, *c) for c in ((0, 0), (w, 0), (w, h), (0, h)))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of the outer corners, in units of the crs."""
        xs, ys = zip(*self.corners, strict=True)
        return (min(xs), min(ys), max(xs), max(ys))

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(width, height) of a pixel in units of the crs; positive, also for rotated grids."""
        t = self.transform
        return (math.hypot(t.a, t.d), math.hypot(t.b, t.e))

    def crop(self, window: Window) -> "Grid":
        """Return the grid of a window; it may overhang the scene."""
        shifted = composed(self.transform, Affine.translation(window.col, window.row))
        return Grid(self.crs, shifted, window.height, window.width)

    def metres_per_pixel(self) -> float | None:
        """Return the side of a pixel on the ground in metres, at the grid's centre, or None without a crs.

        Measured on the ellipsoid, because map units mislead: EPSG:3857 says twice the truth at 60° north. The two sides
        are averaged geometrically. A local engineering crs has no ellipsoid; its own units count.
        """
        sides = self.metres_each_way()
        return None if sides is None else math.sqrt(sides[0] * sides[1])

    def metres_each_way(self) -> tuple[float, float] | None:
        """Return the (width, height) of a pixel on the ground in metres, at the grid's centre, or None without a crs.

        They differ on geographic grids: at 60° north a pixel of 0.001° is half as wide as it is high.
        """
        if self.crs is None:
            return None
        crs = ProjCRS.from_user_input(self.crs)
        geod = crs.get_geod()
        if crs.geodetic_crs is None or geod is None:
            factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
            return (self.pixel_size[0] * factor, self.pixel_size[1] * factor)
        col, row = self.width / 2, self.height / 2
        xs, ys = zip(*(applied(self.transform, *p) for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True)
        lons, lats = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(xs, ys)
        across = geod.inv(lons[0], lats[0], lons[1], lats[1])[2]
        along = geod.inv(lons[0], lats[0], lons[2], lats[2])[2]
        return (across, along)

    def require_same(self, other: "Grid", *, mine: str, theirs: str) -> None:
        """Check that two rasters share their pixels.

        Args:
            other: the grid to compare with.
            mine: name of this raster, for the message.
            theirs: name of the other raster.

        Raises:
            GridMismatch: shape, crs or position differ; the message names both sides.
        """
        if self.shape != other.shape:
            raise GridMismatch(
                f"`{theirs}` is {other.height} × {other.width} pixels, `{mine}` is {self.height} × {self.width}",
                hint="warp one onto the other's grid, e.g. with `gdalwarp -te … -ts …`",
            )
        if self.crs != other.crs:
            raise GridMismatch(
                f"`{theirs}` lies in {_name(other.crs)}, `{mine}` in {_name(self.crs)}",
                hint="reproject one of them, e.g. with `gdalwarp -t_srs …`",
            )
        shift = max(
            math.hypot(
                *(a - b for a, b in zip(applied(~self.transform, *q), applied(~self.transform, *p), strict=True))
            )
            for p, q in zip(self.corners, other.corners, strict=True)
        )
        if shift > TOLERANCE_PX:
            raise GridMismatch(
                f"`{theirs}` lies up to {shift:.3g} pixels beside `{mine}`",
                hint="warp one onto the other's grid, e.g. with `gdalwarp -te … -ts …`",
            )


def _name(crs: CRS | None) -> str:
    if crs is None:
        return "no coordinate system"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else ProjCRS.from_user_input(crs).name
