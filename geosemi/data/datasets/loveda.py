"""LoveDA: 5,987 satellite pictures of 1024 × 1024 pixels at 0.3 m over three Chinese cities, urban and rural.

Label files hold 0 for no-data and 1 … 7 for the classes; here no-data is ignored and the classes are 0 … 6, as the
data set's own benchmark counts. Background is a real class of this benchmark and part of the mean. DWL and SemiEarth
train the raw codes instead, no-data as a class included; TorchGeo's list of names is off by one against its masks.
The labels of `Test` are not public: its pictures are unlabelled.
"""

from pathlib import Path

from geosemi.data.datasets.base import Found, Item, Original, Split, inner_folder, require_partners
from geosemi.data.datasets.coding import IGNORE, Codes
from geosemi.legend import ClassDef, Legend

TITLE = "LoveDA"
_PARTS: dict[str, Split] = {"Train": "train", "Val": "val", "Test": "test"}


def _find(root: Path, bands: str) -> Found:
    base = inner_folder(root, ("LoveDA", "2021LoveDA"), list(_PARTS))
    present = [part for part in _PARTS if (base / part).is_dir()]
    if not present:
        raise LOVEDA.missing(f"no pictures of {TITLE} in {bands}: looked for `Train`, `Val` and `Test` in `{base}`")
    items: list[Item] = []
    for part in present:
        for area in ("Urban", "Rural"):
            items += _area(base / part / area, part, area)
    absent = [part for part in _PARTS if part not in present]
    return Found(tuple(items), (f"there is no `{'` and no `'.join(absent)}` folder",) if absent else ())


def _area(folder: Path, part: str, area: str) -> list[Item]:
    images = {p.stem: p for p in sorted(folder.glob("images_png/*.png"))}
    labels = {} if part == "Test" else {p.stem: p for p in sorted(folder.glob("masks_png/*.png"))}
    if part != "Test":
        require_partners(TITLE, [folder / "masks_png" / f"{s}.png" for s in images if s not in labels], "labels")
        require_partners(TITLE, [folder / "images_png" / f"{s}.png" for s in labels if s not in images], "pictures")
    ids = {stem: f"{part}_{area}_{stem}".lower() for stem in images}
    return [Item(ids[s], ids[s], _PARTS[part], path, labels.get(s)) for s, path in images.items()]


LOVEDA = Original(
    name="loveda",
    title=TITLE,
    legend=Legend(
        (
            ClassDef(0, "background", "#ffffff", ("other",)),
            ClassDef(1, "building", "#ff0000", ("house", "roof")),
            ClassDef(2, "road", "#ffff00", ("street",)),
            ClassDef(3, "water", "#0000ff", ("river", "lake", "pond")),
            ClassDef(4, "barren", "#9f81b7", ("bare land", "bare soil")),
            ClassDef(5, "forest", "#00ff00", ("trees", "woodland")),
            ClassDef(6, "agriculture", "#ffc380", ("agricultural", "farmland", "cropland")),
        ),
        name="loveda",
    ),
    coding=Codes({0: IGNORE, **{raw: raw - 1 for raw in range(1, 8)}}),
    resolution=0.3,
    bands={"rgb": ("red", "green", "blue")},
    source="https://zenodo.org/records/5706578 (Train.zip, Val.zip, Test.zip)",
    licence="CC BY-NC-SA 4.0, research only; imagery by Google Earth",
    layout="`Train/Urban/images_png/1366.png`, `Train/Urban/masks_png/1366.png`, "
    "and the same under `Rural`, `Val` and `Test`",
    find=_find,
)
