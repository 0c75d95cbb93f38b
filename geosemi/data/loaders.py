"""Chips for every step of a run. What step t sees depends on the seed and t alone, so a resumed run sees the same."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from geosemi.data.batch import Chips
from geosemi.data.keyed import keyed_generator
from geosemi.data.labels import NO_TRUTH
from geosemi.data.scenes import SceneSet
from geosemi.data.settings import DataSettings, LoaderSettings
from geosemi.data.splits import Region, Split
from geosemi.data.torchgeo import ChipSampler, GeoQuery, SceneDataset, to_chips, to_slices
from geosemi.geo.window import Window, cover

KEEP_BYTES = 2**30  # scenes are decoded once and kept while all of them together stay under this


@dataclass(frozen=True, slots=True)
class Spot:
    """A chip to be read: which of the loader's data sets, and where."""

    source: int
    query: GeoQuery


class SpotDataset(Dataset[tuple[dict[str, Any], str]]):
    """TorchGeo data sets side by side; a spot gives its sample and a name for messages."""

    def __init__(self, sources: Sequence[SceneDataset]) -> None:
        self.sources = sources

    def __getitem__(self, spot: Spot) -> tuple[dict[str, Any], str]:
        source = self.sources[spot.source]
        x, y = spot.query[0].start, spot.query[1].stop
        return source[spot.query], f"{source.source.name}@{x:.2f},{y:.2f}"


class Stream:
    """The order in which one kind of chip is drawn.

    Regions are drawn by a fresh permutation each epoch, a large region as often as chips fit into it, so that an epoch
    covers the ground about once.

    Args:
        regions: where chips may lie.
        sources: the data sets, by scene name.
        size: side of a chip.
        seed: of the run.
        name: keeps the draws of two streams apart.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        sources: dict[str, tuple[int, SceneDataset]],
        *,
        size: int,
        seed: int,
        name: str,
    ) -> None:
        self._sources = sources
        self._seed, self._name = seed, name
        self._samplers = []
        self._order: list[int] = []
        for number, region in enumerate(regions):
            index, dataset = sources[region.scene]
            chips = max(1, math.ceil(region.window.height * region.window.width / size**2))
            self._samplers.append((index, ChipSampler(dataset, region.window, size=size, seed=seed, length=chips)))
            self._order += [number] * chips
        self._permutation: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        """Chips in an epoch."""
        return len(self._order)

    def spot(self, number: int) -> Spot:
        """Return chip `number` of the run."""
        epoch, position = divmod(number, len(self._order))
        if self._permutation[0] != epoch:
            generator = keyed_generator(self._seed, self._name, "epoch", epoch)
            self._permutation = (epoch, torch.randperm(len(self._order), generator=generator).tolist())
        index, sampler = self._samplers[self._order[self._permutation[1][position]]]
        return Spot(index, sampler.query(number))


class ChipLoader:
    """Labelled and unlabelled chips, step by step, for one rank.

    Args:
        scenes: all scenes of the run.
        split: which regions are labelled and unlabelled.
        data: how labels are read.
        settings: sizes and workers.
        seed: of the run.
        unlabelled: False for methods that learn from labels alone: their steps get twice the labelled chips instead,
            so that methods are compared at equal work (docs/methods.md).
        opinions: whether opinion rasters are read.
        judged: whether labelled chips carry opinions too, to be held against truth.
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(  # noqa: PLR0913 - what a rank reads is decided by all of these
        self,
        scenes: SceneSet,
        split: Split,
        data: DataSettings,
        settings: LoaderSettings,
        *,
        seed: int,
        unlabelled: bool,
        opinions: bool,
        judged: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._settings, self._rank, self._ranks = settings, rank, ranks
        self._silent_classes = len(scenes.legend) if opinions and scenes.has_opinions else 0
        self._judged = judged and opinions
        size = settings.size
        keep = _bytes(scenes, split) <= KEEP_BYTES
        by_name = {s.name: s for s in scenes.scenes}

        def sources(regions: Sequence[Region], offset: int, labels: bool) -> dict[str, tuple[int, SceneDataset]]:
            names = sorted({r.scene for r in regions})
            return {
                name: (
                    offset + i,
                    SceneDataset(
                        by_name[name],
                        scenes.legend,
                        data,
                        with_label=labels,
                        with_opinion=opinions and (judged or not labels),
                        keep=keep,
                    ),
                )
                for i, name in enumerate(names)
            }

        with_truth = sources(split.labelled, 0, labels=True)
        without = sources(split.unlabelled, len(with_truth), labels=False) if unlabelled else {}
        self._dataset = SpotDataset([d for _, d in (*with_truth.values(), *without.values())])
        self._labelled = Stream(split.labelled, with_truth, size=size, seed=seed, name="labelled")
        self._unlabelled = (
            Stream(split.unlabelled, without, size=size, seed=seed, name="unlabelled") if without else None
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which all ranks together draw every unlabelled place once (labelled, where there are no others)."""
        stream, per_step = (
            (self._unlabelled, self._settings.unlabelled)
            if self._unlabelled
            else (self._labelled, 2 * self._settings.labelled)
        )
        return max(1, len(stream) // (per_step * self._ranks))

    def steps(self, start: int, stop: int) -> Iterator[tuple[Chips, Chips | None]]:
        """Yield (labelled, unlabelled) chips of steps `start … stop-1`."""
        loader = DataLoader(
            self._dataset,
            batch_sampler=_Plan(self, start, stop),
            collate_fn=list,
            num_workers=self._settings.workers,
            multiprocessing_context="spawn" if self._settings.workers else None,
            persistent_workers=False,
            # the loader draws a seed for its workers; from torch's own state that would move every layer that draws
            generator=torch.Generator(),
        )
        labelled = self._settings.labelled * (1 if self._unlabelled else 2)
        for samples in loader:
            with_truth, without = samples[:labelled], samples[labelled:]
            judged = self._silent_classes if self._judged else 0
            yield self._chips(with_truth, judged), self._chips(without, self._silent_classes) if without else None

    @staticmethod
    def _chips(samples: Sequence[tuple[dict[str, Any], str]], silent_classes: int) -> Chips:
        return to_chips([s for s, _ in samples], [p for _, p in samples], silent_classes)

    def spots(self, step: int) -> list[Spot]:
        """Return what one step of this rank reads: labelled spots first."""
        doubled = 1 if self._unlabelled else 2
        wanted = [(self._labelled, self._settings.labelled * doubled)]
        if self._unlabelled:
            wanted.append((self._unlabelled, self._settings.unlabelled))
        return [
            stream.spot((step * self._ranks + self._rank) * count + i) for stream, count in wanted for i in range(count)
        ]


class _Plan:
    """The spots of a range of steps, made when they are asked for."""

    def __init__(self, loader: ChipLoader, start: int, stop: int) -> None:
        self._loader, self._start, self._stop = loader, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[list[Spot]]:
        return (self._loader.spots(t) for t in range(self._start, self._stop))


class Shown(NamedTuple):
    """Chips to look at, and (B, S, S) bool which of their pixels count; the truth of the others is 255."""

    chips: Chips
    own: torch.Tensor


def validation_chips(  # noqa: PLR0913 - what is read, and how much of it is shown
    scenes: SceneSet,
    regions: Sequence[Region],
    data: DataSettings,
    *,
    size: int,
    batch: int,
    only: Collection[int] | None = None,
    hidden: Sequence[Region] = (),
    opinions: bool = False,
) -> Iterator[Shown]:
    """Yield chips that cover regions; of each pixel one counts.

    Args:
        scenes: all scenes of the run.
        regions: the ground to cover.
        data: how labels are read.
        size: side of a chip in pixels.
        batch: most chips at a time.
        only: numbers of the chips wanted, of `count_chips(regions, size)`; the others are not read. None takes all.
        hidden: regions whose truth is left out, because training knows it.
        opinions: whether opinion rasters are read.
    """
    used = {r.scene for r in regions}
    datasets = {
        s.name: SceneDataset(s, scenes.legend, data, with_label=True, with_opinion=opinions, keep=False)
        for s in scenes.scenes
        if s.name in used
    }
    silent = len(scenes.legend) if opinions else 0
    samples: list[dict[str, Any]] = []
    places: list[str] = []
    for number, (name, chip, fresh) in enumerate(_cover_once(regions, size, hidden)):
        if only is not None and number not in only:
            continue
        dataset = datasets[name]
        sample = dataset[to_slices(dataset.source.scene.grid, chip)]
        truth = sample.get("mask", torch.full(fresh.shape, NO_TRUTH))
        sample |= {"mask": truth.masked_fill(~fresh, NO_TRUTH), "own": fresh}
        samples.append(sample)
        places.append(f"{name}@{chip.row},{chip.col}")
        if len(samples) == batch:
            yield _shown(samples, places, silent)
            samples, places = [], []
    if samples:
        yield _shown(samples, places, silent)


def _shown(samples: Sequence[dict[str, Any]], places: Sequence[str], silent: int) -> Shown:
    return Shown(to_chips(samples, places, silent), torch.stack([s["own"] for s in samples]))


def count_chips(regions: Sequence[Region], size: int) -> int:
    """Return how many chips `validation_chips` makes of regions."""
    return sum(1 for r in regions for _ in cover(r.window.height, r.window.width, size))


def _cover_once(
    regions: Sequence[Region], size: int, hidden: Sequence[Region]
) -> Iterator[tuple[str, Window, torch.Tensor]]:
    """Yield scene, chip and the pixels of the chip (size, size) bool that lie in the region, in none of the hidden
    ones and in no chip before.
    """  # noqa: D205
    for region in regions:
        area = region.window
        unseen = torch.ones(area.shape, dtype=torch.bool)
        for part in (r.window.intersection(area) for r in hidden if r.scene == region.scene):
            if part is not None:
                unseen[Window(part.row - area.row, part.col - area.col, part.height, part.width).slices] = False
        for window in cover(area.height, area.width, size):
            fresh = torch.zeros((size, size), dtype=torch.bool)
            fresh[: window.height, : window.width] = unseen[window.slices]
            unseen[window.slices] = False
            yield region.scene, Window(area.row + window.row, area.col + window.col, size, size), fresh


def _bytes(scenes: SceneSet, split: Split) -> int:
    used = {r.scene for r in (*split.labelled, *split.unlabelled)}
    grids = [s.scene.grid for s in scenes.scenes if s.name in used]
    item = 2 if scenes.scenes[0].scene.dtype == "uint16" else 1 if scenes.scenes[0].scene.dtype == "uint8" else 4
    return sum(g.height * g.width for g in grids) * (len(scenes.bands) * item + 2 + len(scenes.legend))
