"""A scene and its pixels: what a raster file holds, and tiles read from it window by window."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geosemi.errors import BandMismatch
from geosemi.geo.arrays import Array, ArrayFile
from geosemi.geo.bandnames import find_band
from geosemi.geo.beside import mask_beside, notes_on
from geosemi.geo.grid import Grid
from geosemi.geo.mosaic import Mosaic, MosaicFile
from geosemi.geo.raster import RasterFile, open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.roomy import roomy
from geosemi.geo.vrt import load_vrt
from geosemi.geo.window import Window

# rasterio writes the 4th band of a uint8 file as alpha, so near-infrared often carries that tag; a true alpha has few
# values
MAX_ALPHA_VALUES = 16
_COLOURS = ("red", "green", "blue")

Place = Path | Remote | Mosaic | Array
"""Where the pixels of a scene come from: a file, a URL, several files as one, or a program."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a raster file says of itself; nothing is kept open.

    Attributes:
        path: the file; of a URL or an array its name, and of several files the one that says how they fit together.
        grid: where its pixels lie.
        bands: names of its data bands in file order, alpha left out.
        indexes: 1-based positions of those bands in the file.
        dtype: numpy dtype name of the data bands.
        nodata: declared nodata value of the first band, or None.
        alpha: 1-based position of the alpha band, or None.
        masked: whether the file carries an internal mask.
        has_gcps: whether it is placed by ground control points only.
        source: where the pixels come from if that is no file of pixels.
        palette: whether its numbers are indices of colours.
        expanded: whether they are read as those colours: bands `red`, `green`, `blue`.
        gaps: whether blocks of it were never written.
        samples: what is unusual about its numbers (`CMYK`, `min-is-white`, `1-bit`, …); mostly empty.
        mask: a mask file beside it, which counts.
        notes: what a person should know of the file, one sentence each.
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
    source: Remote | Mosaic | Array | None = None
    palette: bool = False
    expanded: bool = False
    gaps: bool = False
    samples: str = ""
    mask: Path | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def open(cls, place: Place | str, *, expand_palette: bool = False) -> "Scene":
        """Read a file's metadata.

        Args:
            place: GeoTIFF, PNG, JPEG, `.vrt`; or a `Remote`, a `Mosaic`, an `Array`. Text is a path, never a URL.
            expand_palette: read a palette image as the colours that its numbers stand for.

        Raises:
            SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
        """
        place = Path(place) if isinstance(place, str) else place
        if isinstance(place, Path) and place.suffix.lower() == ".vrt":
            place = load_vrt(place)
        with _opened(place) as file:
            alpha = file.alpha
            false_alpha = alpha is not None and _looks_like_data(file, alpha)
            indexes = tuple(i for i in range(1, file.count + 1) if false_alpha or i != alpha)
            palette = file.palette is not None
            expanded = palette and expand_palette
            mask = mask_beside(place, file.grid) if isinstance(place, Path) else None
            return cls(
                path=_path_of(place),
                grid=file.grid,
                bands=_COLOURS if expanded else tuple(file.band_names[i - 1] for i in indexes),
                indexes=(1, 2, 3) if expanded else indexes,
                dtype=file.dtype.name,
                nodata=file.nodata,
                alpha=None if false_alpha else alpha,
                masked=file.has_internal_mask,
                has_gcps=file.has_gcps,
                source=None if isinstance(place, Path) else place,
                palette=palette,
                expanded=expanded,
                gaps=file.blocks is not None and not file.blocks.all_there,
                samples=file.samples,
                mask=mask,
                notes=notes_on(place, file, false_alpha=alpha if false_alpha else None, mask=mask),
            )

    @property
    def place(self) -> Place:
        """Where its pixels come from."""
        return self.path if self.source is None else self.source

    @property
    def files(self) -> tuple[Path, ...]:
        """The local files that its pixels come from: what no output may overwrite, and what must not change."""
        if isinstance(self.source, Mosaic):
            own = (self.path,) if self.source.local else ()
            return (*own, *(m for m in self.source.members if isinstance(m, Path)))
        beside = () if self.mask is None else (self.mask,)
        return () if self.source is not None else (self.path, *beside)

    @property
    def may_have_nodata(self) -> bool:
        """Whether a pixel of it can be not valid."""
        declared = self.nodata is not None or self.alpha is not None or self.masked or self.mask is not None
        return declared or self.gaps or self.expanded or np.issubdtype(np.dtype(self.dtype), np.floating)

    def select(self, bands: Sequence[int | str]) -> "Scene":
        """Return the scene with only some bands, in that order: 1-based positions in the file, or names.

        A name is looked for in the descriptions of the bands: `red`, `B4`, `b04`.

        Raises:
            BandMismatch: a position does not exist, or a name means no band or several.
        """
        known = dict(zip(self.indexes, self.bands, strict=True))
        chosen = [self._position(band) for band in bands]
        missing = [b for b, found in zip(bands, chosen, strict=True) if found not in known]
        if missing or not bands:
            has = [n if name == f"band_{n}" else f"{n} ({name})" for n, name in known.items()]
            raise BandMismatch(
                f"`{self.path}` has the bands [{', '.join(map(str, has))}], not {missing or 'an empty list'}",
                hint="choose bands with `--bands 1,2,3`, or `--set data.bands=[1,2,3]` for train",
            )
        found = [i for i in chosen if i is not None]
        return replace(self, bands=tuple(known[i] for i in found), indexes=tuple(found))

    def _position(self, band: int | str) -> int | None:
        if isinstance(band, int):
            return band
        if band.strip().isdecimal():
            return int(band)
        place = find_band(band, self.bands)
        return None if place is None else self.indexes[place]


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

    def __init__(self, scene: Scene, file: RasterFile | MosaicFile | ArrayFile, mask: RasterFile | None = None) -> None:
        self.scene = scene
        self._file = file
        self._mask = mask
        self._palette = file.palette if scene.expanded else None

    @property
    def block_shape(self) -> tuple[int, int]:
        """(height, width) of the blocks that the file decodes at once."""
        return self._file.block_shape

    def read(self, window: Window) -> Tile:
        """Return the pixels of a window that lies inside the scene.

        A pixel is nodata where all bands equal their nodata value, any band is NaN or infinite, its block was never
        written, its colour is transparent, or the alpha band or a mask is 0.

        Raises:
            SceneUnreadable: the file is damaged there.
        """
        numbers = [1] if self.scene.expanded else self.scene.indexes
        image = self._file.read(window, numbers)
        valid = self._declared(window, image, numbers)
        if self._palette is not None:
            colours = self._palette[image[0]]
            valid &= colours[..., 3] > 0
            image = np.ascontiguousarray(np.moveaxis(colours[..., [i - 1 for i in self.scene.indexes]], -1, 0))
        if np.issubdtype(image.dtype, np.floating):
            finite = np.isfinite(image)
            valid &= finite.all(axis=0)
            image = np.where(finite, image, 0).astype(image.dtype, copy=False)
        return Tile(image, valid, window)

    def _declared(self, window: Window, image: npt.NDArray[Any], numbers: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Tell where pixels are data by what the file says of them, (h, w)."""
        valid = roomy(window.shape, bool)
        valid[:] = True
        values = [self._file.nodatas[i - 1] for i in numbers]
        if self.scene.nodata is not None and all(v is not None and np.isfinite(v) for v in values):
            valid = np.zeros(window.shape, dtype=bool)
            for plane, value in zip(image, values, strict=True):
                valid |= plane != _as(image.dtype, value)
        if (written := self._file.written(window, numbers)) is not None:
            valid &= written
        if self.scene.masked:
            valid &= self._file.read_internal_mask(window)
        if self.scene.alpha is not None:
            valid &= self._file.read(window, self.scene.alpha) > 0
        if self._mask is not None:
            valid &= self._mask.read(window, 1) > 0
        return valid


def _as(dtype: np.dtype[Any], value: float | None) -> Any:
    """Return a number as one of a dtype, so that comparing needs no conversion; -9999 is no uint8, and stays."""
    if value is None or dtype.kind == "f" or not float(value).is_integer():
        return value
    limits = np.iinfo(dtype)
    return dtype.type(int(value)) if limits.min <= value <= limits.max else value


@contextmanager
def reading(scene: Scene) -> Iterator[RasterReader]:
    """Open a scene for reading in this thread."""
    with ExitStack() as stack:
        file = stack.enter_context(_opened(scene.place))
        yield RasterReader(scene, file, stack.enter_context(open_raster(scene.mask)) if scene.mask else None)


@contextmanager
def _opened(place: Place) -> Iterator[RasterFile | MosaicFile | ArrayFile]:
    if isinstance(place, Array):
        yield ArrayFile(place)
    elif isinstance(place, Mosaic):
        with MosaicFile(place) as mosaic:
            yield mosaic
    else:
        with open_raster(place) as file:
            yield file


def _path_of(place: Place) -> Path:
    if isinstance(place, (Remote, Array)):
        return Path(place.name)
    return place.path if isinstance(place, Mosaic) else place


def _looks_like_data(file: RasterFile | MosaicFile | ArrayFile, band: int) -> bool:
    """Tell whether a band tagged alpha holds an image, judged on up to 1024² pixels at the scene's centre."""
    height, width = min(1024, file.grid.height), min(1024, file.grid.width)
    centre = Window((file.grid.height - height) // 2, (file.grid.width - width) // 2, height, width)
    return len(np.unique(file.read(centre, band))) > MAX_ALPHA_VALUES
