"""Which scenes, labels and opinions a learner gets: folders and globs, or a folder that `prepare` made."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from geosemi.data.listfiles import read_list
from geosemi.data.matching import RASTER_SUFFIXES, match_rasters, partner, strays
from geosemi.data.settings import DataSettings
from geosemi.errors import BandMismatch, ConfigError, DatasetMissing, InputError, LegendError
from geosemi.geo.burn import VECTOR_SUFFIXES
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

    @property
    def has_opinions(self) -> bool:
        """Whether any scene that can be trained on has an opinion raster."""
        return any(s.opinion is not None for s in self.scenes)


def find_scenes(settings: DataSettings) -> SceneSet:
    """Find and open (metadata only) all scenes that the settings name.

    Raises:
        DatasetMissing: a folder is missing or empty.
        BandMismatch: scenes differ in their number of bands.
        LegendError, ConfigError, SceneUnreadable: as the files deserve.
    """
    root = settings.root.expanduser()
    if not root.is_dir():
        raise DatasetMissing(
            f"the data folder `{root}` does not exist",
            hint="give the folder of your scenes as `--data DIR`"
            if settings.dataset == "scenes"
            else f"get the data and run `geosemi prepare --dataset {settings.dataset} --source DIR --out {root}`",
        )
    legend = _legend(root / settings.legend)
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


def _legend(path: Path) -> Legend:
    if not path.is_file():
        raise LegendError(
            f"the legend `{path}` does not exist",
            hint='write one: `classes:` and a line `- {id: 0, name: water, colour: "#2060c0"}` for each class',
        )
    return Legend.load(path)


def _from_folders(root: Path, settings: DataSettings) -> list[SceneFiles]:
    labels, opinions = root / settings.labels, _opinions(root, settings)
    images = settings.images
    if images == "images" and not (root / images).exists() and (root / "scenes").is_dir():
        images = "scenes"
    found = []
    for path in match_rasters(root, images, key="images", required=True):
        scene = _open(path, settings)
        label = partner(labels, path.stem, (*RASTER_SUFFIXES, *VECTOR_SUFFIXES))
        opinion = partner(opinions, path.stem, (".tif",)) if opinions else None
        part = _decreed(path.stem, settings)
        if label is None and part in (None, "train"):
            part = "unlabelled"
        if part in ("val", "test") and label is None:
            raise DatasetMissing(
                f"`{path}` is kept for {part} but has no label in `{labels}`", hint="add its label file"
            )
        found.append(SceneFiles(path.stem, scene, label, opinion, part))
    if not any(s.label for s in found):
        raise DatasetMissing(
            f"none of the {len(found)} scenes in `{root / settings.images}` has a label in `{labels}`",
            hint="a label is named like its scene: `a.tif` → `a.tif`, `a.png`, `a.gpkg`, `a.geojson` or `a.shp`",
        )
    _require_matches([s.name for s in found], settings)
    more, usual = settings.unlabelled, DataSettings.model_fields["unlabelled"].default
    for path in match_rasters(root, more, key="unlabelled", required=more != usual) if more else ():
        opinion = partner(opinions, path.stem, (".tif",)) if opinions else None
        name = path.stem if all(path.stem != s.name for s in found) else f"unlabelled/{path.stem}"
        found.append(SceneFiles(name, _open(path, settings), None, opinion, "unlabelled"))
    return found


def _from_prepared(root: Path, settings: DataSettings) -> list[SceneFiles]:
    found = []
    opinions = _opinions(root, settings)
    table = root / "tiles.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        lacking = [c for c in ("image", "label", "group", "split") if c not in (rows.fieldnames or ())]
        if lacking:
            raise InputError(
                f"`{table}` has no column `{lacking[0]}`",
                hint="it is written by `geosemi prepare`; rename yours if it is something else",
            )
        for row in rows:
            path = root / row["image"]
            label = root / row["label"] if row["label"] else None
            opinion = partner(opinions, path.stem, (".tif",)) if opinions else None
            part: Part | None = (
                "unlabelled" if label is None else _decreed(row["group"], settings) or _part(row["split"])
            )
            found.append(SceneFiles(path.stem, _open(path, settings), label, opinion, part, group=row["group"]))
    _require_matches([s.group for s in found], settings)
    return found


def _from_lists(root: Path, lists: Path, settings: DataSettings) -> list[SceneFiles]:
    """Read labeled.txt, unlabeled.txt and val.txt (test.txt too where it exists), as the papers lay them out."""
    parts: dict[str, tuple[Part, bool | None]] = {
        "labeled.txt": ("train", True),
        "unlabeled.txt": ("train", False),
        "val.txt": ("val", None),
        "test.txt": ("test", None),
    }
    found: dict[Path, SceneFiles] = {}
    opinions = _opinions(root, settings)
    for name, (part, chosen) in parts.items():
        # the papers keep val.txt and test.txt one folder above the ratio's own folder
        path = next((p for p in (lists / name, lists.parent / name) if p.is_file()), None)
        if path is None and name == "labeled.txt":
            raise DatasetMissing(f"`{lists / name}` does not exist", hint="`lists` names the folder of labeled.txt")
        for image, label in read_list(path) if path else ():
            full = root / image
            if full in found:
                raise ConfigError(f"`{image}` is listed twice, in `{path}` too", hint="a picture belongs to one list")
            if label is None and name in ("labeled.txt", "val.txt"):
                raise DatasetMissing(f"`{path}` lists `{image}` without a label", hint="give it in the second column")
            truth = root / label if label and chosen is not False else None
            opinion = partner(opinions, image.stem, (".tif",)) if opinions else None
            found[full] = SceneFiles(
                str(image.with_suffix("")), _open(full, settings), truth, opinion, part, chosen=chosen
            )
    return list(found.values())


def _opinions(root: Path, settings: DataSettings) -> Path | None:
    """Return the folder of opinions; one that was named on purpose must exist."""
    if settings.opinions is None:
        return None
    folder = root / settings.opinions
    if settings.opinions != DataSettings.model_fields["opinions"].default and not folder.is_dir():
        raise DatasetMissing(f"the folder of opinions `{folder}` does not exist", hint="check `data.opinions`")
    return folder


def _decreed(name: str, settings: DataSettings) -> Part | None:
    if any(Path(name).match(pattern) for pattern in settings.validation):
        return "val"
    if any(Path(name).match(pattern) for pattern in settings.test):
        return "test"
    return "train" if settings.validation or settings.test else None


def _require_matches(names: Sequence[str], settings: DataSettings) -> None:
    """Refuse a pattern that keeps nothing: after a typo, the scene that was to be kept would be trained on."""
    for key, patterns in (("validation", settings.validation), ("test", settings.test)):
        for pattern in patterns:
            if not any(Path(n).match(pattern) for n in names):
                known = sorted(set(names))
                raise ConfigError(
                    f"`data.{key}` names `{pattern}`, which matches no scene",
                    hint=f"the scenes are {', '.join(known[:8])}{', …' if len(known) > 8 else ''}",
                )


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
