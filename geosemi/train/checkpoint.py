"""A run's state on disk: one safetensors file, complete or absent, checked by its own SHA-256 when read.

What is not in it is derived: chips and augmentation of step t depend on seed and t alone. So the state is the method
(students, teachers, memories), the optimiser's moments, torch's random state for layers that draw, and a few numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from geosemi.errors import BundleError, ConfigError
from geosemi.geo.commit import write_files
from geosemi.models.tensorfile import read_tensors
from geosemi.train.folder import checkpoints

_KEEP = 2  # the newest, and one before it in case the newest is damaged by the disk


@dataclass(frozen=True, slots=True)
class State:
    """The numbers of a run's state.

    Attributes:
        step: steps finished.
        best: best validation mIoU so far; -1 before the first validation.
        fingerprint: of the settings that must not change when a run is resumed.
        skipped: steps skipped in a row because their loss was not finite.
        best_step: steps finished when the best was reached.
    """

    step: int
    best: float
    fingerprint: str
    skipped: int = 0
    best_step: int = 0


def save_checkpoint(folder: Path, state: State, method: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write `step-N.safetensors` and remove all but the two newest.

    Raises:
        OutputError: the disk is full; the checkpoints before are untouched.
    """
    tensors = {f"method.{name}": t.detach().cpu().contiguous() for name, t in _own(method.state_dict()).items()}
    for index, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    text = json.dumps(asdict(state))
    metadata = {"geosemi_checkpoint": text, "sha256": _digest(text, tensors)}
    path = folder / f"step-{state.step:08d}.safetensors"
    write_files({path: safetensors.torch.save(tensors, metadata={"checkpoint": json.dumps(metadata)})})
    for old in checkpoints(folder)[_KEEP:]:
        old.unlink()
    return path


def load_newest(
    folder: Path, fingerprint: str, method: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[State, list[str]]:
    """Restore the newest checkpoint that is whole.

    Returns:
        The state, and a line for each newer checkpoint that had to be passed over.

    Raises:
        ConfigError: there is none, or it belongs to other settings.
        BundleError: none is whole.
    """
    damage: list[str] = []
    for path in checkpoints(folder):
        try:
            state, tensors = _read(path)
        except BundleError as error:
            damage.append(error.message)
            continue
        if state.fingerprint != fingerprint:
            raise ConfigError(
                f"`{folder.parent}` was trained with other settings than these",
                hint=f"resume with its own, `--config {folder.parent / 'config.yaml'}`, or choose another `--out`",
            )
        _restore(tensors, method, optimizer)
        return state, damage
    if damage:
        raise BundleError(f"no checkpoint in `{folder}` is whole: {damage[0]}", hint="start again without `--resume`")
    raise ConfigError(f"`{folder}` holds no checkpoint to resume from", hint="start without `--resume`")


def _read(path: Path) -> tuple[State, Mapping[str, Tensor]]:
    file = read_tensors(path)
    try:
        metadata = json.loads(file.metadata["checkpoint"])
        text = metadata["geosemi_checkpoint"]
        state = State(**json.loads(text))
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(f"`{path}` is no checkpoint", hint="start again without `--resume`") from error
    if _digest(text, file.tensors) != metadata["sha256"]:
        raise BundleError(f"`{path}` is damaged: its contents do not match their SHA-256", hint="use the one before it")
    return state, file.tensors


def _restore(tensors: Mapping[str, Tensor], method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    own = {k.removeprefix("method."): t for k, t in tensors.items() if k.startswith("method.")}
    method.load_state_dict(own, strict=True)
    moments: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give every name storage of its own: safetensors refuses tensors that share memory."""
    seen: set[int] = set()
    out = {}
    for name, tensor in state.items():
        pointer = tensor.untyped_storage().data_ptr()
        out[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return out


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
