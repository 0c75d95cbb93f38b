"""YAML and options → frozen settings: defaults, then the file, then `--set`. All faults are reported at once."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from geosemi.errors import ConfigError
from geosemi.methods.build import METHODS
from geosemi.models.build import MODELS
from geosemi.train.settings import RunSettings
from geosemi.yamlfile import read_yaml

# What fits one network does not fit the other: sides of chips and crops in pixels, learning rates. The DINOv2 values
# are those of SemiEarth and UniMatch V2 (METHODS 1.8, 2.2); `light` starts from scratch and takes more.
_FOR_MODEL: dict[str, dict[str, Any]] = {
    "light": {"chips": {"size": 256}, "augment": {"size": 256}, "train": {"lr": 2e-3}},
    "dinov2": {"chips": {"size": 512}, "augment": {"size": 518}, "train": {"lr": 2e-4}},
}


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
    content = read_yaml(config) if config else {}
    for key, value in (*options.items(), *map(_parse, overrides)):
        _put(content, key, value)
    content.setdefault("model", {}).setdefault("name", "dinov2_small" if has_gpu else "light")
    content.setdefault("method", {}).setdefault("name", "semiearth")
    data = content.setdefault("data", {})
    if isinstance(data, dict) and data.get("dataset", "scenes") != "scenes":
        data.setdefault("root", f"data/{data['dataset']}")
    family = str(content["model"]["name"]).split("_")[0]
    for room, values in _FOR_MODEL.get(family, {}).items():
        for key, value in values.items():
            if isinstance(content.setdefault(room, {}), dict):
                content[room].setdefault(key, value)
    try:
        return RunSettings.model_validate(content)
    except ValidationError as error:
        raise _explained(error, config) from error


def _parse(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`--set {text}` is no setting", hint="write `--set train.lr=0.001`")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"`--set {text}` has no readable value", hint="write values as in YAML") from error


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise ConfigError(
                f"`{key}` cannot be set: `{part}` is a value, not a group", hint="see the file in `configs/`"
            )
    content[last] = value


def _explained(error: ValidationError, config: Path | None) -> ConfigError:
    lines = []
    for fault in error.errors():
        place = [str(p) for p in fault["loc"] if str(p) not in METHODS]  # pydantic names the member of a union, too
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place[-1], _known_keys(place[:-1]), n=1, cutoff=0.5)
            what = "unknown key" + (f"; did you mean `{near[0]}`?" if near else "")
        elif fault["type"] == "union_tag_invalid":
            near = difflib.get_close_matches(str(fault["input"].get("name")), METHODS, n=1, cutoff=0.4)
            what = f"unknown method `{fault['input'].get('name')}`; choose one of {', '.join(METHODS)}" + (
                f" (did you mean `{near[0]}`?)" if near else ""
            )
        elif place == ["model", "name"]:
            what = f"unknown model `{fault['input']}`; choose one of {', '.join(MODELS)}"
        else:
            what = f"{fault['msg'][0].lower()}{fault['msg'][1:]}, got {fault['input']!r}"
        lines.append(f"  {'.'.join(place)}: {what}")
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
    source = f"`{config}`" if config else "the settings"
    return ConfigError(
        f"{source}: {count}\n" + "\n".join(lines),
        hint="`geosemi train --help` and the files in `configs/` show the keys",
    )


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
