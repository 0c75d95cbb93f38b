"""How much does mapping a whole scene cost beyond the network itself, in CPU seconds and in memory?

    python benchmarks/predict.py --scene scene_6000.tif           (any RGB scene of 8 bits)
    python benchmarks/predict.py --scene tall.tif --only blend    (peak memory of a taller scene)
    python benchmarks/predict.py --scene scene_1500.tif --network dinov2_small

The network is small (3 → 16 → 16 → 6 channels, 3×3, 3×3, 1×1), so that everything around it shows, or DINOv2-small with
a DPT head, random weights, which is what people run. Each line is a process of its own with one thread. `forward` is
the floor: the network over as many pixels as the scene has, in windows of 512 (518) without overlap, from memory, in
the same process settings. `throughput` is the share of the forward's speed that is left, counted in pixels that the
network sees, those of overlaps more than once. Times are CPU seconds (user + system) without imports; memory is the
peak over that of a process that has imported torch and rasterio and run one batch.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OVERLAP = 64
TILES = {"tiny": 512, "dinov2_small": 518}
TILE = TILES["tiny"]


def network():
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 6, 1)
    ).eval()


def segmenter():
    from geosemi.models.segmenter import Segmenter

    class Net(Segmenter):
        def __init__(self):
            super().__init__()
            self.bands, self.classes, self.widths, self.stride = 3, 6, (16,), 1
            self.net = network()

        def encode(self, image):
            return [self.net[:4](image)]

        def decode(self, features, _size):
            return self.net[4](features[0])

    return Net()


def dinov2():
    from geosemi.models.build import ModelSpec, build_segmenter

    return build_segmenter(ModelSpec(name="dinov2_small", weights=None), bands=3, classes=6, seed=0).eval()


def bundle(name="tiny"):
    from geosemi.legend import ClassDef, Legend
    from geosemi.models.build import ModelSpec
    from geosemi.models.bundle import Bundle, Card

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 40:02x}8040") for k in range(6)))
    card = Card(
        ModelSpec(name="light"), legend, ("red", "green", "blue"), (120.0,) * 3, (60.0,) * 3, TILES[name], None, "0",
    )  # fmt: skip
    return Bundle(segmenter() if name == "tiny" else dinov2(), card)


def floor(_scene, _out, name="tiny"):
    """The process that all memory is compared with: imports, and one batch."""
    alone(1, name)
    return 0


def forward(scene, _out, name="tiny"):
    """The network alone."""
    from geosemi.malloc import keep_freed_memory

    keep_freed_memory()
    windows = -(-count_pixels(scene) // TILES[name] ** 2)
    alone(windows, name)
    return windows


def alone(windows, name):
    import torch

    model = network() if name == "tiny" else dinov2()
    image = torch.randint(0, 256, (1, 3, TILES[name], TILES[name]), dtype=torch.uint8)
    with torch.inference_mode():
        for _ in range(windows):
            model(image.float().sub_(120).div_(60))


def mapped(stitch):
    def work(scene, out, name="tiny"):
        from geosemi.predict.predict import PredictSettings, predict_scene

        steps = []
        settings = PredictSettings(tile=TILES[name], overlap=OVERLAP, device="cpu", stitch=stitch)
        predict_scene(
            bundle(name), Path(scene), Path(out), settings, on_progress=lambda *step: steps.append(step)
        )  # fmt: skip
        return steps[-1][1]

    return work


WORK = {"floor": floor, "forward": forward, "blend": mapped("blend"), "centre": mapped("centre")}


def count_pixels(scene):
    import rasterio

    with rasterio.open(scene) as d:
        return d.height * d.width


def one(kind, scene, out, name):
    import rasterio  # noqa: F401 - part of the floor
    import torch

    if kind not in {"floor", "forward"}:
        import geosemi.predict.predict  # noqa: F401 - imports are not timed, but their memory counts
    torch.set_num_threads(1)
    begin = time.process_time()
    windows = WORK[kind](scene, out, name)
    cpu = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "peak": peak, "windows": windows, "pixels": count_pixels(scene)}))


def measure(kind, scene, name):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", kind, "--scene", str(scene), "--out", f"{folder}/mask.tif"]
        command += ["--network", name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{kind} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--only", choices=[k for k in WORK if k not in {"floor", "forward"}], action="append")
    parser.add_argument("--network", choices=list(TILES), default="tiny")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", choices=list(WORK), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.scene, args.out, args.network)
        return
    kinds = ["floor", "forward", *(args.only or [k for k in WORK if k not in {"floor", "forward"}])]
    runs = [{kind: measure(kind, args.scene, args.network) for kind in kinds} for _ in range(args.repeat)]
    best = {kind: min((run[kind] for run in runs), key=lambda r: r["cpu"]) for kind in kinds}
    peak = {kind: min(run[kind]["peak"] for run in runs) for kind in kinds}
    pure = best["forward"]["cpu"] / best["forward"]["windows"]
    tile = TILES[args.network]
    print(
        f"{best['floor']['pixels'] / 1e6:.0f} Mpx, {args.network}, windows of {tile} that share {OVERLAP}, one thread"
    )
    print(f"{'':12}{'CPU s':>8}{'× forward':>11}{'windows':>9}{'throughput':>12}{'peak MB':>9}{'over floor':>12}")
    for kind, r in best.items():
        ratio, kept = r["cpu"] / best["forward"]["cpu"], pure * r["windows"] / r["cpu"]
        words = f"{kind:12}{r['cpu']:8.2f}{ratio:11.2f}{r['windows']:9}{kept:12.1%}"
        print(f"{words}{peak[kind]:9.0f}{peak[kind] - peak['floor']:12.0f}")


if __name__ == "__main__":
    main()
