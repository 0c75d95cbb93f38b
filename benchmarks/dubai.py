"""Semi-supervised against supervised on five real satellite scenes, and a whole unseen scene mapped and scored.

    python benchmarks/dubai.py --data ../shared/data/dubai --out runs/dubai [--seeds 3] [--jobs 2]

Trains on tile1, tile3 and tile7 (5 % of their blocks labelled), chooses the best step on tile6, and scores a map of the
whole of tile2. The setting *unseen* never shows tile2 in training; in *as-unlabelled* it is one of the unlabelled
scenes. The opinions of `semiearth` are SIMULATED from the truth (precision and recall are printed): they show what
purification does with such opinions, not what a model would say. This script makes them and the YAML; the rest is
`geosemi benchmark`, which goes on where it was stopped. Prints its tables.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from geosemi.geo.opinion import pack, write_opinion
from geosemi.geo.raster import open_raster
from geosemi.legend import Legend

REPO = Path(__file__).parents[1]
TEST = "tile2"
CELL = 48  # pixels: simulated opinions come and go by patches of this size
METHODS = ("supervised", "fixmatch", "semiearth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with images/, labels/ and legend.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/dubai"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--precision", type=float, default=0.9, help="of the simulated opinions, each class")
    parser.add_argument("--recall", type=float, default=0.6)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    simulate_opinions(options)
    file = options.out / "benchmark.yaml"
    file.write_text(yaml.safe_dump(benchmark(options), sort_keys=False))
    words = ["benchmark", str(file), "--out", str(options.out), "--jobs", str(options.jobs)]
    done = subprocess.run([sys.executable, "-m", "geosemi", *words], check=False)
    if (options.out / "tables.md").exists():
        print((options.out / "tables.md").read_text())
    sys.exit(done.returncode)


def benchmark(options: argparse.Namespace) -> dict:
    """Return the YAML: two settings as two data sets, and the three methods as their own configs have them."""
    configs = {m: REPO / "configs" / "dubai" / f"{m}.yaml" for m in METHODS}
    common = {"data.root": str(options.data.resolve()), "data.opinions": str((options.out / "opinions").resolve())}
    test = {"images": str(options.data / "images" / f"{TEST}.tif"), "labels": str(options.data / "labels")}
    seen = {"data.test": [], "split.test": 0, "data.unlabelled": f"images/{TEST}.tif"}
    seen["data.images"] = "images/tile[1367].tif"
    return {
        "title": "Dubai: opinions are simulated from the truth",
        "datasets": {
            "unseen": {"config": str(configs["supervised"]), "override": common},
            "as-unlabelled": {"config": str(configs["supervised"]), "override": common | seen, "test": test},
        },
        "arms": {m: {"method": yaml.safe_load(path.read_text())["method"]} for m, path in configs.items()},
        "ratios": [5],
        "seeds": list(range(options.seeds)),
        "override": {"train.steps": options.steps, "train.validate_every": max(1, options.steps // 3)},
    }


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


if __name__ == "__main__":
    main()
