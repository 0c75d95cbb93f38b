"""How do other tools map the same scene with the same network, and trace the same labels, in the same run?

    python ../shared/bench/make_scene.py 6000 scene_6000.tif                  (writes labels_6000.tif beside it)
    python benchmarks/peers.py --scene scene_6000.tif --python monai=peers/monai/bin/python ...
    python benchmarks/peers.py --polygons --labels labels_6000.tif --python geoai=peers/geoai/bin/python ...

Prediction: windows of 512 that share 64, batches of one, one thread, the network of `predict.py` in float32, a mask on
disk in the end. `forward` is the network alone over as many pixels, with and without the malloc settings of geosemi;
`--same-malloc` runs every peer with those settings, too. Polygons: a GeoPackage with one polygon for each group of
4-connected pixels. Every line is a process of its own, in turn, `--repeat` times. Times are CPU seconds (user + system)
without imports and compilation; memory is the peak, over that of a process that has imported torch and rasterio and run
one batch (`floor`), or over the process's own imports. `off` counts the pixels that differ from one forward over the
whole scene; those whose two best scores are less than 1e-5 apart are left out. Peers whose windows are normalised or
masks filtered in a way that cannot be turned off have no such count.

Most peers pin other packages, so each gets an environment of its own, on top of that of geosemi, which spares the
second torch (NAME as in `--python NAME=PATH`; a peer without one is looked for beside geosemi):

    python -m venv peers/NAME
    echo "import site; site.addsitedir('SITE')" > peers/NAME/lib/python3.11/site-packages/base.pth
    peers/NAME/bin/pip install ...          SITE is `python -c "import sysconfig; print(sysconfig.get_path('purelib'))"`

    omnicloudmask   omnicloudmask==1.8.1
    geodeep         geodeep==0.9.13 onnx onnxscript
    torchgeo        (is with geosemi)
    samgeo          segment-geospatial==1.4.2
    monai           --no-deps monai==1.6.1
    geoai           --no-deps geoai-py==0.40.1, then leafmap==0.63.1 (its raster_to_vector needs no more)
    xarray-spatial  xarray-spatial==0.5.3, the last for Python 3.11, rioxarray
    xarray-spatial-new  0.10.20 asks for Python 3.12, but its polygonize runs on 3.11:
                    numba, then --no-deps --ignore-requires-python xarray-spatial==0.10.20, rioxarray
"""

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peer_calls import MAPPED, PREPARED, TIE, TRACED

MALLOC = {"MALLOC_MMAP_THRESHOLD_": 2**30, "MALLOC_TRIM_THRESHOLD_": 2**31 - 1, "MALLOC_ARENA_MAX": 1}
KINDS = {False: MAPPED, True: TRACED}
UNIT = {False: "forward", True: "rasterio recipe"}
UNCOUNTED = {"GeoDeep", "OmniCloudMask"}


def off(name, out):
    """Count the pixels of a mask that one forward over the whole scene labels otherwise."""
    import numpy as np
    import rasterio

    if not out.exists() or name in UNCOUNTED:
        return {}
    with rasterio.open(out) as d:
        mask = d.read(1)
    labels = np.load(out.parent / "whole.npy", mmap_mode="r")
    return {"off": int(((mask != labels) & (labels != TIE)).sum())}


def traced(out):
    import geopandas

    frame = geopandas.read_file(out, engine="pyogrio")
    return {"polygons": len(frame), "invalid": int((~frame.is_valid).sum()), "area": float(frame.area.sum())}


def one(args):
    """Run one line, and print what it took as JSON."""
    line = {**KINDS[args.polygons], **PREPARED}[args.one]
    try:
        version = importlib.metadata.version(line.package)
        steps = line.work(args.source, args.out)
        next(steps)
    except ImportError as e:  # PackageNotFoundError, too
        print(json.dumps({"missing": str(e)}))
        return
    base, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    next(steps, None)
    cpu, peak = time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {} if args.one in PREPARED else traced(args.out) if args.polygons else off(args.one, args.out)
    print(json.dumps({"version": version, "cpu": cpu, "peak": peak / 1024, "base": base / 1024, **found}))


def measure(name, args, folder, extra=None):
    """Return what `one` printed in a process of its own, or why it did not."""
    peer = {**KINDS[args.polygons], **PREPARED}[name].peer
    for old in Path(folder).glob("made.*"):
        old.unlink()
    out = Path(folder) / ("made.gpkg" if args.polygons else "made.tif")
    command = [args.python.get(peer, sys.executable), __file__, "--one", name, "--out", str(out)]
    command += ["--polygons", "--labels", str(args.source)] if args.polygons else ["--scene", str(args.source)]
    settings = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **{k: str(v) for k, v in (extra or {}).items()}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **settings})
    if done.returncode:
        return {"missing": "failed: " + (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def series(args, folder):
    """Return, for each line and again for each peer with our malloc settings, its runs, or why there are none."""
    kinds = KINDS[args.polygons]
    lines = [(name, False) for name in kinds if not args.only or name in {*args.only, "floor", UNIT[args.polygons]}]
    if args.same_malloc:
        lines += [(name, True) for name, _ in lines if kinds[name].peer]
    runs, missing = {line: [] for line in lines}, {}
    for _ in range(args.repeat):
        for line in [line for line in lines if line[0] not in missing]:
            made = measure(line[0], args, folder, MALLOC if line[1] else None)
            print(*line, made, file=sys.stderr, flush=True)
            if "missing" in made:
                missing[line[0]] = made["missing"]
            else:
                runs[line].append(made)
    return {line: made for line, made in runs.items() if made}, missing


def span(values):
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}–{high}"


def cells(args, runs, name):
    """The best time and its ratio, the smallest peak, and what was found."""
    best, least = ({line: min(r[k] for r in made) for line, made in runs.items()} for k in ("cpu", "peak"))
    unit, made = best[UNIT[args.polygons], False], runs[name, False]
    row = {"": name, "version": made[0]["version"], "CPU s": span([r["cpu"] for r in made])}
    row[f"× {UNIT[args.polygons]}"] = f"{best[name, False] / unit:.2f}"
    if args.same_malloc:
        row["same malloc"] = f"{best[name, True] / unit:.2f}" if (name, True) in best else ""
    row["peak MB"] = f"{least[name, False]:.0f}"
    if not args.polygons:
        row["over floor"] = f"{least[name, False] - least['floor', False]:+.0f}"
    row["over imports"] = f"{min(r['peak'] - r['base'] for r in made):.0f}"
    for key in ("polygons", "invalid", "area") if args.polygons else ("off",):
        row[key] = f"{made[0][key]:,.0f}" if key in made[0] else ""
    return {**row, "remark": KINDS[args.polygons][name].remark}


def table(args, runs, missing):
    rows = [cells(args, runs, name) for name, tuned in runs if not tuned]
    for row in [list(rows[0]), ["---"] * len(rows[0]), *(r.values() for r in rows)]:
        print("| " + " | ".join(row) + " |")
    for name, reason in missing.items():
        print(f"left out: {name}: {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, help="an RGB scene of 8 bits")
    parser.add_argument("--polygons", action="store_true", help="trace labels instead of mapping a scene")
    parser.add_argument("--labels", type=Path, help="a raster of six classes")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="the Python of a peer")
    parser.add_argument("--only", action="append", choices=[*MAPPED, *TRACED], metavar="LINE", help="of the table")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--same-malloc", action="store_true", help="each peer again with geosemi's malloc settings")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.source = args.labels if args.polygons else args.scene
    if args.source is None:
        parser.error("--polygons needs --labels" if args.polygons else "give a --scene")
    args.python = dict(pair.partition("=")[::2] for pair in args.python)
    if unknown := set(args.python) - {line.peer for line in (*MAPPED.values(), *TRACED.values())}:
        parser.error(f"--python: no peer is called {', '.join(sorted(unknown))}")
    if args.one:
        one(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in () if args.polygons else PREPARED:
            made = measure(name, args, folder)
            if "missing" in made:
                print(f"{name}: {made['missing']}", file=sys.stderr)
        table(args, *series(args, folder))


if __name__ == "__main__":
    main()
