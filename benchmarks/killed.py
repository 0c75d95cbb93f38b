"""Does a run that is killed at any moment go on to the same bytes?

    python benchmarks/killed.py --kills 100 [--device cpu,cpu]

A child maps a scene and turns the mask into polygons; it is killed with SIGKILL after a random time, and the same call
is made again until it comes to its end. Then all files must be what an uninterrupted run makes. After each kill
nothing may stand under a final name but a complete file. Prints how far the killed runs were, and ends with 1 on the
first difference.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE = (2600, 320)  # six rows of blocks: a kill loses one of them


def make_scene(path):
    import rasterio
    from rasterio.transform import from_origin

    image = np.kron(np.random.default_rng(0).integers(0, 255, (3, SIZE[0] // 20, SIZE[1] // 20)), np.ones((20, 20)))
    profile = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 3, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", crs="EPSG:25833", transform=from_origin(4e5, 5.8e6, 0.2, 0.2), **profile) as d:
        d.write(image.astype(np.uint8))


def bundle():
    from geosemi.legend import ClassDef, Legend
    from geosemi.models.build import ModelSpec, build_segmenter
    from geosemi.models.bundle import Bundle, Card

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 40:02x}8040") for k in range(4)))
    model = build_segmenter(ModelSpec(), bands=3, classes=4, seed=0)
    card = Card(ModelSpec(), legend, ("red", "green", "blue"), (127.0,) * 3, (70.0,) * 3, 128, 0.2, "0")
    return Bundle(model.eval(), card, digest="f" * 64)


def work(scene, folder, made, device):
    """The whole job, as one call of the command does it; existing outputs are kept."""
    from geosemi.errors import OutputError
    from geosemi.polygons.polygonize import PolygonSettings, polygonize
    from geosemi.predict.predict import predict_scene
    from geosemi.predict.settings import PredictSettings

    mask, sure, polygons = folder / "mask.tif", folder / "sure.tif", folder / "map.gpkg"
    complete = mask.exists()  # it gets its name last
    try:
        settings = PredictSettings(device=device)
        predict_scene(made, scene, mask, settings, extras={"confidence": sure}, overwrite=not complete)
    except OutputError:  # it exists, and says so
        if not complete:
            raise
    if not polygons.exists():
        polygonize(mask, polygons, made.card.legend, PolygonSettings(), confidence=sure)


def child(scene, folder, made, device):
    """Fork, so that imports are not repeated; no tensor has been worked on before."""
    number = os.fork()
    if number == 0:
        try:
            work(scene, folder, made, device)
            os._exit(0)
        finally:
            os._exit(1)  # never into the parent's clean-up
    return number


def state(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--device", default="cpu", help="cpu,cpu maps in two processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        scene = Path(place) / "scene.tif"
        make_scene(scene)
        made = bundle()
        whole = Path(place) / "whole"
        whole.mkdir()
        begin = time.monotonic()
        assert os.waitpid(child(scene, whole, made, args.device), 0)[1] == 0
        span, wanted = time.monotonic() - begin, state(whole)
        kills, runs = 0, 0
        while kills < args.kills:
            folder = Path(place) / f"run{runs}"
            folder.mkdir()
            finished, patience = False, 0.7 * span
            while not finished:
                number = child(scene, folder, made, args.device)
                time.sleep(draw.random() * patience)
                os.kill(number, signal.SIGKILL)
                finished = os.waitpid(number, 0)[1] == 0
                kills += not finished
                patience *= 1.05  # whatever else the machine does, it ends some time
                wrong = {n: h for n, h in state(folder).items() if wanted.get(n) != h}
                if wrong:
                    sys.exit(f"after kill {kills} these are not what they should be: {sorted(wrong)}")
            if state(folder) != wanted or any(p.is_dir() for p in folder.iterdir()):
                sys.exit(f"run {runs} ended with {sorted(p.name for p in folder.iterdir())}")
            runs += 1
        print(f"{kills} kills over {runs} runs of {span:.1f} s; every run ended in the same bytes")


if __name__ == "__main__":
    main()
