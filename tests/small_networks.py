"""The networks of `MODELS` with their own code and few channels, so that a test of all of them takes seconds."""

from dataclasses import replace

import pytest

from geosemi.models import dinov2, networks
from geosemi.models.encoders import PyramidTransformer
from geosemi.models.networks import Network

ONE_OF_A_KIND = (
    "light",
    "dinov2_small",
    "segformer_b2",
    "deeplabv2",
    "deeplabv3plus_r50",
    "upernet_r50",
    "upernet_convnext_tiny",
)
"""Names that stand for every combination of code; small, the others differ from these in nothing but weights."""


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Make every network but `light` small."""
    for name, size in dinov2.SIZES.items():
        channels = tuple(8 * (i + 1) for i in range(4))
        patch.setitem(dinov2.SIZES, name, replace(size, dim=24, heads=3, channels=channels, width=8))
    for name, network in networks.NETWORKS.items():
        patch.setitem(networks.NETWORKS, name, small(network))


def small(network: Network) -> Network:
    dims = (4, 8, 20, 32) if isinstance(network.encoder, PyramidTransformer) else (8, 12, 16, 20)
    encoder = replace(network.encoder, depths=(1, 1, 1, 1), dims=dims)
    return replace(network, encoder=encoder, width=min(network.width, 16))
