"""How much faster than the plain recipe are polygons made, and with how much memory?

    python benchmarks/vectorize.py                        (6000 × 6000 labels of its own)
    python benchmarks/vectorize.py --labels labels.tif    (any mask of up to 32 classes)
    python benchmarks/vectorize.py --ways                 (simplified, smoothed, merged, … and the recipe for it)
    python benchmarks/vectorize.py --memory               (the same labels once and eight times, one below the other)

The plain recipe is what people write by hand: rasterio.features.shapes on the whole array, shapely, a GeoDataFrame, a
GeoPackage. Each runs in a process of its own, in turn, `--repeat` times; the best CPU seconds (user + system, imports
and interpreter left out) and the peak memory are printed, and both files must hold the same polygons. The recipe for
`--ways` is shapely.coverage_simplify on all polygons at once, with the same tolerance.
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

import numpy as np


def make_labels(path, size):
    """Write six classes in blobs of three scales, on 5 cm pixels."""
    import rasterio
    from rasterio.transform import from_origin

    rng = np.random.default_rng(0)

    def field(scale):
        count = size // scale + 3
        coarse = rng.standard_normal((count, count)).astype(np.float32)
        place = np.linspace(0, count - 2.001, size)
        low = place.astype(int)
        part = (place - low).astype(np.float32)
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        return rows[:, low] * (1 - part) + rows[:, low + 1] * part

    best, labels = np.full((size, size), -9, np.float32), np.zeros((size, size), np.uint8)
    for k in range(6):
        value = field(60) + 0.5 * field(17) + 0.15 * field(5)
        labels[value > best] = k
        best = np.maximum(best, value)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": size, "width": size, "crs": "EPSG:25833"}
    with rasterio.open(
        path, "w", transform=from_origin(366000, 5808000, 0.05, 0.05), tiled=True, blockxsize=512, blockysize=512,
        compress="deflate", **profile,
    ) as d:  # fmt: skip
        d.write(labels, 1)


def plain(labels, out):
    import geopandas
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    base = begin()
    with rasterio.open(labels) as d:
        pixels, transform, crs = d.read(1), d.transform, d.crs
    pairs = list(shapes(pixels, transform=transform, connectivity=4))
    frame = geopandas.GeoDataFrame(
        {"class_id": [int(v) for _, v in pairs]}, geometry=[shape(g) for g, _ in pairs], crs=crs
    )
    frame["area_m2"], frame["perim_m"] = frame.area, frame.length
    frame.to_file(out, driver="GPKG", layer="segments")
    report(base, len(frame))


def plain_simplified(labels, out):
    import geopandas
    import rasterio
    import shapely
    from rasterio.features import shapes
    from shapely.geometry import shape

    base = begin()
    with rasterio.open(labels) as d:
        pixels, transform, crs = d.read(1), d.transform, d.crs
    pairs = list(shapes(pixels, connectivity=4))
    # without a point wherever three polygons meet, and in map units, they are no coverage
    noded = shapely.segmentize([shape(g) for g, _ in pairs], 1.0)
    simple = shapely.transform(
        shapely.coverage_simplify(noded, 2.0), lambda p: np.stack(transform * tuple(p.T), axis=1)
    )
    frame = geopandas.GeoDataFrame({"class_id": [int(v) for _, v in pairs]}, geometry=simple, crs=crs)
    frame["area_m2"], frame["perim_m"] = frame.area, frame.length
    frame.to_file(out, driver="GPKG", layer="segments")
    report(base, len(frame))


WAYS = {
    "ours": {},
    "min-area 100 px": {"min_area_m2": 0.25},
    "simplify 2": {"simplify_px": 2.0},
    "simplify 2 smooth": {"simplify_px": 2.0, "smooth": True},
    "dissolve": {"dissolve": True},
    "all but dissolve": {"min_area_m2": 0.25, "simplify_px": 2.0, "smooth": True},
}


def ours(labels, out, settings):
    from geosemi.legend import ClassDef, Legend
    from geosemi.polygons.polygonize import PolygonSettings, polygonize

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 8:02x}8040") for k in range(32)))
    base = begin()
    report(base, polygonize(labels, out, legend, PolygonSettings(**settings)))


def begin():
    return time.process_time(), peak()


def peak():
    """Return the most memory this program has held, kB; ru_maxrss would also count what started it."""
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(base, count):
    cpu, memory = time.process_time() - base[0], peak()
    print(json.dumps({"cpu": cpu, "peak": memory / 1024, "base": base[1] / 1024, "count": count}))


def measure(kind, labels, folder):
    out = Path(folder) / f"{kind.replace(' ', '-')}.gpkg"
    out.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", kind, "--labels", str(labels), "--out", str(out)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return json.loads(result.stdout.splitlines()[-1])


def make_tall(labels, path, times):
    """Write a raster several times, one below the other, every other one upside down."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(labels) as d:
        pixels, profile = d.read(1), d.profile
    height, width = pixels.shape
    with rasterio.open(path, "w", **{**profile, "height": times * height}) as d:
        for k in range(times):
            d.write(pixels[::-1] if k % 2 else pixels, 1, window=Window(0, k * height, width, height))


def memory(labels, folder, repeat):
    tall = Path(folder) / "tall.tif"
    make_tall(labels, tall, 8)
    print(f"{'':20}{'once, MB':>10}{'8 times, MB':>13}{'more':>8}{'polygons':>12}")
    for way in ("ours", "all but dissolve"):
        runs = [[measure(way, path, folder) for path in (labels, tall)] for _ in range(repeat)]
        once, often = (min(r["peak"] for r in kind) for kind in zip(*runs, strict=True))
        print(f"{way:20}{once:10.0f}{often:13.0f}{100 * (often / once - 1):7.1f} %{runs[0][1]['count']:12,}")


def ways(labels, folder, repeat):
    kinds = ("plain", "plain simplified", *WAYS)
    runs = [{kind: measure(kind, labels, folder) for kind in kinds} for _ in range(repeat)]
    table({kind: min((run[kind] for run in runs), key=lambda r: r["cpu"]) for kind in kinds})


def table(best):
    print(f"{'':20}{'CPU s':>8}{'peak MB':>9}{'over imports':>14}{'polygons':>10}")
    for kind, r in best.items():
        print(f"{kind:20}{r['cpu']:8.2f}{r['peak']:9.0f}{r['peak'] - r['base']:14.0f}{r['count']:10,}")


def require_same(folder):
    """Both files must hold the same polygons: counts and areas a class."""
    import pyogrio

    one, other = (
        pyogrio.read_dataframe(Path(folder) / f"{k}.gpkg", layer="segments").groupby("class_id").geometry
        for k in ("plain", "ours")
    )
    assert one.count().equals(other.count())
    areas = [g.apply(lambda s: s.area.sum()).to_numpy() for g in (one, other)]
    np.testing.assert_allclose(*areas, rtol=1e-9)


def run_one(kind, labels, out):
    recipes = {"plain": plain, "plain simplified": plain_simplified}
    if kind in recipes:
        recipes[kind](labels, out)
    else:
        ours(labels, out, WAYS[kind])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--size", type=int, default=6000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ways", action="store_true", help="time every way to make polygons")
    parser.add_argument("--memory", action="store_true", help="compare memory at two heights")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run_one(args.one, args.labels, args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        labels = args.labels or Path(folder) / "labels.tif"
        if args.labels is None:
            make_labels(labels, args.size)
        if args.ways or args.memory:
            (ways if args.ways else memory)(labels, folder, args.repeat)
            return
        runs = [{kind: measure(kind, labels, folder) for kind in ("plain", "ours")} for _ in range(args.repeat)]
        require_same(folder)
    best = {kind: min((run[kind] for run in runs), key=lambda r: r["cpu"]) for kind in ("plain", "ours")}
    table(best)
    print(f"{best['plain']['cpu'] / best['ours']['cpu']:.1f} × as fast, with the same polygons")


if __name__ == "__main__":
    main()
