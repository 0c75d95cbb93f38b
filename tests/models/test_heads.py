"""Each head against the published count of parameters, and against another library that has the same one."""

import pytest
import torch
import torch.nn.functional as F

from geosemi.models.heads import DeepLabV2Head, DeepLabV3PlusHead, SegformerHead, UPerHead
from geosemi.models.layers import BatchNorm2d


def count(module):
    return sum(p.numel() for p in module.parameters())


def lively(head):
    """Put numbers everywhere: batch norms start as the identity, and hide a wrong order."""
    generator = torch.Generator().manual_seed(1)
    for tensor in head.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5 + 0.01)
    return head.eval()


def maps(widths, side=12):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(2, w, side >> i, (side >> i) + 1, generator=generator) for i, w in enumerate(widths)]


def hand_over(source, target, pairs):
    """Copy modules by name; whatever the target has must be named."""
    state = {
        f"{theirs}.{rest}": tensor
        for ours, theirs in pairs.items()
        for name, tensor in source.state_dict().items()
        if name.startswith(f"{ours}.")
        for rest in [name.removeprefix(f"{ours}.")]
    }
    wanted = target.state_dict()
    assert state.keys() == wanted.keys()
    target.load_state_dict({n: t.reshape(wanted[n].shape) for n, t in state.items()}, strict=True)
    return target.eval()


def test_upernet_is_that_of_s5():
    """Published: 9.64 M with four maps of 768 channels, without the classifier (S5)."""
    head = UPerHead((768,) * 4, width=256, classes=6)
    lateral, pools, context = 3 * (768 * 256 + 512), 4 * (768 * 256 + 512), 1792 * 256 * 9 + 512
    smooth, fuse = 3 * (256 * 256 * 9 + 512), 1024 * 256 * 9 + 512
    assert count(head) - count(head.classify) == lateral + pools + context + smooth + fuse == 9_639_936


def test_upernet_against_transformers():
    from transformers import UperNetConfig
    from transformers.models.upernet.modeling_upernet import UperNetHead

    widths = (4, 6, 8, 10)
    ours = lively(UPerHead(widths, width=12, classes=3))
    theirs = UperNetHead(UperNetConfig(hidden_size=12, num_labels=3), in_channels=list(widths))
    pairs = {"context.0": "bottleneck.conv", "context.1": "bottleneck.batch_norm", "classify": "classifier"}
    pairs |= {"fuse.0": "fpn_bottleneck.conv", "fuse.1": "fpn_bottleneck.batch_norm"}
    for i in range(4):
        pairs |= {f"pools.{i}.1.0": f"psp_modules.{i}.1.conv", f"pools.{i}.1.1": f"psp_modules.{i}.1.batch_norm"}
    for ours_name, theirs_name in (("lateral", "lateral_convs"), ("smooth", "fpn_convs")):
        for i in range(3):
            pairs |= {f"{ours_name}.{i}.0": f"{theirs_name}.{i}.conv"}
            pairs |= {f"{ours_name}.{i}.1": f"{theirs_name}.{i}.batch_norm"}
    theirs = hand_over(ours, theirs, pairs)
    with torch.inference_mode():
        torch.testing.assert_close(ours(maps(widths)), theirs(maps(widths)), rtol=1e-5, atol=1e-5)


def test_segformer_against_transformers():
    from transformers import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

    widths = (4, 6, 8, 10)
    ours = lively(SegformerHead(widths, width=12, classes=3))
    theirs = SegformerDecodeHead(SegformerConfig(hidden_sizes=list(widths), decoder_hidden_size=12, num_labels=3))
    linear = sorted(n for n, m in theirs.named_modules() if isinstance(m, torch.nn.Linear))  # one for each map
    pairs = {f"project.{i}": name for i, name in enumerate(linear)}
    pairs |= {"fuse.0": "linear_fuse", "fuse.1": "batch_norm", "classify": "classifier"}
    theirs = hand_over(ours, theirs, pairs)
    with torch.inference_mode():
        torch.testing.assert_close(ours(maps(widths)), theirs(maps(widths)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("widths", "width", "published"), [((64, 128, 320, 512), 768, 3.3), ((32, 64, 160, 256), 256, 0.4)]
)
def test_segformer_has_the_published_size(widths, width, published):
    """Table 1 of the paper, in millions, with the 150 classes of ADE20K."""
    assert round(count(SegformerHead(widths, width=width, classes=150)) / 1e6, 1) == published


def test_context_of_deeplab_against_torchvision():
    from torchvision.models.segmentation.deeplabv3 import ASPP

    ours = lively(DeepLabV3PlusHead((5, 7), width=6, classes=3))
    theirs = ASPP(7, [6, 12, 18], 6)
    pairs = {f"branches.{i}": f"convs.{i}" for i in range(4)} | {"project": "project"}
    pairs |= {"pool.1.0": "convs.4.1", "pool.1.1": "convs.4.2"}
    theirs = hand_over(ours, theirs, pairs)
    fine, deep = torch.randn(2, 5, 40, 44), torch.randn(2, 7, 10, 11)
    seen = []
    ours.project.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.inference_mode():
        logits = ours([fine, deep])
        context = theirs(deep)
        torch.testing.assert_close(seen[0], context, rtol=1e-5, atol=1e-5)
        enlarged = F.interpolate(context, (40, 44), mode="bilinear", align_corners=True)
        reduced = ours.reduce(fine)
        assert reduced.shape == (2, 48, 40, 44)
        expected = ours.classify(ours.fuse(torch.cat([enlarged, reduced], dim=1)))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_deeplabv2_sums_four_neighbourhoods():
    """At the middle of a large map, each 3×3 kernel reads eight places 6, 12, 18 and 24 away, and the middle itself."""
    head = DeepLabV2Head((2,), width=0, classes=3)
    assert count(head) == 4 * (2 * 3 * 9 + 3)
    x = torch.randn(1, 2, 51, 51, requires_grad=True)
    for convolution in head.classify:
        torch.nn.init.uniform_(convolution.weight, 0.1, 1.0)
    head([x])[0, 1, 25, 25].backward()
    read = {tuple(place) for place in (x.grad[0, 0] != 0).nonzero().tolist()}
    around = {(25 + r * i, 25 + r * j) for r in (6, 12, 18, 24) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert read == around


def test_a_single_value_a_channel_leaves_the_statistics():
    norm = BatchNorm2d(3).train()
    norm(torch.randn(4, 3, 2, 2))
    before = {n: t.clone() for n, t in norm.state_dict().items()}
    x = torch.randn(1, 3, 1, 1)
    out = norm(x)
    assert all(torch.equal(before[n], t) for n, t in norm.state_dict().items())
    assert torch.equal(out, norm.eval()(x))
    reference = torch.nn.BatchNorm2d(3).train()
    reference.load_state_dict(before)
    many = torch.randn(2, 3, 1, 1)
    assert torch.equal(norm.train()(many), reference(many))


@pytest.mark.parametrize("head", [DeepLabV3PlusHead, UPerHead])
def test_image_level_pooling_trains_on_a_single_crop(head):
    widths = (4, 6, 8, 10)
    model = head(widths, width=8, classes=2).train()
    model([x[:1] for x in maps(widths, side=32)]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
