"""How much does mapping a whole scene cost beyond the network itself, in CPU seconds and in memory?

    python benchmarks/predict.py --scene scene_6000.tif           (any RGB scene of 8 bits)
    python benchmarks/predict.py --scene tall.tif --only blend    (peak memory of a taller scene)

The network is small (3 → 16 → 16 → 6 channels, 3×3, 3×3, 1×1), so that everything around it shows. Each line is a
process of its own with one thread. `forward` is the floor: the network over as many pixels as the scene has, in windows
of 512 without overlap, from memory, in the same process settings. Times are CPU seconds (user + system) without
imports; memory is the peak over that of a process that has imported torch and rasterio and run one batch.
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

TILE, OVERLAP = 512, 64


def network():
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 6, 1)
    ).eval()


def bundle():
    from geosemi.legend import ClassDef, Legend
    from geosemi.models.build import ModelSpec
    from geosemi.models.bundle import Bundle, Card
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

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 40:02x}8040") for k in range(6)))
    card = Card(
        ModelSpec(name="light"), legend, ("red", "green", "blue"), (120.0,) * 3, (60.0,) * 3, TILE, None, "0",
    )  # fmt: skip
    return Bundle(Net(), card)


def floor(scene, _out):
    """The process that all memory is compared with: imports, and one batch."""
    import torch

    pixels = count_pixels(scene)
    model, image = network(), torch.randint(0, 256, (1, 3, TILE, TILE), dtype=torch.uint8)
    with torch.inference_mode():
        model(image.float().sub_(120).div_(60))
    return pixels


def forward(scene, _out):
    """The network alone."""
    import torch

    from geosemi.predict.malloc import keep_freed_memory

    keep_freed_memory()
    pixels = count_pixels(scene)
    model, image = network(), torch.randint(0, 256, (1, 3, TILE, TILE), dtype=torch.uint8)
    with torch.inference_mode():
        for _ in range(-(-pixels // TILE**2)):
            model(image.float().sub_(120).div_(60))
    return pixels


def mapped(stitch):
    def work(scene, out):
        from geosemi.predict.predict import PredictSettings, predict_scene

        settings = PredictSettings(tile=TILE, overlap=OVERLAP, device="cpu", stitch=stitch)
        predict_scene(bundle(), Path(scene), Path(out), settings)
        return count_pixels(scene)

    return work


WORK = {"floor": floor, "forward": forward, "blend": mapped("blend"), "centre": mapped("centre")}


def count_pixels(scene):
    import rasterio

    with rasterio.open(scene) as d:
        return d.height * d.width


def one(kind, scene, out):
    import rasterio  # noqa: F401 - part of the floor
    import torch

    if kind not in {"floor", "forward"}:
        import geosemi.predict.predict  # noqa: F401 - imports are not timed, but their memory counts
    torch.set_num_threads(1)
    begin = time.process_time()
    pixels = WORK[kind](scene, out)
    cpu = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "peak": peak, "pixels": pixels}))


def measure(kind, scene):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--one", kind, "--scene", str(scene), "--out", f"{folder}/mask.tif"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{kind} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--only", choices=[k for k in WORK if k not in {"floor", "forward"}], action="append")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", choices=list(WORK), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one, args.scene, args.out)
        return
    kinds = ["floor", "forward", *(args.only or [k for k in WORK if k not in {"floor", "forward"}])]
    runs = [{kind: measure(kind, args.scene) for kind in kinds} for _ in range(args.repeat)]
    best = {kind: min((run[kind] for run in runs), key=lambda r: r["cpu"]) for kind in kinds}
    peak = {kind: min(run[kind]["peak"] for run in runs) for kind in kinds}
    print(f"{best['floor']['pixels'] / 1e6:.0f} Mpx, windows of {TILE} that share {OVERLAP}, one thread")
    print(f"{'':12}{'CPU s':>8}{'× forward':>11}{'peak MB':>9}{'over floor':>12}")
    for kind, r in best.items():
        ratio = r["cpu"] / best["forward"]["cpu"]
        print(f"{kind:12}{r['cpu']:8.2f}{ratio:11.2f}{peak[kind]:9.0f}{peak[kind] - peak['floor']:12.0f}")


if __name__ == "__main__":
    main()
