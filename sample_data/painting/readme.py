"""The README of the sample data, with figures measured on what was just painted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.geo.commit import write_files
from geosemi.legend import Legend

_HEAD = """# Sample data

Small scenes of a town that does not exist, painted by `make.py` in five seasons and lights. They lie in EPSG:32633
with pixels of 0.25 m, apart from each other, at coordinates near the Danube; the real ground there looks different.

| path | what |
| --- | --- |
| `legend.yaml` | the six classes with colours and synonyms |
| `scenes/*.tif` | labelled scenes |
| `labels/*.tif` | their classes on the same grid; 255: no truth |
| `labels/spring_suburb.gpkg` | the same as polygons with a column `class`, in EPSG:4326 |
| `unlabelled/*.tif` | scenes without any mask, in seasons that no labelled scene shows |
| `test/*.tif`, `test/labels/*.tif` | scenes to map and score; `autumn_town` has a corner without data |
| `opinions/*.tif` | class-bit opinion rasters of all scenes but the test ones, **simulated** |
| `old_map.gpkg` | an older, coarser map of all scenes but the test ones, with a column `landuse`, in EPSG:4326 |
| `make.py`, `painting/` | the generator |

Labels are painted from the same geometry as the picture, so they are exact: a pixel has the class that covers most of
it. Driveways, pavements, car parks and tracks are road; fields are grass, ploughed ones too; hedges and bushes are
tree; shadows belong to what they fall on. Colour alone does not decide: grey roofs look like asphalt, ploughed soil
like bare crowns, murky water like grass in the shade.

Everything here is made by

    python sample_data/make.py

and the same seeds paint the same pixels. `--hidden FOLDER` also writes the labels of the unlabelled scenes, to score
pseudo-labels with. All of it is dedicated to the public domain (CC0 1.0).
"""

_OPINIONS = """
## The simulated opinions

No model made them. `painting/opinions.py` cuts the truth into objects, silences whole objects, shifts outlines, swells
them or boxes them, and claims whole objects of other classes, until about the precision and recall of its table
`SKILLS` are left. Measured afterwards, over all pixels of the {count} scenes (the tag `GEOSEMI_SOURCE` of each file
has its own figures):
"""

_OLD_MAP = """
## The older map

Drawn from the truth by `painting/oldmap.py` and then aged, for `geosemi annotate --provider layer`: ground cover in
cells of two metres, straightened, moved by 0.9 m; a quarter of the houses is missing, as built since, and some meadows
are still woods. It knows no cars. Measured afterwards over all pixels of these scenes:
"""


@dataclass(frozen=True)
class Entry:
    """What one scene came out as.

    Attributes:
        name: file name without suffix.
        role: `labelled`, `unlabelled` or `test`.
        regime: season and light.
        place: kind of place.
        size: rows and columns.
        shares: share of each class (K,).
        opinion: pixels claimed rightly, claimed, there to be claimed (K, 3); zeros where there is no opinion.
    """

    name: str
    role: str
    regime: str
    place: str
    size: tuple[int, int]
    shares: npt.NDArray[np.float64]
    opinion: npt.NDArray[np.int64]


def write_readme(path: Path, entries: Sequence[Entry], old_map: npt.NDArray[np.int64], legend: Legend) -> None:
    """Write the README with the tables of scenes, opinions and the older map, whose counts are (K, 3)."""
    text = _HEAD + "\n## The scenes\n\n" + _scenes(entries, legend)
    with_opinion = [e for e in entries if e.opinion.any()]
    text += _OPINIONS.format(count=len(with_opinion)) + "\n"
    text += _quality(np.sum([e.opinion for e in with_opinion], axis=0), legend)
    text += _OLD_MAP + "\n" + _quality(old_map, legend)
    write_files({path: text.encode()})


def _scenes(entries: Sequence[Entry], legend: Legend) -> str:
    rows = [["scene", "role", "pixels", *(f"{n} %" for n in legend.names)]]
    rows += [
        [f"`{e.name}`", e.role, f"{e.size[0]} × {e.size[1]}", *(f"{100 * s:.1f}" for s in e.shares)] for e in entries
    ]
    return _table(rows)


def _quality(counts: npt.NDArray[np.int64], legend: Legend) -> str:
    rows = [["class", "precision", "recall"]]
    for name, (right, claimed, there) in zip(
        (*legend.names, "all, pixel by pixel"), (*counts, counts.sum(axis=0)), strict=True
    ):
        rows.append([name, f"{right / claimed:.3f}" if claimed else "–", f"{right / there:.3f}"])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(r) + " |" for r in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]) + "\n"
