"""What Potsdam and Vaihingen share: classes, label colours, and how their files are paired.

Papers differ on clutter (class 5): trained but left out of the mean (SemiEarth's paper, and the default here), trained
and averaged (SemiEarth's released code), or ignored altogether (DWL, S5, MUCA). Colours and order are the makers' own;
TorchGeo lists the same colours with clutter first.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from geosemi.data.datasets.base import Found, Item, Split, require_partners
from geosemi.data.datasets.coding import IGNORE, Colours
from geosemi.legend import ClassDef, Legend

CLASSES = (
    ClassDef(0, "impervious surface", "#ffffff", ("impervious surfaces", "pavement", "road")),
    ClassDef(1, "building", "#0000ff", ("roof", "house")),
    ClassDef(2, "low vegetation", "#00ffff", ("grass", "lawn", "meadow")),
    ClassDef(3, "tree", "#00ff00", ("trees", "high vegetation")),
    ClassDef(4, "car", "#ffff00", ("vehicle", "cars")),
    ClassDef(5, "clutter", "#ff0000", ("background", "clutter/background", "other")),
)
# black: eroded object borders of the "noBoundary" labels, where nothing is scored
COLOURS = Colours({**{c.rgb: c.id for c in CLASSES}, (0, 0, 0): IGNORE})
TERMS = (
    "no open licence: free for research under the terms of the ISPRS benchmark; name the data's owner ({owner}) in "
    "publications"
)


def legend(name: str) -> Legend:
    """Return the six classes under a data set's name."""
    return Legend(CLASSES, name=name)


def pair_tiles(
    title: str,
    splits: Mapping[str, Sequence[str]],
    image_of: Callable[[str], tuple[Path, tuple[int, ...]]],
    label_of: Callable[[str], Path],
) -> Found:
    """Match pictures with labels by the official tile names.

    A test tile without label is unlabelled: the participants' package holds labels of the training tiles only.

    Args:
        title: the data set's.
        splits: official part → tile names.
        image_of: tile name → its picture, which need not exist, and the bands to read.
        label_of: tile name → its label, which need not exist.

    Raises:
        DatasetMissing: a training tile lacks its label, or a label its picture.
    """
    items, lonely_images, lonely_labels, absent = [], [], [], 0
    for part, name in ((part, name) for part, names in splits.items() for name in names):
        (image, indexes), label = image_of(name), label_of(name)
        labelled = label.is_file()
        split: Split = "test" if part == "test" else "train"
        if not image.is_file():
            absent += not labelled
            lonely_images += [image] if labelled else []
        elif labelled or split == "test":
            items.append(Item(name, name, split, image, label if labelled else None, indexes))
        else:
            lonely_labels.append(label)
    if not items and not lonely_labels:
        return Found(())  # labels alone are no data set; the caller says what was looked for
    require_partners(title, lonely_images, "pictures")
    require_partners(title, lonely_labels, "labels")
    total = sum(map(len, splits.values()))
    unlabelled = sum(i.label is None for i in items)
    notes = [f"{total - absent} of {total} tiles are there"] if absent else []
    notes += [f"{unlabelled} test tiles have no label and are unlabelled"] if unlabelled else []
    return Found(tuple(items), tuple(notes))
