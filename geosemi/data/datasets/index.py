"""The lists of a prepared folder: tiles.csv, the papers' list files, the legend and the card of the data set."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from geosemi.data.datasets.base import Original, Split
from geosemi.data.datasets.division import RATIOS, labelled_count, paper_split
from geosemi.data.listfiles import Row, format_list
from geosemi.geo.commit import write_files

COLUMNS = ("image", "label", "group", "split", "row", "col", "scene", "official")


@dataclass(frozen=True, slots=True)
class TileRow:
    """One line of tiles.csv; paths are relative to the prepared folder, `label` is None without truth."""

    image: Path
    label: Path | None
    group: str
    split: Split
    row: int
    col: int
    scene: str
    official: Split


def list_files(rows: Sequence[TileRow], seed: int) -> tuple[dict[Path, list[Row]], list[str]]:
    """Return the list files by name, and notes on ratios that leave no labelled tile."""
    parts: dict[str, list[Row]] = {"train": [], "val": [], "test": [], "unlabelled": []}
    for r in sorted(rows, key=lambda r: r.image):
        parts[r.split].append((r.image, r.label))
    order = np.random.default_rng(seed).permutation(len(parts["train"]))
    lists = _ratio_lists("splits", parts, [parts["train"][i] for i in order])
    labelled: list[Row] = [(r.image, r.label) for r in rows if r.label is not None]
    train, val, test = paper_split(labelled)
    lists |= _ratio_lists("splits_patch", {"train": train, "val": val, "test": test}, train)
    missing = [f"{r} %" for r in RATIOS if Path("splits", str(r), "labeled.txt") not in lists]
    few = f"{len(order)} training tiles are too few for lists of {', '.join(missing)}"
    return lists, [few] if missing else []


def _ratio_lists(folder: str, parts: Mapping[str, list[Row]], order: list[Row]) -> dict[Path, list[Row]]:
    """Return the lists of one folder; a ratio that leaves no labelled tile has none."""
    lists = {Path(folder, f"{part}.txt"): rows for part, rows in parts.items()}
    for ratio in RATIOS:
        count = labelled_count(len(order), ratio)
        if count == 0:
            continue
        lists[Path(folder, str(ratio), "labeled.txt")] = order[:count]
        # without the second column: the label of an unlabelled picture is never to be read
        lists[Path(folder, str(ratio), "unlabeled.txt")] = [(image, None) for image, _ in order[count:]]
    return lists


def write_index(
    out: Path, rows: Sequence[TileRow], lists: Mapping[Path, list[Row]], original: Original, card: Mapping[str, Any]
) -> None:
    """Write tiles.csv, all lists, the legend and, last, dataset.yaml: where it stands the folder is complete."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in rows:
        values = (r.image.as_posix(), r.label.as_posix() if r.label else "", r.group, r.split, r.row, r.col)
        writer.writerow((*values, r.scene, r.official))
    contents: dict[Path, bytes | memoryview] = {}
    for name, entries in lists.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        contents[out / name] = format_list(entries, out / name)
    contents[out / "legend.yaml"] = _plain_yaml(original.legend.to_dict())
    contents[out / "tiles.csv"] = table.getvalue().encode()
    contents[out / "dataset.yaml"] = _plain_yaml(card)
    write_files(contents)


def _plain_yaml(content: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120).encode()
