"""Semi-supervised against supervised on five real satellite scenes, and a whole unseen scene mapped and scored.

    python benchmarks/dubai.py --data ../shared/data/dubai --out runs/dubai [--seeds 3] [--jobs 2]

Trains on tile1, tile3 and tile7 (5 % of their blocks labelled), chooses the best step on tile6, maps the whole of tile2
with `geosemi predict` and scores the map with `geosemi evaluate`. The setting *unseen* never shows tile2 in training;
in *as unlabelled* it is one of the unlabelled scenes. The opinions of `semiearth` are SIMULATED from the truth
(precision and recall are printed): they show what purification does with such opinions, not what a model would say.
Prints a Markdown table of means and standard deviations over seeds; finished runs are not repeated.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from geosemi.geo.opinion import pack, write_opinion
from geosemi.geo.raster import open_raster
from geosemi.legend import Legend

REPO = Path(__file__).parents[1]
TEST = "tile2"
CELL = 48  # pixels: simulated opinions come and go by patches of this size
SETTINGS = {"unseen": ("supervised", "fixmatch", "semiearth"), "as unlabelled": ("fixmatch", "semiearth")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with images/, labels/ and legend.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/dubai"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--precision", type=float, default=0.9, help="of the simulated opinions, each class")
    parser.add_argument("--recall", type=float, default=0.6)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    simulate_opinions(options)
    runs = [(s, m, seed) for seed in range(options.seeds) for s, methods in SETTINGS.items() for m in methods]
    with ThreadPoolExecutor(options.jobs) as pool:
        scores = dict(zip(runs, pool.map(lambda run: score_of(options, *run), runs), strict=True))
    report(options, scores)


def score_of(options: argparse.Namespace, setting: str, method: str, seed: int) -> dict:
    """Train, map and score one run, or read what an earlier call left."""
    folder = options.out / f"{setting.replace(' ', '-')}-{method}-seed{seed}"
    figures = folder / "test.json"
    if not figures.exists():
        arguments = [
            "train", "--config", str(REPO / "configs" / "dubai" / f"{method}.yaml"), "--data", str(options.data),
            "--seed", str(seed), "--out", str(folder), "--set", f"data.opinions={(options.out / 'opinions').resolve()}",
        ]  # fmt: skip
        if setting == "as unlabelled":
            arguments += [
                "--set",
                "data.test=[]",
                "--set",
                "split.test=0",
                "--set",
                f"data.unlabelled=images/{TEST}.tif",
            ]
            arguments += ["--set", "data.images=images/tile[1367].tif"]
        started = any(folder.glob("checkpoints/*"))
        geosemi(*arguments, *(["--resume"] if started else []))
        mask = folder / f"{TEST}.tif"
        scene = options.data / "images" / f"{TEST}.tif"
        geosemi("predict", str(scene), "--model", str(folder), "--out", str(mask),
                "--polygons", str(mask.with_suffix(".gpkg")), "--overwrite")  # fmt: skip
        geosemi("evaluate", str(mask), str(options.data / "labels" / f"{TEST}.tif"), "--json", str(figures))
    print(f"done: {setting}, {method}, seed {seed}", file=sys.stderr, flush=True)
    return json.loads(figures.read_text())


def geosemi(*arguments: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "geosemi", *arguments], capture_output=True, text=True, env=env, check=False
    )
    if done.returncode:
        raise SystemExit(f"failed: geosemi {shlex.join(arguments)}\n{done.stderr}")


def simulate_opinions(options: argparse.Namespace) -> None:
    """Spoil the truth of every scene patch by patch until about the wanted precision and recall are left."""
    legend = Legend.load(options.data / "legend.yaml")
    folder = options.out / "opinions"
    folder.mkdir(exist_ok=True)
    for number, path in enumerate(sorted((options.data / "labels").glob("*.tif"))):
        if path.stem == TEST or (folder / path.name).exists():
            continue  # an opinion made from the test scene's truth would leak it
        with open_raster(path) as file:
            truth, grid = file.read(file.grid.window, 1), file.grid
        seen = np.stack([_claim(truth, k, options, np.random.default_rng([number, k])) for k in range(len(legend))])
        known = truth != legend.ignore
        right = [(s & (truth == k)).sum() for k, s in enumerate(seen)]
        precision = sum(right) / (seen & known).sum()
        recall = sum(right) / known.sum()
        source = f"simulated from the truth, patch by patch: precision {precision:.3f}, recall {recall:.3f}"
        write_opinion(folder / path.name, pack(seen), grid, legend=legend, source=source)
        print(f"opinion {path.name}: {source}", file=sys.stderr)


def _claim(truth: np.ndarray, k: int, options: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    mine, others = truth == k, (truth != k) & (truth != 255)
    cells = -(-truth.shape[0] // CELL), -(-truth.shape[1] // CELL)

    def patches(share: float) -> np.ndarray:
        grown = np.kron(rng.random(cells) < share, np.ones((CELL, CELL), dtype=bool))
        return grown[: truth.shape[0], : truth.shape[1]]

    wrong = options.recall * mine.sum() * (1 / options.precision - 1) / max(1, others.sum())
    claim = (mine & patches(options.recall)) | (others & patches(wrong))
    return np.roll(claim, tuple(rng.integers(-2, 3, 2)), axis=(0, 1))


def report(options: argparse.Namespace, scores: dict) -> None:
    classes = list(next(iter(scores.values()))["classes"])
    print(f"\n| tile2 is | method | mIoU | OA | {' | '.join(classes)} |\n| --- | --- |{' --- |' * (2 + len(classes))}")
    for setting, methods in SETTINGS.items():
        for method in methods:
            found = [scores[setting, method, seed] for seed in range(options.seeds)]
            cells = [_mean([f["miou"] for f in found], 3), _mean([f["oa"] for f in found], 3)]
            cells += [_mean([f["classes"][c]["iou"] for f in found], 2) for c in classes]
            print(f"| {setting} | {method} | {' | '.join(cells)} |")


def _mean(values: list[float], digits: int) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


if __name__ == "__main__":
    main()
