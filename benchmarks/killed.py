"""Does a command that is killed at any moment go on to the same bytes?

    python benchmarks/killed.py --kills 100 [--device cpu,cpu]
    python benchmarks/killed.py --renames          (killed at its first rename, at its second, … and at each removal)

`geosemi predict --polygons --confidence --stac --resume` is killed with SIGKILL after a random time, and the same words
are run again, and again, until they come to their end. Then all files must be what an uninterrupted run makes. After
each kill nothing may stand under a final name but a complete file. Ends with 1 on the first difference.
"""

import argparse
import hashlib
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: a fork of a process with OpenMP threads hangs
SIZE = (2600, 320)  # six rows of blocks: a kill loses one of them
EXISTS = 4  # exit code where all outputs were there before


def make_scene(path):
    import rasterio
    from rasterio.transform import from_origin

    image = np.kron(np.random.default_rng(0).integers(0, 255, (3, SIZE[0] // 20, SIZE[1] // 20)), np.ones((20, 20)))
    profile = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 3, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", crs="EPSG:25833", transform=from_origin(4e5, 5.8e6, 0.2, 0.2), **profile) as d:
        d.write(image.astype(np.uint8))


def make_bundle(path):
    from geosemi.legend import ClassDef, Legend
    from geosemi.models.build import ModelSpec, build_segmenter
    from geosemi.models.bundle import Bundle, Card

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 40:02x}8040") for k in range(4)))
    model = build_segmenter(ModelSpec(), bands=3, classes=4, seed=0)
    card = Card(ModelSpec(), legend, ("red", "green", "blue"), (127.0,) * 3, (70.0,) * 3, 128, 0.2, "0")
    Bundle(model.eval(), card).save(path)


def words_for(place, folder, device):
    """The command; it is the same for the first run and for all that go on with it."""
    return [
        "geosemi", "predict", str(place / "scene.tif"), "--model", str(place / "model.safetensors"), "--device", device,
        "--out", str(folder / "mask.tif"), "--confidence", str(folder / "sure.tif"),
        "--polygons", str(folder / "map.gpkg"), "--stac", str(folder / "item.json"), "--datetime", "2024-06-01",
        "--resume",
    ]  # fmt: skip


def deadly(real, calls, die_at):
    """Return a function that kills the process at its n-th call, whoever shares the count."""

    def counted(*args, **kwargs):
        if next(calls) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    return counted


def child(words, *, die_at=0):
    """Fork, so that imports are not repeated, and run the command; it dies at its n-th rename or removal if asked."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        calls = itertools.count(1)
        for name in ("replace", "rename", "unlink", "rmdir") if die_at else ():
            setattr(os, name, deadly(getattr(os, name), calls, die_at))
        sys.argv = words
        from geosemi.cli.main import main as command

        command()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        os._exit(code)  # never into the parent's clean-up
    return 0


def code_of(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def state(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}


def check(folder, wanted, when):
    """Nothing half-written may stand under a final name."""
    wrong = {n: h for n, h in state(folder).items() if wanted.get(n) != h}
    if wrong:
        sys.exit(f"{when} these are not what they should be: {sorted(wrong)}")


def finish(words, folder, wanted, when):
    """Run the same words to their end, and hold what they made against an uninterrupted run."""
    code = code_of(child(words))
    if code and not (code == EXISTS and state(folder) == wanted):
        sys.exit(f"{when} the same command ended with {code}")
    if state(folder) != wanted or any(p.is_dir() for p in folder.iterdir()):
        sys.exit(f"{when} the same command left {sorted(p.name for p in folder.iterdir())}")


def at_random(args, place, wanted, span):
    draw = random.Random(args.seed)
    kills = runs = 0
    while kills < args.kills:
        folder = place / f"run{runs}"
        folder.mkdir()
        words, patience, ended = words_for(place, folder, args.device), 0.7 * span, False
        while not ended:
            number = child(words)
            time.sleep(draw.random() * patience)
            os.kill(number, signal.SIGKILL)
            ended = code_of(number) >= 0
            kills += not ended
            patience *= 1.05  # whatever else the machine does, it ends some time
            check(folder, wanted, f"after kill {kills}")
        finish(words, folder, wanted, f"in run {runs}")
        runs += 1
    print(f"{kills} kills over {runs} runs of {span:.1f} s; every run ended in the same bytes")


def at_renames(args, place, wanted):
    for die_at in itertools.count(1):
        folder = place / f"rename{die_at}"
        folder.mkdir()
        words = words_for(place, folder, args.device)
        ended = code_of(child(words, die_at=die_at)) >= 0
        check(folder, wanted, f"killed at step {die_at}")
        finish(words, folder, wanted, f"killed at step {die_at}")
        if ended:
            break
    print(f"{die_at - 1} kills, one at each rename and removal; every run ended in the same bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--renames", action="store_true", help="at each rename and removal instead of at random")
    parser.add_argument("--device", default="cpu", help="cpu,cpu maps in two processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import geosemi.cli.main
    import geosemi.polygons.polygonize
    import geosemi.predict.catalogue
    import geosemi.predict.predict  # noqa: F401 - once, not in every child; no tensor is worked on before the forks

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_scene(place / "scene.tif")
        make_bundle(place / "model.safetensors")
        whole = place / "whole"
        whole.mkdir()
        begin = time.monotonic()
        if code := code_of(child(words_for(place, whole, args.device))):
            sys.exit(f"the command ended with {code}")
        span, wanted = time.monotonic() - begin, state(whole)
        if args.renames:
            at_renames(args, place, wanted)
        else:
            at_random(args, place, wanted, span)


if __name__ == "__main__":
    main()
