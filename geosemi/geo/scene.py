"""A scene and its pixels: what a raster file holds, and tiles read from it window by window."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi.errors import BandMismatch
from geosemi.geo.grid import Grid
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.window import Window

# rasterio writes the 4th band of a uint8 file as alpha, so near-infrared often carries that tag; a true alpha has few
# values
MAX_ALPHA_VALUES = 16


@dataclass(frozen=True, slots=True)
class Scene:
    """What a raster file says of itself; nothing is kept open.

    Attributes:
        path: the file.
        grid: where its pixels lie.
        bands: names of its data bands in file order, alpha left out.
        indexes: 1-based positions of those bands in the file.
        dtype: numpy dtype name of the data bands.
        nodata: declared nodata value, or None.
        alpha: 1-based position of the alpha band, or None.
        masked: whether the file carries an internal mask.
        has_gcps: whether it is placed by ground control points only.
    """

    path: Path
    grid: Grid
    bands: tuple[str, ...]
    indexes: tuple[int, ...]
    dtype: str
    nodata: float | None = None
    alpha: int | None = None
    masked: bool = False
    has_gcps: bool = False

    @classmethod
    def open(cls, path: Path | str) -> "Scene":
        """Read a file's metadata.

        Raises:
            SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
        """
        with open_raster(path) as file:
            alpha = file.alpha
            if alpha is not None and _looks_like_data(file, alpha):
                alpha = None
            indexes = tuple(i for i in range(1, file.count + 1) if i != alpha)
            return cls(
                path=Path(path),
                grid=file.grid,
                bands=tuple(file.band_names[i - 1] for i in indexes),
                indexes=indexes,
                dtype=file.dtype.name,
                nodata=file.nodata,
                alpha=alpha,
                masked=file.has_internal_mask,
                has_gcps=file.has_gcps,
            )

    def select(self, bands: Sequence[int]) -> "Scene":
        """Return the scene with only some bands, given as 1-based positions in the file, in that order.

        Raises:
            BandMismatch: a position does not exist.
        """
        known = dict(zip(self.indexes, self.bands, strict=True))
        missing = [b for b in bands if b not in known]
        if missing or not bands:
            raise BandMismatch(
                f"`{self.path}` has the bands {list(known)}, not {missing or 'an empty list'}",
                hint="choose bands with `--bands 1,2,3`, or `--set data.bands=[1,2,3]` for train",
            )
        return replace(self, bands=tuple(known[b] for b in bands), indexes=tuple(bands))


@dataclass(frozen=True, slots=True)
class Tile:
    """The pixels of a window.

    Attributes:
        image: (C, h, w), raw units and dtype of the scene; finite (NaN and infinity are replaced by 0 and not valid).
        valid: (h, w) bool, False on nodata.
        window: where they lie in the scene.
    """

    image: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    window: Window

    def padded(self, height: int, width: int) -> "Tile":
        """Return the tile grown at the bottom and right to a shape: image repeats its edge, `valid` is False there."""
        grow = (height - self.image.shape[1], width - self.image.shape[2])
        if grow == (0, 0):
            return self
        image = np.pad(self.image, ((0, 0), (0, grow[0]), (0, grow[1])), mode="edge")
        valid = np.pad(self.valid, ((0, grow[0]), (0, grow[1])))
        return Tile(image, valid, Window(self.window.row, self.window.col, height, width))


class SceneReader(Protocol):
    """Anything that gives tiles of one scene. Not shared between threads."""

    def read(self, window: Window) -> Tile:
        """Return the pixels of a window that lies inside the scene."""


class RasterReader:
    """Tiles of a scene from its file. Make it with `reading`, one per thread: GDAL handles are not thread-safe."""

    def __init__(self, scene: Scene, file: RasterFile) -> None:
        self.scene = scene
        self._file = file

    def read(self, window: Window) -> Tile:
        """Return the pixels of a window that lies inside the scene.

        A pixel is nodata where all bands equal the nodata value, any band is NaN or infinite, or the alpha band or
        the internal mask is 0.

        Raises:
            SceneUnreadable: the file is damaged there.
        """
        image = self._file.read(window, self.scene.indexes)
        valid = np.ones(window.shape, dtype=bool)
        if self.scene.nodata is not None and not np.isnan(self.scene.nodata):
            valid &= ~(image == self.scene.nodata).all(axis=0)
        if np.issubdtype(image.dtype, np.floating):
            finite = np.isfinite(image)
            valid &= finite.all(axis=0)
            image = np.where(finite, image, 0).astype(image.dtype, copy=False)
        if self.scene.alpha is not None:
            valid &= self._file.read(window, self.scene.alpha) > 0
        if self.scene.masked:
            valid &= self._file.read_internal_mask(window)
        return Tile(image, valid, window)


@contextmanager
def reading(scene: Scene) -> Iterator[RasterReader]:
    """Open a scene for reading in this thread."""
    with open_raster(scene.path) as file:
        yield RasterReader(scene, file)


def _looks_like_data(file: RasterFile, band: int) -> bool:
    """Tell whether a band tagged alpha holds an image, judged on up to 1024² pixels at the scene's centre."""
    height, width = min(1024, file.grid.height), min(1024, file.grid.width)
    centre = Window((file.grid.height - height) // 2, (file.grid.width - width) // 2, height, width)
    return len(np.unique(file.read(centre, band))) > MAX_ALPHA_VALUES
