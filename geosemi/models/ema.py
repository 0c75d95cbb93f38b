"""Teachers that follow a student as a moving average of its weights (Tarvainen and Valpola, 2017)."""

import copy
from itertools import chain
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

CEILING = 0.996

_Module = TypeVar("_Module", bound=nn.Module)


def ema_ratio(step: int, *, ceiling: float = CEILING) -> float:
    """Return the teacher's own share ρ = min(1 − 1/(step + 1), ceiling): 0 in step 0, so it copies the student.

    Args:
        step: steps finished before this one, 0 in the first one.
        ceiling: largest ρ, 0 … 1.
    """
    return min(1 - 1 / (step + 1), ceiling)


def frozen_copy(module: _Module) -> _Module:
    """Return a copy in eval mode whose parameters want no gradient."""
    return copy.deepcopy(module).requires_grad_(requires_grad=False).eval()


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, ratio: float) -> None:
    """Move the teacher: θ_T ← ρ · θ_T + (1 − ρ) · θ_S, for parameters and buffers; counters are copied.

    Args:
        teacher: same architecture as the student; changed in place.
        student: read only.
        ratio: ρ, 0 … 1.

    Raises:
        ValueError: the two have other tensors.
    """
    old, new = _tensors(teacher), _tensors(student)
    if [t.shape for t in old] != [t.shape for t in new]:
        raise ValueError(f"teacher and student differ: {len(old)} and {len(new)} tensors, or other shapes")
    averaged = [(t, s) for t, s in zip(old, new, strict=True) if t.is_floating_point()]
    for t, s in zip(old, new, strict=True):
        if not t.is_floating_point():
            t.copy_(s)
    if averaged:
        # one fused call instead of one a tensor
        average = get_ema_multi_avg_fn(ratio)  # type: ignore[no-untyped-call]
        average([t for t, _ in averaged], [s for _, s in averaged], 0)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return list(chain(module.parameters(), module.buffers()))
