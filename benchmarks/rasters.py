"""What geosemi makes of every raster in a folder, as a Markdown table: the table of docs/rasters.md.

    python benchmarks/rasters.py ../shared/data > rasters.md

Each raster is tried twice, as a new user would: first with a model of three 8-bit bands (red, green, blue) at 0.5 m,
which most files do not fit, to see what is said; then with a model of the file's own bands and dtype, to see that it is
mapped and where the mask lies. The networks are untrained: this is about rasters, not about classes. Rasters of a
folder that get the same answers share a row.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio

from geosemi.errors import GeosemiError
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window
from geosemi.legend import ClassDef, Legend
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.check import check_scene
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".vrt")
LEGEND = Legend(tuple(ClassDef(i, n, c) for i, (n, c) in enumerate([("dark", "#203040"), ("bright", "#e0c080")])))


def rasters(folder: Path) -> Iterator[Path]:
    """Yield the rasters of a folder and of those below it."""
    for here in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]:
        yield from sorted(p for p in here.iterdir() if p.suffix.lower() in SUFFIXES)


def rgb_model() -> Card:
    values = ((110.0,) * 3, (50.0,) * 3)
    return Card(ModelSpec(), LEGEND, ("red", "green", "blue"), *values, 256, 0.5, "0", {"dtype": "uint8"})


def model_for(scene: Scene) -> Bundle:
    """An untrained model of a scene's own bands, which knows the numbers of its middle."""
    height, width = min(512, scene.grid.height), min(512, scene.grid.width)
    middle = Window((scene.grid.height - height) // 2, (scene.grid.width - width) // 2, height, width)
    with reading(scene) as reader:
        tile = reader.read(middle)
    values = tile.image[:, tile.valid].astype(float)
    values = values if values.size else np.zeros((len(scene.bands), 1))
    std = tuple(np.maximum(values.std(axis=1), 1e-3).tolist())
    names = tuple(dict.fromkeys(scene.bands)) if len(set(scene.bands)) == len(scene.bands) else ()
    names = names or tuple(f"band_{i}" for i in range(1, len(scene.bands) + 1))
    facts = {"dtype": scene.dtype}
    card = Card(ModelSpec(), LEGEND, names, tuple(values.mean(axis=1).tolist()), std, 256, None, "0", facts)
    return Bundle(build_segmenter(ModelSpec(), bands=len(names), classes=2, seed=0).eval(), card)


def described(scene: Scene) -> str:
    grid = scene.grid
    size = grid.metres_per_pixel()
    code = None if grid.crs is None else grid.crs.to_epsg()
    system = "no crs" if grid.crs is None else f"EPSG:{code}" if code else "own crs"
    odd = ["palette"] * scene.palette + ["alpha"] * (scene.alpha is not None) + ["mask"] * scene.masked
    odd += ["control points"] * scene.has_gcps + ([] if scene.nodata is None else [f"nodata {scene.nodata:.6g}"])
    t = grid.transform
    odd += ["south-up"] * (t.e > 0 and t.b == 0 and not t.is_identity) + ["rotated"] * (t.b != 0)
    parts = [f"{grid.height} × {grid.width}", f"{len(scene.bands)} × {scene.dtype}", system]
    return ", ".join([*parts, *([f"{size:.3g} m"] if size else []), *odd])


def first_try(path: Path) -> str:
    """What a model of red, green and blue at 0.5 m says."""
    try:
        told = check_scene(path, rgb_model()).warnings
    except GeosemiError as error:
        faults = error.lines[1:] or [error.lines[0].partition(": ")[2] or error.lines[0]]
        return f"**refused**: {'; '.join(faults)}. *{error.hint}*"
    return "fits" + "".join(f"; {text}" for text in told)


def second_try(path: Path, scene: Scene, folder: Path) -> str:
    """What a model of its own bands makes of it."""
    out = folder / "mask.tif"
    try:
        facts = predict_scene(model_for(scene), path, out, PredictSettings(device="cpu"), overwrite=True)
    except GeosemiError as error:
        return f"**refused**: {error.message}. *{error.hint}*"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as one, rasterio.open(out) as other:
            same = (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
            points = [len(d.gcps[0]) for d in (one, other)]
    hidden = facts.nodata / (scene.grid.height * scene.grid.width)
    parts = ["mapped", "same grid" if same else "**another grid**"]
    parts += [f"{points[1]} of {points[0]} control points kept"] * (points[0] > 0)
    return ", ".join([*parts, f"{hidden:.1%} nodata"] if facts.nodata else parts)


def answers(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the cells of a raster's row, without its name."""
    try:
        scene = Scene.open(path)
    except GeosemiError as error:
        return (error.message.replace(str(path), "FILE"), "–", "–")
    cells = (described(scene), first_try(path), second_try(path, scene, folder))
    return tuple(cell.replace(str(path), "FILE").replace(path.name, "FILE") for cell in cells)


def main() -> None:
    root = Path(sys.argv[1])
    rows: dict[tuple[Path, tuple[str, ...]], list[Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in rasters(root):
            rows.setdefault((path.parent, answers(path, Path(folder))), []).append(path)
    print("| file | what it is | with a model of red, green, blue at 0.5 m | with a model of its own bands |")
    print("|---|---|---|---|")
    for (_, cells), paths in rows.items():
        name = f"`{paths[0].relative_to(root)}`" + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")
        print(f"| {name} | {' | '.join(cells).replace('FILE', paths[0].name)} |")


if __name__ == "__main__":
    main()
