"""The DPT head against the published counts and map sizes."""

import pytest
import torch
import torch.nn.functional as F

from geosemi.models import dinov2
from geosemi.models.build import ModelSpec, skeleton
from geosemi.models.dpt import DptHead


def head(**change):
    return DptHead(**{"dim": 12, "channels": (2, 4, 6, 8), "width": 5, "classes": 3} | change)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "backbone", "published_head"),
    [
        # encoder and head in millions as published: 22.06 + 2.74, 86.6 + 10.95, 304.4 + 31.2
        ("dinov2_small", 22_056_192, 2_738_086),
        ("dinov2_base", 86_579_712, 10_946_374),
        ("dinov2_large", 304_367_616, 31_206_662),
    ],
)
def test_parameter_counts(name, backbone, published_head):
    model = skeleton(ModelSpec(name=name, weights=None), bands=3, classes=6)
    width = dinov2.SIZES[name].width
    never_called = 2 * (9 * width * width + width)  # residual unit 1 of the deepest fusion block
    assert count(model.backbone) == backbone
    assert count(model.head) == published_head - never_called


def test_pyramid_of_a_518_pixel_image():
    """Patch grid 37: levels of 148, 74, 37 and 19, fused to 37, 74, 148 and 296, logits at 518."""
    model, seen = head(), []
    for module in (*model.adapt, *model.fuse):
        module.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-1]))
    logits = model([torch.randn(1, 12, 37, 37)] * 4, (518, 518))
    assert seen == [148, 74, 37, 19, 37, 74, 148, 296]
    assert logits.shape == (1, 3, 518, 518)


def test_fusion_by_hand():
    """Width 1, all weights and biases zero but the centre taps: relu twice, add, mix."""
    fusion = head(width=1).fuse[0]
    for parameter in fusion.parameters():
        torch.nn.init.zeros_(parameter)
    for unit, tap in ((fusion.level_unit, 2.0), (fusion.path_unit, -1.0)):
        unit.first.weight.data[0, 0, 1, 1] = tap
        unit.second.weight.data[0, 0, 1, 1] = 3.0
    fusion.mix.weight.data[0, 0] = 10.0
    fusion.mix.bias.data[0] = 0.5
    path, level = torch.full((1, 1, 1, 1), -4.0), torch.full((1, 1, 1, 1), 1.0)
    # level: 1 + 3·relu(2·relu(1)) = 7; path: −4 + 7 = 3, then 3 + 3·relu(−relu(3)) = 3; mix: 10·3 + 0.5
    assert fusion(path, (1, 1), level).item() == pytest.approx(30.5)


def test_interpolation_aligns_corners():
    model, features = head(), [torch.randn(1, 12, 3, 4)] * 4
    small = model(features, (24, 32))  # the size of the fused map: no interpolation
    large = model(features, (42, 56))
    for row in (0, -1):
        for col in (0, -1):
            torch.testing.assert_close(large[..., row, col], small[..., row, col])
    torch.testing.assert_close(large, F.interpolate(small, size=(42, 56), mode="bilinear", align_corners=True))


def test_train_and_eval_mode_are_the_same():
    model, features = head(), [torch.randn(1, 12, 3, 3)] * 4
    assert torch.equal(model.train()(features, (42, 42)), model.eval()(features, (42, 42)))
    assert list(model.buffers()) == []  # no batch norm
