"""Boxes refined to pixels by Segment Anything models: the original library's, and SAM, SAM 2 and SAM 3 of transformers.

A picture is embedded once, each box is a prompt of its own (left, top, right, bottom in pixels of the picture), and one
mask is taken for a box: a box is not ambiguous, and the best of three would be chosen by a score that is not calibrated
between them. Weights are read from safetensors only: the original `.pth` files are pickles, which can run code.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geosemi.annotate.drawing import Refiner
from geosemi.annotate.pictures import RGB
from geosemi.annotate.weights import loading, on_device, revision_of
from geosemi.errors import ConfigError, WeightsUnavailable

Boxes = npt.NDArray[np.float32]
_CHUNK = 32  # boxes at a time
_LIBRARY = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_PATCH = "image_encoder.patch_embed.proj.weight"
DEFAULT = "facebook/sam-vit-base"  # Apache-2.0
_ARRANGED = {"SamModel": "SamProcessor", "Sam2Model": "Sam2Processor", "Sam3TrackerModel": "Sam3TrackerProcessor"}


class SegmentAnything:
    """SAM of the library segment-anything.

    Args:
        model: a `segment_anything.modeling.Sam`, on its device.
        name: of its weights.
    """

    def __init__(self, model: Any, name: str) -> None:
        from segment_anything import SamPredictor  # noqa: PLC0415 - only who refines with it pays for it

        self._predictor = SamPredictor(model.eval())
        self._name = name

    @property
    def name(self) -> str:
        """Who it is."""
        return self._name

    def masks(self, rgb: RGB, boxes: Boxes) -> Iterator[tuple[npt.NDArray[np.bool_], float]]:
        """Yield a mask (h, w) and its predicted intersection over union, 0 … 1, for each box."""
        # no `yield` inside of `inference_mode`: it would hold for whoever takes the masks, too
        with torch.inference_mode():
            self._predictor.set_image(rgb)
        for first in range(0, len(boxes), _CHUNK):
            part = torch.from_numpy(boxes[first : first + _CHUNK]).to(self._predictor.device)
            with torch.inference_mode():
                scaled = self._predictor.transform.apply_boxes_torch(part, rgb.shape[:2])
                found, scores, _ = self._predictor.predict_torch(None, None, boxes=scaled, multimask_output=False)
            yield from _pairs(found[:, 0], scores[:, 0])


class _Prompted(Protocol):
    """What the processors of the three SAMs share."""

    def __call__(self, **inputs: Any) -> Any:
        """Make tensors of pictures or boxes."""

    def post_process_masks(self, masks: Any, *sizes: Any) -> list[Tensor]:
        """Bring masks back to the size of the picture."""


class TransformersSam:
    """SAM, SAM 2 or SAM 3 (its tracker, which takes boxes) of transformers.

    Args:
        model: a SamModel, Sam2Model or Sam3TrackerModel, on its device.
        processor: the one that belongs to it.
        name: of its weights.
    """

    def __init__(self, model: nn.Module, processor: _Prompted, name: str) -> None:
        if type(model).__name__ not in _ARRANGED:
            raise ConfigError(
                f"`{name}` is a {type(model).__name__}, which takes no boxes",
                hint="choose a SAM, SAM 2 or SAM 3, e.g. `--refine facebook/sam-vit-base`",
            )
        self._model: Any = model.eval()
        self._processor = processor
        self._name = name

    @property
    def name(self) -> str:
        """Who it is."""
        return self._name

    def masks(self, rgb: RGB, boxes: Boxes) -> Iterator[tuple[npt.NDArray[np.bool_], float]]:
        """Yield a mask (h, w) and its predicted intersection over union, 0 … 1, for each box."""
        parameter = next(self._model.parameters())
        inputs = self._processor(images=rgb, input_boxes=[boxes.tolist()], return_tensors="pt")
        prompts = inputs["input_boxes"].to(parameter.device, parameter.dtype)
        sizes = [inputs["original_sizes"]]
        if "reshaped_input_sizes" in inputs:  # the first SAM pads what it resized
            sizes.append(inputs["reshaped_input_sizes"])
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(parameter.device, parameter.dtype)
            embedded = self._model.get_image_embeddings(pixels)
        for first in range(0, len(boxes), _CHUNK):
            part = prompts[:, first : first + _CHUNK]
            with torch.inference_mode():
                out = self._model(image_embeddings=embedded, input_boxes=part, multimask_output=False)
                (found,) = self._processor.post_process_masks(out.pred_masks.float().cpu(), *sizes)
            yield from _pairs(found[:, 0], out.iou_scores[0, :, 0])


def _pairs(masks: Tensor, scores: Tensor) -> Iterator[tuple[npt.NDArray[np.bool_], float]]:
    for mask, score in zip(masks.cpu().numpy().astype(bool), scores.float().cpu().tolist(), strict=True):
        yield mask, min(max(score, 0.0), 1.0)


def load_refiner(weights: str, *, revision: str | None = None, device: str = "auto") -> Refiner:
    """Load a segmenter.

    Args:
        weights: a safetensors file of the library segment-anything (ViT-B, -L or -H is told by its shapes); or a
            model of transformers, by the name of its repository or as a folder.
        revision: of a repository.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        WeightsUnavailable: they are neither on disk nor to be had.
        ConfigError: they are of no SAM, or the device is not there.
    """
    place = on_device(device)
    if Path(weights).is_file():
        return SegmentAnything(_from_file(Path(weights)).to(place), f"segment-anything {Path(weights).stem}")
    if weights.endswith((".pth", ".pt", ".safetensors")):
        raise WeightsUnavailable(f"`{weights}` does not exist", hint="check the path")
    import transformers  # noqa: PLC0415

    with loading(weights):
        options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        model = transformers.AutoModelForMaskGeneration.from_pretrained(weights, use_safetensors=True, **options)
        kind = _ARRANGED.get(type(model).__name__, "SamProcessor")
        processor = getattr(transformers, kind).from_pretrained(weights, **options)
    commit = revision_of(model, revision)
    name = Path(weights).name if Path(weights).is_dir() else weights
    return TransformersSam(model.to(place), processor, f"{name} ({commit[:12]})" if commit else name)


def _from_file(path: Path) -> Any:
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415
    from segment_anything import sam_model_registry  # noqa: PLC0415

    convert = "save the tensors of the original as safetensors, see docs/annotate.md"
    if path.suffix != ".safetensors":
        raise ConfigError(f"`{path}` is no safetensors file", hint=convert)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsUnavailable(f"`{path}` cannot be read ({error})", hint="copy the file again") from error
    kind = _LIBRARY.get(tensors[_PATCH].shape[0]) if _PATCH in tensors else None
    if kind is None:
        raise ConfigError(f"`{path}` holds no SAM of the library segment-anything", hint=convert)
    logging.getLogger("segment_anything").setLevel(logging.WARNING)
    model = sam_model_registry[kind]()
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if missing or unexpected:
        raise ConfigError(
            f"`{path}` is no {kind} of the library segment-anything: {len(missing)} tensors are missing, "
            f"{len(unexpected)} are unknown",
            hint=convert,
        )
    return model
