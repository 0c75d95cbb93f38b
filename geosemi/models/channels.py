"""Attention among channels: a channel is a token, and its values at all positions are the vector that it has.

So the cost grows with the number of positions and not with its square, and the weights, which act on channels, fit a
map of any size.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from geosemi.models.segmenter import Segmenter

DROPOUT = 0.1  # of attention and of what comes out


class ChannelAttention(nn.Module):
    """Rebuild the channels of one map from those of others (Wang et al., AAAI 2022; as in AllSpark).

    Scores are normalised over the whole matrix of an image and head instead of divided by a root.

    Args:
        channels: C, of the maps.
        width: of queries, keys and values in all; a multiple of `heads`.
        heads: parts of the width that attend on their own.
    """

    def __init__(self, channels: int, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(channels, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, channels, bias=False)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, asking: Tensor, told: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return (B, N, C).

        Args:
            asking: (B, N, C), N positions.
            told: (B, S, N, C), of which maps each image is rebuilt; (1, S, N, C): all of the same.
            generator: where the numbers of the dropout come from; None for no dropout.
        """
        query = self.query(asking).unflatten(2, (self.heads, -1)).movedim(1, -1)  # (B, h, D, N)
        key, value = (self._columns(layer(told)) for layer in (self.key, self.value))  # (B or 1, h, N, S · D)
        scores = (query @ key).float()
        centred = scores - scores.mean(dim=(2, 3), keepdim=True)
        spread = centred.square().mean(dim=(2, 3), keepdim=True)  # with torch.var_mean: 7 ms instead of 3
        shares = (centred * (spread + 1e-5).rsqrt()).softmax(dim=3)
        found = drop(shares, generator).to(value) @ value.transpose(2, 3)  # (B, h, D, N)
        rebuilt: Tensor = self.out(found.movedim(-1, 1).flatten(2))
        return drop(rebuilt, generator)

    def _columns(self, maps: Tensor) -> Tensor:
        split = maps.reshape(*maps.shape[:3], self.heads, -1)  # (B, S, N, h, D)
        return split.permute(0, 3, 2, 1, 4).flatten(3)


def drop(values: Tensor, generator: torch.Generator | None, share: float = DROPOUT) -> Tensor:
    """Silence a share of all values and scale the others up; a GPU draws for itself, seeded from the generator."""
    if generator is None:
        return values
    if values.device.type != "cpu":
        seed = int(torch.randint(2**31, (), generator=generator))
        generator = torch.Generator(values.device).manual_seed(seed)
    kept = torch.rand(values.shape, generator=generator, device=values.device).ge_(share)
    return values * kept.mul_(1 / (1 - share)).to(values)


class Spark(nn.Module):
    """The block of AllSpark around its attention: tokens of a map, and a map of tokens.

    Args:
        channels: C, of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.before, self.after = (nn.LayerNorm(channels, eps=1e-6) for _ in range(2))
        self.attend = ChannelAttention(channels, width=2 * channels, heads=1)

    def tokens(self, map_: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (B, N, C) of a map (B, C, h, w), as they are and normalised for attention."""
        tokens = nn.functional.gelu(self.enter(map_)).flatten(2).transpose(1, 2)
        return tokens, self.before(tokens)

    def map_(self, tokens: Tensor, found: Tensor, size: torch.Size) -> Tensor:
        """Return a map of `size` (…, h, w) from tokens and what attention found for them."""
        path: Tensor = self.after(tokens + found)
        return nn.functional.gelu(self.leave(path.transpose(1, 2).reshape(*path.shape[::2], *size[-2:])))


class SparkSegmenter(Segmenter):
    """A network whose deepest map is rebuilt from its own channels, as AllSpark predicts.

    Each image asks itself alone, so that an answer does not depend on what else is in the batch.

    Args:
        core: the network.
    """

    # attention has learnt the number of positions of a crop
    window = None

    def __init__(self, core: Segmenter) -> None:
        super().__init__()
        self.core, self.spark = core, Spark(core.widths[-1])
        self.classes, self.bands, self.widths, self.stride = core.classes, core.bands, core.widths, core.stride

    def around(self, core: Segmenter) -> "SparkSegmenter":
        """Return the same block around another network, sharing its weights."""
        other = copy.copy(self)
        other.__dict__["_modules"] = {**self._modules, "core": core}
        return other

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the network, the deepest one rebuilt."""
        *features, deep = self.core.encode(image)
        tokens, normed = self.spark.tokens(deep)
        return [*features, self.spark.map_(tokens, self.spark.attend(normed, normed[:, None]), deep.shape)]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, K, *size)."""
        return self.core.decode(features, size)

    def pretrained_parameters(self) -> Iterable[nn.Parameter]:
        """Return those of the network itself."""
        return self.core.pretrained_parameters()
