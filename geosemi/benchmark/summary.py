"""Results of single runs → a sheet for each data set and ratio: means over seeds, and how sure the differences are."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from geosemi.benchmark.footing import Footing
from geosemi.benchmark.plan import Run
from geosemi.benchmark.runs import Result
from geosemi.benchmark.settings import BenchmarkSettings
from geosemi.benchmark.stats import least_p, mean_and_spread, paired_t, sign_flip

Spread = tuple[float, float]  # mean and sample standard deviation


@dataclass(frozen=True, slots=True)
class Row:
    """One arm of a sheet; all figures are 0 … 1, NaN where undefined.

    Attributes:
        arm: its name.
        seeds: seeds that are done.
        miou: mean IoU of each of them, in their order.
        mean: of those.
        oa: overall accuracy.
        iou: by class.
        gain: mIoU minus that of the baseline with the same seed, one for each seed that both have; empty for the
            baseline itself, and where the two were not scored on the same ground.
        p_flip: of the sign-flip test, NaN where there is nothing to test.
        p_t: of the paired t test.
        seconds: a training step, the median over seeds of medians.
        steps: of a run.
        model: the network.
        footings: what was scored; several where the data changed between its runs.
        apart: in which ways its ground is not that of the baseline.
    """

    arm: str
    seeds: tuple[int, ...]
    miou: tuple[float, ...]
    mean: Spread
    oa: Spread
    iou: Mapping[str, Spread]
    gain: tuple[float, ...]
    p_flip: float
    p_t: float
    seconds: float
    steps: int
    model: str
    footings: tuple[Footing, ...]
    apart: tuple[str, ...]

    @property
    def leaks(self) -> tuple[str, ...]:
        """How test ground touches training ground, or is of it."""
        return tuple(dict.fromkeys(f.leak for f in self.footings if f.leak))


@dataclass(frozen=True, slots=True)
class Sheet:
    """All arms on one data set at one ratio.

    Attributes:
        dataset: its name.
        ratio: percent of labels.
        rows: an arm each, in the order of the YAML.
        classes: names.
        missing: arms with seeds that have no result → these seeds.
        protocol: how it is scored.
        leaky: whether the test ground of any arm touches its training ground, or is of it.
        baseline: the arm that gains are against, or None.
    """

    dataset: str
    ratio: float
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    missing: Mapping[str, tuple[int, ...]]
    protocol: str
    leaky: bool
    baseline: str | None

    @property
    def title(self) -> str:
        """Name, ratio and, where it is so, a warning."""
        return f"{self.dataset}, {self.ratio:g} % of the labels{f' – {self.warning}' if self.warning else ''}"

    @property
    def warning(self) -> str:
        """What stands beside the name wherever it stands, or nothing; arms are named unless all of them leak."""
        leaky = [row for row in self.rows if row.leaks]
        where = "" if len(leaky) == len(self.rows) else f": {', '.join(row.arm for row in leaky)}"
        what = ", ".join(dict.fromkeys(leak for row in leaky for leak in row.leaks))
        return f"{what}{where}" if leaky else ""

    def label(self, row: Row) -> str:
        """Return the name of an arm with all that must stand beside it."""
        marks = ["baseline"] if row.arm == self.baseline else []
        marks += ["LEAKY"] if row.leaks else []
        marks += ["other ground"] if row.apart else []
        return f"{row.arm} ({', '.join(marks)})" if marks else row.arm


def sheets(settings: BenchmarkSettings, results: Sequence[Result], planned: Sequence[Run]) -> list[Sheet]:
    """Return a sheet for each data set and ratio, without rows where there is no result.

    Args:
        settings: of the benchmark.
        results: of the runs that are done.
        planned: all runs.
    """
    found = []
    for dataset, ratio in product(settings.datasets, settings.ratios):
        runs = [run for run in planned if (run.dataset, run.ratio) == (dataset, ratio)]
        found.append(_sheet(settings, runs, [r for r in results if (r.run.dataset, r.run.ratio) == (dataset, ratio)]))
    return found


def _sheet(settings: BenchmarkSettings, runs: Sequence[Run], results: Sequence[Result]) -> Sheet:
    by_arm = {arm: [r for r in results if r.run.arm == arm] for arm in dict.fromkeys(run.arm for run in runs)}
    base = by_arm.get(settings.baseline or "", [])
    rows = tuple(_row(arm, found, base) for arm, found in by_arm.items() if found)
    done = {(r.run.arm, r.run.seed) for r in results}
    missing = {arm: tuple(r.seed for r in runs if r.arm == arm and (arm, r.seed) not in done) for arm in by_arm}
    return Sheet(
        runs[0].dataset,
        runs[0].ratio,
        rows,
        tuple(dict.fromkeys(name for row in rows for name in row.iou)),
        missing={arm: seeds for arm, seeds in missing.items() if seeds},
        protocol=runs[0].settings.train.protocol,
        leaky=any(row.leaks for row in rows),
        baseline=settings.baseline,
    )


def _row(arm: str, found: Sequence[Result], base: Sequence[Result]) -> Row:
    held = {r.run.seed: r for r in base}
    apart = [why for r in found for b in base[:1] for why in Footing.of(r).against(Footing.of(held.get(r.run.seed, b)))]
    pairs = [] if apart or found is base else [(r, held[r.run.seed]) for r in found if r.run.seed in held]
    gain = [ours.figures["miou"] - theirs.figures["miou"] for ours, theirs in pairs]
    footings = [Footing.of(r) for r in found]
    return Row(
        arm=arm,
        seeds=tuple(r.run.seed for r in found),
        miou=tuple(r.figures["miou"] for r in found),
        mean=mean_and_spread([r.figures["miou"] for r in found]),
        oa=mean_and_spread([r.figures["oa"] for r in found]),
        iou={name: mean_and_spread([r.iou[name] for r in found]) for name in found[0].iou},
        gain=tuple(gain),
        p_flip=sign_flip(gain) if len(gain) > 1 else math.nan,
        p_t=paired_t(gain),
        seconds=_median([r.seconds for r in found]),
        steps=int(found[0].facts["steps"]),
        model=str(found[0].facts["model"]),
        footings=tuple(f for n, f in enumerate(footings) if f not in footings[:n]),
        apart=tuple(dict.fromkeys(apart)),
    )


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return statistics.median(known) if known else math.nan


def verdict(sheet: Sheet) -> str:
    """Say in a sentence what so many seeds can show."""
    pairs = max((len(row.gain) for row in sheet.rows), default=0)
    if pairs == 0:
        return f"{_why_untested(sheet)}: nothing is tested."
    if pairs == 1:
        return "One seed: a difference of two runs, which says nothing about luck."
    compared = sum(1 for row in sheet.rows if row.gain)
    least = least_p(pairs)
    cannot = " – so it cannot show significance at .05, whatever the differences" if least > 0.05 else ""
    several = f" {compared} arms are compared, and p is not corrected for that." if compared > 1 else ""
    return (
        f"p: exact two-sided sign-flip test over {pairs} seeds, the same for both; the smallest that it can give is "
        f"{least:.3g}{cannot}. p(t): paired t test, which takes the differences for normal.{several}"
    )


def _why_untested(sheet: Sheet) -> str:
    others = [row for row in sheet.rows if row.arm != sheet.baseline]
    if sheet.baseline is None:
        return "No baseline"
    if len(others) == len(sheet.rows):
        return f"The baseline {sheet.baseline} has no result"
    if not others:
        return f"No result beside that of the baseline {sheet.baseline}"
    apart = all(row.apart for row in others)
    return f"No arm {'stands on the ground of' if apart else 'has a seed in common with'} {sheet.baseline}"


def notes(sheet: Sheet) -> list[str]:
    """Return what must stand below a table."""
    told = [f"IoU in percent, mean ± standard deviation over seeds; protocol `{sheet.protocol}`."]
    told += sentences(sheet, lambda footing: [f"{footing.blocks}."])
    told += sentences(sheet, Footing.told)
    told += [
        f"No gain and no p for {row.arm}: it does not stand on the ground of {sheet.baseline} ({'; '.join(row.apart)})."
        for row in sheet.rows
        if row.apart
    ]
    return [*told, *unfinished(sheet), verdict(sheet)]


def unfinished(sheet: Sheet) -> list[str]:
    """Return a sentence with the arms and seeds that have no result, or nothing: what failed must not just vanish."""
    arms: dict[tuple[int, ...], list[str]] = {}
    for arm, seeds in sheet.missing.items():
        arms.setdefault(seeds, []).append(arm)
    told = [f"{', '.join(of)} ({'seeds' if len(k) > 1 else 'seed'} {', '.join(map(str, k))})" for k, of in arms.items()]
    return [f"Unfinished: no result of {'; '.join(told)}."] if told else []


def sentences(sheet: Sheet, say: Callable[[Footing], list[str]]) -> list[str]:
    """Return sentences on grounds, each once, with the names of those that it is true of unless it is of all."""
    arms: dict[str, list[str]] = {}
    for row in sheet.rows:
        for sentence in dict.fromkeys(s for footing in row.footings for s in say(footing)):
            arms.setdefault(sentence, []).append(row.arm)
    return [s if len(of) == len(sheet.rows) else f"{', '.join(of)}: {s}" for s, of in arms.items()]
