"""Which picture belongs to train, val and test: by whole scenes, or by single tiles as the papers do."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from geosemi.data.datasets.base import Item, Split

RATIOS = (1, 5, 10)
PAPER_SEED = 42
Policy = Literal["official", "scene"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Division:
    """The part and the group of every scene.

    Attributes:
        parts: scene id → part. No group is divided between train, val and test.
        groups: scene id → group.
        notes: sentences for people on what was decided.
    """

    parts: Mapping[str, Split]
    groups: Mapping[str, str]
    notes: tuple[str, ...]


def paper_sizes(count: int) -> tuple[int, int, int]:
    """Return how many of `count` tiles are for train, val and test: ⌊.6n⌋, ⌊.2n⌋ and the rest.

    In whole numbers, because .6 × n as a float can fall below the integer that it stands for.
    """
    train, val = count * 6 // 10, count * 2 // 10
    return train, val, count - train - val


def labelled_count(train: int, ratio: int) -> int:
    """Return how many of `train` tiles show their labels at a ratio in percent, rounded down."""
    return train * ratio // 100


def paper_split(names: Sequence[T]) -> tuple[list[T], list[T], list[T]]:
    """Divide tiles as the papers do: sort, shuffle with seed 42, cut 60/20/20.

    Neighbouring tiles of one scene land in different parts, so scores are not of unseen ground. Only for comparison.
    """
    order = sorted(names)  # type: ignore[type-var]
    random.Random(PAPER_SEED).shuffle(order)  # noqa: S311 - a split, not a secret
    train, val, _ = paper_sizes(len(order))
    return order[:train], order[train : train + val], order[train + val :]


def divide(items: Sequence[Item], policy: Policy, seed: int) -> Division:
    """Give every scene its part.

    Pictures without labels are `unlabelled`. The labelled ones:

    - `official`: the part to report on is the makers' test part or, where its labels are not public, their val part.
      A part to choose the best model on is the makers' val part or, where that is reported on or does not exist, a
      fifth of the training groups. Where the makers hold nothing back, as `scene`.
    - `scene`: whole groups are drawn, 60/20/20.
    """
    labelled = [i for i in items if i.label is not None]
    parts: dict[str, Split] = {i.scene_id: "unlabelled" for i in items if i.label is None}
    held = {i.split for i in labelled} & {"val", "test"}
    notes: list[str] = []
    if policy == "scene" or not held:
        parts |= _drawn(labelled, seed)
        groups = {i.scene_id: i.group for i in items}
        how = "whole scenes, 60/20/20" + ("" if policy == "scene" else " (no labelled part is held back by the makers)")
    else:
        groups = _undivided(items, notes)
        parts |= _official(labelled, groups, seed, notes)
        how = "the official split"
    counts = {part: sum(p == part for p in parts.values()) for part in ("train", "val", "test", "unlabelled")}
    numbers = ", ".join(f"{n} {part}" for part, n in counts.items() if n)
    return Division(parts, groups, (f"split by {how}: {numbers} scenes", *notes))


def _official(labelled: Sequence[Item], groups: Mapping[str, str], seed: int, notes: list[str]) -> dict[str, Split]:
    parts: dict[str, Split] = {i.scene_id: i.split for i in labelled}
    held = set(parts.values())
    if "test" not in held:
        parts = {s: "test" if p == "val" else p for s, p in parts.items()}
        notes.append("no labels of the official test part are there: the official val part is test")
    if "val" not in held or "test" not in held:
        names = _shuffled({groups[s] for s, p in parts.items() if p == "train"}, seed)
        chosen = set(names[: _at_least_one(paper_sizes(len(names))[1], len(names), spare=1)])
        parts = {s: "val" if p == "train" and groups[s] in chosen else p for s, p in parts.items()}
        notes.append(f"val is {len(chosen)} of {len(names)} training groups, drawn with seed {seed}")
    return parts


def _drawn(labelled: Sequence[Item], seed: int) -> dict[str, Split]:
    names = _shuffled({i.group for i in labelled}, seed)
    _, val, test = paper_sizes(len(names))
    test = _at_least_one(test, len(names), spare=1)
    val = _at_least_one(val, len(names) - test, spare=1)
    part: dict[str, Split] = dict.fromkeys(names, "train")
    part |= dict.fromkeys(names[:test], "test")
    part |= dict.fromkeys(names[test : test + val], "val")
    return {i.scene_id: part[i.group] for i in labelled}


def _undivided(items: Sequence[Item], notes: list[str]) -> dict[str, str]:
    """Return groups that an official split does not cut through: a region that it cuts falls into its pictures."""
    splits: dict[str, set[Split]] = {}
    for i in items:
        splits.setdefault(i.group, set()).add(i.split)
    cut = {group for group, found in splits.items() if len(found) > 1}
    if cut:
        notes.append(
            f"the official split divides the pictures of {len(cut)} regions between its parts; "
            "`--split scene` keeps whole regions apart"
        )
    return {i.scene_id: i.scene_id if i.group in cut else i.group for i in items}


def _at_least_one(wanted: int, available: int, *, spare: int) -> int:
    """Return `wanted`, but one where there is one to give and `spare` remain."""
    return max(wanted, 1) if available > spare else 0


def _shuffled(names: set[str], seed: int) -> list[str]:
    order = sorted(names)
    return [order[i] for i in np.random.default_rng(seed).permutation(len(order))]
