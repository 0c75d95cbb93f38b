"""A method as Fabric wraps it."""

from collections.abc import Mapping

from torch import Tensor, nn

from geosemi.data.batch import Batch
from geosemi.methods.base import Method, Progress


class Box:
    """Carries a batch past Fabric, which walks into whatever a module is called with and refuses frozen dataclasses."""

    def __init__(self, batch: Batch, progress: Progress) -> None:
        self.batch, self.progress = batch, progress


class Boxed(nn.Module):
    """A method as Fabric wraps it."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, box: Box) -> Mapping[str, Tensor]:
        """Return the method's losses."""
        losses: Mapping[str, Tensor] = self.method(box.batch, box.progress)
        return losses
