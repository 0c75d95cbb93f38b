"""The narrow waist of the project: one way to learn is one `Method`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.errors import InputError
from geosemi.methods.pseudo import Beliefs, Pseudo
from geosemi.methods.purifier import Purifier, as_unlabelled
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

    def stage(self, restarts: Sequence[float]) -> tuple[int, "Progress"]:
        """Return which stage of a run this is, counted from 0, and how far within it.

        Args:
            restarts: shares of the run at which a new stage begins, ascending, between 0 and 1. Each begins with a
                whole step, the first restart not before step 1.
        """
        begins = [0, *(max(1, round(share * self.total)) for share in restarts)]
        number = max(n for n, begin in enumerate(begins) if begin <= self.step)
        end = [*begins[1:], self.total][number]
        return number, Progress(self.step - begins[number], end - begins[number])


class Method(nn.Module, ABC):
    """One way to learn. Owns its networks, heads and memories; knows no loop, file, device or rank.

    Teachers, second students and memories are submodules or buffers, so torch itself saves, moves and counts them.
    `forward` *is* the loss, so wrapping a method for several ranks works unchanged.

    A method that learns from pseudo-labels sends each un-mixed `Pseudo` through `hear` before it learns from it: that
    is all it has to know of purification. `build_method` attaches the purifier that the settings ask for.
    """

    needs_unlabelled: bool = True
    """Whether `forward` refuses a batch without unlabelled crops."""

    needs_peer: bool = False
    """Whether it trains a second network of the same kind, from other first weights: `__init__` takes it last."""

    strong_views: int = 1
    """How many strong views of a crop it looks at; no more are made."""

    restarts: tuple[float, ...] = ()
    """Shares of the run at which training starts anew: learning rates as in the first step, an optimiser that forgot.

    What happens to the weights is the method's own matter (`Progress.stage`).
    """

    uses_opinions: bool = False
    """Whether opinion layers change what this method learns."""

    judges_opinions: bool = False
    """Whether it holds opinions against truth: then labelled crops carry them, too."""

    def __init__(self) -> None:
        super().__init__()
        self.purifier: Purifier | None = None
        self._facts: dict[str, Tensor] = {}

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

    def hear(self, target: Pseudo, crops: Unlabelled) -> Beliefs:
        """Return un-mixed pseudo-labels of crops, purified by their opinion; the same object without a purifier."""
        return Beliefs(target, target) if self.purifier is None else self.purifier(target, crops.opinion)

    def noted(self, held: Beliefs) -> Pseudo:
        """Return what is learnt from, and note it for `report`."""
        self._facts = {"trusted": held.after.trusted_share, **held.facts}
        return held.after

    def purify_with(self, purifier: Purifier) -> None:
        """Hear opinions from now on; where they are to be judged, before every step."""
        self.purifier = purifier
        self.uses_opinions = True
        self.judges_opinions = purifier.reliability is not None
        if self.judges_opinions:
            self.register_forward_pre_hook(lambda method, inputs: method._judge(inputs[0].labelled))  # noqa: SLF001

    def learn_from(self, distiller: nn.Module) -> None:
        """Add the loss of a `Distiller` to every step from now on: it begins before `forward`, and finishes after."""
        self.distiller = distiller
        self.register_forward_pre_hook(lambda method, _: method.distiller.begin(method))
        self.register_forward_hook(lambda method, _, losses: method.distiller.finish(losses))

    @torch.no_grad()
    def _judge(self, crops: Labelled) -> None:
        if self.purifier is None or crops.opinion is None:
            return
        training = self.training
        self.eval()  # a look at labelled crops must not move batch norm's averages
        held = self.beliefs(as_unlabelled(crops))
        self.train(training)
        if held is not None:
            self.purifier.judge(held.before, crops)

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
        """Return detached scalars of the last step that are no losses.

        `trusted` is the share of valid unlabelled pixels that it learnt from, before mixing.
        """
        return self._facts
