"""The backbone against transformers' DINOv2, real weights, and where weights come from."""

import math
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch

from geosemi.errors import UnsafeInput, WeightsUnavailable
from geosemi.models import dinov2
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.dinov2 import positions
from geosemi.models.pretrained import fit_bands, locate

SMALL = Path(__file__).parents[2] / ".." / "shared" / "weights" / "dinov2-small"
TINY = replace(dinov2.SIZES["dinov2_small"], dim=24, heads=3, channels=(8, 8, 8, 8), width=8)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(dinov2.SIZES, "dinov2_small", TINY)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny checkpoint as transformers writes it, and the network that wrote it."""
    from transformers import Dinov2Backbone, Dinov2Config

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=12, num_attention_heads=3, image_size=518, out_indices=[3, 6, 9, 12]
    )
    network = Dinov2Backbone(config).eval()
    for parameter in network.parameters():  # norms and biases start as ones and zeros: make every name matter
        torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("dinov2")
    network.save_pretrained(folder)
    return folder, network


def spec(weights, **change):
    return ModelSpec(name="dinov2_small", weights=str(weights), **change)


@pytest.mark.usefixtures("tiny")
def test_features_are_those_of_transformers(checkpoint):
    folder, network = checkpoint
    model = build_segmenter(spec(folder), bands=3, classes=2, seed=0).eval()
    image = torch.randn(1, 3, 518, 518)
    with torch.inference_mode():
        for ours, theirs in zip(model.encode(image), network(image).feature_maps, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_small_weights_load_completely():
    if not SMALL.is_dir():
        pytest.skip("the DINOv2-small weights are not beside the repository")
    model = build_segmenter(spec(SMALL), bands=3, classes=6, seed=0).eval()
    # published: 24.8 M, which counts the 73,856 parameters of a unit that is never called
    assert sum(p.numel() for p in model.parameters()) == 24_720_422 == 24_794_278 - 73_856
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with torch.inference_mode():
        for features in model.encode(torch.randn(1, 3, 126, 140)):
            assert features.shape == (1, 384, 9, 10)
            assert features.isfinite().all()
            assert features.std() > 0.5  # weights at random end in a norm too, but real ones vary between channels


@pytest.mark.usefixtures("tiny")
def test_pretrained_parameters_are_the_backbone(checkpoint):
    model = build_segmenter(spec(checkpoint[0]), bands=3, classes=2, seed=0)
    slow = {id(p) for p in model.pretrained_parameters()}
    assert slow == {id(p) for p in model.backbone.parameters()}
    scratch = build_segmenter(ModelSpec(name="dinov2_small", weights=None), bands=3, classes=2, seed=0)
    assert list(scratch.pretrained_parameters()) == []


def test_positions_keep_the_pretrained_grid():
    table = torch.randn(1, 1 + 37 * 37, 4)
    assert positions(table, height=37, width=37) is table


def cubic(distance):
    """Keys' kernel with a = −0.75, written out."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


@pytest.mark.parametrize("height", [9, 20, 50])
def test_positions_against_a_loop_with_the_published_offset(height):
    """Row i of h lies at (i + 0.5) · 37 / (h + 0.1) − 0.5 in the table; four neighbours, clamped at the rim."""
    column = torch.randn(37, generator=torch.Generator().manual_seed(height))
    table = torch.cat([torch.tensor([[7.0]]), column[:, None].expand(37, 37).reshape(-1, 1)])[None]
    fitted = positions(table, height=height, width=11)
    assert fitted[0, 0, 0] == 7
    for i, row in enumerate(fitted[0, 1:, 0].reshape(height, 11)):
        at = (i + 0.5) * 37 / (height + 0.1) - 0.5
        near = range(math.floor(at) - 1, math.floor(at) + 3)
        expected = sum(cubic(at - k) * column[min(max(k, 0), 36)].item() for k in near)
        torch.testing.assert_close(row, torch.full((11,), expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bands", [1, 2, 4, 13])
def test_further_bands_start_as_the_mean_and_grey_stays_grey(bands):
    weight = torch.randn(5, 3, 14, 14)
    fitted = fit_bands(weight, bands)
    assert fitted.shape == (5, bands, 14, 14)
    torch.testing.assert_close(fitted.sum(1), weight.sum(1), rtol=1e-4, atol=1e-5)
    for band in range(bands):
        start = weight[:, band] if bands > 3 and band < 3 else weight.mean(1)
        torch.testing.assert_close(fitted[:, band], start * 3 / bands)


def test_three_bands_keep_the_weights():
    weight = torch.randn(5, 3, 14, 14)
    assert fit_bands(weight, 3) is weight


@pytest.mark.usefixtures("tiny")
def test_pretrained_weights_serve_other_bands(checkpoint):
    model = build_segmenter(spec(checkpoint[0]), bands=4, classes=2, seed=0)
    assert model.backbone.patch_embed.proj.weight.shape == (24, 4, 14, 14)


def test_a_file_or_its_folder(checkpoint):
    folder = checkpoint[0]
    assert locate(str(folder), revision=None) == locate(str(folder / "model.safetensors"), revision=None)


@pytest.mark.parametrize("weights", ["./nowhere", "nowhere.safetensors", "/a/b/c", "a/b/c"])
def test_a_path_that_does_not_exist(weights):
    with pytest.raises(WeightsUnavailable, match=f"`{weights}` does not exist") as caught:
        locate(weights, revision=None)
    assert "hub id such as `facebook/dinov2-small`" in caught.value.hint


def test_a_folder_without_safetensors(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsUnavailable, match=r"holds no `model\.safetensors`") as caught:
        locate(str(tmp_path), revision=None)
    assert "save the backbone as safetensors" in caught.value.hint


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("hub_cache")
def test_offline_says_what_to_do():
    with pytest.raises(WeightsUnavailable, match="`facebook/dinov2-small` are neither here nor") as caught:
        build_segmenter(ModelSpec(name="dinov2_small"), bands=3, classes=2, seed=0)
    assert "hf download facebook/dinov2-small model.safetensors --local-dir dinov2" in caught.value.hint
    assert "`model.weights: null`" in caught.value.hint


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("revision", [None, "0123456789abcdef0123456789abcdef01234567"])
def test_the_hubs_cache_needs_no_network(hub_cache, checkpoint, revision):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = hub_cache / "models--facebook--dinov2-small"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit / "model.safetensors").symlink_to(checkpoint[0] / "model.safetensors")
    spec = ModelSpec(name="dinov2_small", revision=revision)
    model = build_segmenter(spec, bands=3, classes=2, seed=0)
    cls = safetensors.torch.load_file(checkpoint[0] / "model.safetensors")["embeddings.cls_token"]
    assert torch.equal(model.backbone.cls_token, cls)


def test_weights_of_another_size(checkpoint):
    with pytest.raises(WeightsUnavailable, match="its tokens have 24 channels, wanted are 384") as caught:
        build_segmenter(spec(checkpoint[0]), bands=3, classes=2, seed=0)
    assert "choose the model of that size" in caught.value.hint


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("drop", ["encoder.layer.3.attention.attention.key.bias", "layernorm.weight"])
def test_weights_with_a_hole(tmp_path, checkpoint, drop):
    state = safetensors.torch.load_file(checkpoint[0] / "model.safetensors")
    del state[drop]
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(WeightsUnavailable, match="is another backbone than `facebook/dinov2-small`"):
        build_segmenter(spec(tmp_path / "m.safetensors"), bands=3, classes=2, seed=0)


def test_weights_of_something_else(tmp_path):
    safetensors.torch.save_file({"layer1.weight": torch.ones(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsUnavailable, match="holds no DINOv2 backbone") as caught:
        build_segmenter(spec(tmp_path / "resnet.safetensors"), bands=3, classes=2, seed=0)
    assert "facebook/dinov2-small" in caught.value.hint


@pytest.mark.usefixtures("tiny")
def test_weights_that_are_not_finite(tmp_path, checkpoint):
    state = safetensors.torch.load_file(checkpoint[0] / "model.safetensors")
    state["layernorm.bias"][0] = torch.nan
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"NaN or infinite numbers in `norm\.bias`") as caught:
        build_segmenter(spec(tmp_path / "m.safetensors"), bands=3, classes=2, seed=0)
    assert "again" in caught.value.hint


def test_a_pickle_is_refused(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "dinov2_small.pth")
    with pytest.raises(UnsafeInput, match="wants to run code when loaded") as caught:
        build_segmenter(spec(tmp_path / "dinov2_small.pth"), bands=3, classes=2, seed=0)
    assert "safetensors" in caught.value.hint
