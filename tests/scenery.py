"""Small landscapes on disk for the tests of the data path and of training: scenes, labels, legends, opinions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine
from rasterio.crs import CRS

from geosemi.data.scenes import SceneFiles
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import pack, write_opinion
from geosemi.geo.scene import Scene
from geosemi.legend import ClassDef, Legend

UTM = "EPSG:32636"
NAMES = ("water", "grass", "roof")
COLOURS = ("#2060c0", "#40a040", "#c04040")
LEGEND = Legend(tuple(ClassDef(i, n, c) for i, (n, c) in enumerate(zip(NAMES, COLOURS, strict=True))), name="land")
# reflectance of each class in up to eight bands, far enough apart for a network to learn in a few steps
TONES = np.array(
    [[30, 60, 110, 20, 40, 50, 60, 70], [60, 130, 50, 180, 90, 80, 70, 60], [170, 90, 80, 60, 70, 90, 110, 130]]
)


def place(east: float = 450_000, north: float = 40_000, pixel: float = 0.5) -> Affine:
    """A north-up transform with the upper left corner at (east, north)."""
    return Affine(pixel, 0, east, 0, -pixel, north)


def write_tif(path: Path, pixels: np.ndarray, transform: Affine | None = None, crs: str | None = UTM, **more) -> Path:
    """Write (C, h, w) or (h, w) with plain rasterio; `mask` becomes an internal mask."""
    mask = more.pop("mask", None)
    bands = pixels[None] if pixels.ndim == 2 else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"crs": crs, "transform": transform} if transform is not None else {}
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype.name}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver=more.pop("driver", "GTiff"), **shape, **where, **more) as dataset,
    ):
        dataset.write(bands)
        if mask is not None:
            dataset.write_mask(mask)
    Path(f"{path}.aux.xml").unlink(missing_ok=True)
    return path


def write_legend(path: Path, legend: Legend = LEGEND) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(legend.to_dict()))
    return path


def truth(height: int, width: int, *, seed: int = 0, patch: int = 16) -> np.ndarray:
    """Class ids (h, w) uint8 in square patches."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, len(NAMES), (-(-height // patch), -(-width // patch)))
    return np.kron(cells, np.ones((patch, patch), int))[:height, :width].astype(np.uint8)


def picture(ids: np.ndarray, *, bands: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Noisy pixels (C, h, w) whose tone depends on the class; uint16 and floats use larger numbers."""
    rng = np.random.default_rng(seed)
    tones = np.moveaxis(TONES[ids][..., :bands], -1, 0) + rng.normal(0, 8, (bands, *ids.shape))
    return (np.clip(tones, 1, 254) * (1 if dtype == "uint8" else 40)).astype(dtype)


def country(
    root: Path,
    *,
    labelled: int = 3,
    unlabelled: int = 1,
    side: int = 128,
    bands: int = 3,
    dtype: str = "uint8",
    opinions: bool = False,
) -> Path:
    """Scenes `a`, `b`, … with labels and `u0`, … without, side by side and apart from each other; returns `root`."""
    write_legend(root / "legend.yaml")
    names = [("images", "abcdefghij"[i]) for i in range(labelled)] + [
        ("unlabelled", f"u{i}") for i in range(unlabelled)
    ]
    for number, (folder, name) in enumerate(names):
        where = place(east=450_000 + number * side)  # twice the side of a scene: half of it is a gap
        ids = truth(side, side, seed=number)
        path = write_tif(root / folder / f"{name}.tif", picture(ids, bands=bands, dtype=dtype, seed=number), where)
        if folder == "images":
            write_tif(root / "labels" / f"{name}.tif", ids, where)
        if opinions:
            seen = np.stack([ids == k for k in range(len(NAMES))])
            target = root / "opinions" / path.name
            target.parent.mkdir(exist_ok=True)
            write_opinion(target, pack(seen), Scene.open(path).grid, legend=LEGEND, source="simulated: the truth")
    return root


def scene_at(name: str, grid: Grid, *, label: bool = True, part=None, group: str = "", bands: int = 3) -> SceneFiles:
    """A scene that exists as metadata alone, for what never opens it."""
    scene = Scene(
        Path(f"{name}.tif"), grid, tuple(f"band_{i}" for i in range(bands)), tuple(range(1, bands + 1)), "uint8"
    )
    return SceneFiles(name, scene, Path(f"{name}_label.tif") if label else None, None, part, group or name)


def grid_at(east: float, north: float, pixel: float, shape: Sequence[int], crs: str | None = UTM) -> Grid:
    return Grid(CRS.from_user_input(crs) if crs else None, place(east, north, pixel), *shape)


def run_settings(root: Path, method: str | dict = "fixmatch", **groups):
    """Settings of a run of seconds on a `country`: scene `b` validates, `c` is kept for testing, the others train."""
    from geosemi.train.settings import RunSettings

    values = {
        "data": {"root": str(root), "validation": ["b"], "test": ["c"]},
        "split": {"ratio": 50, "block": 32},
        "chips": {"size": 48, "labelled": 2, "unlabelled": 2},
        "augment": {"size": 48},
        "model": {"name": "light"},
        "method": {"name": method} if isinstance(method, str) else method,
        "train": {"steps": 6, "lr": 2e-3, "device": "cpu", "validate_every": 3},
    }
    for group, more in groups.items():
        values[group] = {**values[group], **more}
    return RunSettings.model_validate(values)


class Watch:
    """Remembers what a run tells, and calls back after each step."""

    def __init__(self, after_step=lambda step: None) -> None:
        self.notes, self.steps, self.scores, self.counts, self.begun = [], [], [], [], []
        self._after_step = after_step

    def started(self, total, done):
        self.begun.append((total, done))

    def note(self, text):
        self.notes.append(text)

    def counted(self, what, done, total):
        self.counts.append((what, done, total))

    def stepped(self, step, losses):
        self.steps.append((step, dict(losses)))
        self._after_step(step)

    def validated(self, step, scores, *, best):
        self.scores.append((step, scores, best))
