"""The audit of a run: are its pseudo-labels right, and did purification change what was learnt?

At every validation, networks and pseudo-labels are held against truth on a few chips: of training ground whose labels
the run does not use (where the data have them), and of validation ground. This truth is read here and nowhere else: it
is in no batch, and the run's weights are the same, bit for bit, with and without the audit.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.fabric import Fabric

from geosemi.data.batch import Chips, Unlabelled
from geosemi.data.loaders import count_chips, validation_chips
from geosemi.data.splits import Region
from geosemi.geo.commit import write_files
from geosemi.legend import Legend
from geosemi.methods.base import Method
from geosemi.methods.pseudo import Beliefs
from geosemi.train.folder import AUDIT, AUDIT_TABLE, PANELS
from geosemi.train.measure import Said, Tally, figures, near_boundary
from geosemi.train.panels import Pixels, classes_picture, confidence_picture, opinion_picture, sheet
from geosemi.train.prepared import Prepared
from geosemi.train.settings import RunSettings

T = TypeVar("T")
_PICTURED = 4  # chips
_FEW = 4  # chips at a time: validation in eval mode needs less memory than the training step did


class Examiner:
    """Holds a method against truth, and keeps what came out in the run folder.

    Args:
        out: the run folder.
        settings: of the run.
        prepared: its data.
        resume: keep the lines of steps before the first one that is examined now.
    """

    def __init__(self, out: Path, settings: RunSettings, prepared: Prepared, *, resume: bool) -> None:
        self._out, self._settings, self._prepared = out, settings, prepared
        self._rows: list[dict[str, Any]] | None = None if resume else []
        self._facts: dict[str, Any] = {}
        self._grounds: dict[str, list[Chips]] | None = None

    def __call__(self, method: Method, step: int, fabric: Fabric) -> None:
        """Examine after `step` steps; the networks must be in eval mode, without gradient.

        Raises:
            OutputError: the disk is full.
        """
        if self._grounds is None:
            self._grounds = self._choose(opinions=method.uses_opinions)
        rows = [r for r in self._earlier() if int(r["step"]) < step]
        measured: dict[str, Any] = {}
        for ground, chips in self._grounds.items():
            seen = [_look(method, c, self._prepared, fabric) for c in chips]
            tallies = _tallied(seen, len(self._prepared.scenes.legend))
            rows += self._lines(step, ground, tallies)
            measured[ground] = {
                "chips": sum(len(c.place) for c in chips),
                "confusion": {who: tally.zones()["all"][0].tolist() for who, tally in tallies.items()},
            }
            if ground == "training":
                self._picture(step, seen)
        self._rows = rows
        classes = told_classes(self._prepared.scenes.legend)  # the panels' colours, of a run that never ends, too
        facts = {"step": step, "classes": classes, "measured": measured, **self._facts}
        write_files({self._out / AUDIT_TABLE: _csv(rows), self._out / AUDIT: json.dumps(facts).encode()})

    def _choose(self, *, opinions: bool) -> dict[str, list[Chips]]:
        split, truth = self._prepared.split, self._prepared.truth.counts
        unlabelled = split.unlabelled or split.labelled
        with_truth = [r for r in unlabelled if r.scene in truth]
        grounds = {"training": with_truth or list(unlabelled), "validation": list(split.validation)}
        return {name: list(self._read(regions, opinions)) for name, regions in grounds.items() if regions}

    def _read(self, regions: Sequence[Region], opinions: bool) -> Iterator[Chips]:
        """Read a few chips, spread evenly; truth that training learns from is left out."""
        settings, prepared, count = self._settings, self._prepared, self._settings.train.audit_chips
        chosen = _spread(regions, count)
        size = settings.augment.size
        total = count_chips(chosen, size)
        shown = validation_chips(
            prepared.scenes,
            chosen,
            settings.data,
            size=size,
            batch=_FEW,
            only=set(_spread(range(total), count)),
            hidden=prepared.split.labelled,
            opinions=opinions and prepared.scenes.has_opinions,
        )
        yield from (chips for chips, _ in shown)

    def _earlier(self) -> list[dict[str, Any]]:
        if self._rows is None:
            path = self._out / AUDIT_TABLE
            self._rows = list(csv.DictReader(path.open(newline="", encoding="utf-8"))) if path.is_file() else []
        return self._rows

    def _lines(self, step: int, ground: str, tallies: Mapping[str, Tally]) -> Iterator[dict[str, Any]]:
        names = self._prepared.scenes.legend.names
        for who, tally in tallies.items():
            for zone, (said, known) in tally.zones().items():
                line: dict[str, Any] = {"step": step, "ground": ground, "who": who, "zone": zone}
                for key, value in figures(said, known).items():
                    what, _, k = key.partition(" ")
                    line[f"{what} {names[int(k)]}" if k else what] = "" if math.isnan(value) else f"{value:.6g}"
                yield line

    def _picture(self, step: int, seen: Sequence["_Seen"]) -> None:
        colours = np.array([c.rgb for c in self._prepared.scenes.legend], dtype=np.uint8)
        columns: dict[str, list[Pixels]] = {}
        places: list[str] = []
        for number in _spread(range(sum(len(s.chips.place) for s in seen)), _PICTURED):
            look, row = seen[number // _FEW], number % _FEW
            places.append(look.chips.place[row])
            for name, picture in _pictures(look, row, colours, self._prepared).items():
                columns.setdefault(name, []).append(picture)
        png, side = sheet(columns)
        self._facts = {"panels": {"columns": list(columns), "places": places, "side": side}}
        (self._out / PANELS).mkdir(exist_ok=True)
        write_files({self._out / PANELS / f"step-{step:08d}.png": png})


@dataclass(frozen=True, slots=True)
class _Seen:
    """Chips, and what was said of them, all on the CPU."""

    chips: Chips
    beliefs: Beliefs | None
    said: Mapping[str, Said]


def _look(method: Method, chips: Chips, prepared: Prepared, fabric: Fabric) -> _Seen:
    radiometry = prepared.radiometry
    unit = radiometry.to_unit(chips.image).masked_fill(~chips.valid[:, None], 0)  # nodata is black, as in training
    image, valid = radiometry.normalise(radiometry.from_unit(unit)).to(fabric.device), chips.valid.to(fabric.device)
    opinion = None if chips.opinion is None else chips.opinion.to(fabric.device) & valid[:, None]
    with torch.no_grad(), fabric.autocast():
        beliefs = method.beliefs(Unlabelled(image, (), (), valid, opinion, chips.place))
        said = {}
        for name, network in method.networks().items():
            # a teacher of pseudo-labels has spoken already
            known = name == "teacher" and beliefs is not None
            said[name] = beliefs.before.label if known and beliefs else network(image).argmax(dim=1)
    found = {name: Said(label.cpu(), chips.valid) for name, label in said.items()}
    if beliefs is not None:
        beliefs = _home(beliefs)
        found |= {"before": Said(beliefs.before.label, beliefs.before.trusted)}
        found |= {"after": Said(beliefs.after.label, beliefs.after.trusted)}
    return _Seen(chips, beliefs, found)


def told_classes(legend: Legend) -> list[dict[str, str]]:
    """Return names and colours of classes as JSON values."""
    return [{"name": c.name, "colour": c.colour} for c in legend]


def _home(beliefs: Beliefs) -> Beliefs:
    """Return pseudo-labels on the CPU."""
    before, after = (
        type(p)(p.label.cpu(), p.confidence.cpu(), p.trusted.cpu(), p.valid.cpu())
        for p in (beliefs.before, beliefs.after)
    )
    return Beliefs(before, after)


def _tallied(seen: Sequence[_Seen], classes: int) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for look in seen:
        assert look.chips.label is not None
        truth = look.chips.label.masked_fill(~look.chips.valid | (look.chips.label >= classes), 255)
        near = near_boundary(truth)
        for who, said in look.said.items():
            tallies.setdefault(who, Tally(classes)).add(said, truth, near)
    return {who: t for who, t in tallies.items() if any(k.any() for k in t.known.values())}


def _pictures(look: _Seen, row: int, colours: Pixels, prepared: Prepared) -> dict[str, Pixels]:
    """Return the pictures of one chip by what they show."""
    chips, radiometry = look.chips, prepared.radiometry
    unit = radiometry.to_unit(chips.image[row : row + 1])[0]
    bands = unit[list(radiometry.rgb)] if radiometry.rgb else unit[:1].expand(3, -1, -1)
    out = {"scene": (255 * bands.clamp(0, 1)).permute(1, 2, 0).nan_to_num().to(torch.uint8).numpy()}
    assert chips.label is not None
    truth = chips.label[row].numpy()
    out["truth"] = classes_picture(np.where(truth < len(colours), truth, 255), colours, None)
    if chips.opinion is not None:
        out["opinion"] = opinion_picture(chips.opinion[row].numpy(), colours)
    if look.beliefs is None:
        return out | {name: classes_picture(s.label[row].numpy(), colours, None) for name, s in look.said.items()}
    sides = {"before": look.beliefs.before, "after": look.beliefs.after}
    if chips.opinion is None:
        sides = {"pseudo-label": look.beliefs.after}
    for name, pseudo in sides.items():
        out[name] = classes_picture(pseudo.label[row].numpy(), colours, pseudo.trusted[row].numpy())
        sure = "confidence" if len(sides) == 1 else f"confidence {name}"
        out[sure] = confidence_picture(pseudo.confidence[row].float().numpy())
    return out


def _spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[int((i + 0.5) * len(items) / count)] for i in range(count)]


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    if not rows:
        return b""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
