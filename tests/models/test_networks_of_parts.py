"""Encoders against other libraries, published counts, and the loading of published checkpoints by their real names."""

from dataclasses import replace

import huggingface_hub
import pytest
import safetensors.torch
import torch
from small_networks import shrink, small

from geosemi.errors import UnsafeInput, WeightsUnavailable
from geosemi.models.build import build_segmenter, skeleton
from geosemi.models.encoders import MIT, PyramidTransformer, Residual
from geosemi.models.networks import NETWORKS
from geosemi.models.pretrained import fit_bands
from geosemi.models.spec import ModelSpec


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def tiny(monkeypatch):
    shrink(monkeypatch)


def lively(network):
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = 0.1 * torch.randn(tensor.shape, generator=generator)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise + (tensor.dim() == 1))
    return network.eval()


@pytest.mark.parametrize(
    ("name", "encoder", "all_", "classes"),
    [
        # Xie et al., 2021, table 1: encoder and the whole with 150 classes
        ("segformer_b0", 3.4, 3.8, 150),
        ("segformer_b1", 13.1, 13.7, 150),
        ("segformer_b2", 24.2, 27.5, 150),
        ("segformer_b3", 44.0, 47.3, 150),
        ("segformer_b4", 60.8, 64.1, 150),
        ("segformer_b5", 81.4, 84.7, 150),
        # Yang et al., 2023, table of Pascal: 40.5 and 59.5 with 21 classes; encoders: timm's `resnet50s`, `resnet101s`
        ("deeplabv3plus_r50", 23.6, 40.5, 21),
        ("deeplabv3plus_r101", 42.6, 59.5, 21),
        # encoders: torchvision's table, 25.6, 44.5, 28.6 and 88.6 less 1000 classes; the whole by the layers' sizes
        ("deeplabv2", 42.5, 44.0, 21),
        ("upernet_r50", 23.5, 37.3, 21),
        ("upernet_r101", 42.5, 56.3, 21),
        ("upernet_convnext_tiny", 27.8, 37.0, 21),
        ("upernet_convnext_base", 87.6, 97.7, 21),
        # Wang et al., 2021: 25.4 with a classifier of 0.5
        ("segformer_pvt_b2", 24.8, 28.1, 150),
    ],
)
def test_published_sizes(name, encoder, all_, classes):
    model = skeleton(ModelSpec(name=name, weights=None), bands=3, classes=classes)
    # the paper of SegFormer cuts digits off or rounds, depending on the row
    assert count(model.encoder) / 1e6 == pytest.approx(encoder, abs=0.1)
    assert count(model) / 1e6 == pytest.approx(all_, abs=0.06)


def test_exact_sizes_against_other_libraries():
    """Counted with transformers 5.23 and torchvision 0.29, whose code is not ours."""
    from torchvision.models import convnext_tiny, resnet50, resnet101
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    with torch.device("meta"):
        config = SegformerConfig(
            depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768, num_labels=6
        )
        segformer = SegformerForSemanticSegmentation(config)
        r50, r101, convnext = resnet50(), resnet101(), convnext_tiny()

    def ours(name):
        return skeleton(ModelSpec(name=name, weights=None), bands=3, classes=6)

    assert count(ours("segformer_b2")) == count(segformer)
    assert count(ours("segformer_b2").encoder) == count(segformer.segformer)
    assert count(ours("upernet_r50").encoder) == count(r50) - count(r50.fc)
    assert count(ours("deeplabv2").encoder) == count(r101) - count(r101.fc)
    assert count(ours("upernet_convnext_tiny").encoder) == count(convnext) - count(convnext.classifier)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    """A tiny checkpoint as transformers writes it, with a decoder that we do not want, and what wrote it."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[4, 8, 20, 32], num_attention_heads=[1, 2, 5, 8], decoder_hidden_size=16
    )
    network = lively(SegformerForSemanticSegmentation(config))
    folder = tmp_path_factory.mktemp("segformer")
    network.save_pretrained(folder)
    return folder, network


@pytest.mark.usefixtures("tiny")
def test_mit_is_that_of_transformers(segformer):
    folder, network = segformer
    model = build_segmenter(ModelSpec(name="segformer_b2", weights=str(folder)), bands=3, classes=2, seed=0).eval()
    image = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        theirs = network.segformer(image, output_hidden_states=True).hidden_states
        for ours, expected in zip(model.encode(image), theirs, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("tiny")
def test_mit_under_the_names_of_nvidias_release(tmp_path):
    """Which are those of segmentation_models_pytorch: only its names and shapes are looked at here."""
    smp = pytest.importorskip("segmentation_models_pytorch.encoders.mix_transformer")
    published = smp.MixVisionTransformerEncoder(
        out_channels=(3, 0, 4, 8, 20, 32),
        embed_dims=[4, 8, 20, 32],
        num_heads=[1, 2, 5, 8],
        mlp_ratios=[4, 4, 4, 4],
        qkv_bias=True,
        depths=[1, 1, 1, 1],
        sr_ratios=[8, 4, 2, 1],
    )
    lively(published)
    state = published.state_dict() | {"head.weight": torch.ones(1000, 32), "head.bias": torch.ones(1000)}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    spec = ModelSpec(name="segformer_b2", weights=str(tmp_path))
    model = build_segmenter(spec, bands=3, classes=2, seed=0).eval()
    image = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        for ours, expected in zip(model.encode(image), published(image)[2:], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_residual_encoder_is_that_of_torchvision(stride):
    from torchvision.models.resnet import Bottleneck, ResNet

    dilate = [False, stride == 8, stride <= 16]
    theirs = lively(ResNet(Bottleneck, [2, 2, 2, 2], replace_stride_with_dilation=dilate))
    plan = Residual("x/y", (2, 2, 2, 2))
    ours = plan.build(3, stride=stride)
    ours.load_state_dict(plan.own_names(theirs.state_dict()), strict=True)
    image, seen = torch.randn(1, 3, 64, 96), []
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.inference_mode():
        theirs(image)
        for got, expected in zip(plan.maps(ours.eval(), image), seen, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


FIRST = {
    "segformer_pvt_b2": "patch_embed.proj.weight",
    "deeplabv2": "conv1.weight",
    "deeplabv3plus_r50": "conv1.0.weight",
    "upernet_convnext_tiny": "stem.0.weight",
}


def published(name, folder):
    """Write a checkpoint with the names and the classifier of timm's own network of that name."""
    import timm

    network = small(NETWORKS[name])
    plan = network.encoder
    arguments = {"depths": plan.depths, "num_classes": 7}
    if isinstance(plan, Residual):
        arguments = {"layers": plan.depths, "channels": plan.dims, "num_classes": 7}
    elif isinstance(plan, PyramidTransformer):
        arguments |= {"embed_dims": plan.dims}
    else:
        arguments |= {"dims": plan.dims}
    made = timm.create_model(plan.hub.removeprefix("timm/").split(".")[0], pretrained=False, **arguments)
    state = lively(made).state_dict()
    safetensors.torch.save_file(state, folder / "model.safetensors")
    return made, state


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("bands", [3, 5])
def test_checkpoints_of_timm_load_completely(name, bands, tmp_path, monkeypatch):
    made, state = published(name, tmp_path)
    shrink(monkeypatch)
    model = build_segmenter(ModelSpec(name=name, weights=str(tmp_path)), bands=bands, classes=2, seed=0).eval()
    loaded = model.encoder.state_dict()
    assert torch.equal(loaded[FIRST[name]], fit_bands(state[FIRST[name]], bands))
    assert all(torch.equal(loaded[n], state[n]) for n in loaded if n != FIRST[name])
    assert {n.split(".")[0] for n in state.keys() - loaded.keys()} <= {"fc", "head"}
    assert {id(p) for p in model.pretrained_parameters()} == {id(p) for p in model.encoder.parameters()}
    if bands == 3 and name != "deeplabv2":  # which has another stride than the classifier
        image = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            deepest = model.encode(image)[-1]
            if name == "deeplabv3plus_r50":
                assert deepest.shape[-1] == 4
            elif name == "segformer_pvt_b2":
                torch.testing.assert_close(deepest, made.forward_features(image))


@pytest.mark.usefixtures("tiny")
def test_weights_of_another_encoder(tmp_path, segformer):
    with pytest.raises(WeightsUnavailable, match=r"another encoder than `timm/resnet50\.tv_in1k`") as caught:
        build_segmenter(ModelSpec(name="upernet_r50", weights=str(segformer[0])), bands=3, classes=2, seed=0)
    assert "choose the model that they belong to" in caught.value.hint


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("part", ["key.weight", "value.bias", "layer_norm.1.weight"])
def test_weights_with_a_hole(tmp_path, segformer, part):
    state = safetensors.torch.load_file(segformer[0] / "model.safetensors")
    name = next(n for n in state if n.endswith(part))
    del state[name]
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(WeightsUnavailable, match="is another encoder than `smp-hub/mit_b2"):
        build_segmenter(
            ModelSpec(name="segformer_b2", weights=str(tmp_path / "m.safetensors")), bands=3, classes=2, seed=0
        )


@pytest.mark.usefixtures("tiny")
def test_weights_that_are_not_finite(tmp_path, segformer):
    state = safetensors.torch.load_file(segformer[0] / "model.safetensors")
    name = next(n for n in state if n.endswith("mlp.dense1.bias"))
    state[name][0] = torch.nan
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"NaN or infinite numbers in `stages\.\d\.blocks\.0\.mlp\.fc1\.bias`"):
        build_segmenter(
            ModelSpec(name="segformer_b2", weights=str(tmp_path / "m.safetensors")), bands=3, classes=2, seed=0
        )


def test_a_pickle_is_refused(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "mit_b2.pth")
    with pytest.raises(UnsafeInput, match="wants to run code when loaded"):
        build_segmenter(
            ModelSpec(name="segformer_b0", weights=str(tmp_path / "mit_b2.pth")), bands=3, classes=2, seed=0
        )


@pytest.mark.parametrize("revision", [None, "0123456789abcdef0123456789abcdef01234567"])
@pytest.mark.usefixtures("tiny")
def test_default_weights_are_a_pinned_commit_of_the_hub(monkeypatch, tmp_path, segformer, revision):
    """From the hub's cache, without a network; `revision` wins over the pinned one."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = revision or MIT[2].revision
    place = tmp_path / "models--smp-hub--mit_b2.imagenet" / "snapshots" / commit
    place.mkdir(parents=True)
    (place / "model.safetensors").symlink_to(segformer[0] / "model.safetensors")
    spec = ModelSpec(name="segformer_b2", revision=revision)
    model = build_segmenter(spec, bands=3, classes=2, seed=0)
    assert torch.equal(model.encoder.patch_embed.norm.bias, segformer[1].segformer.state_dict()[_norm(segformer[1])])
    with pytest.raises(WeightsUnavailable, match=r"`timm/resnet101\.tv_in1k` are neither here nor") as caught:
        build_segmenter(ModelSpec(name="deeplabv2"), bands=3, classes=2, seed=0)
    assert "hf download timm/resnet101.tv_in1k model.safetensors --local-dir resnet101.tv_in1k" in caught.value.hint


def _norm(network):
    """Name of the bias of the first patches' norm; transformers renames modules between releases."""
    return next(n for n, t in network.segformer.state_dict().items() if n.endswith("norm.bias") and t.shape == (4,))


@pytest.mark.parametrize(
    ("content", "free"),
    [
        ({"name": "segformer_b2"}, False),
        ({"name": "segformer_b5"}, False),
        ({"name": "segformer_b2", "weights": "nvidia/mit-b2"}, False),
        ({"name": "segformer_b5", "weights": "timm/pvt_v2_b5.in1k"}, True),
        ({"name": "segformer_b2", "weights": None}, True),
        ({"name": "segformer_pvt_b2"}, True),
        ({"name": "upernet_r50"}, True),
        ({"name": "light"}, True),
        ({"name": "dinov2_small"}, True),
    ],
)
def test_non_commercial_weights_are_named(content, free):
    restriction = ModelSpec(**content).restriction
    assert (restriction is None) == free
    if not free:
        assert "non-commercial use only" in restriction
        assert ("timm/pvt_v2_b5.in1k" if content["name"] == "segformer_b5" else "segformer_pvt_b2") in restriction


def test_mit_b5_takes_weights_of_pvt(tmp_path):
    """The Apache-2.0 checkpoint that the warning names has the shape of MiT-B5: both have MLP ratios of 4."""
    import timm

    with torch.device("meta"):
        permissive = timm.create_model("pvt_v2_b5", pretrained=False)
        ours = MIT[5].build(3, stride=32)
    named = MIT[5].own_names(permissive.state_dict())
    assert {n: t.shape for n, t in named.items()} == {n: t.shape for n, t in ours.state_dict().items()}


@pytest.mark.parametrize("name", ["segformer_b0", "deeplabv3plus_r50"])
def test_a_single_crop_trains(name, monkeypatch):
    shrink(monkeypatch)
    model = build_segmenter(ModelSpec(name=name, weights=None), bands=3, classes=2, seed=0)
    logits = model(torch.randn(1, 3, 20, 20))  # the deepest map is 1 × 1 or 2 × 2
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_drop_path_grows_to_a_tenth():
    network = replace(MIT[0], depths=(1, 1, 1, 2)).build(3, stride=32)
    probabilities = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert probabilities == pytest.approx([p for p in (0.025, 0.05, 0.075, 0.1) for _ in range(2)])
