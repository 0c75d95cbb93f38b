"""What is written of a pixel: its class, and on demand how sure the network is, in which sense, of which classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geosemi.errors import ConfigError, ResourceError
from geosemi.geo.layers import AMOUNT_STEPS, Layer, amount_layer, mask_layer
from geosemi.geo.roomy import roomy
from geosemi.legend import Legend

Extra = Literal["confidence", "entropy", "margin", "probabilities", "probabilities_float16"]


def confidence(probability: Tensor) -> Tensor:
    """Return the probability (h, w) of the most probable class."""
    return probability.amax(dim=0)


def margin(probability: Tensor) -> Tensor:
    """Return 1 − (largest − second largest probability), (h, w) in 0 … 1: 1 where two classes are equally probable."""
    if len(probability) == 1:
        return torch.zeros_like(probability[0])
    first, second = probability.topk(2, dim=0).values
    doubt: Tensor = 1 - (first - second)
    return doubt


def entropy(probability: Tensor) -> Tensor:
    """Return the Shannon entropy over its maximum ln K, (h, w) in 0 … 1: 1 where all classes are equally probable."""
    if len(probability) == 1:
        return torch.zeros_like(probability[0])
    nats: Tensor = torch.special.entr(probability).sum(dim=0)
    return nats / log(len(probability))


_AMOUNTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "confidence": (confidence, "the probability of the class in the mask"),
    "margin": (margin, "1 − the difference between the two largest probabilities"),
    "entropy": (entropy, "the entropy of the probabilities over its maximum, ln K"),
    "probabilities": (lambda p: p, "the probability of the band's class"),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Turns what a network says of a part of a scene into pixels of the layers that are wanted.

    Attributes:
        legend: the classes.
        extras: what is wanted besides the mask, in the order of the layers.

    Raises:
        ConfigError: there is no such extra.
    """

    legend: Legend
    extras: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        names = get_args(Extra)
        if unknown := [extra for extra in self.extras if extra not in names]:
            raise ConfigError(
                f"nothing called {unknown[0]!r} is made of a scene", hint=f"choose among {', '.join(names)}"
            )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, the mask last."""
        return (*(_layer(extra, self.legend) for extra in self.extras), mask_layer(self.legend))

    def empty(self, height: int, width: int) -> tuple[npt.NDArray[Any], ...]:
        """Return room for all layers of that many pixels, the mask last; several bands come first."""
        extras = (
            roomy((len(self.legend), height, width) if extra.startswith("prob") else (height, width), _dtype(extra))
            for extra in self.extras
        )
        return (*extras, roomy((height, width), np.uint8))

    def fill(
        self,
        views: Sequence[npt.NDArray[Any]],
        votes: Tensor | None,
        valid: npt.NDArray[np.bool_],
        *,
        share: Tensor | None,
    ) -> None:
        """Write a part of the scene into views of its layers.

        Args:
            views: of arrays like those of `empty`.
            votes: (K, h, w) logits, or summed probabilities; None where no pixel is valid.
            valid: (h, w), False on nodata.
            share: (h, w), what the probabilities of a pixel sum to; None for logits.

        Raises:
            ResourceError: the network gave no number for a valid pixel.
        """
        if votes is None:
            for view, layer in zip(views, self.layers, strict=True):
                view[...] = layer.nodata
            return
        nodata = None if valid.all() else ~valid
        classes, best = winner(votes)
        _require_numbers(best, valid)
        views[-1][...] = classes
        if self.extras:
            probability = votes.softmax(dim=0) if share is None else votes / share
            for extra, view in zip(self.extras, views[:-1], strict=True):
                view[...] = _stored(extra, probability)
        if nodata is not None:
            for view, layer in zip(views, self.layers, strict=True):
                view[..., nodata] = layer.nodata


def winner(votes: Tensor) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return which class has most votes, of equals the first, and how many; votes (K, h, w).

    A running maximum in numpy: of six classes of 512² pixels it takes 0.4 ms on a CPU, in torch 2.4 ms, and
    `torch.argmax` 29 ms (one thread, measured).
    """
    if votes.device.type != "cpu":
        top = votes.max(dim=0)
        return top.indices.to(torch.uint8).cpu().numpy(), top.values.float().cpu().numpy()
    planes = votes.numpy()
    best = planes[0].copy()
    classes = np.zeros(best.shape, dtype=np.uint8)
    for number, plane in enumerate(planes[1:], start=1):
        # without a branch a pixel: the last class that beats all before it has the largest number
        beats = (plane > best).view(np.uint8)
        np.multiply(beats, number, out=beats, casting="unsafe")
        np.maximum(classes, beats, out=classes)
        np.maximum(best, plane, out=best)
    return classes, best


def _require_numbers(best: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> None:
    if np.isnan(best.max()) and np.isnan(best[valid]).any():
        raise ResourceError(
            "the network's answer is not a number somewhere",
            hint="run with the precision fp32; if it stays, the model is damaged",
        )


def _stored(extra: Extra, probability: Tensor) -> npt.NDArray[Any]:
    if extra == "probabilities_float16":
        return probability.half().cpu().numpy()
    amount, _ = _AMOUNTS[extra]
    # NaN, which only nodata may be, would make no whole number
    steps = (amount(probability) * AMOUNT_STEPS).round_().nan_to_num_().clamp_(0, AMOUNT_STEPS)
    return steps.to(torch.uint8).cpu().numpy()


def _dtype(extra: Extra) -> type[np.generic]:
    return np.float16 if extra == "probabilities_float16" else np.uint8


def _layer(extra: Extra, legend: Legend) -> Layer:
    if extra == "probabilities_float16":
        note = {"GEOSEMI_SCALE": "value is the probability of the band's class; NaN is nodata"}
        return Layer(legend.names, float("nan"), "AVERAGE", "float16", tags=note)
    _, meaning = _AMOUNTS[extra]
    return amount_layer(legend.names if extra == "probabilities" else (extra,), meaning)
