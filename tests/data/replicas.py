"""Small copies of the original downloads: the same folders, names, formats, codings and world files, fewer pixels."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

POTSDAM_COLOURS = [(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)]
DEEPGLOBE_COLOURS = [(0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]


def write(path, array, driver="GTiff", **more):
    """Write (C, h, w) or (h, w) with plain rasterio."""
    array = array[None] if array.ndim == 2 else array
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    profile = dict(driver=driver, count=count, height=height, width=width, dtype=array.dtype, **more)
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(array)
    Path(f"{path}.aux.xml").unlink(missing_ok=True)


def world_file(path, *, pixel, x, y):
    """Six lines; x and y are the centre of the upper left pixel."""
    path.write_text(f"{pixel}\r\n0.0\r\n0.0\r\n-{pixel}\r\n{x!r}\r\n{y!r}\r\n")


def picture(rng, bands, height, width):
    return rng.integers(1, 255, (bands, height, width), dtype=np.uint8)


def paint(ids, colours):
    """Class ids (h, w) as colours (3, h, w)."""
    return np.moveaxis(np.array(colours, dtype=np.uint8)[ids], -1, 0)


def potsdam(root, names, *, size=96, labels="5_Labels_all", folders=("2_Ortho_RGB", "4_Ortho_RGBIR"), seed=0):
    """6000 × 6000 tiles, small; returns the truth by name. Neighbouring names are neighbours on the ground."""
    rng = np.random.default_rng(seed)
    truth = {}
    for name in names:
        row, col = (int(n) for n in name.split("_")[-2:])
        ids = rng.integers(0, 6, (size, size))
        pixels = picture(rng, 4, size, size)
        x, y = 366_000 + col * size * 0.05 + 0.025, 5_808_000.15 - row * size * 0.05 - 0.025
        if "2_Ortho_RGB" in folders:
            write(root / "2_Ortho_RGB" / f"{name}_RGB.tif", pixels[:3])
            world_file(root / "2_Ortho_RGB" / f"{name}_RGB.tfw", pixel=0.05, x=x, y=y)
        if "4_Ortho_RGBIR" in folders:
            path = root / "4_Ortho_RGBIR" / f"{name}_RGBIR.tif"
            write(path, pixels)
            world_file(path.with_suffix(".tfw"), pixel=0.05, x=x, y=y)
            with rasterio.open(path) as written:  # the trap: near-infrared is tagged alpha
                assert written.colorinterp[3] == ColorInterp.alpha
        if labels is not None:
            write(root / labels / f"{name}_label.tif", paint(ids, POTSDAM_COLOURS))
        truth[name] = (pixels, ids)
    return truth


def vaihingen(root, names, *, labels="gts_for_participants", shape=(70, 90)):
    rng = np.random.default_rng(1)
    truth = {}
    for number, name in enumerate(names):
        ids = rng.integers(0, 6, shape)
        write(root / "top" / f"{name}.tif", picture(rng, 3, *shape))
        world_file(root / "top" / f"{name}.tfw", pixel=0.09, x=496_852.0 + 40 * number, y=5_420_549.0)
        write(root / labels / f"{name}.tif", paint(ids, POTSDAM_COLOURS))
        truth[name] = ids
    return truth


def loveda(root, *, size=64):
    """Two urban and two rural pictures in Train and Val, one each in Test; the first row of masks is 0 … 7."""
    rng = np.random.default_rng(2)
    truth, number = {}, 0
    for part, count in (("Train", 2), ("Val", 2), ("Test", 1)):
        for area in ("Urban", "Rural"):
            for _ in range(count):
                codes = rng.integers(0, 8, (size, size), dtype=np.uint8)
                codes[0, :8] = range(8)
                write(root / part / area / "images_png" / f"{number}.png", picture(rng, 3, size, size), "PNG")
                if part != "Test":
                    write(root / part / area / "masks_png" / f"{number}.png", codes, "PNG")
                truth[f"{part}_{area}_{number}".lower()] = codes
                number += 1
    return truth


def deepglobe(root, ids, *, size=80, layout="challenge"):
    """Pictures with masks in the training folder, and one picture without mask in `valid`."""
    rng = np.random.default_rng(3)
    images, masks = (
        ("train", "train") if layout == "challenge" else ("data/training_data/images", "data/training_data/masks")
    )
    truth = {}
    for name in ids:
        classes = rng.integers(0, 7, (size, size))
        write(root / images / f"{name}_sat.jpg", picture(rng, 3, size, size), "JPEG", quality=95)
        write(root / masks / f"{name}_mask.png", paint(classes, DEEPGLOBE_COLOURS), "PNG")
        truth[name] = classes
    if layout == "challenge":
        write(root / "valid" / "900_sat.jpg", picture(rng, 3, size, size), "JPEG")
    return truth


def openearthmap(root, *, size=64):
    """Two regions of three pictures, one in each list; a third region comes from xBD and has labels only."""
    rng = np.random.default_rng(4)
    base, truth = root / "OpenEarthMap_wo_xBD", {}
    lists = {"train": [], "val": [], "test": []}
    for r, region in enumerate(("aachen", "tokyo")):
        for number, part in enumerate(lists, start=1):
            name = f"{region}_{number}"
            codes = rng.integers(0, 9, (size, size), dtype=np.uint8)
            place = rasterio.Affine(0.3, 0, 300_000 + 1000 * r + 100 * number, 0, -0.3, 5_600_000)
            where = {"crs": "EPSG:32632", "transform": place} if region == "aachen" else {}
            write(base / region / "images" / f"{name}.tif", picture(rng, 3, size, size), **where)
            write(base / region / "labels" / f"{name}.tif", codes, **where)
            lists[part].append(name)
            truth[name] = codes
    write(base / "joplin" / "labels" / "joplin_1.tif", np.ones((size, size), np.uint8))
    lists["train"].append("joplin_1")
    for part, names in lists.items():
        (base / f"{part}.txt").write_text("".join(f"{n}.tif\n" for n in names))
    return truth
