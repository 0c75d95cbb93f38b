"""The one file that knows TorchGeo: a scene as `GeoDataset`, a `GeoSampler` of chips, samples turned into `Chips`.

TorchGeo's own `RasterDataset` is not used: it opens files by content, resamples every chip of a sub-metre scene through
a warp (3.8 × slower, measured) and fills the outside of masks with class 0. What is kept is its language: an index with
footprints, queries as slices in units of the crs, samples as dictionaries, so TorchGeo's samplers work on ours.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import torch
from pyproj import CRS as ProjCRS
from torch import Tensor
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import GeoSampler

from geosemi.data.batch import Chips
from geosemi.data.keyed import keyed_generator
from geosemi.data.labels import NO_TRUTH, LabelReader, reading_labels
from geosemi.data.scenes import SceneFiles
from geosemi.data.settings import DataSettings
from geosemi.errors import InputError
from geosemi.geo.burn import is_vector
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import OpinionReader, reading_opinion
from geosemi.geo.scene import RasterReader, reading
from geosemi.geo.window import Window
from geosemi.legend import Legend

GeoQuery = tuple[slice, slice, slice]
_ALWAYS = (pd.Timestamp.min, pd.Timestamp.max)


class SceneDataset(GeoDataset):  # type: ignore[misc]
    """One scene with its truth and its opinions. A query is a place on the ground; a sample is the chip there.

    Args:
        files: the scene.
        legend: its classes.
        settings: how vector labels are read.
        with_label: whether labels are read; unlabelled ground never has its labels opened.
        with_opinion: whether the opinion raster is read.
        keep: keep the decoded scene in memory after the first query, for scenes that are small beside it.
    """

    def __init__(
        self,
        files: SceneFiles,
        legend: Legend,
        settings: DataSettings,
        *,
        with_label: bool,
        with_opinion: bool,
        keep: bool,
    ) -> None:
        self.source = files
        self.legend = legend
        self.settings = settings
        self.with_label = with_label and files.label is not None
        self.with_opinion = with_opinion and files.opinion is not None
        self.keep = keep
        self.transforms = None
        grid = files.scene.grid
        # a raster without crs gets pixel coordinates of its own: TorchGeo's index needs some crs
        crs = ProjCRS.from_user_input(grid.crs) if grid.crs else ProjCRS('LOCAL_CS["pixels",UNIT["metre",1]]')
        times = pd.IntervalIndex.from_tuples([_ALWAYS], closed="both", name="datetime")
        self.index = gpd.GeoDataFrame(
            {"filepath": [str(files.scene.path)]}, geometry=[shapely.Polygon(grid.corners)], index=times, crs=crs
        )
        self._res = grid.pixel_size

    def __getitem__(self, query: GeoQuery) -> dict[str, Any]:
        """Return `image` (C, h, w) float32 in raw units, `valid` (h, w) bool, `bounds`, and, where the data set reads
        them, `mask` (h, w) int64 and `opinion` (K, h, w) bool.

        A query may overhang the scene: outside, `valid` is False, `mask` is 255 and no bit of `opinion` is set.
        """  # noqa: D205 - the sentence is long because the sample is
        window = to_window(self.source.scene.grid, query)
        inside = window.intersection(self.source.scene.grid.window)
        if inside is None:
            raise IndexError(f"query {query} misses `{self.source.scene.path}`")
        pixels = self._layers.read(inside)
        before = (inside.row - window.row, inside.col - window.col)
        after = (window.stop_row - inside.stop_row, window.stop_col - inside.stop_col)
        pads = ((before[0], after[0]), (before[1], after[1]))
        sample: dict[str, Any] = {
            "image": torch.from_numpy(_padded(pixels.image, pads).astype(np.float32)),
            "valid": torch.from_numpy(_padded(pixels.valid, pads)),
            "bounds": _bounds(self, query),
        }
        if pixels.label is not None:
            sample["mask"] = torch.from_numpy(_padded(pixels.label, pads, NO_TRUTH).astype(np.int64))
        if pixels.opinion is not None:
            sample["opinion"] = torch.from_numpy(_padded(pixels.opinion, pads))
        return sample

    @cached_property
    def _layers(self) -> "_Layers":
        return _Layers(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: every worker process opens its own."""
        return {k: v for k, v in self.__dict__.items() if k != "_layers"}


def _padded(layer: npt.NDArray[Any], pads: tuple[tuple[int, int], tuple[int, int]], value: int = 0) -> npt.NDArray[Any]:
    """Return a copy of a layer (…, h, w) with rows and columns around it."""
    if not any(pads[0] + pads[1]):  # most chips; NumPy's `pad` took half of the time of reading one
        return layer.copy()
    return np.pad(layer, ((0, 0),) * (layer.ndim - 2) + pads, constant_values=value)


def _bounds(dataset: GeoDataset, query: GeoQuery) -> Any:
    """Return `bounds` as the installed TorchGeo collates them: slices up to 0.8, a float32 tensor since 0.9.

    Nothing here georeferences by them: in float32 a northing of 5,808,000.15 m becomes 5,808,000.0.
    """
    to_tensor = getattr(dataset, "_slice_to_tensor", None)
    return to_tensor(query) if to_tensor else query


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Image (C, h, w), valid (h, w), label (h, w) and opinion (K, h, w) of a window."""

    image: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    label: npt.NDArray[Any] | None
    opinion: npt.NDArray[np.bool_] | None

    def crop(self, window: Window) -> "_Pixels":
        """Return a part."""
        part = (..., *window.slices)
        return _Pixels(
            self.image[part],
            self.valid[part],
            None if self.label is None else self.label[part],
            None if self.opinion is None else self.opinion[part],
        )


class _Layers:
    """The files of one scene, opened for each read, or decoded once and kept."""

    def __init__(self, dataset: SceneDataset) -> None:
        self._dataset = dataset
        self._polygons: LabelReader | None = None
        self._kept = self._read_files(dataset.source.scene.grid.window) if dataset.keep else None

    def read(self, window: Window) -> "_Pixels":
        """Return the layers of a window inside the scene."""
        if self._kept is None:
            return self._read_files(window)
        return self._kept.crop(window)

    def _read_files(self, window: Window) -> "_Pixels":
        d = self._dataset
        with ExitStack() as stack:
            scene: RasterReader = stack.enter_context(reading(d.source.scene))
            labels: LabelReader | None = None
            opinions: OpinionReader | None = None
            if d.with_label and d.source.label:
                labels = self._polygons or stack.enter_context(reading_labels(d.source, d.legend, d.settings))
                if is_vector(d.source.label):  # in memory, no open file; a town's layer takes seconds to load
                    self._polygons = labels
            if d.with_opinion and d.source.opinion:
                of = d.source.scene
                opinions = stack.enter_context(reading_opinion(d.source.opinion, of.grid, d.legend, scene=of.path))
            tile = scene.read(window)
            label = labels.read(window) if labels else None
            if label is not None:
                label = np.where(tile.valid, label, NO_TRUTH)
            return _Pixels(tile.image, tile.valid, label, opinions.read(window) if opinions else None)


class ChipSampler(GeoSampler):  # type: ignore[misc]
    """Square chips at random places of one scene's region, each place a pure function of seed and number.

    TorchGeo's `RandomGeoSampler` ignores its generator where it chooses the file, so two runs with one seed differ;
    here chip number n of a run is the same whatever was drawn before, which is what makes resuming exact.

    Args:
        dataset: the scene.
        region: where chips may lie, in pixels; a region smaller than the chip gives the chip centred on it.
        size: side of a chip in pixels.
        seed: of the run.
        length: how many chips an epoch has.
    """

    def __init__(self, dataset: SceneDataset, region: Window, *, size: int, seed: int, length: int) -> None:
        # Without super(): up to 0.9 it keeps bounds and times unused here, since 0.10 it takes no dataset.
        self.grid = dataset.source.scene.grid
        self.region = region
        self.chip = size
        self.seed = seed
        self.length = length
        self.key = f"{dataset.source.name}/{region.row}/{region.col}"

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[GeoQuery]:
        return (self.query(n) for n in range(self.length))

    def query(self, number: int) -> GeoQuery:
        """Return where chip `number` lies."""
        draws = torch.rand(2, generator=keyed_generator(self.seed, "chip", self.key, number)).tolist()
        row, col = (
            start + (int(u * (extent - self.chip + 1)) if extent >= self.chip else (extent - self.chip) // 2)
            for u, start, extent in zip(
                draws, (self.region.row, self.region.col), (self.region.height, self.region.width), strict=True
            )
        )
        return to_slices(self.grid, Window(row, col, self.chip, self.chip))


def to_slices(grid: Grid, window: Window) -> GeoQuery:
    """Return a window as TorchGeo's slices: x and y of its bounding box in the crs, and all times."""
    west, south, east, north = grid.crop(window).bounds
    res_x, res_y = grid.pixel_size
    return (slice(west, east, res_x), slice(south, north, res_y), slice(*_ALWAYS))


def to_window(grid: Grid, query: GeoQuery) -> Window:
    """Return the pixels that TorchGeo's slices mean on a grid; the inverse of `to_slices`, also on a rotated grid.

    Raises:
        InputError: the grid is rotated by 45°, where a bounding box does not tell height from width.
    """
    (west, east), (south, north) = ((s.start, s.stop) for s in query[:2])
    t = grid.transform
    # bounding box of w × h pixels: |a|·w + |b|·h wide and |d|·w + |e|·h high
    matrix = np.abs(np.array([[t.a, t.b], [t.d, t.e]]))
    if abs(np.linalg.det(matrix)) < 1e-6 * matrix.max() ** 2:
        raise InputError(
            "a scene is rotated by 45°, where chips cannot be addressed", hint="warp it north up with gdalwarp"
        )
    width, height = np.rint(np.linalg.solve(matrix, [east - west, north - south])).astype(int).tolist()
    col, row = ~t * ((west + east) / 2, (south + north) / 2)
    return Window(round(row - height / 2), round(col - width / 2), height, width)


def to_chips(samples: Sequence[dict[str, Any]], places: Sequence[str], silent_classes: int = 0) -> Chips:
    """Stack TorchGeo samples of one size.

    Args:
        samples: of one stream.
        places: their names for messages.
        silent_classes: K where the run has opinion layers: then every chip gets planes, silent ones where its own scene
            has no layer. 0 where it has none.
    """

    def stacked(key: str) -> Tensor:
        return torch.stack([s[key] for s in samples])

    image = stacked("image")
    opinion = None
    if silent_classes:
        silent = torch.zeros((silent_classes, *image.shape[-2:]), dtype=torch.bool)
        opinion = torch.stack([s.get("opinion", silent) for s in samples])
    valid = stacked("valid") if "valid" in samples[0] else torch.ones_like(image[:, 0], dtype=torch.bool)
    label = stacked("mask").long() if "mask" in samples[0] else None
    return Chips(image, valid, label, opinion, tuple(places))
