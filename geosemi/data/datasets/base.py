"""What there is to say about a data set as its makers publish it, and how its pictures and labels are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from geosemi.data.datasets.coding import Coding, Decoded
from geosemi.data.datasets.placing import Ground, place
from geosemi.errors import BandMismatch, ConfigError, DatasetMissing, GridMismatch, LegendError
from geosemi.geo.raster import open_raster
from geosemi.geo.scene import Scene
from geosemi.geo.window import Window
from geosemi.legend import Legend

Split = Literal["train", "val", "test", "unlabelled"]


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a download.

    Attributes:
        scene_id: unique in the data set and fit for a file name.
        group: ground that must stay on one side of a split: the picture itself, or the region it was cut from.
        split: the part that the makers put it in; `unlabelled` where they published no labels for its part.
        image: the picture.
        label: its label file, or None.
        indexes: 1-based positions of the bands to read.
    """

    scene_id: str
    group: str
    split: Split
    image: Path
    label: Path | None
    indexes: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a source folder.

    Attributes:
        items: pictures in the order of their scene ids.
        notes: sentences for people: what is missing without being fatal.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Original:
    """A published data set.

    Attributes:
        name: as in `--dataset`.
        title: as people call it.
        legend: classes as geosemi trains them, ids 0 … K-1; 255 is ignored.
        coding: how its label files say these classes.
        resolution: metres a pixel, nominal.
        bands: choices of `--bands` and the band names each gives; the first is the default.
        source: where to get it.
        licence: what its makers allow.
        layout: files and folders as the download unpacks.
        find: (source folder, choice of bands) → what lies there.
        exclude_from_mean: classes that the benchmark leaves out of mean scores.
        ground: where it lies, if its pictures have world files.
    """

    name: str
    title: str
    legend: Legend
    coding: Coding
    resolution: float
    bands: Mapping[str, tuple[str, ...]]
    source: str
    licence: str
    layout: str
    find: Callable[[Path, str], Found]
    exclude_from_mean: tuple[str, ...] = ()
    ground: Ground | None = None

    def choose_bands(self, choice: str | None) -> str:
        """Return the choice of bands, or the default one.

        Raises:
            ConfigError: the data set has no such choice.
        """
        if choice is None:
            return next(iter(self.bands))
        if choice not in self.bands:
            raise ConfigError(
                f"{self.title} has no bands `{choice}`", hint=f"use `--bands {'` or `--bands '.join(self.bands)}`"
            )
        return choice

    def survey(self, root: Path, bands: str | None = None) -> Found:
        """List the pictures under a source folder.

        Raises:
            DatasetMissing: the folder, all pictures or some label files are missing; the message says what was looked
                for, the hint where to get it.
            ConfigError: no such bands.
        """
        choice = self.choose_bands(bands)
        if not root.is_dir():
            raise self.missing(f"the folder `{root}` does not exist")
        found = self.find(root, choice)
        if not found.items:
            raise self.missing(f"no picture of {self.title} was found in `{root}`")
        return Found(tuple(sorted(found.items, key=lambda i: i.scene_id)), found.notes)

    def items(self, root: Path, bands: str | None = None) -> list[Item]:
        """Return the pictures under a source folder; raises as `survey`."""
        return list(self.survey(root, bands).items)

    def missing(self, what: str) -> DatasetMissing:
        """Return the error for a download that is not there."""
        return DatasetMissing(what, hint=f"get {self.title} from {self.source}, and unpack it as {self.layout}")

    def scene(self, item: Item, bands: str | None = None) -> Scene:
        """Return a picture as a scene with its place and band names; its crs is None where its place is unknown.

        Raises:
            BandMismatch: the file has too few bands.
            InputError: its world file is damaged, or places it elsewhere.
        """
        names = self.bands[self.choose_bands(bands)]
        with open_raster(item.image) as file:
            if max(item.indexes) > file.count:
                raise BandMismatch(
                    f"`{item.image}` has {file.count} bands; {', '.join(names)} needs {max(item.indexes)}",
                    hint="unpack the download again, or choose other `--bands`",
                )
            # alpha=None: no picture of these data sets has one; Potsdam's near-infrared is only tagged so
            return Scene(
                path=item.image,
                grid=place(file.grid, item.image, self.ground),
                bands=names,
                indexes=item.indexes,
                dtype=file.dtype.name,
                nodata=file.nodata,
                alpha=None,
                masked=file.has_internal_mask,
            )

    def read_label(self, item: Item, window: Window | None = None) -> Decoded:
        """Return the truth in a window of a picture, or in all of it.

        Raises:
            LegendError: the label file is not coded as this data set's labels are.
            GridMismatch: it has another size than the picture.
        """
        if item.label is None:
            raise ValueError(f"`{item.image}` has no label")
        with open_raster(item.image) as picture:
            shape = picture.grid.shape
        with open_raster(item.label) as file:
            if file.grid.shape != shape:
                raise GridMismatch(
                    f"`{item.label}` is {file.grid.height} × {file.grid.width} pixels, "
                    f"`{item.image}` is {shape[0]} × {shape[1]}",
                    hint="one of them is damaged or of another release; unpack the download again",
                )
            wanted = self.coding.bands
            if file.dtype != "uint8" or (file.count < wanted if wanted > 1 else file.count != 1):
                raise LegendError(
                    f"`{item.label}` has {file.count} {file.dtype} bands; "
                    f"the labels of {self.title} have {wanted}, uint8",
                    hint="these labels were converted; take the original ones, or use `--dataset scenes`",
                )
            return self.coding.decode(_read(file, window or file.grid.window, wanted))


def _read(file: Any, window: Window, bands: int) -> npt.NDArray[Any]:
    pixels: npt.NDArray[Any] = file.read(window, list(range(1, bands + 1)))
    return pixels


def require_partners(title: str, lonely: Sequence[Path], what: str) -> None:
    """Refuse a download in which some pictures lack their label, or the other way round.

    Args:
        title: the data set's.
        lonely: files that were looked for and are not there.
        what: what these files are, in the plural.

    Raises:
        DatasetMissing: there are any; up to three are named.
    """
    if lonely:
        names = ", ".join(f"`{p}`" for p in lonely[:3]) + (", …" if len(lonely) > 3 else "")
        raise DatasetMissing(
            f"{len(lonely)} of the {what} of {title} {'is' if len(lonely) == 1 else 'are'} missing: {names}",
            hint="unpack the download again, or remove their partners too if you want to work with a part of the data",
        )


def inner_folder(root: Path, names: Sequence[str], markers: Sequence[str]) -> Path:
    """Return `root`, or the folder of one of these names in it, whichever holds one of the markers; else `root`."""
    candidates = (root, *(root / name for name in names))
    return next((c for c in candidates if any((c / m).exists() for m in markers)), root)
