"""Frozen networks that others learn from: what they take, what they say, and where their weights come from."""

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn

from geosemi.errors import WeightsUnavailable
from geosemi.models.clip import ClipSize, ClipVision
from geosemi.models.dinov2 import PATCH, SIZES, DinoSize, load_backbone, make_backbone, tapped
from geosemi.models.fused import resized
from geosemi.models.fusion import Branch
from geosemi.models.pretrained import locate

_SEED = 0  # of random teachers: they are in no checkpoint, so every start must make the same

DINO: MappingProxyType[str, DinoSize] = MappingProxyType(
    {**SIZES, "dinov2_tiny": DinoSize("", 32, 2, 2, (0, 0, 1, 1), (8, 8, 8, 8), 8)}
)
CLIP: MappingProxyType[str, ClipSize] = MappingProxyType(
    {
        "clip_large": ClipSize("openai/clip-vit-large-patch14", 1024, 24, 16, side=224),
        "clip_tiny": ClipSize("", 48, 2, 2, side=28),
    }
)


class DinoTeacher(nn.Module):
    """DINOv2: tokens of the last block after the final norm, without the class token.

    Args:
        size: which one.
    """

    def __init__(self, size: DinoSize) -> None:
        super().__init__()
        self.backbone, self._last = make_backbone(size, bands=3), size.depth - 1

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) → (B, dim, h, w); one whose sides are no multiples of 14 is resized to the nearest."""
        height, width = (max(PATCH, PATCH * math.floor(side / PATCH + 0.5)) for side in image.shape[-2:])
        return tapped(self.backbone, resized(image, height, width), [self._last])[0].float()


class ClipTeacher(nn.Module):
    """CLIP: patch tokens of the last block before its post-norm, of the image resized to the square that CLIP takes.

    Args:
        size: which one.
    """

    def __init__(self, size: ClipSize) -> None:
        super().__init__()
        self.vision = ClipVision(size)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) → (B, dim, side / 14, side / 14)."""
        side = self.vision.size.side
        tokens: Tensor = self.vision(resized(image, side, side))
        return tokens


def branch_of(name: str) -> Branch:
    """Return what a teacher asks of those who learn from it."""
    return Branch(dim=CLIP[name].dim, side=CLIP[name].side) if name in CLIP else Branch(dim=DINO[name].dim)


def build_teacher(name: str, weights: str, *, revision: str | None) -> nn.Module:
    """Return a teacher on the CPU, from image (B, 3, H, W) to tokens (B, D, h, w) float32.

    Args:
        name: of `DINO` or `CLIP`.
        weights: `default`, a file, a folder, a hub id, or `random`: always the same. Tiny ones are random.
        revision: commit of the hub repository; None takes its main branch.

    Raises:
        WeightsUnavailable: the weights are not there, or of another network.
        UnsafeInput: the file is a pickle.
        BundleError: the file cannot be read as safetensors.
    """
    hub = CLIP[name].hub if name in CLIP else DINO[name].hub
    if weights == "random" or (weights == "default" and not hub):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_SEED)
            return _made(name)
    try:
        path = locate(hub if weights == "default" else weights, revision=revision)
        with torch.device("meta"):  # skips the initialisation, which takes longer than reading
            empty = _made(name)
        teacher = empty.to_empty(device="cpu")
        if isinstance(teacher, ClipTeacher):
            teacher.vision.load(path)
        else:
            load_backbone(teacher.backbone, DINO[name], str(path), bands=3, revision=None)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"the teacher `{name}`: {error.message}", hint=_way_out(name, hub)) from error
    return teacher


def _made(name: str) -> DinoTeacher | ClipTeacher:
    return ClipTeacher(CLIP[name]) if name in CLIP else DinoTeacher(DINO[name])


def _way_out(name: str, hub: str) -> str:
    return (
        f"on a machine with a network: `hf download {hub} model.safetensors --local-dir {name}`, copy the folder here "
        f"and name it, `distill: {{teachers: [{{name: {name}, weights: {name}}}]}}`; or leave this teacher out"
    )
