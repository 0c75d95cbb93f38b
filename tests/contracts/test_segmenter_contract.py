"""What every network promises, run over `MODELS`. All but `light` are made small, everything else is as shipped."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import ONE_OF_A_KIND, shrink

from geosemi.legend import ClassDef, Legend
from geosemi.models.build import MODELS, ModelSpec, build_segmenter, skeleton
from geosemi.models.bundle import Bundle, Card
from geosemi.models.ema import frozen_copy, update_ema


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture(params=[n if n in ONE_OF_A_KIND else pytest.param(n, marks=pytest.mark.slow) for n in MODELS])
def spec(request):
    return ModelSpec(name=request.param, weights=None)


def image(height, width, *, bands=3, batch=2):
    return torch.randn(batch, bands, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def bundle_of(model, spec):
    legend = Legend(tuple(ClassDef(i, f"class {i}", "#102030") for i in range(model.classes)))
    bands = tuple(f"band {i}" for i in range(model.bands))
    zeros, ones = (0.0,) * model.bands, (1.0,) * model.bands
    return Bundle(model, Card(spec, legend, bands, zeros, ones, 64, 0.5, "0", {}))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 14), (53, 37), (70, 96)])
def test_any_size_gives_logits_of_that_size(spec, height, width):
    model = build_segmenter(spec, bands=3, classes=5, seed=0).eval()
    logits = model(image(height, width))
    assert logits.shape == (2, 5, height, width)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert torch.equal(model.logits(model.features(image(height, width)), (height, width)), logits)


@pytest.mark.parametrize("bands", [1, 3, 4, 13])
def test_any_number_of_bands_and_every_band_counts(spec, bands):
    model = build_segmenter(spec, bands=bands, classes=2, seed=0).eval()
    pixels = image(32, 32, bands=bands, batch=1).requires_grad_()
    model(pixels).square().sum().backward()
    assert (pixels.grad.abs().sum((0, 2, 3)) > 0).all()


def test_encode_returns_its_widths_and_decode_finishes_forward(spec):
    model = build_segmenter(spec, bands=3, classes=4, seed=0).eval()
    pixels = image(3 * model.stride, 5 * model.stride)
    features = model.encode(pixels)
    assert tuple(f.shape[1] for f in features) == model.widths
    sides = [f.shape[-1] for f in features]
    assert sides == sorted(sides, reverse=True)  # finest first
    assert torch.equal(model.decode(features, pixels.shape[-2:]), model(pixels))


def test_gradient_reaches_every_trainable_parameter(spec):
    model = build_segmenter(spec, bands=3, classes=4, seed=0)
    target = image(80, 80)[:, :1].gt(0).long().squeeze(1)
    F.cross_entropy(model(image(80, 80)), target).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_an_image_does_not_see_its_neighbours_in_the_batch(spec):
    model = build_segmenter(spec, bands=3, classes=4, seed=0).eval()
    pixels = image(48, 48, batch=3)
    torch.testing.assert_close(model(pixels)[1:2], model(pixels[1:2]), rtol=1e-4, atol=1e-5)


def test_same_seed_same_weights_and_the_global_generator_is_untouched(spec):
    before = torch.random.get_rng_state()
    first, again, other = (build_segmenter(spec, bands=3, classes=4, seed=s).state_dict() for s in (7, 7, 8))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


def test_a_skeleton_has_the_same_tensors_and_hides_none(spec):
    model, bare = (
        build(bands=4, classes=3)
        for build in (lambda **k: build_segmenter(spec, seed=0, **k), lambda **k: skeleton(spec, **k))
    )
    forms = [{n: (t.shape, t.dtype) for n, t in m.state_dict().items()} for m in (model, bare)]
    assert forms[0] == forms[1]
    everything = {n for n, _ in bare.named_parameters()} | {n for n, _ in bare.named_buffers()}
    assert everything == forms[1].keys()  # a buffer outside the state would stay uninitialised


def test_a_saved_network_predicts_the_same_bits(spec, tmp_path):
    model = build_segmenter(spec, bands=4, classes=3, seed=0)
    model(image(64, 64, bands=4))  # moves running statistics, where there are any
    bundle_of(model, spec).save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors").model
    assert not loaded.training
    pixels = image(50, 70, bands=4)
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), model.eval()(pixels))


def test_a_teacher_starts_equal_and_learns_nothing_by_itself(spec):
    model = build_segmenter(spec, bands=3, classes=3, seed=0)
    teacher = frozen_copy(model)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in model.parameters())
    model(image(64, 64))
    update_ema(teacher, model, 0.0)
    assert all(
        torch.equal(t, s) for t, s in zip(teacher.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_it_learns_one_batch(spec):
    model = build_segmenter(spec, bands=3, classes=2, seed=0)
    generator = torch.Generator().manual_seed(0)
    label = torch.rand(2, 4, 4, generator=generator).gt(0.5).repeat_interleave(16, 1).repeat_interleave(16, 2)
    pixels = label[:, None] + 0.3 * torch.randn(2, 3, 64, 64, generator=generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(model(pixels), label.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
