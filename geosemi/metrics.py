"""How good is a mask: a confusion matrix, and the figures that follow from it under a stated protocol.

Published figures differ by their protocol more than by their method: which truth is dropped, which classes enter the
mean, and what an absent class counts. A `Protocol` says so in four keys, and a `Confusion` keeps enough to compute any
of them afterwards.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geosemi.errors import LegendError
from geosemi.legend import Legend

Counts = npt.NDArray[np.int64]


class Confusion:
    """Counts of truth against prediction, added up piece by piece.

    Attributes:
        matrix: (K, K) int64, rows are truth, columns are prediction.
        ignored: (K,) int64, predictions on pixels without truth.
        unpredicted: (K,) int64, truth on pixels without prediction (nodata of a mask); they enter no figure.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"need at least one class, got {classes}")
        self.classes = classes
        self.matrix: Counts = np.zeros((classes, classes), dtype=np.int64)
        self.ignored: Counts = np.zeros(classes, dtype=np.int64)
        self.unpredicted: Counts = np.zeros(classes, dtype=np.int64)

    def add(self, pred: npt.ArrayLike, truth: npt.ArrayLike, ignore: int = 255) -> None:
        """Count pixels.

        Args:
            pred: class ids of any integer dtype and shape; `ignore` where nothing was predicted.
            truth: the same shape; `ignore` where there is no truth.
            ignore: the value that is no class.

        Raises:
            LegendError: a value is neither a class id nor `ignore`.
        """
        p, t = self._coded(pred, ignore, "prediction"), self._coded(truth, ignore, "truth")
        if p.shape != t.shape:
            raise ValueError(f"prediction and truth differ in shape: {p.shape} and {t.shape}")
        side = self.classes + 1  # the last row and column stand for `ignore`
        table = np.bincount((t * side + p).ravel(), minlength=side * side).reshape(side, side)
        self.matrix += table[:-1, :-1]
        self.ignored += table[-1, :-1]
        self.unpredicted += table[:-1, -1]

    def merge(self, other: "Confusion") -> None:
        """Add the counts of another part of the same data, e.g. of another rank."""
        if other.classes != self.classes:
            raise ValueError(f"cannot merge {other.classes} classes into {self.classes}")
        self.matrix += other.matrix
        self.ignored += other.ignored
        self.unpredicted += other.unpredicted

    @property
    def counts(self) -> Counts:
        """(K + 2, K) int64: the matrix, then `ignored` and `unpredicted`. To be set after a sum over ranks."""
        return np.vstack([self.matrix, self.ignored, self.unpredicted])

    @counts.setter
    def counts(self, counts: Counts) -> None:
        self.matrix, self.ignored, self.unpredicted = counts[:-2], counts[-2], counts[-1]

    def _coded(self, ids: npt.ArrayLike, ignore: int, what: str) -> npt.NDArray[np.intp]:
        values = np.asarray(ids)
        if not np.issubdtype(values.dtype, np.integer):
            raise TypeError(f"{what} must be integers, got {values.dtype}")
        strange = (values != ignore) & ((values < 0) | (values >= self.classes))
        if strange.any():
            found = np.unique(values[strange])[:5].tolist()
            raise LegendError(
                f"the {what} holds the values {found}, which are no class of 0 … {self.classes - 1}",
                hint=f"use the legend that it was made with, or set such pixels to {ignore}",
            )
        return np.where(values == ignore, self.classes, values).astype(np.intp)


@dataclass(frozen=True, slots=True)
class Protocol:
    """Rules that turn a confusion matrix into figures.

    Attributes:
        name: for tables and files.
        ignore_classes: classes (by name or synonym) whose truth counts as no truth. They leave the mean, too.
        exclude_from_mean: classes that are counted, but left out of the means. Names that a legend does not have
            change nothing, because a preset serves several data sets; `Scores` says which classes were left out.
        absent: what a class counts that is neither in truth nor in prediction: `nan` leaves it out of the means,
            `zero` counts 0.
        ignored_truth: `drop` leaves pixels without truth out of everything; `count_fp` keeps them as a row of the
            matrix, so that predictions there are false positives.
    """

    name: str = "default"
    ignore_classes: tuple[str, ...] = ()
    exclude_from_mean: tuple[str, ...] = ()
    absent: Literal["nan", "zero"] = "nan"
    ignored_truth: Literal["drop", "count_fp"] = "drop"


# Class names that mean "none of the others" in the data sets of the papers. LoveDA's `background` is not among them:
# it is a class of its own there, trained and averaged by all.
_CLUTTER = ("clutter", "clutter/background", "clutter / background")
_NO_DATA = ("ignore", "no-data", "nodata", "unknown")

PRESETS: Mapping[str, Protocol] = {
    p.name: p
    for p in (
        # every class counts, absent ones are left out, pixels without truth are dropped
        Protocol("default"),
        # SemiEarth as its paper describes it: clutter (Potsdam) and ignore (LoveDA) are not averaged
        Protocol("semiearth_paper", exclude_from_mean=(*_CLUTTER, *_NO_DATA), absent="zero"),
        # SemiEarth as its code computes it (also UniMatch V1/V2 and AllSpark): the mean of all K classes, an absent
        # class counts 0 because IoU is intersection / (union + 1e-10)
        Protocol("semiearth_code", absent="zero"),
        # DWL: the ignored truth stays a row of the matrix, then its class is deleted from the mean
        Protocol(
            "dwl", exclude_from_mean=(*_CLUTTER, *_NO_DATA), absent="nan", ignored_truth="count_fp"
        ),
        # RS-MTDF: 255 dropped, DeepGlobe's unknown and Potsdam's catch-all class turned into 255. Its script drops
        # Potsdam's class 0, which is clutter only under a coding of its own; here the class goes by its name. Its
        # precision counts predictions on dropped pixels; this one does not.
        Protocol("rsmtdf", ignore_classes=(*_CLUTTER, *_NO_DATA), absent="zero"),
        # S5: clutter is no truth in Potsdam and Vaihingen; OpenEarthMap's class 0 `unknown` is averaged. Its networks
        # have no clutter channel and cannot lose there; a network that has one can.
        Protocol("s5", ignore_classes=_CLUTTER, absent="nan"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Figures of one class; each is in 0 … 1, NaN where the class is absent and the protocol says `nan`.

    Attributes:
        name: the class.
        iou: intersection over union.
        f1: harmonic mean of precision and recall.
        precision: share of the predicted pixels that are right.
        recall: share of the true pixels that were found.
        truth: pixels that are this class.
        predicted: pixels that were said to be.
        averaged: whether it enters the means.
    """

    name: str
    iou: float
    f1: float
    precision: float
    recall: float
    truth: int
    predicted: int
    averaged: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of a mask under one protocol; NaN where nothing was counted.

    Attributes:
        classes: one entry a class, in the order of the legend.
        miou: mean IoU of the averaged classes.
        mf1: mean F1 of the averaged classes.
        mprecision: mean precision of the averaged classes.
        mrecall: mean recall of the averaged classes.
        oa: overall accuracy, the share of pixels that are right.
        kappa: Cohen's kappa, -1 … 1.
        confusion: the counts that all follows from, before the protocol's rules.
        protocol: the rules.
    """

    classes: tuple[ClassScores, ...]
    miou: float
    mf1: float
    mprecision: float
    mrecall: float
    oa: float
    kappa: float
    confusion: Confusion
    protocol: Protocol

    @property
    def iou(self) -> dict[str, float]:
        """IoU by class name."""
        return {c.name: c.iou for c in self.classes}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is undefined is None."""
        means = ("miou", "mf1", "mprecision", "mrecall", "oa", "kappa")
        figures = ("iou", "f1", "precision", "recall")
        return {
            "protocol": self.protocol.name,
            **{m: _plain(getattr(self, m)) for m in means},
            "classes": {
                c.name: {f: _plain(getattr(c, f)) for f in figures}
                | {"truth": c.truth, "predicted": c.predicted, "averaged": c.averaged}
                for c in self.classes
            },
            "confusion": self.confusion.matrix.tolist(),
            "ignored": self.confusion.ignored.tolist(),
            "unpredicted": self.confusion.unpredicted.tolist(),
        }


def score(confusion: Confusion, legend: Legend, protocol: Protocol = PRESETS["default"]) -> Scores:
    """Return the figures of a confusion matrix under a protocol.

    Precision, recall and F1 are 0 where they are 0/0 for a class that is present on one side only, as in scikit-learn
    with `zero_division=0`.
    """
    if confusion.classes != len(legend):
        raise ValueError(f"the matrix has {confusion.classes} classes, `{legend.name}` has {len(legend)}")
    table = _rows(confusion, legend, protocol)
    hits = np.diagonal(table).astype(np.float64)
    true, predicted = table[:-1].sum(axis=1), table.sum(axis=0)
    present = (true + predicted) > 0
    absent = math.nan if protocol.absent == "nan" else 0.0
    figures = {
        name: np.where(present, _ratio(2 * hits if name == "f1" else hits, below), absent)
        for name, below in {
            "iou": true + predicted - hits,
            "f1": true + predicted,
            "precision": predicted,
            "recall": true,
        }.items()
    }
    ignored, excluded = _members(legend, protocol.ignore_classes), _members(legend, protocol.exclude_from_mean)
    averaged = ~(ignored | excluded)
    classes = tuple(
        ClassScores(
            name, **{f: float(v[i]) for f, v in figures.items()},
            truth=int(true[i]), predicted=int(predicted[i]), averaged=bool(averaged[i]),
        )
        for i, name in enumerate(legend.names)
    )  # fmt: skip
    means = {f"m{f}": _mean(v[averaged]) for f, v in figures.items()}
    return Scores(classes, **means, oa=_accuracy(table), kappa=_kappa(table), confusion=confusion, protocol=protocol)


def _rows(confusion: Confusion, legend: Legend, protocol: Protocol) -> Counts:
    """Return (K+1, K): truth by prediction; the last row is ignored truth, zero where the protocol drops it."""
    dropped = _members(legend, protocol.ignore_classes)
    last = confusion.ignored + confusion.matrix[dropped].sum(axis=0)
    kept = np.where(dropped[:, None], 0, confusion.matrix)
    return np.vstack([kept, last if protocol.ignored_truth == "count_fp" else np.zeros_like(last)])


def _members(legend: Legend, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    found = {c.id for c in map(legend.find, names) if c is not None}
    return np.array([i in found for i in range(len(legend))])


def _ratio(above: npt.NDArray[np.float64], below: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    out = np.zeros_like(above)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _accuracy(table: Counts) -> float:
    total = int(table.sum())
    return float(np.diagonal(table).sum() / total) if total else math.nan


def _kappa(table: Counts) -> float:
    """Return Cohen's kappa (p_o - p_e) / (1 - p_e); NaN where truth and prediction are one and the same class."""
    total = float(table.sum())
    if not total:
        return math.nan
    chance = float((table[:-1].sum(axis=1) / total) @ (table.sum(axis=0) / total))
    return (_accuracy(table) - chance) / (1 - chance) if chance < 1 else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
