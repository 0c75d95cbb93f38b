"""A band of a scene, mapped onto disk by one process; a scene that one process maps is a band of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geosemi.geo.blocks import BLOCK
from geosemi.geo.forgiving import BadBlock
from geosemi.geo.writer import RasterSet
from geosemi.predict.ahead import behind
from geosemi.predict.damage import DamageLog
from geosemi.predict.pipeline import OnProgress, map_rows
from geosemi.predict.task import Task


@dataclass(frozen=True, slots=True)
class BandFacts:
    """What mapping a band brought to light.

    Attributes:
        notes: what a person should know, one sentence each.
        bad: damaged blocks that were left out, from top to bottom.
        kept: rows that were on disk already.
    """

    notes: tuple[str, ...]
    bad: tuple[BadBlock, ...]
    kept: int

    @classmethod
    def joined(cls, bands: Iterable["BandFacts"]) -> "BandFacts":
        """Return the facts of all; what two bands saw counts once."""
        several = list(bands)
        notes = dict.fromkeys(note for band in several for note in band.notes)
        bad = {block for band in several for block in band.bad}
        return cls(tuple(notes), tuple(sorted(bad)), sum(band.kept for band in several))


def bands_of(height: int, count: int) -> list[range]:
    """Return at most `count` bands of rows, as even as whole rows of blocks allow."""
    blocks = -(-height // BLOCK)
    count = min(count, blocks)
    starts = [blocks * number // count * BLOCK for number in range(count)]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], height], strict=True)]


def map_band(task: Task, rasters: RasterSet, folder: Path, on_progress: OnProgress | None = None) -> BandFacts:
    """Map those rows of a band that are not on disk yet.

    Args:
        task: the scene and the model.
        rasters: take the rows.
        folder: of unfinished work; remembers damaged blocks.
        on_progress: told (windows done, windows in all) of this band.

    Raises:
        InputError: the scene is damaged.
        OutputError: the disk is full or fails.
        ResourceError: the device has too little memory, or the network's answer is not a number.
    """
    damage = DamageLog(folder)
    rest = range(rasters.begin, rasters.rows.stop)
    if not rest:
        return BandFacts((), damage.known, len(rasters.rows))
    seen, whole = task.seen(rest), task.seen(rasters.rows)
    with task.forward(seen) as forward, behind(rasters.write, depth=2) as write:
        steps = map_rows(
            seen.view, forward, task.cut, task.answers, rows=whole.rows, begin=seen.rows.start, on_progress=on_progress
        )  # fmt: skip
        for rows in steps:
            damage.add(seen.bad)
            for part in seen.back(rows):
                write(part.row, part.layers)
        damage.add(seen.bad)
        return BandFacts(tuple(forward.notes), damage.known, rest.start - rasters.rows.start)
