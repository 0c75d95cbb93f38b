"""Test-time augmentation: views are undone exactly, the answer is the mean, and what is symmetric stays so."""

import pytest
import torch
from fakes import EdgeSegmenter, TinySegmenter, bundle_of
from hypothesis import given
from hypothesis import strategies as st
from test_forward import tiles_of

from geosemi.geo.scene import Tile
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.predict.forward import ready
from geosemi.predict.tta import VIEWS, View, averaged

SYMMETRIES = VIEWS["d4"]


def images(height=16, width=None, *, count=2, seed=0):
    # whole numbers, which a 1×1 convolution of whole numbers adds without rounding
    return torch.randint(
        -8, 8, (count, 3, height, width or height), generator=torch.Generator().manual_seed(seed)
    ).float()


SIDES = st.integers(1, 17)


@given(view=st.sampled_from(SYMMETRIES), height=SIDES, width=SIDES, seed=st.integers(0, 9))
def test_turning_and_mirroring_are_undone_exactly(view, height, width, seed):
    image = images(height, width, seed=seed)
    assert torch.equal(view.back(view.there(image), (height, width)), image)


def test_the_eight_views_of_the_square_differ_and_hold_the_flips():
    square = torch.arange(4.0).reshape(1, 1, 2, 2)
    seen = {tuple(view.there(square).flatten().tolist()) for view in SYMMETRIES}
    assert len(seen) == 8
    flips = [view.there(square).flatten().tolist() for view in VIEWS["flips"]]
    assert flips == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 30), (1, 8)])
def test_scales_see_other_sizes_and_answer_in_the_image_s_own(height, width):
    shapes = []

    def network(image):
        shapes.append(tuple(image.shape[-2:]))
        return image

    assert averaged(network, VIEWS["scales"])(images(height, width)).shape == (2, 3, height, width)
    assert shapes == [tuple(max(1, round(scale * side)) for side in (height, width)) for scale in (0.75, 1, 1.25)]


@pytest.mark.parametrize("name", ["flips", "d4", "scales"])
def test_the_answer_is_the_logarithm_of_the_mean_probability(name):
    model = EdgeSegmenter()
    with torch.no_grad():
        answer = averaged(model, VIEWS[name])(images(16, 12))
        parts = [view.back(model(view.there(images(16, 12))).softmax(1), (16, 12)) for view in VIEWS[name]]
    mean = torch.stack(parts).double().mean(0)
    torch.testing.assert_close(answer.double().exp(), mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(answer.softmax(1).double(), mean, rtol=1e-5, atol=1e-6)


def test_one_plain_view_is_the_network_itself():
    model = TinySegmenter()
    assert averaged(model, VIEWS["none"]) is model
    assert averaged(model, (View(),)) is model


def test_certainty_stays_finite_and_nonsense_stays_visible():
    logits = torch.tensor([[1e4, -1e4]]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert torch.isfinite(averaged(lambda _: logits, SYMMETRIES)(images(4))).all()
    assert averaged(lambda _: logits * float("nan"), SYMMETRIES)(images(4)).isnan().all()


@given(view=st.sampled_from(SYMMETRIES), seed=st.integers(0, 9))
def test_d4_turns_with_the_scene_exactly_for_an_equivariant_network(view, seed):
    image = images(16, 11, seed=seed)
    network = averaged(TinySegmenter(), SYMMETRIES)
    with torch.no_grad():
        assert torch.equal(network(view.there(image)), view.there(network(image)))


@given(view=st.sampled_from(SYMMETRIES), seed=st.integers(0, 9))
def test_d4_turns_with_the_scene_for_any_network(view, seed):
    image, model = images(16, 11, seed=seed), EdgeSegmenter(seed=seed)
    network = averaged(model, SYMMETRIES)
    with torch.no_grad():
        assert view == View() or not torch.allclose(model(view.there(image)), view.there(model(image)), atol=1e-3)
        torch.testing.assert_close(
            network(view.there(image)).exp(), view.there(network(image)).exp(), rtol=1e-4, atol=1e-5
        )


@given(view=st.sampled_from(VIEWS["flips"]), seed=st.integers(0, 9))
def test_flips_are_a_group_of_their_own(view, seed):
    image, network = images(seed=seed), averaged(EdgeSegmenter(seed=seed), VIEWS["flips"])
    with torch.no_grad():
        torch.testing.assert_close(
            network(view.there(image)).exp(), view.there(network(image)).exp(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("tta", list(VIEWS))
def test_every_kind_runs_a_real_network_from_tiles(tta):
    bundle = bundle_of(build_segmenter(ModelSpec(), bands=3, classes=4, seed=0))
    tile = tiles_of(1)[0]
    with ready(bundle, torch.device("cpu"), batch=None, shape=(32, 32), precision="fp32", tta=tta) as forward:
        logits = forward([tile])
        turned = forward([Tile(tile.image[:, ::-1, :].copy(), tile.valid, tile.window)])
    assert logits.shape == (1, 4, 32, 32)
    same = torch.allclose(turned.flip(2).softmax(1), logits.softmax(1), atol=1e-5)
    assert same == (tta in {"flips", "d4"})
