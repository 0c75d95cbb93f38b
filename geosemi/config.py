"""YAML and options → frozen settings: defaults, then the file, then `--set`. All faults are reported at once.

Nothing here imports torch at the top: a command that cannot run ends in a second.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from geosemi.data.check import check_files
from geosemi.data.datasets import DATASETS
from geosemi.data.settings import DataSettings
from geosemi.errors import ConfigError, Faults
from geosemi.methods.settings import KINDS, OfMethod
from geosemi.metrics import PRESETS
from geosemi.models.spec import ModelName
from geosemi.settings import fault_line
from geosemi.train.folder import require_free, require_same_settings
from geosemi.train.settings import RunSettings, TrainSettings
from geosemi.yamlfile import parse_value, read_yaml

Group = TypeVar("Group", bound=BaseModel)
MODELS = get_args(ModelName)
METHODS = KINDS  # those that somebody registers, too
_HINT = "`geosemi train --help` and the files in `configs/` show the keys"

# What fits one network does not fit the other: sides of chips and crops in pixels, learning rates. The DINOv2 values
# are those of SemiEarth and UniMatch V2 (docs/methods.md, schedule); `light` starts from scratch and takes more.
# SegFormer's are its paper's (6e-5, the head ten times that) at the crop of DWL and S5. The convolutional encoders were
# published with SGD (UniMatch: head ten times the encoder); with the AdamW of this loop they take ConvNeXt's 1e-4.
_AT_512: dict[str, Any] = {"chips": {"size": 512}, "augment": {"size": 512}}
_CONVOLUTIONS = _AT_512 | {"train": {"lr": 1e-3, "lr_pretrained": 1e-4}}
_FOR_MODEL: dict[str, dict[str, Any]] = {
    "light": {"chips": {"size": 256}, "augment": {"size": 256}, "train": {"lr": 4e-3}},
    "dinov2": {"chips": {"size": 512}, "augment": {"size": 518}, "train": {"lr": 2e-4}},
    "segformer": _AT_512 | {"train": {"lr": 6e-4, "lr_pretrained": 6e-5}},
    **dict.fromkeys(("deeplabv2", "deeplabv3plus", "upernet"), _CONVOLUTIONS),
}
# Released settings trust an averaged teacher from the first step, which a network from scratch has not earned, and
# average over 250 steps, which is most of a short run: with them fixmatch fell below supervised on the sample data.
_FROM_SCRATCH: dict[str, dict[str, Any]] = {
    **{name: {"ema": 0.99, "warm_up": 0.3} for name in ("fixmatch", "semiearth", "rs_mtdf", "unimatch_v2")},
    **{name: {"warm_up": 0.3} for name in ("fixmatch_v1", "unimatch", "allspark", "muca")},
    "mean_teacher": {"ema": 0.99},
    "dwl": {"alpha": 0.5, "warm_up": 0.3},  # .5: as released with convolutional networks
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
    faults = Faults()
    content = _compose(config, options, overrides, faults)
    settings = _validate(content, "dinov2_small" if has_gpu else "light", faults)
    faults.raise_all(_name(config), hint=_HINT)
    assert settings is not None
    return settings


def plan_run(
    config: Path | None, options: Mapping[str, Any], overrides: Sequence[str], *, out: Path | None, resume: bool
) -> tuple[RunSettings, Path]:
    """Compose the settings of a run and look whether it can begin; torch is imported only where that cannot be known.

    Args:
        config: a YAML file, or None.
        options: as for `load_settings`.
        overrides: as for `load_settings`.
        out: the run folder; named after the run if None.
        resume: whether it holds a run to go on with.

    Returns:
        The settings and the run folder.

    Raises:
        GeosemiError: all that is wrong with settings, data files, run folder and device, in one error.
    """
    faults = Faults()
    content = _compose(config, options, overrides, faults)
    network = _network(content)
    settings = _validate(deepcopy(content), network or "light", faults)
    of_settings = len(faults)
    _check_surroundings(content, faults)
    folder = out or (_folder(settings) if settings else None)
    if folder is not None:
        with faults.kept():
            require_free(folder, resume=resume)
    if len(faults) == of_settings:
        faults.raise_all(_name(config), hint=_HINT)
    faults.raise_all("the run cannot begin", hint=f"mend them all; {_HINT}")
    assert settings is not None
    assert folder is not None
    if network is None:
        settings = load_settings(config, options, overrides, has_gpu=_has_gpu())
    if resume:
        require_same_settings(folder, settings)
    return settings, folder


def _compose(
    config: Path | None, options: Mapping[str, Any], overrides: Sequence[str], faults: Faults
) -> dict[str, Any]:
    """Put file, options and overrides together; every part of them that cannot be put is a fault."""
    content = read_yaml(config) if config else {}
    if "train.steps" in options and "train.epochs" in options:
        faults.add(
            ConfigError("a run has a length in steps or in epochs, not in both", hint="give one of the two options")
        )
    for key, value in options.items():
        with faults.kept():
            _put(content, key, value)
    for text in overrides:
        with faults.kept():
            _put(content, *_parse(text))
    return content


def _validate(content: dict[str, Any], model: str, faults: Faults) -> RunSettings | None:
    """Return the settings that a content means; `model` is the network where it names none."""
    _add_defaults(content, model)
    for line in (*_unknown_dataset(content), *_unknown_protocol(content)):
        faults.add_setting(line)
    try:
        return RunSettings.model_validate(content)
    except ValidationError as error:
        for fault in error.errors():
            faults.add_setting(_line(fault))
    return None


def _check_surroundings(content: Mapping[str, Any], faults: Faults) -> None:
    """Look at data files, protocol and device as far as their own settings can be read."""
    groups = deepcopy(dict(content))
    _add_defaults(groups, "light")
    data, loop = _group(DataSettings, groups["data"]), _group(TrainSettings, groups["train"])
    if data is not None and not _unknown_dataset(groups):
        check_files(data, faults)
    if loop is not None and (loop.device not in ("auto", "cpu") or loop.devices > 1 or loop.precision == "fp16"):
        from geosemi.train.device import require_device  # noqa: PLC0415 - torch takes three seconds

        with faults.kept():
            require_device(loop)


def _network(content: Mapping[str, Any]) -> str | None:
    """Return the default network as far as it is known without torch: on a CPU, or where another one is named."""
    model, loop = content.get("model"), content.get("train")
    if isinstance(loop, dict) and loop.get("device") == "cpu":
        return "light"
    if isinstance(model, dict) and model:  # weights without a name: only the network tells whether they fit
        return str(model["name"]) if "name" in model else "dinov2_small" if _has_gpu() else "light"
    return None


def _has_gpu() -> bool:
    from geosemi.train.device import has_gpu  # noqa: PLC0415 - torch takes three seconds

    return has_gpu()


def _group(kind: type[Group], content: Any) -> Group | None:
    try:
        return kind.model_validate(content)
    except ValidationError:
        return None  # told with the other settings


def _folder(settings: RunSettings) -> Path:
    data, method = settings.data.dataset, settings.method.name
    return Path("runs") / f"{data}-{method}-{settings.split.ratio:g}-seed{settings.train.seed}"


def _name(config: Path | None) -> str:
    return f"`{config}`" if config else "the settings"


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


def method_named(name: str) -> type[OfMethod]:
    """Return the settings of a method.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown method `{name}`{_near(name, KINDS)}", hint=f"choose one of {', '.join(KINDS)}")
    return KINDS[name]


def _unknown_dataset(content: Mapping[str, Any]) -> list[str]:
    known = ["scenes", *DATASETS]
    name = content["data"].get("dataset", "scenes") if isinstance(content["data"], dict) else "scenes"
    if name in known:
        return []
    return [f"data.dataset: unknown data set `{name}`; choose one of {', '.join(known)}{_near(name, known)}"]


def _unknown_protocol(content: Mapping[str, Any]) -> list[str]:
    name = content["train"].get("protocol", "default") if isinstance(content["train"], dict) else "default"
    if not isinstance(name, str) or name in PRESETS:
        return []
    return [f"train.protocol: unknown protocol `{name}`; choose one of {', '.join(PRESETS)}{_near(name, PRESETS)}"]


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
    if fault["type"] == "union_tag_invalid":
        name = fault["input"].get("name")
        what = f"unknown method `{name}`; choose one of {', '.join(KINDS)}{_near(name, KINDS)}"
    elif place == ["model", "name"]:
        what = f"unknown model `{fault['input']}`; choose one of {', '.join(MODELS)}{_near(fault['input'], MODELS)}"
    elif place[0:1] == ["method"] and len(place) > 1:
        return fault_line(fault, KINDS.values(), 1)
    else:
        return fault_line(fault, [RunSettings])
    return f"{'.'.join(place)}: {what}"


def _near(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    return f" (did you mean `{near[0]}`?)" if near else ""
