"""A benchmark's YAML → the list of its runs, every one with settings that hold. Nothing here imports torch at once."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from geosemi.benchmark.settings import BenchmarkSettings, Ground
from geosemi.config import load_settings, method_named
from geosemi.errors import ConfigError, Faults
from geosemi.methods.settings import KINDS
from geosemi.settings import dotted, fault_line
from geosemi.train.folder import fingerprint
from geosemi.train.settings import RunSettings
from geosemi.yamlfile import read_yaml

PATCHES = "splits_patch"  # where `geosemi prepare` lists patches as the papers divide them
_HINT = "docs/benchmark.md shows the keys"


@dataclass(frozen=True, slots=True)
class Run:
    """One training of a benchmark.

    Attributes:
        dataset: its name in the YAML.
        arm: likewise.
        ratio: percent of the blocks that are labelled.
        seed: of the run.
        settings: everything that `train` is told.
        test: scenes outside of the data that are mapped and scored, or None.
    """

    dataset: str
    arm: str
    ratio: float
    seed: int
    settings: RunSettings
    test: Ground | None

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the result, so that a change of the YAML trains anew what it concerns alone."""
        ground = None if self.test is None else self.test.model_dump(mode="json")
        return hashlib.sha256(json.dumps([fingerprint(self.settings), ground]).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Folder of the run below that of the benchmark."""
        arm = re.sub(r"[^\w.+-]+", "_", self.arm)
        return f"{self.dataset}/{arm}-{self.ratio:g}-seed{self.seed}-{self.fingerprint[:8]}"

    @property
    def leaky(self) -> bool:
        """Whether its test ground touches its training ground, patch by patch."""
        lists = self.settings.data.lists
        by_patch = self.settings.split.unit == "patch" or (lists is not None and PATCHES in lists.parts)
        return by_patch and self.test is None


def load_benchmark(path: Path) -> BenchmarkSettings:
    """Read a benchmark's YAML.

    Raises:
        ConfigError: with all that is wrong with it.
    """
    content = read_yaml(path)
    faults = Faults()
    try:
        return BenchmarkSettings.model_validate(content)
    except ValidationError as error:
        for fault in error.errors():
            faults.add_setting(fault_line(fault, [BenchmarkSettings]))
    faults.raise_all(f"`{path}`", hint=_HINT)
    raise AssertionError


def plan_runs(settings: BenchmarkSettings, options: Sequence[str] = ()) -> list[Run]:
    """Return all runs, seed by seed, so that a benchmark that is stopped halfway has compared something.

    Args:
        settings: of the benchmark.
        options: `key=value` texts of `--set`, which win over all that the YAML says.

    Raises:
        ConfigError: arms, config files or settings are wrong; all of it in one error.
    """
    arms, faults = arms_of(settings), Faults()
    bases: dict[str, dict[str, Any]] = {}
    for name, of in settings.datasets.items():
        if not re.fullmatch(r"[\w.+-]+", name):
            faults.add_setting(f"datasets.{name}: a name has letters, digits and - _ . + alone")
        with faults.kept():
            bases[name] = dict(dotted(read_yaml(Path(of.config))))
    faults.raise_all("the benchmark cannot begin", hint=_HINT)
    runs: list[Run] = []
    wrong: dict[str, dict[tuple[str, str], None]] = {}  # what is wrong → with which arms of which data sets
    for seed, name, ratio, arm in product(settings.seeds, bases, settings.ratios, arms):
        told = _composed(settings, name, bases[name], arms[arm])
        told |= {"split.ratio": ratio, "train.seed": seed, "train.protocol": settings.protocol}
        try:
            found = load_settings(None, told, options, has_gpu="model.name" not in told and _has_gpu())
        except ConfigError as error:
            for line in error.lines[1:] or error.lines:
                wrong.setdefault(line, {})[name, arm] = None
            continue
        runs.append(Run(name, arm, ratio, seed, found, settings.datasets[name].test))
    for line, where in wrong.items():
        for place in _places(where, bases, arms):
            faults.add_setting(f"{place}: {line}" if place else line)
    faults.raise_all("the benchmark cannot begin", hint=_HINT)
    return runs


def _places(where: Collection[tuple[str, str]], datasets: Collection[str], arms: Collection[str]) -> list[str]:
    """Return where a fault lies; what all arms have in common is said once, of the data set, or of nothing."""
    if len(where) == len(datasets) * len(arms):
        return [""]
    found = []
    for name in datasets:
        mine = [arm for dataset, arm in where if dataset == name]
        found += [name] if len(mine) == len(arms) else [f"{name}, {arm}" for arm in mine]
    return found


def arms_of(settings: BenchmarkSettings) -> dict[str, dict[str, Any]]:
    """Return what is compared: name → settings by dotted key, the baseline first.

    Raises:
        ConfigError: a method is unknown, or the baseline is none of the arms.
    """
    listed = [n for n in KINDS if n not in settings.leave_out] if settings.methods == "all" else settings.methods
    for name in (*listed, *settings.leave_out):
        method_named(name)
    arms = {name: {"method.name": name} for name in listed}
    for name, chosen in settings.arms.items():
        own = {"method.name": name} if name in KINDS else {}
        arms[name] = {**own, **dict(dotted(chosen))}
    if settings.baseline is None:
        return arms
    if settings.baseline not in arms:
        raise ConfigError(
            f"the baseline `{settings.baseline}` is none of the arms {', '.join(arms)}",
            hint="add it to `methods`, or set `baseline: null`",
        )
    return {settings.baseline: arms[settings.baseline], **arms}


def _composed(
    settings: BenchmarkSettings, dataset: str, base: Mapping[str, Any], chosen: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay settings over each other: config, all runs, data set, arm."""
    told = dict(base)
    if chosen.get("method.name", told.get("method.name")) != told.get("method.name"):
        told = {key: value for key, value in told.items() if not key.startswith("method.")}  # those of another method
    for more in (settings.override, settings.datasets[dataset].override, chosen):
        flat = dict(dotted(more))
        if flat.keys() & {"train.steps", "train.epochs"}:
            told = {key: value for key, value in told.items() if key not in {"train.steps", "train.epochs"}}
        told |= flat
    return told


def _has_gpu() -> bool:
    from geosemi.train.device import has_gpu  # noqa: PLC0415 - torch takes three seconds

    return has_gpu()
