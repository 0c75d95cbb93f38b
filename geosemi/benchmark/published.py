"""What papers print, with what keeps it from being compared; never mixed into the columns of one's own runs."""

import csv
from dataclasses import dataclass
from importlib.resources import files

READ_WITH_CARE = (
    "Numbers of papers, in percent, as printed or as the mean of what is printed. They were not measured here: "
    "networks, splits and protocols differ between rows and from the tables above. Patches of one tile lie in training "
    "and test, which flatters all of them. With a DINOv2-small encoder FixMatch alone gains 1.1 points (Potsdam) and "
    "3.9 (DeepGlobe) at 1 %, so much of the margin over older methods is the encoder."
)


@dataclass(frozen=True, slots=True)
class Printed:
    """One number of a paper.

    Attributes:
        dataset: potsdam, loveda or deepglobe.
        method: the name of geosemi's method, empty where there is none.
        name: as the paper calls it.
        ratio: percent of labels.
        miou: percent.
        network: what it was trained with, as far as it is known.
        protocol: what the mean is of.
        split: how train and test were divided.
        source: paper and table.
        caveat: what else to know; may be empty.
    """

    dataset: str
    method: str
    name: str
    ratio: float
    miou: float
    network: str
    protocol: str
    split: str
    source: str
    caveat: str


def published(dataset: str) -> list[Printed]:
    """Return the numbers that papers print for a data set, in the order of their tables."""
    text = (files("geosemi.benchmark") / "published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return [
        Printed(**{**row, "ratio": float(row["ratio"]), "miou": float(row["miou"])})  # type: ignore[arg-type]
        for row in rows
        if row["dataset"] == dataset
    ]
