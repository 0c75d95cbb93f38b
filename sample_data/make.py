"""Paints the sample data: an invented town in five seasons, its true classes, an older map, and simulated opinions.

    python sample_data/make.py                              # everything, over what is there
    python sample_data/make.py --out /tmp/data --only summer_suburb
    python sample_data/make.py --hidden /tmp/truth          # also the labels of the unlabelled scenes, to score with

The same seeds paint the same pixels. Nothing is read but legend.yaml.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from painting import oldmap, opinions
from painting.canvas import PIXEL, Canvas
from painting.files import grid, write_labels, write_polygons, write_scene
from painting.light import classes, photograph
from painting.readme import Entry, write_readme
from painting.regimes import REGIMES
from painting.towns import PLACES

from geosemi.geo.grid import Grid
from geosemi.geo.opinion import pack, write_opinion
from geosemi.legend import Legend

HERE = Path(__file__).parent
Painted = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]  # picture (H, W, 3) and classes (H, W)
WEST, NORTH, SOUTHWARDS = 577_200.0, 5_354_800.0, 420.0  # metres in EPSG:32633; scenes follow each other southwards


@dataclass(frozen=True)
class Plan:
    """One scene to paint.

    Attributes:
        regime: season and light.
        place: kind of place.
        seed: of everything random in it.
        role: `labelled`, `unlabelled` or `test`.
        size: rows and columns.
        vector: labels as polygons instead of a raster.
        wedge: a corner without data.
        turns: quarter turns of the layout, so that two places of a kind do not look alike.
        mirrored: whether the layout is mirrored as well.
    """

    regime: str
    place: str
    seed: int
    role: str
    size: tuple[int, int] = (512, 512)
    vector: bool = False
    wedge: bool = False
    turns: int = 0
    mirrored: bool = False

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"{self.regime}_{self.place}"


PLANS = (
    Plan("summer", "suburb", 11, "labelled"),
    Plan("summer", "river", 12, "labelled"),
    Plan("dry", "market", 13, "labelled"),
    Plan("dry", "farm", 14, "labelled", turns=2),
    Plan("spring", "suburb", 15, "labelled", turns=1, vector=True),
    Plan("spring", "river", 16, "labelled", turns=3, mirrored=True),
    Plan("autumn", "suburb", 17, "unlabelled", turns=3),
    Plan("autumn", "farm", 18, "unlabelled", turns=1),
    Plan("winter", "market", 19, "unlabelled", turns=2, mirrored=True),
    Plan("winter", "river", 20, "unlabelled", turns=1),
    Plan("autumn", "town", 21, "test", size=(640, 896), wedge=True),
    Plan("winter", "suburb", 22, "test", turns=2, mirrored=True),
)


def where(plan: Plan) -> Grid:
    """Return the scene's grid: no two scenes share ground."""
    number = PLANS.index(plan)
    return grid(WEST + 64 * (number % 3), NORTH - SOUTHWARDS * number, *plan.size)


def paint(plan: Plan) -> Painted:
    """Return picture (H, W, 3) and classes (H, W) of a plan."""
    height, width = plan.size[:: -1 if plan.turns % 2 else 1]
    canvas = Canvas(np.random.default_rng(plan.seed), height=height * PIXEL, width=width * PIXEL)
    regime = REGIMES[plan.regime]
    # the layout is turned after painting, so the sun is turned the other way before
    regime = replace(regime, azimuth=(-1 if plan.mirrored else 1) * regime.azimuth + 90 * plan.turns)
    PLACES[plan.place](canvas, regime)
    image, label = photograph(canvas, regime), classes(canvas)
    image, label = np.rot90(image, plan.turns), np.rot90(label, plan.turns)
    if plan.mirrored:
        image, label = image[:, ::-1], label[:, ::-1]
    image, label = np.ascontiguousarray(image), np.ascontiguousarray(label)
    if plan.wedge:
        outside = _wedge(plan.size)
        image[outside], label[outside] = 0, 255
    return image, label


def _wedge(size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return where the flight strip ended: the lower left corner, cut slantwise with a step."""
    rows, cols = np.mgrid[0 : size[0], 0 : size[1]]
    up = size[0] - 1 - rows
    return cols + 1.3 * up < np.where(up < 62, 205, 168)


def write(plan: Plan, painted: Painted, out: Path, legend: Legend, hidden: Path | None) -> Entry:
    """Write the files of one scene."""
    (image, label), here = painted, where(plan)
    scenes = {"labelled": "scenes", "unlabelled": "unlabelled", "test": "test"}[plan.role]
    write_scene(out / scenes / f"{plan.name}.tif", image, here, nodata=0 if plan.wedge else None)
    if plan.vector:
        write_polygons(out / "labels" / f"{plan.name}.gpkg", label, here, legend)
    elif plan.role != "unlabelled":
        folder = out / ("labels" if plan.role == "labelled" else "test/labels")
        write_labels(folder / f"{plan.name}.tif", label, here)
    elif hidden is not None:
        write_labels(hidden / f"{plan.name}.tif", label, here)
    counts = np.zeros((len(legend), 3), np.int64)
    if plan.role != "test":
        counts = _opine(plan, label, out, here, legend)
    shares = np.bincount(label[label != legend.ignore], minlength=len(legend)) / (label != legend.ignore).sum()
    return Entry(plan.name, plan.role, plan.regime, plan.place, plan.size, shares, counts)


def _opine(plan: Plan, label: npt.NDArray[np.uint8], out: Path, here: Grid, legend: Legend) -> npt.NDArray[np.int64]:
    """Write a scene's simulated opinions with their measured precision and recall; return the counts (K, 3)."""
    seen = opinions.simulate(label, np.random.default_rng(1000 + plan.seed))
    counts = opinions.measure(seen, label)
    right, claimed, there = counts.T
    per_class = "; ".join(
        f"{name} {r / max(c, 1):.3f}/{r / max(t, 1):.3f}"
        for name, r, c, t in zip(legend.names, right, claimed, there, strict=True)
    )
    source = (
        f"simulated from the painted truth by sample_data/make.py: precision {right.sum() / claimed.sum():.3f}, "
        f"recall {right.sum() / there.sum():.3f} ({per_class})"
    )
    path = out / "opinions" / f"{plan.name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_opinion(path, pack(seen), here, legend=legend, source=source)
    return counts


def main() -> None:
    """Read the options and paint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    parser.add_argument("--only", nargs="+", choices=[p.name for p in PLANS], help="these scenes, and no README.md")
    parser.add_argument("--hidden", type=Path, help="write the labels of the unlabelled scenes to this folder")
    options = parser.parse_args()
    legend = Legend.load(HERE / "legend.yaml")
    options.out.mkdir(parents=True, exist_ok=True)
    entries, maps, mapped = [], [], np.zeros((len(legend), 3), np.int64)
    for plan in PLANS:
        if options.only is None or plan.name in options.only:
            painted = paint(plan)
            entries.append(write(plan, painted, options.out, legend, options.hidden))
            if plan.role != "test":
                rng = np.random.default_rng(2000 + plan.seed)
                maps.append(oldmap.draw_map(painted[1], where(plan), legend, rng))
                mapped += oldmap.measure(maps[-1], painted[1], where(plan), legend)
            print(f"{plan.role:10s} {plan.name}")
    if options.only is None:
        oldmap.write_map(options.out / "old_map.gpkg", maps)
        write_readme(options.out / "README.md", entries, mapped, legend)


if __name__ == "__main__":
    main()
