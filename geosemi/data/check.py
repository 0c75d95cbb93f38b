"""What file names alone show of a run's data: whether all that the settings name is there. No raster is opened."""

import csv
from collections.abc import Iterable
from pathlib import Path

from geosemi.data.listfiles import Row, read_list, require_disjoint
from geosemi.data.matching import RASTER_SUFFIXES, match_rasters, partner
from geosemi.data.settings import DataSettings
from geosemi.errors import ConfigError, DatasetMissing, Faults, InputError, LegendError
from geosemi.geo.burn import VECTOR_SUFFIXES
from geosemi.legend import Legend

LABEL_SUFFIXES = (*RASTER_SUFFIXES, *VECTOR_SUFFIXES)
_GIVE = "give the folder of your scenes as `data.root` in the config, or to `geosemi train` as `--data DIR`"
_USUAL = {name: field.default for name, field in DataSettings.model_fields.items()}


def check_files(settings: DataSettings, faults: Faults) -> None:
    """Add every fault: folder, legend, lists or table missing, and each folder or pattern that matches nothing."""
    root = settings.root.expanduser()
    if not root.is_dir():
        faults.add(_no_root(root, settings))
        return
    if _is_no_data(root, settings):
        faults.add(
            DatasetMissing(
                f"the folder `{root}` holds no data: neither `{settings.legend}` nor a scene in `images` or `scenes`",
                hint=f"{_GIVE}; docs/your-data.md says how it looks",
            )
        )
    else:
        with faults.kept():
            load_legend(root, settings)
        _check_scenes(root, settings, faults)
    with faults.kept():
        opinions_folder(root, settings)


def _check_scenes(root: Path, settings: DataSettings, faults: Faults) -> None:
    names: list[str] = []
    if settings.lists is not None:
        with faults.kept():
            read_lists(root / settings.lists)
        return  # lists alone say what is kept for what
    if (root / "tiles.csv").is_file():
        with faults.kept():
            names = [row["group"] for row in read_tiles(root / "tiles.csv")]
    else:
        with faults.kept():
            names = [path.stem for path in labelled_scenes(root, settings)]
        with faults.kept():
            unlabelled_scenes(root, settings)
    for key, patterns in (("validation", settings.validation), ("test", settings.test)):
        for pattern in patterns:
            if names and not any(Path(name).match(pattern) for name in names):
                faults.add(_no_match(key, pattern, names))


def load_legend(root: Path, settings: DataSettings) -> Legend:
    """Return the legend.

    Raises:
        LegendError: it is missing or wrong.
    """
    path = root / settings.legend
    if not path.is_file():
        raise LegendError(
            f"the legend `{path}` does not exist",
            hint='write one: `classes:` and a line `- {id: 0, name: water, colour: "#2060c0"}` for each class',
        )
    return Legend.load(path)


def opinions_folder(root: Path, settings: DataSettings) -> Path | None:
    """Return the folder of opinions, or None where none is wanted.

    Raises:
        DatasetMissing: it was named on purpose and does not exist.
    """
    if settings.opinions is None:
        return None
    folder = root / settings.opinions
    if settings.opinions != _USUAL["opinions"] and not folder.is_dir():
        raise DatasetMissing(f"the folder of opinions `{folder}` does not exist", hint="check `data.opinions`")
    return folder


def labelled_scenes(root: Path, settings: DataSettings) -> list[Path]:
    """Return the scenes that may have labels.

    Raises:
        DatasetMissing: there is none, or none has a label.
    """
    found = match_rasters(root, _images(root, settings), key="images", required=True)
    if not any(label_of(root, path.stem, settings) for path in found):
        raise DatasetMissing(
            f"none of the {len(found)} scenes in `{found[0].parent}` has a label in `{root / settings.labels}`",
            hint="a label is named like its scene: `a.tif` → `a.tif`, `a.png`, `a.gpkg`, `a.geojson` or `a.shp`",
        )
    return found


def unlabelled_scenes(root: Path, settings: DataSettings) -> list[Path]:
    """Return the scenes without labels.

    Raises:
        DatasetMissing: the setting was given, and nothing matches it.
    """
    pattern = settings.unlabelled
    if not pattern:
        return []
    return match_rasters(root, pattern, key="unlabelled", required=pattern != _USUAL["unlabelled"])


def label_of(root: Path, stem: str, settings: DataSettings) -> Path | None:
    """Return the label of a scene, or None.

    Raises:
        ConfigError: it has two.
    """
    return partner(root / settings.labels, stem, LABEL_SUFFIXES)


def read_tiles(table: Path) -> list[dict[str, str]]:
    """Return the rows of the table that `geosemi prepare` writes.

    Raises:
        InputError: it is another table.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        lacking = [c for c in ("image", "label", "group", "split") if c not in (rows.fieldnames or ())]
        if lacking:
            raise InputError(
                f"`{table}` has no column `{lacking[0]}`",
                hint="it is written by `geosemi prepare`; rename yours if it is something else",
            )
        return list(rows)


def read_lists(lists: Path) -> dict[str, list[Row]]:
    """Return the rows of labeled.txt, unlabeled.txt, val.txt and test.txt; labeled.txt alone must exist.

    Raises:
        DatasetMissing: labeled.txt does not exist, or a picture that needs a label has none.
        InputError: a picture stands in two lists.
    """
    found = {}
    for name in ("labeled.txt", "unlabeled.txt", "val.txt", "test.txt"):
        # the papers keep val.txt and test.txt one folder above the ratio's own folder
        path = next((p for p in (lists / name, lists.parent / name) if p.is_file()), None)
        if path is None and name == "labeled.txt":
            raise DatasetMissing(f"`{lists / name}` does not exist", hint="`lists` names the folder of labeled.txt")
        found[name] = read_list(path) if path else []
        for image, label in found[name]:
            if label is None and name in ("labeled.txt", "val.txt"):
                raise DatasetMissing(f"`{path}` lists `{image}` without a label", hint="give it in the second column")
    require_disjoint(found)
    return found


def _images(root: Path, settings: DataSettings) -> str:
    """Return the folder or glob of scenes; without a folder `images`, the folder may be called `scenes`."""
    usual = settings.images == _USUAL["images"]
    return (
        "scenes" if usual and not (root / settings.images).exists() and (root / "scenes").is_dir() else settings.images
    )


def _is_no_data(root: Path, settings: DataSettings) -> bool:
    """Tell whether nothing of what is expected is in a folder: then it is another folder that was meant."""
    plain = settings.lists is None and all(getattr(settings, k) == _USUAL[k] for k in ("images", "legend"))
    usual = (settings.legend, "images", "scenes", "tiles.csv")
    return plain and not any((root / name).exists() for name in usual)


def _no_root(root: Path, settings: DataSettings) -> DatasetMissing:
    return DatasetMissing(
        f"the data folder `{root}` does not exist",
        hint=_GIVE
        if settings.dataset == "scenes"
        else f"get the data and run `geosemi prepare --dataset {settings.dataset} --source DIR --out {root}`",
    )


def _no_match(key: str, pattern: str, names: Iterable[str]) -> ConfigError:
    """After a typo, the scene that was to be kept would be trained on."""
    known = sorted(set(names))
    return ConfigError(
        f"`data.{key}` names `{pattern}`, which matches no scene",
        hint=f"the scenes are {', '.join(known[:8])}{', …' if len(known) > 8 else ''}",
    )
