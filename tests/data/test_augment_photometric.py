import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from torchvision.transforms.v2 import functional as vision

from geosemi.data.keyed import keyed_generator
from geosemi.data.photometric import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    Draws,
    PhotometricSettings,
    gaussian_blur,
    shift_hue,
    strong_colours,
)

RGB = (0, 1, 2)
NOTHING = PhotometricSettings(jitter=0, grey=0, blur=0)


def still(count: int) -> Draws:
    return Draws.draw(count, NOTHING, torch.Generator())


def only(operation: int, factor: float) -> Draws:
    """Draws for one image whose jitter does one thing and whose other factors change nothing."""
    factors = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    factors[0, operation] = factor
    return Draws(torch.tensor([True]), torch.arange(4)[None], factors, torch.tensor([False]), torch.zeros(1))


TWINS = {
    BRIGHTNESS: vision.adjust_brightness,
    CONTRAST: vision.adjust_contrast,
    SATURATION: vision.adjust_saturation,
    HUE: vision.adjust_hue,
}


@pytest.mark.parametrize("operation", TWINS)
@pytest.mark.parametrize("strength", [-0.5, -0.2, 0.0, 0.3, 0.5])
def test_each_operation_is_that_of_torchvision(operation: int, strength: float):
    image = torch.rand(1, 3, 24, 20, generator=keyed_generator(1))
    image[..., :4, :] = image[:, :1, :4, :]  # grey has no hue
    factor = strength / 2 if operation == HUE else 1 + strength
    mine = strong_colours(image, only(operation, factor), RGB)
    torch.testing.assert_close(mine, TWINS[operation](image, factor), atol=1e-5, rtol=0)


def test_operations_run_in_the_drawn_order():
    image = torch.rand(2, 3, 8, 8, generator=keyed_generator(2))
    factors = torch.tensor([[1.4, 0.6, 1.0, 0.0]]).repeat(2, 1)
    order = torch.tensor([[BRIGHTNESS, CONTRAST, SATURATION, HUE], [CONTRAST, BRIGHTNESS, SATURATION, HUE]])
    draws = Draws(torch.ones(2, dtype=torch.bool), order, factors, torch.zeros(2, dtype=torch.bool), torch.zeros(2))
    mine = strong_colours(image, draws, RGB)
    first = vision.adjust_contrast(vision.adjust_brightness(image[:1], 1.4), 0.6)
    second = vision.adjust_brightness(vision.adjust_contrast(image[1:], 0.6), 1.4)
    torch.testing.assert_close(mine, torch.cat([first, second]), atol=1e-5, rtol=0)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=4))
def test_hue_is_a_circle(shifts: list[float]):
    colour = torch.rand(len(shifts), 3, 4, 4, generator=keyed_generator(3))
    shift = torch.tensor(shifts)[:, None, None]
    torch.testing.assert_close(shift_hue(shift_hue(colour, shift), -shift), colour, atol=1e-4, rtol=0)
    torch.testing.assert_close(shift_hue(colour, shift + 1), shift_hue(colour, shift), atol=1e-4, rtol=0)


def test_a_third_of_the_circle_turns_red_into_green():
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert shift_hue(red, torch.full((1, 1, 1), 1 / 3)).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 1.5, 2.0])
def test_blur_is_gaussian(sigma: float):
    image = torch.rand(2, 4, 40, 30, generator=keyed_generator(4))
    mine = gaussian_blur(image, torch.tensor([sigma, 2.0]))[0]
    inside = (slice(None), slice(7, -7), slice(7, -7))  # torchvision mirrors at borders
    torch.testing.assert_close(mine[inside], vision.gaussian_blur(image[0], 13, sigma)[inside], atol=1e-4, rtol=0)


def test_blur_is_close_to_pil_up_to_the_border():
    image = torch.randint(0, 256, (40, 30), generator=keyed_generator(5), dtype=torch.uint8)
    pil = Image.fromarray(image.numpy()).filter(ImageFilter.GaussianBlur(1.5))
    theirs = torch.tensor(list(pil.tobytes()), dtype=torch.float32).reshape(40, 30)
    mine = gaussian_blur(image[None, None].float(), torch.tensor([1.5]))[0, 0]
    assert (mine - theirs).abs().mean() < 2  # of 255: PIL runs three box blurs


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_nothing_drawn_changes_nothing_and_clips_nothing(bands: int):
    image = 3 * torch.randn(4, bands, 8, 8, generator=keyed_generator(6))
    assert torch.equal(strong_colours(image, still(4), RGB if bands >= 3 else None), image)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(5)))
def test_band_order_does_not_matter(seed: int, order: list[int]):
    image = torch.rand(3, 5, 8, 8, generator=keyed_generator(seed))
    draws = Draws.draw(3, PhotometricSettings(), keyed_generator(seed, "draws"))
    rgb = tuple(order.index(band) for band in (3, 1, 0))
    plain = strong_colours(image, draws, (3, 1, 0))
    torch.testing.assert_close(strong_colours(image[:, order], draws, rgb), plain[:, order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("operation", [SATURATION, HUE])
def test_colour_operations_leave_other_bands_alone(operation: int):
    image = torch.rand(1, 4, 8, 8, generator=keyed_generator(7))
    mine = strong_colours(image, only(operation, 0.2), RGB)
    assert torch.equal(mine[:, 3], image[:, 3])
    assert not torch.allclose(mine[:, :3], image[:, :3])
    assert torch.equal(strong_colours(image, only(operation, 0.2), None), image)


def test_grey_makes_three_equal_channels():
    image = torch.rand(1, 4, 8, 8, generator=keyed_generator(8))
    draws = Draws.draw(1, PhotometricSettings(jitter=0, grey=1, blur=0), torch.Generator())
    mine = strong_colours(image, draws, RGB)
    torch.testing.assert_close(mine[:, :3], vision.rgb_to_grayscale(image[:, :3], 3))
    assert torch.equal(mine[:, 3], image[:, 3])


def test_draws_have_the_stated_rates_and_ranges():
    draws = Draws.draw(20000, PhotometricSettings(), keyed_generator(9))
    assert draws.jitter.float().mean() == pytest.approx(0.8, abs=0.01)
    assert draws.grey.float().mean() == pytest.approx(0.2, abs=0.01)
    blurred = draws.sigma[draws.sigma > 0]
    assert len(blurred) / 20000 == pytest.approx(0.5, abs=0.015)
    assert (blurred.min() >= 0.1, blurred.max() <= 2.0, blurred.mean()) == (True, True, pytest.approx(1.05, abs=0.02))
    for operation, (low, high) in enumerate([(0.5, 1.5)] * 3 + [(-0.25, 0.25)]):
        factor = draws.factors[:, operation]
        assert low <= factor.min() < low + 0.01
        assert high - 0.01 < factor.max() <= high
    _, counts = draws.order.unique(dim=0, return_counts=True)
    assert len(counts) == 24  # every order of four
    assert counts.min() > 0.8 * 20000 / 24
