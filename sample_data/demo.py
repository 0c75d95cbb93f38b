"""The main job on the sample scenes, as a user would do it: train, map a whole scene, make polygons, measure, look.

Runs the `geosemi` commands that it prints. Ends with the figures of supervised and semi-supervised training on the same
few labelled blocks, the paths of what was made, and a picture. Exits with 1 if semi-supervised training did not win.

    python sample_data/demo.py --out demo
"""

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from geosemi.geo.raster import open_raster
from geosemi.legend import Legend
from geosemi.metrics import Confusion, score

HERE = Path(__file__).parent
METHODS = ("supervised", "fixmatch", "semiearth")
PICTURED = "semiearth"


def main() -> int:
    """Run everything and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--seeds", type=int, default=2, help="runs of each method; the table shows their mean")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    options = parser.parse_args()
    out: Path = options.out
    _fresh(out)
    began = time.monotonic()
    runs = [(method, seed) for seed in range(options.seeds) for method in METHODS]
    print(f"training {len(runs)} models on sample_data/ ({options.jobs} side by side)")
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda run: _train(out, *run), runs))
        print("mapping the test scenes, which no training has seen")
        scores = dict(zip(runs, pool.map(lambda run: _map_and_score(out, *run), runs), strict=True))
    scene = _whole_scene()
    picture = _picture(out, scene)
    return _report(out, scene, picture, scores, time.monotonic() - began)


def _fresh(out: Path) -> None:
    if out.exists() and not (out / "made_by_demo").exists():
        raise SystemExit(f"{out} exists and was not made by this script; choose another --out")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / "made_by_demo").touch()


def _train(out: Path, method: str, seed: int) -> None:
    folder = out / f"{method}-seed{seed}"
    config = HERE.parent / "configs" / "sample" / f"{method}.yaml"
    began = time.monotonic()
    geosemi("train", "--config", str(config), "--data", str(HERE), "--seed", str(seed), "--out", str(folder))
    best = json.loads((folder / "run.json").read_text())["best_miou"]
    print(f"  {method:<12} seed {seed}: validation mIoU {best:.3f} ({time.monotonic() - began:.0f} s)")


def _map_and_score(out: Path, method: str, seed: int) -> dict[str, float]:
    """Map every test scene with one model and score the maps against their truth."""
    legend = Legend.load(HERE / "legend.yaml")
    total = Confusion(len(legend))
    folder = out / f"{method}-seed{seed}"
    for scene in sorted((HERE / "test").glob("*.tif")):
        mask, figures = folder / f"{scene.stem}.tif", folder / f"{scene.stem}.json"
        extra = ["--polygons", str(mask.with_suffix(".gpkg"))] if (method, seed) == (PICTURED, 0) else []
        geosemi("predict", str(scene), "--model", str(folder), "--out", str(mask), *extra)
        geosemi("evaluate", str(mask), str(HERE / "test" / "labels" / scene.name), "--json", str(figures))
        part = Confusion(len(legend))
        part.matrix += np.array(json.loads(figures.read_text())["confusion"])
        total.merge(part)
    result = score(total, legend)
    return {"mIoU": result.miou, **result.iou}


def geosemi(*arguments: str) -> None:
    """Run one command; print what it said if it fails."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "geosemi", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
        check=False,
    )
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        raise SystemExit(f"failed: geosemi {shlex.join(arguments)}")


def _whole_scene() -> Path:
    """Return the largest test scene."""
    return max((HERE / "test").glob("*.tif"), key=lambda p: p.stat().st_size)


def _picture(out: Path, scene: Path) -> Path:
    """Draw the scene, its truth and the maps of seed 0 side by side."""
    legend = Legend.load(HERE / "legend.yaml")
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(legend)] = [c.rgb for c in legend]
    with open_raster(scene) as file:
        panels = {"scene, never trained on": np.moveaxis(file.read(file.grid.window, (1, 2, 3)), 0, -1)}
    rasters = {"truth": HERE / "test" / "labels" / scene.name}
    rasters |= {method: out / f"{method}-seed0" / scene.name for method in ("supervised", PICTURED)}
    for title, path in rasters.items():
        with open_raster(path) as file:
            panels[title] = colours[file.read(file.grid.window, 1)]
    height, width = next(iter(panels.values())).shape[:2]
    figure = Figure(figsize=(11, 11 * height / width + 0.6), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, (title, pixels) in zip(axes.flat, panels.items(), strict=True):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    patches = [Patch(facecolor=c.colour, edgecolor="#404040", linewidth=0.5, label=c.name) for c in legend]
    figure.legend(handles=patches, loc="outside lower center", ncol=len(patches), frameon=False)
    path = out / "overview.png"
    figure.savefig(path, dpi=110)
    return path


def _report(
    out: Path, scene: Path, picture: Path, scores: dict[tuple[str, int], dict[str, float]], seconds: float
) -> int:
    seeds = sorted({seed for _, seed in scores})
    means = {m: statistics.mean(scores[m, s]["mIoU"] for s in seeds) for m in METHODS}
    print(f"\nmIoU on the test scenes, mean of {len(seeds)} seeds, the same labelled blocks for all:")
    for method in METHODS:
        each = ", ".join(f"{scores[method, s]['mIoU']:.3f}" for s in seeds)
        print(f"  {method:<12} {means[method]:.3f}   (seeds: {each})")
    # fixmatch decides: it sees no opinions, and the sample's opinions are made from the truth
    won = means["fixmatch"] > means["supervised"]
    verb = "beats" if won else "does NOT beat"
    print(f"semi-supervised (fixmatch) {verb} supervised: {means['fixmatch']:.3f} against {means['supervised']:.3f}")
    print("semiearth has opinions besides; here they are simulated from the truth, see sample_data/README.md\n")
    made = out / f"{PICTURED}-seed0"
    print(f"map       {made / scene.name}")
    print(f"polygons  {(made / scene.name).with_suffix('.gpkg')}")
    print(f"model     {made / 'bundle.safetensors'}")
    print(f"picture   {picture}")
    print(f"done in {seconds / 60:.1f} minutes; open the map and the polygons in QGIS")
    return 0 if won else 1


if __name__ == "__main__":
    sys.exit(main())
