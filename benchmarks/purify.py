"""Does purification help, how good must an opinion be, and what does a real map bring?

    python benchmarks/purify.py modes   --on sample --out runs/purify            # fixmatch against every mode
    python benchmarks/purify.py modes   --on dubai --data ../shared/data/dubai --out runs/purify
    python benchmarks/purify.py quality --on sample --out runs/purify            # gain over precision and recall
    python benchmarks/purify.py layers  --data ../shared/data --out runs/purify  # maps of Kampala and New Brunswick

All arms of an experiment share network, data, split, steps and every setting of `fixmatch`'s own configuration; they
differ in purification alone. Opinions of `modes` and `quality` are SIMULATED from the truth by `geosemi annotate
--provider labels`; those of `layers` are polygons of which pieces were left out, moved and given wrong classes, read by
`--provider layer`. Prints a Markdown table, mean ± standard deviation over seeds, and draws a picture. What is done is
not done again, and a run that was cut goes on.
"""

import argparse
import csv
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.figure import Figure

from geosemi.evaluate import evaluate
from geosemi.geo.burn import VectorLabels
from geosemi.geo.opinion import reading_opinion
from geosemi.geo.scene import Scene
from geosemi.legend import Legend
from geosemi.metrics import PRESETS, Confusion, Scores, score

REPO = Path(__file__).parents[1]
SURE = {"method.purify.tau_conf": 0.95, "method.purify.conflict_max_conf": 0.7}  # the gap between the filters is closed
ARMS: Mapping[str, Mapping[str, object]] = {
    "fixmatch": {"method.name": "fixmatch"},
    "released": {"method.purify.mode": "released"},
    "paper": {"method.purify.mode": "paper"},
    "recommended": {"method.purify.mode": "recommended"},
    "recommended, τ .95": SURE,
    "recommended, τ .95, trust measured": {**SURE, "method.purify.trust": "measured"},
}
CURVED = "recommended, τ .95"
Curve = list[tuple[float, list[float]]]  # precision, gain of each seed
# of a map: its polygons are cut along a mesh of so many metres; share that stays, metres east and north, share mistaken
PIECE, KEPT, MOVED, WRONG = 20.0, 0.6, (1.5, 1.0), 0.1
NEW_BRUNSWICK = {"1": "forest", "2": "water", "3": "road", "4": "building"}  # its column Quatreclasses; 255 is rails


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=("modes", "quality", "layers"))
    parser.add_argument("--on", choices=("sample", "dubai"), default="sample")
    parser.add_argument("--data", type=Path, help="of dubai: its folder; of layers: the folder with kampala, nrcan-gdl")
    parser.add_argument("--out", type=Path, default=Path("runs/purify"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each run; its configuration's own if not given")
    parser.add_argument("--precision", type=float, nargs="+", help="of simulated opinions; `modes` takes one, or .9")
    parser.add_argument("--recall", type=float, nargs="+", help="`modes` takes one, or .6")
    parser.add_argument("--exclusive", action="store_true", help="simulated opinions claim one class of a pixel")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"modes": modes, "quality": quality, "layers": layers}[options.experiment](options)


def modes(options: argparse.Namespace) -> None:
    """Train every arm with one opinion, and score whole scenes that no training saw."""
    place = Scenes(options)
    opinions = place.opinions((options.precision or [0.9])[0], (options.recall or [0.6])[0])
    found = {
        arm: [place.score(place.named(arm), ARMS[arm], opinions, seed) for seed in range(options.seeds)]
        for arm in options.arms
    }
    print(f"\n{place.said}\n")
    table(found)
    dots(options.out / f"modes-{options.on}.png", {a: [f["miou"] for f in runs] for a, runs in found.items()})


def quality(options: argparse.Namespace) -> None:
    """Gain of mode `recommended` over fixmatch, as precision and recall of the opinion change."""
    place = Scenes(options)
    base = [place.score("fixmatch", ARMS["fixmatch"], None, seed)["miou"] for seed in range(options.seeds)]
    precisions = options.precision or [0.1, 0.3, 0.5, 0.7, 0.9]
    recalls = options.recall or [0.6]
    curves: dict[float, Curve] = {}
    head = [
        "asked: precision, recall",
        "left: precision, recall",
        "several classes",
        "mIoU",
        "gain over fixmatch, same seed",
    ]
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for recall in recalls:
        for precision in precisions:
            opinions = place.opinions(precision, recall)
            name = place.named(CURVED)  # the runs of `modes` with the same opinions are not trained again
            runs = [place.score(name, ARMS[CURVED], opinions, seed)["miou"] for seed in range(options.seeds)]
            gains = [run - alone for run, alone in zip(runs, base, strict=True)]
            left, found, several = quality_of(opinions)
            curves.setdefault(recall, []).append((left, gains))
            print(
                f"| {precision:g}, {recall:g} | {left:.2f}, {found:.2f} | {several:.0%} | {mean(runs)} "
                f"| {mean(gains, sign='+')} |",
                flush=True,
            )
    print(f"\nfixmatch alone: {mean(base)}; precision and recall are means over classes and scenes")
    for recall, points in curves.items():
        xs = [x for x, _ in points]
        print(f"recall {recall:g}: {zero_crossing(xs, [statistics.mean(gains) for _, gains in points])}")
        for seed in range(options.seeds):
            print(f"  seed {seed}: {zero_crossing(xs, [gains[seed] for _, gains in points])}")
    kind = ", one class a pixel" if options.exclusive else ""
    store = place.folder / f"quality{'-exclusive' if options.exclusive else ''}.json"
    store.write_text(json.dumps({f"recall {recall:g} asked for{kind}": points for recall, points in curves.items()}))
    drawn = [json.loads(path.read_text()) for path in sorted(place.folder.glob("quality*.json"))]
    curve(options.out / f"quality-{options.on}.png", {label: c for part in drawn for label, c in part.items()})


def layers(options: argparse.Namespace) -> None:
    """Real polygons, a part of them spoilt, as the opinion; scored on validation blocks at the last step."""
    if options.data is None:
        raise SystemExit("layers needs --data, the folder with kampala and nrcan-gdl")
    everything = {}
    for name, root in (("Kampala", kampala(options)), ("New Brunswick", new_brunswick(options))):
        print(f"\n{name}: {KEPT:.0%} of the map kept, moved by {MOVED} m, {WRONG:.0%} with another class;")
        print(f"measured afterwards: {measured(root)}\n")
        found = {}
        for arm in options.arms:
            chosen: dict[str, object] = {"data.opinions": str((root / "opinions").resolve()), **ARMS[arm]}
            found[arm] = [_blocks(options, root, arm, chosen, seed) for seed in range(options.seeds)]
        table(found)
        everything |= {f"{name}: {arm}": [f["miou"] for f in runs] for arm, runs in found.items()}
    dots(options.out / "layers.png", everything)


class Scenes:
    """A labelled data set with whole test scenes, and opinions about the rest of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.folder = options.out / f"{options.on}-{length(options)}"
        self.folder.mkdir(exist_ok=True)
        self.said = self.quality = ""
        if options.on == "sample":
            self.root, self._labels = REPO / "sample_data", self.folder / "labels"
            self._scenes = [self.root / "scenes", self.root / "unlabelled"]
            if not self._labels.exists():  # the unlabelled scenes are painted too, so their truth is known
                painted, hidden = self.folder / "painted", self.folder / "hidden"
                call(str(REPO / "sample_data" / "make.py"), "--out", str(painted), "--hidden", str(hidden))
                shutil.copytree(self.root / "labels", hidden, dirs_exist_ok=True)
                shutil.copytree(hidden, self._labels)
            self._tests = [
                (p, self.root / "test" / "labels" / p.name) for p in sorted((self.root / "test").glob("*.tif"))
            ]
        else:
            if options.data is None:
                raise SystemExit("--on dubai needs --data")
            self.root, self._labels = options.data, options.data / "labels"
            self._scenes = [p for p in sorted((options.data / "images").glob("*.tif")) if p.stem != "tile2"]
            self._tests = [(options.data / "images" / "tile2.tif", options.data / "labels" / "tile2.tif")]

        self._legend = Legend.load(self.root / "legend.yaml")

    def opinions(self, precision: float, recall: float) -> Path:
        """Return a folder of simulated opinions, made if it is missing."""
        exclusive = self._options.exclusive
        self.quality = f"p{precision:g}-r{recall:g}" + ("-exclusive" if exclusive else "")
        out = self.folder / f"opinions-{self.quality}"
        geosemi(
            "annotate", *map(str, self._scenes), "--legend", str(self.root / "legend.yaml"), "--out", str(out),
            "--provider", "labels", "--labels", str(self._labels),
            "--precision", str(precision), "--recall", str(recall), *(["--exclusive"] if exclusive else []),
        )  # fmt: skip
        self.said = f"opinions simulated: asked for precision {precision:g} and recall {recall:g}"
        self.said += ", one class a pixel" if exclusive else ""
        return out

    def named(self, arm: str) -> str:
        """Return the name of an arm's runs with the last opinions; `fixmatch` hears none."""
        return arm if arm == "fixmatch" else f"{arm}-{self.quality}"

    def score(self, arm: str, chosen: Mapping[str, object], opinions: Path | None, seed: int) -> dict:
        """Train one run and score the maps of the test scenes together, or read what an earlier call left."""
        run = self.folder / f"{arm.replace(', ', '-').replace(' ', '')}-seed{seed}"
        figures = run / "test.json"
        if not figures.exists():
            where = {"data.opinions": str(opinions.resolve()) if opinions else "null"}
            config = REPO / "configs" / self._options.on / "fixmatch.yaml"
            train(self._options, run, config, {"data.root": str(self.root), **where, **chosen}, seed)
            maps = run / "maps"
            maps.mkdir(exist_ok=True)
            scenes = [str(scene) for scene, _ in self._tests]
            out = maps if len(scenes) > 1 else maps / self._tests[0][0].name  # of several scenes: a folder
            geosemi("predict", *scenes, "--model", str(run), "--out", str(out), "--overwrite")
            total = Confusion(len(self._legend))
            for scene, labels in self._tests:
                total.merge(evaluate(maps / scene.name, labels, self._legend, PRESETS["default"]).confusion)
            figures.write_text(json.dumps(_figures(score(total, self._legend), run)))
        found: dict = json.loads(figures.read_text())
        print(f"done: {run.name}: mIoU {found['miou']:.3f}", file=sys.stderr, flush=True)
        return found


def kampala(options: argparse.Namespace) -> Path:
    """Lay out Kampala as a folder to train on: buildings against the rest, and a spoilt map of some buildings."""
    root = options.out / "kampala"
    if not (root / "opinions").exists():
        shapes = gpd.read_file(options.data / "kampala" / "buildings.gpkg")
        _lay_out(root, {"scene": options.data / "kampala" / "scene.tif"}, shapes, ["building", "other"])
    return root


def new_brunswick(options: argparse.Namespace) -> Path:
    """Lay out New Brunswick: four classes on two small scenes."""
    root = options.out / "new_brunswick"
    if not (root / "opinions").exists():
        folder = options.data / "nrcan-gdl" / "new_brunswick_aerial"
        shapes = gpd.read_file(folder / "BakerLake_2017_clipped.gpkg")
        shapes["class"] = shapes["Quatreclasses"].map(NEW_BRUNSWICK)
        scenes = {f"part{n}": folder / f"23322E759967N_clipped_1m_{n}of2.tif" for n in (1, 2)}
        _lay_out(root, scenes, shapes[shapes["class"].notna()], list(NEW_BRUNSWICK.values()))
    return root


def _lay_out(root: Path, scenes: Mapping[str, Path], shapes: gpd.GeoDataFrame, classes: Sequence[str]) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    colours = ["#d1495b", "#8c8c94", "#30638e", "#3f7d3a"]
    lines = [f'  - {{id: {k}, name: {name}, colour: "{colours[k]}"}}' for k, name in enumerate(classes)]
    (root / "legend.yaml").write_text("\n".join(["classes:", *lines]) + "\n")
    shapes = shapes[["class", "geometry"]]
    for name, path in scenes.items():
        shutil.copyfile(path, root / "images" / f"{name}.tif")
        shapes.to_file(root / "labels" / f"{name}.gpkg")
    spoilt(shapes, classes).to_file(root / "map.gpkg")
    geosemi("annotate", str(root / "images"), "--legend", str(root / "legend.yaml"), "--out", str(root / "opinions"),
            "--provider", "layer", "--layer", str(root / "map.gpkg"))  # fmt: skip


def measured(root: Path) -> str:
    """Return precision and recall of the opinions of a folder, pixel by pixel over all of its scenes."""
    legend = Legend.load(root / "legend.yaml")
    outside = "other" if "other" in legend.names else None
    right, said, true = (np.zeros(len(legend)) for _ in range(3))
    for path in sorted((root / "images").glob("*.tif")):
        grid = Scene.open(path).grid
        truth = VectorLabels.load(root / "labels" / f"{path.stem}.gpkg", grid, legend, outside=outside).read(
            grid.window
        )
        with reading_opinion(root / "opinions" / path.name, grid, legend) as reader:
            seen = reader.read(grid.window) & (truth != legend.ignore)
        for k in range(len(legend)):
            right[k] += (seen[k] & (truth == k)).sum()
            said[k] += seen[k].sum()
            true[k] += (truth == k).sum()
    each = zip(legend.names, right / np.maximum(1, said), right / np.maximum(1, true), strict=True)
    return ", ".join(f"{name} precision {p:.2f} recall {r:.2f}" for name, p, r in each)


def spoilt(shapes: gpd.GeoDataFrame, classes: Sequence[str], seed: int = 0) -> gpd.GeoDataFrame:
    """Cut polygons along a mesh, leave pieces out, move the others, and give some of them a wrong class.

    In pieces, because a lake is one polygon: with it, a class would be all right or all wrong.
    """
    rng = np.random.default_rng(seed)
    west, south, east, north = shapes.total_bounds
    cells = [shapely.box(x, y, x + PIECE, y + PIECE) for x in np.arange(west, east, PIECE)
             for y in np.arange(south, north, PIECE)]  # fmt: skip
    mesh = gpd.GeoDataFrame(geometry=cells, crs=shapes.crs)
    pieces = gpd.overlay(shapes, mesh, keep_geom_type=True)
    some = pieces[rng.random(len(pieces)) < KEPT].copy()
    some["geometry"] = some.geometry.translate(*MOVED)  # both crs count in metres (of Mercator, near the equator)
    mistaken = rng.random(len(some)) < WRONG
    others = [str(rng.choice([c for c in classes if c != name])) for name in some["class"]]
    some["class"] = np.where(mistaken, others, some["class"])
    return some


def _blocks(options: argparse.Namespace, root: Path, arm: str, chosen: Mapping[str, object], seed: int) -> dict:
    run = root / f"{arm.replace(', ', '-').replace(' ', '')}-{length(options)}-seed{seed}"
    if not (run / "run.json").exists():
        kampala = root.name == "kampala"
        outside = {"data.label_outside": "other"} if kampala else {}
        ground = {"split.ratio": 10 if kampala else 20, "split.unit": "block", "split.block": 256 if kampala else 48,
                  "split.test": 0, "split.validation": 0.3}  # fmt: skip
        sizes = {"chips.size": 128 if kampala else 48, "augment.size": 96 if kampala else 48}
        known = {"data.root": str(root), "data.images": "images", "data.unlabelled": "null"}
        settings = {**known, **outside, **ground, **sizes, **chosen}
        train(options, run, REPO / "configs" / "sample" / "fixmatch.yaml", settings, seed)
    with (run / "validation.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    found = {"miou": float(last["miou"]), "classes": {k[4:]: float(v) for k, v in last.items() if k.startswith("iou ")}}
    print(f"done: {root.name} {run.name}: mIoU {found['miou']:.3f}", file=sys.stderr, flush=True)
    return found | _pseudo(run)


def length(options: argparse.Namespace) -> str:
    """Return how long runs are, as a part of their names: a short trial must never pass for the thing itself."""
    return f"{options.steps}-steps" if options.steps else "full"


def quality_of(opinions: Path) -> tuple[float, float, float]:
    """Return precision and recall that were left, means over classes and scenes, and the share of several classes."""
    kept: dict[str, list[float]] = {"precision": [], "recall": []}
    several = spoken = 0
    for path in sorted(opinions.glob("*.jsonl")):
        last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        for told in last["quality"].values():
            for what, values in kept.items():
                if told["measured"][what] is not None:
                    values.append(told["measured"][what])
        several, spoken = several + last["several"], spoken + last["spoken"]
    return statistics.mean(kept["precision"]), statistics.mean(kept["recall"]), several / max(1, spoken)


def train(options: argparse.Namespace, run: Path, config: Path, chosen: Mapping[str, object], seed: int) -> None:
    """Train one run, or go on with it."""
    chosen = {"method.name": "semiearth", **chosen}
    arguments = ["train", "--config", str(config), "--seed", str(seed), "--out", str(run)]
    if options.steps:
        arguments += ["--steps", str(options.steps), "--set", f"train.validate_every={max(1, options.steps // 4)}"]
    for key, value in chosen.items():
        arguments += ["--set", f"{key}={value}"]
    geosemi(*arguments, *(["--resume"] if any(run.glob("checkpoints/*")) else []))


def geosemi(*arguments: str) -> None:
    """Run one command; print what it said if it fails."""
    call("-m", "geosemi", *arguments)


def call(*arguments: str) -> None:
    """Run Python with one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise SystemExit(f"failed: python {shlex.join(arguments)}\n{done.stderr}")


def _figures(scores: Scores, run: Path) -> dict:
    return {"miou": scores.miou, "classes": scores.iou} | _pseudo(run)


def _pseudo(run: Path) -> dict:
    """Return share and precision of the last pseudo-labels on training ground, and the share that was changed."""
    with (run / "audit.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["ground"] == "training" and r["zone"] == "all"]
    last = {r["who"]: r for r in rows[-8:] if r["step"] == rows[-1]["step"]}
    shares = json.loads((run / "audit.json").read_text()).get("shares", {}).get("run", {})
    figures = {
        f"{who} {what}": float(last[who][what] or "nan")
        for who in ("before", "after")
        for what in ("share", "precision")
    }
    return figures | {"changed": shares.get("changed", 0.0)}


def table(found: Mapping[str, Sequence[dict]]) -> None:
    """Print a line for each arm."""
    classes = list(next(iter(found.values()))[0]["classes"])
    told = ("changed", "before share", "before precision", "after share", "after precision")
    head = ["arm", "mIoU", *classes, "pixels changed", *told[1:]]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for arm, runs in found.items():
        cells = [mean([r["miou"] for r in runs])]
        cells += [mean([r["classes"][c] for r in runs], digits=2) for c in classes]
        cells += [mean([r[key] for r in runs], digits=2) for key in told]
        print(f"| {arm} | {' | '.join(cells)} |", flush=True)


def mean(values: Sequence[float], *, digits: int = 3, sign: str = "") -> str:
    """Return mean ± standard deviation of what is a number, a dash for nothing."""
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.{digits}f} ± {spread:.{digits}f}"


def zero_crossing(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Tell from where on a broken line stays above zero, by interpolation between its points."""
    points = sorted(zip(xs, ys, strict=True))
    below = [n for n, (_, y) in enumerate(points) if y <= 0]
    if not below:
        return f"gains from the lowest precision on, {points[0][0]:.2f}"
    if below[-1] == len(points) - 1:
        return f"no gain at the highest precision, {points[-1][0]:.2f}"
    (x0, y0), (x1, y1) = points[below[-1]], points[below[-1] + 1]
    return f"gains from a precision of {x0 - y0 * (x1 - x0) / (y1 - y0):.2f} on"


def dots(path: Path, found: Mapping[str, Sequence[float]]) -> None:
    """Draw a row of dots for each arm, its mean as a line."""
    figure = Figure(figsize=(7.5, 0.9 + 0.42 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(found.values()):
        axes.plot(values, [row] * len(values), "o", color="#2a6f97", alpha=0.7)
        axes.plot([statistics.mean(values)] * 2, [row - 0.3, row + 0.3], color="#d1495b", lw=2)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("mIoU; a dot is a seed, the line their mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=120)
    print(f"\npicture: {path}")


def curve(path: Path, curves: Mapping[str, Curve]) -> None:
    """Draw the gain over the precision that was left, a line for each kind of opinion."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#404040", lw=1)
    for number, (label, points) in enumerate(curves.items()):
        colour = ("#2a6f97", "#d1495b", "#5b8e3e", "#8c6bb1")[number % 4]
        xs, means = [x for x, _ in points], [statistics.mean(gains) for _, gains in points]
        axes.plot(xs, means, "-", color=colour, label=label)
        for x, gains in points:
            axes.plot([x] * len(gains), gains, "o", color=colour, alpha=0.35, ms=4)
    axes.set_xlabel("precision of the opinion, mean of the classes")
    axes.set_ylabel("gain in mIoU over fixmatch")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
