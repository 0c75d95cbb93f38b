"""YAML and options → frozen settings: defaults, then the file, then `--set`. All faults are reported at once."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from geosemi.data.datasets import DATASETS
from geosemi.errors import ConfigError
from geosemi.methods.build import METHODS
from geosemi.models.build import MODELS
from geosemi.train.settings import RunSettings
from geosemi.yamlfile import parse_value, read_yaml

# What fits one network does not fit the other: sides of chips and crops in pixels, learning rates. The DINOv2 values
# are those of SemiEarth and UniMatch V2 (METHODS 1.8, 2.2); `light` starts from scratch and takes more.
_FOR_MODEL: dict[str, dict[str, Any]] = {
    "light": {"chips": {"size": 256}, "augment": {"size": 256}, "train": {"lr": 4e-3}},
    "dinov2": {"chips": {"size": 512}, "augment": {"size": 518}, "train": {"lr": 2e-4}},
}
# Released settings trust an averaged teacher from the first step, which a network from scratch has not earned, and
# average over 250 steps, which is most of a short run: with them fixmatch fell below supervised on the sample data.
_FROM_SCRATCH: dict[str, dict[str, Any]] = {
    "fixmatch": {"ema": 0.99, "warm_up": 0.3},
    "semiearth": {"ema": 0.99, "warm_up": 0.3},
    "mean_teacher": {"ema": 0.99},
}

# one length replaces the other: an option takes away what the file says
_INSTEAD = {"train.epochs": "steps", "train.steps": "epochs"}


def load_settings(
    config: Path | None, options: Mapping[str, Any], overrides: Sequence[str], *, has_gpu: bool
) -> RunSettings:
    """Compose the settings of a run.

    Args:
        config: a YAML file, or None.
        options: dotted key → value of the command line's own options; they win over the file.
        overrides: `key=value` texts of `--set`, value in YAML; they win over everything.
        has_gpu: decides the default network, DINOv2-small with a GPU and `light` without.

    Raises:
        ConfigError: with all faults of the settings in one message.
    """
    if "train.steps" in options and "train.epochs" in options:
        raise ConfigError("a run has a length in steps or in epochs, not in both", hint="give one of the two options")
    content = read_yaml(config) if config else {}
    for key, value in (*options.items(), *map(_parse, overrides)):
        _put(content, key, value)
    _add_defaults(content, "dinov2_small" if has_gpu else "light")
    faults = _unknown_dataset(content)
    try:
        settings = RunSettings.model_validate(content)
    except ValidationError as error:
        faults += [_line(fault) for fault in error.errors()]
    if faults:
        count = f"{len(faults)} problem{'s' if len(faults) > 1 else ''}"
        raise ConfigError(
            f"{f'`{config}`' if config else 'the settings'}: {count}",
            hint="`geosemi train --help` and the files in `configs/` show the keys",
            faults=faults,
        )
    return settings


def _add_defaults(content: dict[str, Any], model: str) -> None:
    """Fill in names, and what follows from the network; groups that are no mappings are left for the validation."""
    groups = {name: content.setdefault(name, {}) for name in ("model", "method", "data", "chips", "augment", "train")}
    defaults: dict[str, dict[str, Any]] = {"model": {"name": model}, "method": {"name": "semiearth"}}
    if isinstance(groups["data"], dict) and groups["data"].get("dataset", "scenes") != "scenes":
        defaults["data"] = {"root": f"data/{groups['data']['dataset']}"}
    name = groups["model"].get("name", model) if isinstance(groups["model"], dict) else ""
    for group, values in (*defaults.items(), *_FOR_MODEL.get(str(name).split("_")[0], {}).items()):
        if isinstance(groups[group], dict):
            content[group] = {**values, **groups[group]}
    if name == "light" and isinstance(groups["method"], dict):
        method = content["method"]
        content["method"] = {**_FROM_SCRATCH.get(str(method.get("name")), {}), **method}


def _unknown_dataset(content: Mapping[str, Any]) -> list[str]:
    known = ["scenes", *DATASETS]
    name = content["data"].get("dataset", "scenes") if isinstance(content["data"], dict) else "scenes"
    if name in known:
        return []
    return [f"data.dataset: unknown data set `{name}`; choose one of {', '.join(known)}{_near(name, known)}"]


def _parse(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`--set {text}` is no setting", hint="write `--set train.lr=0.001`")
    try:
        return key.strip(), parse_value(value)
    except ValueError as error:
        raise ConfigError(f"`--set {text}` has no readable value", hint="write values as in YAML") from error


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    if key in _INSTEAD and isinstance(content.get("train"), dict):
        content["train"].pop(_INSTEAD[key], None)
    for part in path:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise ConfigError(
                f"`{key}` cannot be set: `{part}` is a value, not a group", hint="see the file in `configs/`"
            )
    content[last] = value


def _line(fault: Any) -> str:
    """Say in one line where a fault of the settings is, and what is wrong."""
    place = [str(p) for p in fault["loc"]]
    if place[0] == "method" and len(place) > 1 and place[1] in METHODS:
        del place[1]  # pydantic names the member of the union, too
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _known_keys(place[:-1]), n=1, cutoff=0.5)
        what = "unknown key" + (f"; did you mean `{near[0]}`?" if near else "")
    elif fault["type"] == "union_tag_invalid":
        name = fault["input"].get("name")
        what = f"unknown method `{name}`; choose one of {', '.join(METHODS)}{_near(name, METHODS)}"
    elif place == ["model", "name"]:
        what = f"unknown model `{fault['input']}`; choose one of {', '.join(MODELS)}{_near(fault['input'], MODELS)}"
    elif fault["type"] in ("model_type", "model_attributes_type"):
        what = f"write `{place[-1]}: {{…}}` with keys inside, got {fault['input']!r}"
    else:
        what = f"{fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"
    return f"{'.'.join(place)}: {what}"


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _known_keys(path: Sequence[str]) -> list[str]:
    """Return the keys of a group of settings; of all members where the group is a union (the methods)."""
    models: list[type[BaseModel]] = [RunSettings]
    for part in path:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        models = [t for f in fields for t in _model_types(f.annotation)]
    return sorted({name for m in models for name in m.model_fields})


def _model_types(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [t for a in get_args(annotation) for t in _model_types(a)]
