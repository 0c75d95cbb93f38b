"""The light network: its size, how far it looks, and that a window of a scene gives the scene's logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.light import LightSegmenter


@pytest.fixture(scope="module")
def trained():
    """A network whose running statistics are those of some data, in eval mode."""
    model = build_segmenter(ModelSpec(), bands=3, classes=5, seed=3)
    for seed in range(8):
        model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def test_parameter_count():
    assert sum(p.numel() for p in LightSegmenter(bands=3, classes=6).parameters()) == 476_942


@pytest.mark.parametrize("weights", ["default", None])
def test_it_has_no_pretrained_parameters(weights):
    model = build_segmenter(ModelSpec(weights=weights), bands=3, classes=2, seed=0)
    assert list(model.pretrained_parameters()) == []


def test_reach_is_the_true_receptive_field():
    """With positive weights nothing cancels and no ReLU closes, so the gradient shows every pixel that can matter."""
    model = LightSegmenter(bands=1, classes=1).double().eval()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    side, reach = 256, 0
    for phase in range(model.stride):
        pixel = side // 2 + phase
        image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        model(image)[0, 0, pixel, pixel].backward()
        rows = (image.grad[0, 0] != 0).any(1).nonzero()
        reach = max(reach, pixel - int(rows.min()), int(rows.max()) - pixel)
    assert reach == LightSegmenter.reach


@settings(max_examples=8, deadline=None)
@given(row=st.integers(0, 8), col=st.integers(0, 8))
def test_a_windows_inside_equals_the_whole_scene(trained, row, col):
    scene = torch.randn(1, 3, 400, 400, generator=torch.Generator().manual_seed(5))
    top, left, side, rim = 16 * row, 16 * col, 272, LightSegmenter.reach
    with torch.inference_mode():
        whole = trained(scene)[..., top : top + side, left : left + side]
        window = trained(scene[..., top : top + side, left : left + side])
    inside = (..., slice(rim, side - rim), slice(rim, side - rim))
    torch.testing.assert_close(window[inside], whole[inside], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(window, whole, atol=1e-3)  # the rim does differ, so the comparison can fail


def test_padding_to_the_stride_does_not_move_the_image(trained):
    """Rows added below change nothing further away than the reach."""
    scene = torch.randn(1, 3, 207, 64, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        whole, cut = trained(scene), trained(scene[..., :200, :])
    keep = 200 - LightSegmenter.reach - 1
    torch.testing.assert_close(cut[..., :keep, :], whole[..., :keep, :], rtol=1e-4, atol=1e-5)
