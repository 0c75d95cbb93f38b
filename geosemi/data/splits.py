"""Who is trained on, who is validated on, and which few blocks may show their labels.

A *region* is a window of a scene. Train, validation and test regions share no ground when the unit is `scene` (scenes
whose footprints overlap stay together) or `block` (ground is cut along one mesh for all scenes). The unit `patch`
repeats the papers' random split of neighbouring patches; it leaks, and says so.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geosemi.data.ground import ground_blocks, lies_on, shared_groups
from geosemi.data.keyed import keyed_generator
from geosemi.data.scenes import Part, SceneFiles, SceneSet
from geosemi.data.settings import SplitSettings
from geosemi.data.statistics import Truth
from geosemi.errors import ConfigError
from geosemi.geo.commit import write_files
from geosemi.geo.window import Window


@dataclass(frozen=True, slots=True)
class Region:
    """A window of a scene, by the scene's name."""

    scene: str
    window: Window

    def to_list(self) -> list[Any]:
        """Return plain values for JSON."""
        w = self.window
        return [self.scene, w.row, w.col, w.height, w.width]


@dataclass(frozen=True, slots=True)
class Split:
    """What a run may see. Regions of `labelled` and `unlabelled` lie on training ground.

    Attributes:
        labelled: blocks whose labels are used.
        unlabelled: regions whose labels are never read.
        validation: regions that choose the best model.
        test: regions that nothing in training sees.
        train_blocks: number of blocks that `labelled` was chosen from.
        leaky: True where train, validation and test are neighbouring patches.
    """

    labelled: tuple[Region, ...]
    unlabelled: tuple[Region, ...]
    validation: tuple[Region, ...]
    test: tuple[Region, ...]
    train_blocks: int
    leaky: bool

    def to_json(self) -> bytes:
        """Return the split as JSON."""
        plain = {
            "leaky": self.leaky,
            "train_blocks": self.train_blocks,
            "columns": ["scene", "row", "col", "height", "width"],
            **{
                name: [r.to_list() for r in getattr(self, name)]
                for name in ("labelled", "unlabelled", "validation", "test")
            },
        }
        return json.dumps(plain, indent=1).encode()

    def save(self, path: Path) -> None:
        """Write the split as JSON, so that a run can be repeated and its ground looked up."""
        write_files({path: self.to_json()})


def make_split(scenes: SceneSet, settings: SplitSettings, truth: Truth) -> Split:
    """Divide scenes and choose the labelled blocks; the same settings always give the same split.

    Labelled blocks are a prefix of one seeded order, so 1 % is part of 5 %, which is part of 10 %.

    Args:
        scenes: all scenes of the run.
        settings: how to divide them.
        truth: where labels hold truth; a block without any is no use to a learner and is not counted.

    Raises:
        ConfigError: nothing would be left to train or validate on; the message says what to change.
    """
    if all(s.label is None for s in scenes.scenes):
        raise ConfigError("no scene has a label", hint="check the folders: `data.images`, `data.labels`")
    parts = _divide(scenes, settings)
    train = [(s, w) for s, w in parts["train"] if s.label is not None]
    if any(s.chosen is not None for s, _ in train):
        labelled = [Region(s.name, w) for s, w in train if s.chosen]
        blocks = len(train) + sum(s.chosen is False for s, _ in parts["unlabelled"])
    else:
        pieces = [Region(s.name, piece) for s, w in train for piece in _pieces(w, settings.block)]
        pool = [r for r in pieces if truth.classes_in(r.scene, r.window).any()]
        labelled, blocks = _prefix(pool, settings), len(pool)
    if not labelled:
        raise ConfigError(
            "no labelled scene is left for training",
            hint="lower `split.validation` and `split.test`, or name fewer scenes there",
        )
    chosen = set(labelled)
    everywhere = [Region(s.name, w) for s, w in (*parts["train"], *parts["unlabelled"])]
    return Split(
        labelled=tuple(labelled),
        unlabelled=tuple(r for r in everywhere if r not in chosen),
        validation=tuple(Region(s.name, w) for s, w in parts["val"]),
        test=tuple(Region(s.name, w) for s, w in parts["test"]),
        train_blocks=blocks,
        leaky=settings.unit == "patch",
    )


Parts = Mapping[Part, list[tuple[SceneFiles, Window]]]


def _divide(scenes: SceneSet, settings: SplitSettings) -> Parts:
    """Give every piece of ground one part. What files or settings decree is kept; the rest is drawn."""
    silent = [s for s in scenes.scenes if s.part == "unlabelled"]
    # unlabelled scenes bind nothing together: one mosaic of everything would make one group of everything
    grouped = _grouped([s for s in scenes.scenes if s.part != "unlabelled"])
    if settings.unit != "scene" and not any(s.part in ("train", "val", "test") for s, _ in grouped):
        everyone = [*grouped, *((s, s.group) for s in silent)]
        return _by_mesh(everyone, settings) if settings.unit == "block" else _by_patch(everyone, settings)
    decreed = _decrees(grouped)
    areas: dict[str, int] = {}
    for s, g in grouped:
        if g not in decreed and s.label is not None:
            areas[g] = areas.get(g, 0) + s.scene.grid.height * s.scene.grid.width
    have = set(decreed.values())
    shares = {"val": 0.0 if "val" in have else settings.validation, "test": 0.0 if "test" in have else settings.test}
    drawn = _draw(areas, shares, settings.seed)
    parts: dict[Part, list[tuple[SceneFiles, Window]]] = {"train": [], "val": [], "test": [], "unlabelled": []}
    for s, g in grouped:
        part = decreed.get(g) or drawn.get(g, "train")
        parts["unlabelled" if s.label is None and part == "train" else part].append((s, s.scene.grid.window))
    parts["unlabelled"] += [(s, s.scene.grid.window) for s in _apart(silent, [*parts["val"], *parts["test"]])]
    return parts


def _grouped(scenes: Sequence[SceneFiles]) -> list[tuple[SceneFiles, str]]:
    groups = shared_groups([s.scene.grid for s in scenes], [s.group for s in scenes])
    return list(zip(scenes, groups, strict=True))


def _apart(silent: Sequence[SceneFiles], kept: Sequence[tuple[SceneFiles, Window]]) -> list[SceneFiles]:
    """Leave out scenes on ground of validation or test: it is not trained on, not even unlabelled."""
    groups = {s.group for s, _ in kept}
    hits = lies_on([s.scene.grid for s in silent], [s.scene.grid for s, _ in kept])
    return [s for s, hit in zip(silent, hits, strict=True) if not hit and s.group not in groups]


def _decrees(grouped: Sequence[tuple[SceneFiles, str]]) -> dict[str, Part]:
    decreed: dict[str, Part] = {}
    for s, g in grouped:
        if s.part is None:
            continue
        if decreed.setdefault(g, s.part) != s.part:
            raise ConfigError(
                f"`{s.name}` is kept for {s.part}, but it shares ground with a scene kept for {decreed[g]}",
                hint="keep scenes that show the same ground in one part",
            )
    return decreed


def _draw(areas: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, Part]:
    """Draw whole groups for val and test until each has its share of the area; every part with a share gets one."""
    wanted = [part for part in ("val", "test") if shares[part] > 0]
    if areas and len(areas) <= len(wanted):
        raise ConfigError(
            f"{len(areas)} separate scenes cannot be divided into train, {' and '.join(wanted)}",
            hint="divide by ground with `--set split.unit=block`, or name scenes in `data.validation` and `data.test`",
        )
    names = sorted(areas)
    order = [names[i] for i in torch.randperm(len(names), generator=keyed_generator(seed, "parts")).tolist()]
    drawn: dict[str, Part] = {}
    total = sum(areas.values())
    for number, part in enumerate(wanted):
        taken = 0
        # one group at least, and one is left for each part that comes later and for training
        while len(order) > len(wanted) - number and (taken == 0 or taken + areas[order[0]] <= shares[part] * total):
            group = order.pop(0)
            taken += areas[group]
            drawn[group] = part  # type: ignore[assignment]
    return drawn


def _by_mesh(grouped: Sequence[tuple[SceneFiles, str]], settings: SplitSettings) -> Parts:
    sizes = sorted(s.scene.grid.pixel_size[0] for s, _ in grouped if s.label is not None)
    side = settings.block * sizes[len(sizes) // 2]
    cells: dict[str, list[tuple[SceneFiles, Window]]] = {}
    reference = next(s for s, _ in grouped if s.label is not None).scene.grid.crs
    for s, g in grouped:
        t = s.scene.grid.transform
        if t.b or t.d or s.scene.grid.crs != reference:
            raise ConfigError(
                f"`{s.scene.path}` is rotated or lies in another crs than the first scene",
                hint="warp the scenes to one crs, or divide by scene: `--set split.unit=scene`",
            )
        for (i, j), window in ground_blocks(s.scene.grid, side):
            # scenes without crs have no common ground: their cells are their own
            cells.setdefault(f"{g if reference is None else ''}/{i}/{j}", []).append((s, window))
    return _draw_cells(cells, settings)


def _by_patch(grouped: Sequence[tuple[SceneFiles, str]], settings: SplitSettings) -> Parts:
    cells = {
        f"{s.name}/{w.row}/{w.col}": [(s, w)] for s, _ in grouped for w in _pieces(s.scene.grid.window, settings.block)
    }
    return _draw_cells(cells, settings)


def _draw_cells(cells: Mapping[str, list[tuple[SceneFiles, Window]]], settings: SplitSettings) -> Parts:
    labelled = {key: len(found) for key, found in cells.items() if any(s.label is not None for s, _ in found)}
    drawn = _draw(dict.fromkeys(labelled, 1), {"val": settings.validation, "test": settings.test}, settings.seed)
    parts: dict[Part, list[tuple[SceneFiles, Window]]] = {"train": [], "val": [], "test": [], "unlabelled": []}
    for key, found in cells.items():
        part = drawn.get(key, "train")
        for s, window in found:
            if s.label is not None:
                parts[part].append((s, window))
            elif part == "train":
                parts["unlabelled"].append((s, window))
    return parts


def _pieces(window: Window, block: int) -> list[Window]:
    """Cut a window into blocks side by side; a rest of less than a quarter block is left out, a larger one is kept."""
    pieces = []
    for row in range(0, window.height, block):
        for col in range(0, window.width, block):
            height, width = min(block, window.height - row), min(block, window.width - col)
            if height * width * 4 >= block * block or window.height * window.width <= block * block:
                pieces.append(Window(window.row + row, window.col + col, height, width))
    return pieces


def _prefix(pool: Sequence[Region], settings: SplitSettings) -> list[Region]:
    count = math.floor(settings.ratio / 100 * len(pool) + 1e-9)
    if pool and count == 0:
        raise ConfigError(
            f"{settings.ratio:g} % of {len(pool)} training blocks leaves no labelled block",
            hint=f"use `--ratio {math.ceil(100 / len(pool))}` or more, or smaller blocks: `--set split.block=…`",
        )
    order = torch.randperm(len(pool), generator=keyed_generator(settings.seed, "labels"))
    return [pool[i] for i in order[:count].tolist()]
