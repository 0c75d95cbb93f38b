"""Results of single runs → a sheet for each data set and ratio: means over seeds, and how sure the differences are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geosemi.benchmark.plan import Run
from geosemi.benchmark.runs import Result
from geosemi.benchmark.settings import BenchmarkSettings
from geosemi.benchmark.stats import least_p, mean_and_spread, paired_t, sign_flip

_MET = {
    "labelled": "LEAKY because the labels of some of them were trained on",
    "unlabelled": "of which training saw some without their labels",
    "validation": "of which some chose the best step, which flatters",
}
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
            baseline itself.
        p_flip: of the sign-flip test, NaN where there is nothing to test.
        p_t: of the paired t test.
        seconds: a training step, the median over seeds of medians.
        steps: of a run.
        model: the network.
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


@dataclass(frozen=True, slots=True)
class Sheet:
    """All arms on one data set at one ratio.

    Attributes:
        dataset: its name.
        ratio: percent of labels.
        rows: an arm each, in the order of the YAML.
        classes: names.
        planned: seeds that the benchmark asks for.
        ground: what was scored.
        protocol: how.
        leaky: whether test ground touches training ground, or is of it.
        seen: test scenes that the runs met: part of the split → names.
        labelled: labelled blocks, and of how many.
        baseline: the arm that gains are against, or None.
    """

    dataset: str
    ratio: float
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    planned: int
    ground: str
    protocol: str
    leaky: bool
    seen: Mapping[str, Sequence[str]]
    labelled: tuple[int, int]
    baseline: str | None

    @property
    def title(self) -> str:
        """Name, ratio and, where it is so, a warning."""
        return f"{self.dataset}, {self.ratio:g} % of the labels{f' – {self.warning}' if self.warning else ''}"

    @property
    def warning(self) -> str:
        """What stands beside the name wherever it stands, or nothing."""
        if "labelled" in self.seen:
            return "LEAKY test scenes"
        return "LEAKY split by patch" if self.leaky else ""


def sheets(settings: BenchmarkSettings, results: Sequence[Result], planned: Sequence[Run]) -> list[Sheet]:
    """Return a sheet for each data set and ratio that has a result.

    Args:
        settings: of the benchmark.
        results: of the runs that are done.
        planned: all runs; arms without a result are left out.
    """
    arms = list(dict.fromkeys(run.arm for run in planned))
    found = []
    for dataset in settings.datasets:
        for ratio in settings.ratios:
            here = [r for r in results if (r.run.dataset, r.run.ratio) == (dataset, ratio)]
            if here:
                found.append(_sheet(settings, dataset, ratio, {a: [r for r in here if r.run.arm == a] for a in arms}))
    return found


def _sheet(settings: BenchmarkSettings, dataset: str, ratio: float, by_arm: Mapping[str, list[Result]]) -> Sheet:
    first = next(found[0] for found in by_arm.values() if found)
    base = {r.run.seed: r.figures["miou"] for r in by_arm.get(settings.baseline or "", [])}
    rows = [_row(arm, found, {} if arm == settings.baseline else base) for arm, found in by_arm.items() if found]
    return Sheet(
        dataset,
        ratio,
        tuple(rows),
        tuple(first.iou),
        planned=len(settings.seeds),
        ground=first.ground,
        protocol=str(first.facts["protocol"]),
        leaky=first.run.leaky or "labelled" in first.facts.get("seen", {}),
        seen=first.facts.get("seen", {}),
        labelled=(int(first.facts["labelled_blocks"]), int(first.facts["train_blocks"])),
        baseline=settings.baseline,
    )


def _row(arm: str, found: Sequence[Result], base: Mapping[int, float]) -> Row:
    gain = [r.figures["miou"] - base[r.run.seed] for r in found if r.run.seed in base]
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
    )


def _median(values: Sequence[float]) -> float:
    known = sorted(v for v in values if not math.isnan(v))
    return known[len(known) // 2] if known else math.nan


def verdict(sheet: Sheet) -> str:
    """Say in a sentence what so many seeds can show."""
    pairs = max((len(row.gain) for row in sheet.rows), default=0)
    if sheet.baseline is None or pairs == 0:
        return "No baseline: nothing is tested."
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


def notes(sheet: Sheet) -> list[str]:
    """Return what must stand below a table."""
    total = f"{sheet.labelled[0]} of {sheet.labelled[1]} training blocks labelled"
    told = [f"IoU in percent, mean ± standard deviation over seeds; protocol `{sheet.protocol}`; {total}."]
    if sheet.ground == "test" and sheet.seen:
        told += [
            f"Scored on whole test scenes, {_MET[part]}: {', '.join(names)}." for part, names in sheet.seen.items()
        ]
    elif sheet.ground == "test":
        told.append("Scored on whole test scenes that no step of training or model choice saw.")
    else:
        told.append(
            "There is no test ground: scored on the validation ground at the last step, not at the best one, because "
            "the best of many looks at the ground that is reported flatters."
        )
    if sheet.leaky and not sheet.seen:
        told.append(
            "LEAKY: divided by patch as in the papers. Test patches touch training patches, so scores are optimistic "
            "and say little about new ground."
        )
    if any(len(row.seeds) < sheet.planned for row in sheet.rows):
        told.append(f"Unfinished: some rows have fewer than {sheet.planned} seeds.")
    return [*told, verdict(sheet)]
