"""OpenEarthMap: 5,000 aerial and satellite pictures of about 1000 × 1000 pixels, 0.25–0.5 m, 97 regions, 44 countries.

Label files hold 0 for unknown and 1 … 8 for the classes; here unknown is ignored and the classes are 0 … 7, which are
the eight that its makers report. S5 trains and averages unknown as a ninth.

The pictures that come from xBD are not in the download (their licence forbids it): their labels are there without a
picture, which is counted and said. The official lists divide the pictures *of each region* between train, val and
test; `--split scene` keeps whole regions apart.
"""

from pathlib import Path

from geosemi.data.datasets.base import Found, Item, Original, Split, inner_folder, require_partners
from geosemi.data.datasets.coding import IGNORE, Codes
from geosemi.errors import DatasetMissing
from geosemi.legend import ClassDef, Legend

TITLE = "OpenEarthMap"
_LISTS: dict[Split, str] = {"train": "train.txt", "val": "val.txt", "test": "test.txt"}


def _find(root: Path, bands: str) -> Found:
    base = inner_folder(root, ("OpenEarthMap_wo_xBD", "OpenEarthMap"), list(_LISTS.values()))
    lists = {split: base / name for split, name in _LISTS.items()}
    if not lists["train"].is_file() or not lists["val"].is_file():
        raise OPENEARTHMAP.missing(
            f"no pictures of {TITLE} in {bands}: looked for `train.txt` and `val.txt` in `{base}`"
        )
    images = {p.stem: p for p in sorted(base.glob("*/images/*.tif"))}
    labels = {p.stem: p for p in sorted(base.glob("*/labels/*.tif"))}
    items, absent, lonely = [], 0, []
    official = _official(lists)
    for name, split in official.items():
        image, label = images.get(name), labels.get(name)
        if image is None:
            absent += 1
        elif label is None and split != "test":
            lonely.append(image.parents[1] / "labels" / image.name)
        else:
            items.append(Item(name, image.parents[1].name, split, image, label))
    require_partners(TITLE, lonely, "labels")
    return Found(tuple(items), _notes(absent, len(set(images) - set(official))))


def _official(lists: dict[Split, Path]) -> dict[str, Split]:
    official: dict[str, Split] = {}
    for split, path in lists.items():
        for line in path.read_text(encoding="utf-8-sig").split() if path.is_file() else ():
            name = Path(line).stem
            if official.setdefault(name, split) != split:
                raise DatasetMissing(
                    f"`{name}` stands in `{_LISTS[official[name]]}` and in `{path.name}` of `{path.parent}`",
                    hint="the lists were edited; unpack the download again",
                )
    return official


def _notes(absent: int, unlisted: int) -> tuple[str, ...]:
    notes = []
    if absent:
        notes.append(f"listed pictures that are not there (those of xBD are fetched separately): {absent}, left out")
    if unlisted:
        notes.append(f"pictures that stand in none of the lists: {unlisted}, left out")
    return tuple(notes)


OPENEARTHMAP = Original(
    name="openearthmap",
    title=TITLE,
    legend=Legend(
        (
            ClassDef(0, "bareland", "#800000", ("bare land", "bare soil")),
            ClassDef(1, "rangeland", "#00ff24", ("grass", "grassland", "shrub")),
            ClassDef(2, "developed space", "#949494", ("pavement", "paved surface", "parking lot")),
            ClassDef(3, "road", "#ffffff", ("street",)),
            ClassDef(4, "tree", "#226126", ("trees", "forest")),
            ClassDef(5, "water", "#0045ff", ("river", "lake", "pond")),
            ClassDef(6, "agriculture", "#4bb549", ("agriculture land", "cropland", "farmland")),
            ClassDef(7, "building", "#de1f07", ("roof", "house")),
        ),
        name="openearthmap",
    ),
    coding=Codes({0: IGNORE, **{raw: raw - 1 for raw in range(1, 9)}}),
    resolution=0.5,
    bands={"rgb": ("red", "green", "blue")},
    source="https://zenodo.org/records/7223446 (OpenEarthMap.zip)",
    licence="labels CC BY-NC-SA 4.0; pictures "
    "under the licences of their sources, listed by region on open-earth-map.org",
    layout="`OpenEarthMap_wo_xBD/aachen/images/aachen_1.tif`, `OpenEarthMap_wo_xBD/aachen/labels/aachen_1.tif`, "
    "`OpenEarthMap_wo_xBD/train.txt`, `val.txt`, `test.txt`",
    find=_find,
)
