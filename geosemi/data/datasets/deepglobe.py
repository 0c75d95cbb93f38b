"""DeepGlobe land cover: 1,146 satellite pictures of 2448 × 2448 pixels at 0.5 m; 803 of them have public labels.

Labels are colours, but lossy copies of the masks are about, with values beside 0 and 255: every channel is thresholded
at 128 before it is looked up. Unknown (black) is ignored, as the challenge scores it; RS-MTDF trains it as a seventh
class. Pictures of the challenge's own validation and test parts have no labels and are unlabelled.
"""

from pathlib import Path

from geosemi.data.datasets.base import Found, Item, Original, Split, require_partners
from geosemi.data.datasets.coding import IGNORE, Colours
from geosemi.legend import ClassDef, Legend

TITLE = "DeepGlobe land cover"
# folder of pictures, folder of masks, official part; the first block as TorchGeo, the second as the challenge packs it
_FOLDERS: tuple[tuple[str, str, Split], ...] = (
    ("data/training_data/images", "data/training_data/masks", "train"),
    ("data/test_data/images", "data/test_data/masks", "test"),
    ("training_data/images", "training_data/masks", "train"),
    ("test_data/images", "test_data/masks", "test"),
    ("train", "train", "train"),
    ("land-train", "land-train", "train"),
    ("valid", "valid", "val"),
    ("test", "test", "test"),
)


def _find(root: Path, bands: str) -> Found:
    present = [f for f in _FOLDERS if (root / f[0]).is_dir()]
    if not any(split == "train" for _, _, split in present):
        raise DEEPGLOBE.missing(
            f"no pictures of {TITLE} in {bands}: looked for `data/training_data/images` and `train` in `{root}`"
        )
    items: dict[str, Item] = {}
    for images, masks, split in present:
        # a picture that is unpacked in both layouts counts once
        for item in _folder(root / images, root / masks, split):
            items.setdefault(item.scene_id, item)
    return Found(tuple(items.values()))


def _folder(images: Path, masks: Path, split: Split) -> list[Item]:
    pictures = {p.name.removesuffix("_sat.jpg"): p for p in sorted(images.glob("*_sat.jpg"))}
    labels = {p.name.removesuffix("_mask.png"): p for p in sorted(masks.glob("*_mask.png"))}
    require_partners(TITLE, [images / f"{s}_sat.jpg" for s in labels if s not in pictures], "pictures")
    if split == "train":
        require_partners(TITLE, [masks / f"{s}_mask.png" for s in pictures if s not in labels], "labels")
    return [Item(s, s, split if s in labels else "unlabelled", p, labels.get(s)) for s, p in pictures.items()]


_CLASSES = (
    ClassDef(0, "urban", "#00ffff", ("urban land", "built-up")),
    ClassDef(1, "agriculture", "#ffff00", ("agriculture land", "farmland", "cropland")),
    ClassDef(2, "rangeland", "#ff00ff", ("grassland", "range land")),
    ClassDef(3, "forest", "#00ff00", ("forest land", "trees")),
    ClassDef(4, "water", "#0000ff", ("river", "lake")),
    ClassDef(5, "barren", "#ffffff", ("barren land", "bare land")),
)

DEEPGLOBE = Original(
    name="deepglobe",
    title=TITLE,
    legend=Legend(_CLASSES, name="deepglobe"),
    coding=Colours({**{c.rgb: c.id for c in _CLASSES}, (0, 0, 0): IGNORE}, tolerance=127),
    resolution=0.5,
    bands={"rgb": ("red", "green", "blue")},
    source="http://deepglobe.org (land cover classification), or "
    "https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset",
    licence="terms of the DeepGlobe challenge: research only; imagery by DigitalGlobe",
    layout="`train/119_sat.jpg`, `train/119_mask.png`, `valid/…`, `test/…` "
    "(or TorchGeo's `data/training_data/images` and `masks`)",
    find=_find,
)
