"""A foreign network that a method consults and never trains."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Hide a network from `state_dict`, `parameters` and `train`, but let it follow `.to()`.

    An expert comes with its own weights; a checkpoint that repeated them would grow by hundreds of megabytes.

    Args:
        module: put in eval mode; its parameters want no gradient from now on.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._hidden = (module.requires_grad_(requires_grad=False).eval(),)  # in a tuple it is no submodule

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """Return what the network returns, without gradient."""
        return self._hidden[0](*inputs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # what .to(), .half() and .cuda() go through
        hidden: Any = self._hidden[0]
        hidden._apply(fn, recurse)  # noqa: SLF001
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self
