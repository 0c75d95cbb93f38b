"""What teachers left in a network: closed forms, published counts, and a bundle that is rebuilt from its card."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geosemi.legend import Legend
from geosemi.models.build import skeleton
from geosemi.models.bundle import Bundle, Card
from geosemi.models.fused import FusedSegmenter, resized, shipped
from geosemi.models.fusion import Branch, FusionSpec
from geosemi.models.light import LightSegmenter
from geosemi.models.spec import ModelSpec

BOTH = FusionSpec(branches=(Branch(dim=20), Branch(dim=24, side=48)), hidden=16)
PUBLISHED = FusionSpec(branches=(Branch(dim=768), Branch(dim=1024, side=224)))


def fused(fusion: FusionSpec = BOTH) -> FusedSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FusedSegmenter(LightSegmenter(bands=3, classes=4), fusion)


def image(count: int = 2, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def by_hand(network: FusedSegmenter, x: Tensor, shares: tuple[float, ...]) -> Tensor:
    """F' in the order of the paper: translate, resize to F's grid, map back."""
    deep = network.core.encode(x)[-1]
    out = network.fusion.keep * deep
    for n, (branch, share) in enumerate(zip(network.fusion.branches, shares, strict=True)):
        seen = deep
        if branch.side is not None:
            small = F.interpolate(x, size=(branch.side,) * 2, mode="bilinear", align_corners=True)
            seen = network.core.encode(small)[-1]
        first, _, second = network.translators[n]
        said = second(first(seen.permute(0, 2, 3, 1)).relu()).permute(0, 3, 1, 2)
        said = F.interpolate(said, size=deep.shape[-2:], mode="bilinear", align_corners=True)
        out = out + share * network.back[n](said.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return out


@pytest.mark.parametrize(("branches", "shares"), [((0, 1), (0.1, 0.1)), ((0,), (0.2,)), ((1,), (0.2,))])
def test_fusion_is_the_closed_form(branches: tuple[int, ...], shares: tuple[float, ...]):
    network = fused(FusionSpec(branches=tuple(BOTH.branches[b] for b in branches), hidden=16)).eval()
    plain, maps = network.core.encode(image()), network.encode(image())
    torch.testing.assert_close(maps[-1], by_hand(network, image(), shares), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(maps[-1], plain[-1], atol=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(maps[:-1], plain[:-1], strict=True))
    assert torch.equal(network(image()), network.core.decode(maps, (32, 32)))


def test_without_fusion_the_network_is_the_plain_one():
    network = fused(FusionSpec(branches=BOTH.branches, hidden=16, keep=1)).eval()
    assert torch.equal(network(image()), network.core(image()))
    assert shipped(network) is network.core
    assert shipped(fused()) is not fused().core
    assert isinstance(shipped(fused()), FusedSegmenter)
    assert not any(key.startswith("back.") for key in network.state_dict())


def test_passes_with_gradient_are_watched_and_no_others():
    network = fused()
    with network.watched() as passes:
        network(image(2))
        with torch.no_grad():
            network(image(3))
        network(image(1, side=30))  # padded to the stride
    assert [tuple(p.image.shape) for p in passes] == [(2, 3, 32, 32), (1, 3, 32, 32)]
    assert [tuple(s.shape) for s in passes[0].said] == [(2, 20, 2, 2), (2, 24, 3, 3)]
    network(image())
    assert len(passes) == 2
    assert copy.deepcopy(network)._passes is None


def test_published_sizes_have_the_published_number_of_parameters():
    from geosemi.models.dinov2 import SIZES, DinoSegmenter

    with torch.device("meta"):
        core = DinoSegmenter(SIZES["dinov2_small"], bands=3, classes=6, pretrained=False)
        network = FusedSegmenter(core, PUBLISHED)

    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters() if p.requires_grad)

    assert [count(t) for t in network.translators] == [1_181_440, 1_443_840]
    assert [count(b) for b in network.back] == [295_296, 393_600]
    assert count(network) - count(core) == 3_314_176
    assert network.window is None


def test_windows_are_those_of_the_network_where_no_branch_resizes():
    assert fused(FusionSpec(branches=(Branch(dim=8),))).window == LightSegmenter(bands=3, classes=4).window
    assert fused().window is None


def test_a_bundle_is_rebuilt_from_its_card(tmp_path: Path):
    network = fused().eval()
    legend = Legend.from_dict({"classes": [{"id": k, "name": n, "colour": f"#00000{k}"} for k, n in enumerate("abcd")]})
    card = Card(ModelSpec(fusion=BOTH), legend, ("r", "g", "b"), (0.0,) * 3, (1.0,) * 3, 32, None, "0")
    Bundle(network, card).save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert isinstance(loaded.model, FusedSegmenter)
    assert loaded.card.spec.fusion == BOTH
    assert torch.equal(loaded.model(image()), network(image()))
    with torch.device("meta"):
        assert type(skeleton(ModelSpec(), bands=3, classes=4)) is LightSegmenter


def test_resizing_to_the_same_size_is_nothing():
    x = image()
    assert resized(x, 32, 32) is x
