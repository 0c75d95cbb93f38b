"""The narrow waist of the project: one way to learn is one `Method`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from geosemi.data.batch import Batch, Unlabelled
from geosemi.errors import InputError
from geosemi.methods.pseudo import Beliefs
from geosemi.models.segmenter import Segmenter

IGNORE = 255  # label value of pixels without truth, in every batch


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Attributes:
        step: steps finished, 0 in the first one.
        total: steps of the whole run.
    """

    step: int
    total: int

    @property
    def fraction(self) -> float:
        """Share of the run that is finished, 0 … 1."""
        return self.step / max(1, self.total)


class Method(nn.Module, ABC):
    """One way to learn. Owns its networks, heads and memories; knows no loop, file, device or rank.

    Teachers, second students and memories are submodules or buffers, so torch itself saves, moves and counts them.
    `forward` *is* the loss, so wrapping a method for several ranks works unchanged.
    """

    needs_unlabelled: bool = True
    """Whether `forward` refuses a batch without unlabelled crops."""

    needs_peer: bool = False
    """Whether it trains a second network of the same kind, from other first weights: `__init__` takes it last."""

    strong_views: int = 1
    """How many strong views of a crop it looks at; no more are made."""

    uses_opinions: bool = False
    """Whether opinion layers change what this method learns."""

    judges_opinions: bool = False
    """Whether it holds opinions against truth: then labelled crops carry them, too."""

    @abstractmethod
    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Return named scalar losses, already weighted; the loop minimises their sum."""

    @abstractmethod
    def predictor(self) -> Segmenter:
        """Return the network that a user ships."""

    def networks(self) -> Mapping[str, Segmenter]:
        """Return the networks whose quality is worth a curve, by name."""
        return {"model": self.predictor()}

    def beliefs(self, crops: Unlabelled) -> Beliefs | None:  # noqa: ARG002 - for those that make some
        """Return what it would learn from crops, without learning; None where it makes no pseudo-labels."""
        return None

    def after_step(self, progress: Progress) -> None:
        """Update what gradients do not: moving averages, banks. `progress.step` is the step just finished."""

    def require_unlabelled(self, batch: Batch) -> Unlabelled:
        """Return a batch's unlabelled crops.

        Raises:
            InputError: it has none.
        """
        if batch.unlabelled is None:
            raise InputError(
                f"`{type(self).__name__}` learns from unlabelled crops, and the batch has none",
                hint="add unlabelled scenes, or use `--method supervised`",
            )
        return batch.unlabelled

    def report(self) -> Mapping[str, Tensor]:
        """Return detached scalars of the last step that are no losses, e.g. the share of trusted pixels."""
        return {}
