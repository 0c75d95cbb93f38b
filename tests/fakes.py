"""Small stand-ins that keep the promises of the real things: networks with known answers, an array as a scene."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from geosemi.geo.scene import Tile
from geosemi.geo.window import Window
from geosemi.legend import ClassDef, Legend
from geosemi.models.build import ModelSpec
from geosemi.models.bundle import Bundle, Card
from geosemi.models.segmenter import Segmenter

COLOURS = ("#d02020", "#20a020", "#2040d0", "#e0c020", "#80e0e0", "#a040a0")


class TinySegmenter(Segmenter):
    """A 1×1 convolution: what it says of a pixel depends on that pixel alone."""

    def __init__(self, *, bands: int = 3, classes: int = 4, seed: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.bands, self.classes, self.widths, self.stride = bands, classes, (bands,), stride
        generator = torch.Generator().manual_seed(seed)
        self.classify = nn.Conv2d(bands, classes, 1)
        # whole numbers: sums are exact, so two classes are either equal or far apart
        self.classify.weight.data = torch.randint(-3, 4, self.classify.weight.shape, generator=generator).float()
        self.classify.bias.data = torch.arange(classes).float() / 8

    def encode(self, image: Tensor) -> list[Tensor]:
        return [image]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.classify(features[0])


class EdgeSegmenter(Segmenter):
    """Two zero-padded 3×3 convolutions: translation-equivariant, and wrong within 2 pixels of a window's rim."""

    reach = 2

    def __init__(self, *, bands: int = 3, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.bands, self.classes, self.widths, self.stride = bands, classes, (8,), 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(bands, 8, 3, padding=1)
            self.second = nn.Conv2d(8, classes, 3, padding=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.first(image).relu()]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        return 8 * self.second(features[0])


class CountingSegmenter(TinySegmenter):
    """Remembers the shape of every batch, and calls back before it answers."""

    def __init__(self, on_batch: Callable[[Tensor], None] = lambda _: None, **sizes: int) -> None:
        super().__init__(**sizes)
        self.on_batch = on_batch
        self.batches: list[Tensor] = []

    def encode(self, image: Tensor) -> list[Tensor]:
        self.batches.append(image.clone())
        self.on_batch(image)
        return super().encode(image)


class ArrayReader:
    """A `SceneReader` that holds an array (C, H, W) and remembers what was read of it."""

    def __init__(self, image: np.ndarray, valid: np.ndarray | None = None) -> None:
        self.image = image
        self.valid = np.ones(image.shape[1:], bool) if valid is None else valid
        self.windows: list[Window] = []

    def read(self, window: Window) -> Tile:
        self.windows.append(window)
        return Tile(self.image[:, *window.slices], self.valid[window.slices], window)


def legend_of(classes: int, ignore: int = 255) -> Legend:
    """A legend of up to 6 named, coloured classes."""
    return Legend(
        tuple(ClassDef(i, f"class {'abcdef'[i]}", COLOURS[i]) for i in range(classes)), ignore=ignore, name="fake"
    )


def bundle_of(
    model: Segmenter, *, tile: int = 32, resolution: float | None = None, names: tuple[str, ...] = (), **card: object
) -> Bundle:
    """A bundle around a fake network; raw values are seen as (raw - 100) / 50."""
    values = {
        "bands": names or tuple(f"band_{i + 1}" for i in range(model.bands)),
        "mean": (100.0,) * model.bands,
        "std": (50.0,) * model.bands,
        "provenance": {},
        **card,
    }
    fixed = {"spec": ModelSpec(), "tile": tile, "resolution": resolution, "version": "0"}
    return Bundle(model.eval(), Card(legend=legend_of(model.classes), **fixed, **values), digest="f" * 64)
