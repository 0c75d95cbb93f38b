"""Which scenes, labels and opinions a learner gets: folders and globs, or a folder that `prepare` made."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from geosemi.data.check import (
    check_files,
    label_of,
    labelled_scenes,
    load_legend,
    opinions_folder,
    read_lists,
    read_tiles,
    unlabelled_scenes,
)
from geosemi.data.matching import partner, strays
from geosemi.data.settings import DataSettings
from geosemi.errors import BandMismatch, ConfigError, DatasetMissing, Faults
from geosemi.geo.opinion import reading_opinion, source_of
from geosemi.geo.scene import Scene
from geosemi.legend import Legend
from geosemi.yamlfile import read_yaml

Part = Literal["train", "val", "test", "unlabelled"]


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """A scene and what is known about it.

    Attributes:
        name: unique among the scenes of a run.
        scene: its raster, bands already selected.
        label: label raster or vector layer, or None.
        opinion: opinion raster, or None.
        part: the part of the split that it belongs to by decree, or None where the split decides.
        group: scenes of one group are never divided between train, val and test.
        chosen: True where a list file names it as labelled, False where one names it as unlabelled.
    """

    name: str
    scene: Scene
    label: Path | None
    opinion: Path | None = None
    part: Part | None = None
    group: str = ""
    chosen: bool | None = None


@dataclass(frozen=True, slots=True)
class SceneSet:
    """All scenes of a run with one legend and the same bands.

    Attributes:
        scenes: labelled and unlabelled scenes.
        legend: their classes.
        exclude_from_mean: classes that the data set's own protocol leaves out of mean scores.
        strays: labels and opinions, `folder/name`, that belong to no scene: perhaps misspelt.
    """

    scenes: tuple[SceneFiles, ...]
    legend: Legend
    exclude_from_mean: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names, the same for every scene."""
        return self.scenes[0].scene.bands

    def opinion_sources(self) -> list[str]:
        """Return who speaks in the opinion rasters, each once; in none of them is more read than its tags."""
        return sorted({source_of(s.opinion) for s in self.scenes if s.opinion is not None})

    def check_opinions(self) -> None:
        """Look at the head of every opinion raster, none of whose pixels is read.

        Raises:
            GeosemiError: files are unreadable, or of other pixels or another legend; all of them in one error.
        """
        faults = Faults()
        for files in self.scenes:
            if files.opinion is not None:
                scene = files.scene
                with faults.kept(), reading_opinion(files.opinion, scene.grid, self.legend, scene=scene.path):
                    pass
        faults.raise_all("the opinions")

    @property
    def has_opinions(self) -> bool:
        """Whether any scene that can be trained on has an opinion raster."""
        return any(s.opinion is not None for s in self.scenes)


def find_scenes(settings: DataSettings) -> SceneSet:
    """Find and open (metadata only) all scenes that the settings name.

    Raises:
        GeosemiError: folders, lists, a legend or what a pattern names are missing, all of them in one error.
        BandMismatch: scenes differ in their number of bands.
        ConfigError, SceneUnreadable: as the files deserve.
    """
    root = settings.root.expanduser()
    faults = Faults()
    check_files(settings, faults)
    faults.raise_all(f"the data in `{root}`")
    legend = load_legend(root, settings)
    if settings.lists is not None:
        found = _from_lists(root, root / settings.lists, settings)
    elif (root / "tiles.csv").is_file():
        found = _from_prepared(root, settings)
    else:
        found = _from_folders(root, settings)
        return SceneSet(
            _checked(found),
            legend,
            strays=strays(root, (settings.labels, settings.opinions), {s.scene.path.stem for s in found}),
        )
    if not found:
        raise DatasetMissing(f"no scene was found in `{root}`", hint="check `images` and `unlabelled` in the config")
    return SceneSet(_checked(found), legend, _excluded(root))


def _from_folders(root: Path, settings: DataSettings) -> list[SceneFiles]:
    opinions = opinions_folder(root, settings)
    found = []
    for path in labelled_scenes(root, settings):
        label, part = label_of(root, path.stem, settings), _decreed(path.stem, settings)
        if label is None and part in ("val", "test"):
            raise DatasetMissing(
                f"`{path}` is kept for {part} but has no label in `{root / settings.labels}`", hint="add its label file"
            )
        part = "unlabelled" if label is None else part
        found.append(SceneFiles(path.stem, _open(path, settings), label, _opinion(opinions, path.stem), part))
    for path in unlabelled_scenes(root, settings):
        name = path.stem if all(path.stem != s.name for s in found) else f"unlabelled/{path.stem}"
        found.append(SceneFiles(name, _open(path, settings), None, _opinion(opinions, path.stem), "unlabelled"))
    return found


def _from_prepared(root: Path, settings: DataSettings) -> list[SceneFiles]:
    found = []
    opinions = opinions_folder(root, settings)
    for row in read_tiles(root / "tiles.csv"):
        path = root / row["image"]
        label = root / row["label"] if row["label"] else None
        part: Part | None = "unlabelled" if label is None else _decreed(row["group"], settings) or _part(row["split"])
        found.append(
            SceneFiles(path.stem, _open(path, settings), label, _opinion(opinions, path.stem), part, group=row["group"])
        )
    return found


def _from_lists(root: Path, lists: Path, settings: DataSettings) -> list[SceneFiles]:
    """Read labeled.txt, unlabeled.txt and val.txt (test.txt too where it exists), as the papers lay them out."""
    parts: dict[str, tuple[Part, bool | None]] = {
        "labeled.txt": ("train", True),
        "unlabeled.txt": ("train", False),
        "val.txt": ("val", None),
        "test.txt": ("test", None),
    }
    found = []
    opinions = opinions_folder(root, settings)
    for name, rows in read_lists(lists).items():
        part, chosen = parts[name]
        for image, label in rows:
            truth = root / label if label and chosen is not False else None
            opinion = _opinion(opinions, image.stem)
            scene = _open(root / image, settings)
            found.append(SceneFiles(str(image.with_suffix("")), scene, truth, opinion, part, chosen=chosen))
    return found


def _opinion(folder: Path | None, stem: str) -> Path | None:
    return partner(folder, stem, (".tif",)) if folder else None


def _decreed(name: str, settings: DataSettings) -> Part | None:
    if any(Path(name).match(pattern) for pattern in settings.validation):
        return "val"
    if any(Path(name).match(pattern) for pattern in settings.test):
        return "test"
    return "train" if settings.validation or settings.test else None


def _part(word: str) -> Part | None:
    parts: dict[str, Part] = {"train": "train", "val": "val", "test": "test", "unlabelled": "unlabelled"}
    return parts.get(word)


def _open(path: Path, settings: DataSettings) -> Scene:
    scene = Scene.open(path)
    return scene.select(settings.bands) if settings.bands else scene


def _excluded(root: Path) -> tuple[str, ...]:
    path = root / "dataset.yaml"
    return tuple(str(n) for n in read_yaml(path).get("exclude_from_mean", ())) if path.is_file() else ()


def _checked(found: list[SceneFiles]) -> tuple[SceneFiles, ...]:
    names = [s.name for s in found]
    double = next((n for n in names if names.count(n) > 1), None) if len(set(names)) < len(names) else None
    if double:
        raise ConfigError(f"two scenes are named `{double}`", hint="rename one: a label finds its scene by name")
    first = found[0].scene
    for other in found:
        if len(other.scene.bands) != len(first.bands):
            raise BandMismatch(
                f"`{other.scene.path}` has {len(other.scene.bands)} bands, `{first.path}` has {len(first.bands)}",
                hint="choose bands that all scenes have, e.g. `--set data.bands=[1,2,3]`",
            )
        if other.scene.dtype != first.dtype:
            raise BandMismatch(
                f"`{other.scene.path}` is {other.scene.dtype}, `{first.path}` is {first.dtype}",
                hint="convert them to one type, e.g. `gdal_translate -ot Byte -scale …`",
            )
    return tuple(s if s.group else replace(s, group=s.name) for s in found)
