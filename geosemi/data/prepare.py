"""Cut the pictures of an original download into georeferenced tiles, once; no pixel is resampled.

What lies in the output folder:

    dataset.yaml            name, resolution, bands, crs, source, licence, exclude_from_mean, settings, tiles by part, …
    legend.yaml             the classes (`Legend.load`); label files hold their ids, 255 is ignored
    tiles.csv               image,label,group,split,row,col,scene,official: paths relative to the folder
    images/NAME.tif         deflate, the source's bands and dtype; an internal mask where the source has nodata
    labels/NAME.tif         uint8, nodata 255, coloured; absent (an empty column) where the makers published none
    splits/                 train.txt, val.txt, test.txt, unlabelled.txt, and RATIO/labeled.txt, unlabeled.txt
    splits_patch/           the same at patch level, as the papers divide: neighbours in all parts, for comparison only

NAME is SCENE_ROW_COL; row and col are the tile's first pixel in its scene. `split` is the part to use (train, val,
test, unlabelled), `official` the makers' part. No `group` is divided between train, val and test. Labelled tiles of a
ratio are a prefix of one seeded order of the training tiles, so 1 % is part of 5 %, which is part of 10 %.

Tiles at the right and lower rim keep their true size. The papers pad them to full tiles; padding would claim ground
that belongs to the neighbouring picture, perhaps of another split, and a loader pads anyway. The number of tiles is
the same.

Pictures without georeference get a local engineering crs in metres and lie apart on this invented ground.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from rasterio.crs import CRS

from geosemi.data.datasets import DATASETS, Original
from geosemi.data.datasets.base import Item
from geosemi.data.datasets.division import Division, Policy, divide
from geosemi.data.datasets.encode import encode_image, encode_label
from geosemi.data.datasets.index import TileRow, list_files, write_index
from geosemi.data.datasets.journal import Journal
from geosemi.data.datasets.placing import LOCAL_CRS, on_invented_ground
from geosemi.errors import ConfigError
from geosemi.geo.commit import write_files
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window
from geosemi.settings import Settings

FORMAT = 1
Pictures = Sequence[tuple[Item, Scene]]


class PrepareSettings(Settings):
    """How an original download is cut."""

    tile: int = Field(default=512, ge=32, le=8192, description="side of a tile in pixels")
    bands: str | None = Field(
        default=None, description="choice of bands, e.g. `rgb`; the data set's first if not given"
    )
    split: Policy = Field(default="official", description="`official` parts, or whole `scene`s drawn 60/20/20")
    seed: int = Field(default=0, ge=0, description="draws what the makers left open, and the labelled tiles")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done.

    Attributes:
        folder: the output.
        tiles: tiles in it.
        kept: how many of them were there already.
        counts: part → tiles.
        notes: sentences for people.
    """

    folder: Path
    tiles: int
    kept: int
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def prepare(
    dataset: str,
    source: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Tile an original download. A second run with the same arguments goes on where the first stopped.

    Args:
        dataset: a name in `DATASETS`.
        source: folder of the unpacked download; nothing is written there.
        out: a new folder, or one that the same call began.
        settings: tile size, bands, split.
        on_progress: called with (tiles done, tiles in all).

    Raises:
        ConfigError: no such data set or bands.
        DatasetMissing: the download, or a part of it, is not there.
        InputError: a picture or label of it is damaged.
        OutputError: the output folder is in use for something else, or the disk is full.
    """
    original = _known(dataset)
    settings = settings or PrepareSettings()
    settings = settings.model_copy(update={"bands": original.choose_bands(settings.bands)})
    found = original.survey(source, settings.bands)
    scenes = [original.scene(item, settings.bands) for item in found.items]
    pictures = list(zip(found.items, on_invented_ground(scenes, original.resolution, settings.tile), strict=True))
    division = divide(found.items, settings.split, settings.seed)
    request = {"format": FORMAT, "dataset": dataset, "bands": settings.bands, "tile": settings.tile}
    journal = Journal.open(out, {**request, "files": _fingerprint(found.items, source)})
    kept = _cut_all(original, pictures, out, settings.tile, journal, on_progress)
    rows = [r for item, scene in pictures for r in _rows(item, scene, settings.tile, division)]
    lists, too_few = list_files(rows, settings.seed)
    notes = (*found.notes, *division.notes, *_on_crs(original, pictures), *_on_unknown(journal), *too_few)
    prepared = Prepared(out, len(rows), kept, _counts(rows), notes)
    card = {**_card(original, pictures, settings), "unknown_label_pixels": sum(journal.done.values())}
    write_index(out, rows, lists, original, {**card, "tiles": prepared.counts, "notes": list(notes)})
    return prepared


def _counts(rows: Sequence[TileRow]) -> dict[str, int]:
    return {part: sum(r.split == part for r in rows) for part in ("train", "val", "test", "unlabelled")}


def _card(original: Original, pictures: Pictures, settings: PrepareSettings) -> dict[str, Any]:
    words = {"invented" if _invented(scene) else scene.grid.crs.to_string() for _, scene in pictures if scene.grid.crs}
    return {
        "format": FORMAT,
        "name": original.name,
        "title": original.title,
        "resolution": original.resolution,
        "bands": list(original.bands[original.choose_bands(settings.bands)]),
        "crs": ", ".join(sorted(words)) if len(words) <= 3 else "as in each file",
        "source": original.source,
        "licence": original.licence,
        "exclude_from_mean": list(original.exclude_from_mean),
        "settings": settings.model_dump(),
        "scenes": len(pictures),
    }


def _invented(scene: Scene) -> bool:
    return bool(scene.grid.crs == CRS.from_wkt(LOCAL_CRS))


def _known(dataset: str) -> Original:
    if dataset not in DATASETS:
        raise ConfigError(
            f"there is no data set `{dataset}` to prepare",
            hint=f"choose one of {', '.join(DATASETS)}; your own scenes need no preparing: `--dataset scenes`",
        )
    return DATASETS[dataset]


def _fingerprint(items: Sequence[Item], source: Path) -> str:
    """Return a digest of names, sizes and times of the source files."""
    digest = hashlib.sha256()
    for path in (p for i in items for p in (i.image, i.label) if p is not None):
        info = path.stat()
        digest.update(f"{path.relative_to(source).as_posix()}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _windows(scene: Scene, tile: int) -> Iterator[list[Window]]:
    """Yield the windows of a scene, one row of tiles at a time; those at the rim are smaller."""
    height, width = scene.grid.shape
    for row in range(0, height, tile):
        tall = min(tile, height - row)
        yield [Window(row, col, tall, min(tile, width - col)) for col in range(0, width, tile)]


def _rows(item: Item, scene: Scene, tile: int, division: Division) -> Iterator[TileRow]:
    group, split = division.groups[item.scene_id], division.parts[item.scene_id]
    for w in (w for line in _windows(scene, tile) for w in line):
        name = _name(item, w)
        label = Path("labels", name) if item.label else None
        yield TileRow(Path("images", name), label, group, split, w.row, w.col, item.scene_id, item.split)


def _name(item: Item, window: Window) -> str:
    return f"{item.scene_id}_{window.row:05d}_{window.col:05d}.tif"


def _cut_all(
    original: Original,
    pictures: Pictures,
    out: Path,
    tile: int,
    journal: Journal,
    on_progress: Callable[[int, int], None] | None,
) -> int:
    """Cut every scene that is not finished; return how many tiles were there already."""
    report = on_progress or _silent
    counts = [sum(len(line) for line in _windows(s, tile)) for _, s in pictures]
    done, kept, total = 0, 0, sum(counts)
    for folder in ("images", "labels"):
        (out / folder).mkdir(exist_ok=True)
    for (item, scene), count in zip(pictures, counts, strict=True):
        names = [_name(item, w) for line in _windows(scene, tile) for w in line]
        folders = ("images", "labels") if item.label else ("images",)
        if item.scene_id in journal.done and all((out / f / n).is_file() for f in folders for n in names):
            done, kept = done + count, kept + count
            report(done, total)
            continue
        unknown = 0
        for line_unknown, line_tiles in _cut(original, item, scene, out, tile):
            unknown, done = unknown + line_unknown, done + line_tiles
            report(done, total)
        journal.add(item.scene_id, unknown)
    return kept


def _silent(done: int, total: int) -> None:  # noqa: ARG001 - the shape of a progress callback
    return


def _cut(original: Original, item: Item, scene: Scene, out: Path, tile: int) -> Iterator[tuple[int, int]]:
    """Write one row of tiles after the other; yield unknown label pixels and tiles of each."""
    about = {"GEOSEMI_DATASET": original.name, "GEOSEMI_SCENE": item.scene_id, "GEOSEMI_LICENCE": original.licence}
    if _invented(scene):
        about["GEOSEMI_CRS"] = "invented: the source has no georeference; only distances inside a scene are real"
    with reading(scene) as reader:
        for line in _windows(scene, tile):
            # a whole row at once: the sources store their pixels in strips, which tile-wise reads would decode again
            strip = Window(line[0].row, 0, line[0].height, scene.grid.width)
            pixels = reader.read(strip)
            truth = original.read_label(item, strip) if item.label else None
            contents: dict[Path, bytes | memoryview] = {}
            for w in line:
                columns, grid, name = w.slices[1], scene.grid.crop(w), _name(item, w)
                tags = {**about, "GEOSEMI_WINDOW": f"row {w.row}, col {w.col}, {w.height} x {w.width}"}
                if truth is not None:
                    ids = np.ascontiguousarray(truth.ids[:, columns])
                    contents[out / "labels" / name] = encode_label(ids, grid, original.legend, tags)
                image = np.ascontiguousarray(pixels.image[:, :, columns])
                contents[out / "images" / name] = encode_image(image, pixels.valid[:, columns], grid, scene.bands, tags)
            write_files(contents)
            yield (truth.unknown if truth else 0), len(line)


def _on_crs(original: Original, pictures: Pictures) -> list[str]:
    invented = sum(_invented(scene) for _, scene in pictures)
    if not invented:
        return []
    which = "the pictures have" if invented == len(pictures) else f"{invented} of {len(pictures)} pictures have"
    return [f"{which} no georeference: they lie on invented ground at {original.resolution:g} m a pixel"]


def _on_unknown(journal: Journal) -> list[str]:
    scenes = {name: count for name, count in journal.done.items() if count}
    if not scenes:
        return []
    worst = sorted(scenes, key=lambda name: -scenes[name])[:3]
    named = ", ".join(f"{name} ({scenes[name]:,})" for name in worst)
    return [
        f"{sum(scenes.values()):,} label pixels in {len(scenes)} of the scenes are in no table and are ignored: {named}"
    ]
