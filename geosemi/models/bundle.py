"""All that a stranger needs to map a scene: one safetensors file with the weights and a card.

The card is JSON in the file's metadata, under one key (safetensors writes several keys in no fixed order), together
with a SHA-256 over card and tensors: a flipped bit in a weight is otherwise loaded without complaint.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from geosemi.errors import BundleError, GeosemiError
from geosemi.geo.commit import write_files
from geosemi.legend import Legend
from geosemi.models.build import skeleton
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import BUNDLE, ModelSpec
from geosemi.models.tensorfile import TensorFile, read_tensors

__all__ = ["BUNDLE", "FORMAT", "Bundle", "Card"]

FORMAT = 1  # rises when an older geosemi can no longer read the file
_KEY = "geosemi"
_DAMAGED = "copy the file again from where it came, or train again"


@dataclass(frozen=True, slots=True)
class Card:
    """What a model is and what it takes.

    Attributes:
        spec: which network; its weights come from the bundle, never from `spec.weights`.
        legend: the classes, in the order of the logits.
        bands: names of the C bands, in the order of the channels.
        mean: C values in the scene's raw units; the network sees (raw − mean) / std.
        std: C positive values in the scene's raw units.
        tile: side of the square windows that a scene is best mapped with, in pixels.
        resolution: ground size of a pixel in metres that the network was trained at; None where unknown.
        version: of the geosemi that trained it.
        provenance: how it came to be; JSON values.
    """

    spec: ModelSpec
    legend: Legend
    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tile: int
    resolution: float | None
    version: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for wrong, what in self._faults():
            if wrong:
                raise BundleError(f"the model's card {what}", hint="train again, or ask the model's author")

    def _faults(self) -> list[tuple[bool, str]]:
        count = len(self.bands)
        numbers = (*self.mean, *self.std, self.resolution or 0.0)
        return [
            (count == 0 or not all(self.bands), "names no bands"),
            (len(set(self.bands)) < count, "names a band twice"),
            (len(self.mean) != count, f"has {len(self.mean)} means for {count} bands"),
            (len(self.std) != count, f"has {len(self.std)} standard deviations for {count} bands"),
            (not all(math.isfinite(n) for n in numbers), "holds a number that is not finite"),
            (min(self.std, default=0.0) <= 0, "has a standard deviation that is not positive"),
            (self.tile < 1, f"has the tile size {self.tile}"),
            (self.resolution is not None and self.resolution <= 0, f"has the resolution {self.resolution}"),
            (not _is_json(self.provenance), "has a provenance that is not JSON"),
        ]

    @property
    def black(self) -> tuple[float, ...]:
        """Raw values that stand in for nodata: 0 in 8 bits; other sensors' are measured in training and travel here."""
        return tuple(self.provenance.get("black", [0.0] * len(self.bands)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        return {
            "spec": self.spec.model_dump(),
            "legend": self.legend.to_dict(),
            "bands": list(self.bands),
            "mean": list(self.mean),
            "std": list(self.std),
            "tile": self.tile,
            "resolution": self.resolution,
            "version": self.version,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Card":
        """Build a card from plain values.

        Raises:
            BundleError: a value is missing, unknown or wrong.
            LegendError: the legend is wrong.
        """
        known = {"spec", "legend", "bands", "mean", "std", "tile", "resolution", "version", "provenance"}
        if not isinstance(content, Mapping) or set(content) != known:
            raise _bad_card(f"has not the keys {', '.join(sorted(known))}")
        try:
            return cls(
                spec=ModelSpec.model_validate(content["spec"]),
                legend=Legend.from_dict(content["legend"]),
                bands=tuple(str(b) for b in content["bands"]),
                mean=tuple(float(m) for m in content["mean"]),
                std=tuple(float(s) for s in content["std"]),
                tile=int(content["tile"]),
                resolution=None if content["resolution"] is None else float(content["resolution"]),
                version=str(content["version"]),
                provenance=dict(content["provenance"]),
            )
        except ValidationError as error:
            raise _bad_card(f"names no model of this geosemi: {error.errors()[0]['msg']}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise _bad_card(f"has a value of the wrong kind: {error}") from error


@dataclass(frozen=True, slots=True)
class Bundle:
    """A network as shipped.

    Attributes:
        model: the network; in eval mode on the CPU after `load`.
        card: what it is and what it takes.
        digest: SHA-256 of the file it was loaded from, in hex; None before it is saved.
        path: that file.
    """

    model: Segmenter
    card: Card
    digest: str | None = field(default=None, compare=False)
    path: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        bands, classes = len(self.card.bands), len(self.card.legend)
        if (self.model.bands, self.model.classes) != (bands, classes):
            raise BundleError(
                f"the network takes {self.model.bands} bands and predicts {self.model.classes} classes, "
                f"its card names {bands} and {classes}",
                hint="build the network with the card's bands and legend",
            )

    def save(self, path: Path) -> str:
        """Write the bundle as one file; the same bundle gives the same bytes. Return the file's SHA-256, in hex.

        Raises:
            OutputError: the file cannot be written.
            BundleError: a weight is not finite.
        """
        tensors = {name: _portable(tensor) for name, tensor in self.model.state_dict().items()}
        _require_finite(tensors, source="the network to be saved")
        card = _json(self.card.to_dict())
        metadata = {"format": FORMAT, "card": card, "sha256": _fingerprint(card, tensors)}
        data = safetensors.torch.save(tensors, metadata={_KEY: _json(metadata)})
        write_files({path: data})
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: Path) -> "Bundle":
        """Read a bundle; nothing in the file is run, nothing is downloaded.

        Raises:
            UnsafeInput: the file is a pickle.
            BundleError: the file is missing, incomplete, damaged, of a newer geosemi, or contradicts its card.
        """
        file = read_tensors(path)
        card = _read_card(path, file)
        model = skeleton(card.spec, bands=len(card.bands), classes=len(card.legend))
        _require_fit(path, file.tensors, model.state_dict())
        _require_finite(file.tensors, source=f"`{path}`")
        model.load_state_dict(dict(file.tensors), strict=True)
        return cls(model.eval(), card, hashlib.sha256(file.data).hexdigest(), path)


def _read_card(path: Path, file: TensorFile) -> Card:
    if _KEY not in file.metadata:
        raise BundleError(
            f"`{path}` holds tensors, but no geosemi model", hint=f"give the `{BUNDLE}` of a finished run"
        )
    try:
        metadata = json.loads(file.metadata[_KEY])
        version, text, sha256 = int(metadata["format"]), str(metadata["card"]), metadata["sha256"]
        content = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"the card of `{path}` is damaged", hint=_DAMAGED) from error
    if version > FORMAT:
        raise BundleError(
            f"`{path}` was written by a newer geosemi (format {version}, this one reads up to {FORMAT})",
            hint="update: pip install --upgrade geosemi",
        )
    if version < 1 or _fingerprint(text, file.tensors) != sha256:
        raise BundleError(f"`{path}` is damaged: its contents do not match their SHA-256", hint=_DAMAGED)
    try:
        return Card.from_dict(content)
    except GeosemiError as error:
        raise BundleError(f"`{path}`: {error.message}", hint=error.hint) from error


def _require_fit(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not exactly those of the network; the class count has its own message."""
    for name in (n for n in wanted if n.endswith("classify.bias") and n in tensors):
        if len(tensors[name]) != len(wanted[name]):
            raise BundleError(
                f"`{path}` predicts {len(tensors[name])} classes, its legend names {len(wanted[name])}",
                hint="the card does not belong to these weights; ask the model's author",
            )
    missing, extra = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or extra:
        faults = [f"{verb} {_some(names)}" for verb, names in (("lacks", missing), ("adds", extra)) if names]
        raise BundleError(
            f"`{path}` {' and '.join(faults)}",
            hint="the card names another network than the one that was saved; ask the model's author",
        )
    wrong = [n for n in wanted if tensors[n].shape != wanted[n].shape or tensors[n].dtype != wanted[n].dtype]
    if wrong:
        name = wrong[0]
        raise BundleError(
            f"`{path}` holds `{name}` as {_form(tensors[name])}, the network wants {_form(wanted[name])}",
            hint="the card does not belong to these weights; ask the model's author",
        )


def _require_finite(tensors: Mapping[str, Tensor], *, source: str) -> None:
    wrong = {name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()}
    if wrong:
        raise BundleError(
            f"{source} holds NaN or infinite numbers in {_some(wrong)}",
            hint="training diverged; use an earlier checkpoint, or train again with a lower learning rate",
        )


def _portable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().to("cpu")
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _fingerprint(card: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{_form(tensor)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _some(names: set[str]) -> str:
    """Return "2 tensors (a, b)" with at most three names."""
    shown = sorted(names)[:3] + (["…"] if len(names) > 3 else [])
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(shown)})"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(_json(dict(value))) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _bad_card(what: str) -> BundleError:
    return BundleError(f"the model's card {what}", hint="train again, or ask the model's author")
