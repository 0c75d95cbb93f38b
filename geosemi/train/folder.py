"""A run folder: what lies in it under which name, whether it may be used, and what a resumed run must not change.

This file imports no torch: that a folder is taken is told in a second, not in ten.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from geosemi.errors import ConfigError, OutputError
from geosemi.geo.commit import write_files
from geosemi.models.spec import BUNDLE
from geosemi.settings import dotted
from geosemi.train.settings import RunSettings
from geosemi.yamlfile import read_yaml

CHECKPOINTS, CONFIG, SPLIT, STATISTICS = "checkpoints", "config.yaml", "split.json", "statistics.json"
METRICS, VALIDATION, FACTS = "metrics.csv", "validation.csv", "run.json"
AUDIT, AUDIT_TABLE, PANELS = "audit.json", "audit.csv", "panels"


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def require_free(out: Path, *, resume: bool) -> None:
    """Check that a run may begin in a folder, or go on in it.

    Raises:
        OutputError: it holds another run.
        ConfigError: it holds none to resume.
    """
    if resume and not (out / CHECKPOINTS).is_dir():
        raise ConfigError(f"`{out}` holds no run to resume", hint="start it without `--resume`")
    if not resume and ((out / BUNDLE).exists() or checkpoints(out / CHECKPOINTS)):
        raise OutputError(
            f"`{out}` holds a run already", hint="pass `--resume` to go on with it, or choose another `--out`"
        )


def require_same_settings(out: Path, settings: RunSettings) -> None:
    """Check that a run is resumed with the settings that it was begun with.

    Raises:
        ConfigError: some that decide the result differ; each is named with both values.
    """
    try:
        before = RunSettings.model_validate(read_yaml(out / CONFIG))
    except (ConfigError, ValidationError):
        return  # lost or edited: the checkpoint knows a hash of the settings, and has the last word
    old, new = dict(dotted(_deciding(before))), dict(dotted(_deciding(settings)))
    changed = [k for k in (*old, *(k for k in new if k not in old)) if old.get(k) != new.get(k)]
    if changed:
        raise ConfigError(
            f"`{out}` was trained with other settings than these",
            hint=f"resume with its own, `--config {out / CONFIG}`, or choose another `--out`",
            faults=[f"{key}: {_shown(old.get(key))} then, {_shown(new.get(key))} now" for key in changed],
        )


def fingerprint(settings: RunSettings) -> str:
    """Hash what decides the result."""
    return hashlib.sha256(json.dumps(_deciding(settings), sort_keys=True).encode()).hexdigest()


def write_config(out: Path, settings: RunSettings) -> None:
    """Write the settings, with paths that hold from any folder.

    Raises:
        OutputError: the disk is full.
    """
    plain = settings.model_dump(mode="json")
    plain["data"]["root"] = str(settings.data.root.expanduser().resolve())
    if _is_path(settings.model.weights):
        plain["model"]["weights"] = str(Path(plain["model"]["weights"]).resolve())
    write_files({out / CONFIG: yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode()})


def _deciding(settings: RunSettings) -> dict[str, Any]:
    """Return what decides the result; where files lie, where it runs and how often it saves does not."""
    plain = settings.model_dump(mode="json")
    del plain["train"]["device"], plain["train"]["save_every"], plain["chips"]["workers"], plain["data"]["root"]
    del plain["train"]["audit_chips"]
    if _is_path(settings.model.weights):
        plain["model"]["weights"] = Path(plain["model"]["weights"]).name
    return plain


def _is_path(weights: str | None) -> bool:
    return weights not in (None, "default") and Path(str(weights)).exists()


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
