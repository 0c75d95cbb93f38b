"""How fast is each engine, precision and layout beside eager torch in fp32, and how often does it give the same label?

    python benchmarks/engines.py                                    (untrained `light`, and DINOv2-small of ../shared)
    python benchmarks/engines.py --model runs/first/bundle.safetensors --scene scene.tif
    python benchmarks/engines.py --compile                          (torch.compile too: a minute more each)

All run in one process with one thread, taking turns on the same windows of a real scene, `--repeat` times; a figure is
the ratio of the medians of CPU seconds a window, from raw pixels to logits. `same label` is the share of pixels whose
best class is that of eager fp32. `ready` is what stands before the first window: exporting (once, then from a cache of
its own that begins empty), loading, checking. Engines that are not installed are left out by name, and so is int8 for
models without an int8 twin; what int8 costs in mIoU is measured by the command that makes one, `geosemi quantize`.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

ROOT = Path(__file__).parents[1]
SHARED = ROOT / ".." / "shared"
ROWS = (
    ("torch", "fp32", "as it is"),
    ("torch", "fp32", "planes"),
    ("torch", "bf16", "as it is"),
    ("torch", "bf16", "planes"),
    ("onnx", "fp32", "as it is"),
    ("openvino", "fp32", "as it is"),
    ("openvino", "bf16", "as it is"),
    ("onnx", "int8", "as it is"),
    ("openvino", "int8", "as it is"),
)
COMPILED = (("compile", "fp32", "as it is"), ("compile", "bf16", "as it is"))


def untrained(name, weights=None):
    from geosemi.legend import ClassDef, Legend
    from geosemi.models.build import ModelSpec, build_segmenter
    from geosemi.models.bundle import Bundle, Card

    spec = ModelSpec(name=name, weights=None if weights is None else str(weights))
    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 40:02x}8040") for k in range(6)))
    tile = 512 if name == "light" else 518
    card = Card(spec, legend, ("red", "green", "blue"), (120.0,) * 3, (60.0,) * 3, tile, None, "0")
    return Bundle(build_segmenter(spec, bands=3, classes=6, seed=0).eval(), card)


def bundles(paths):
    from geosemi.models.bundle import Bundle

    if paths:
        yield from ((f"{path.parent.name}/{path.name}", Bundle.load(path)) for path in paths)
        return
    yield "light, untrained", untrained("light")
    weights = SHARED / "weights" / "dinov2-small"
    if weights.is_dir():
        yield "DINOv2-small + DPT, head untrained", untrained("dinov2_small", weights)
    else:
        print("skipped: DINOv2-small, for there is no folder shared/weights/dinov2-small beside the repository")


def windows(scene, tile, count):
    """Tiles from the middle of a scene, side by side."""
    from geosemi.geo.scene import Scene, reading
    from geosemi.geo.window import Window

    scene = Scene.open(scene).select([1, 2, 3])
    count = min(count, scene.grid.width // tile)
    with reading(scene) as reader:
        row, left = (scene.grid.height - tile) // 2, (scene.grid.width - count * tile) // 2
        return [reader.read(Window(row, left + k * tile, tile, tile)) for k in range(count)]


def prepared(stack, bundle, tile, row):
    """Return (forward, seconds until it was ready)."""
    import torch

    from geosemi.predict import engines
    from geosemi.predict.forward import ready

    engine, precision, layout = row
    rule = engines.layout
    if layout == "planes":
        engines.layout = lambda _device, _half: torch.contiguous_format
    begin = time.perf_counter()
    try:
        forward = stack.enter_context(
            ready(bundle, torch.device("cpu"), batch=None, shape=(tile, tile), precision=precision, engine=engine)
        )
    finally:
        engines.layout = rule
    return forward, time.perf_counter() - begin


def measure(bundle, scene, args):
    from geosemi.errors import ConfigError

    tile = args.tile or bundle.card.tile
    tiles = windows(scene, tile, args.windows)
    runs, spent, labels = {}, {}, {}
    with ExitStack() as stack:
        for row in ROWS + (COMPILED if args.compile else ()):
            try:
                runs[row] = prepared(stack, bundle, tile, row)
            except ConfigError as error:
                print(f"skipped: {' '.join(row[:2])}: {error.message}")
        for turn in range(args.repeat + 1):
            for row, (forward, _) in runs.items():
                begin = time.process_time()
                answers = [forward([each]) for each in tiles]
                if turn:  # the first turn warms up
                    spent.setdefault(row, []).append((time.process_time() - begin) / len(tiles))
                labels[row] = [answer.argmax(1) for answer in answers]
    eager = ROWS[0]
    for row, (_, wait) in runs.items():
        same = statistics.mean(float((a == b).float().mean()) for a, b in zip(labels[row], labels[eager], strict=True))
        yield row, statistics.median(spent[row]), statistics.median(spent[eager]), same, wait


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="trained bundles")
    parser.add_argument("--scene", type=Path, default=SHARED / "data" / "kampala" / "scene.tif")
    parser.add_argument("--tile", type=int, help="side of the windows; the model's own by default")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    if not args.scene.is_file():
        raise SystemExit(f"there is no scene {args.scene}; name one with --scene")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for name, bundle in bundles(args.model):
            tile = args.tile or bundle.card.tile
            print(f"\n{name}, windows of {tile}")
            print("\n| engine | precision | layout | ms a window | × eager fp32 | same label | ready s |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            for (engine, precision, layout), seconds, eager, same, wait in measure(bundle, args.scene, args):
                figures = f"{1e3 * seconds:.0f} | {eager / seconds:.2f} | {same:.5f} | {wait:.1f}"
                print(f"| {engine} | {precision} | {layout} | {figures} |")


if __name__ == "__main__":
    main()
