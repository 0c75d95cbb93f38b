"""Every method runs on every kind of network: a pyramid, and a transformer whose maps are all of one size."""

from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter
from witness import noise

from geosemi.methods.base import Progress
from geosemi.methods.build import METHODS, build_method
from geosemi.methods.settings import MethodSettings
from geosemi.models import dinov2
from geosemi.models.build import build_segmenter
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import ModelSpec


@pytest.fixture(autouse=True)
def small_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    size = dinov2.SIZES["dinov2_small"]
    small = replace(size, dim=24, heads=3, channels=(8, 16, 24, 32), width=8)
    monkeypatch.setitem(dinov2.SIZES, "dinov2_small", small)


@pytest.mark.parametrize("model", ["light", "dinov2_small"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_a_network_on_crops_of_any_size(name: str, model: str):
    def network(seed: int) -> Segmenter:
        return build_segmenter(ModelSpec(name=model, weights=None), bands=3, classes=3, seed=seed)

    settings = TypeAdapter(MethodSettings).validate_python({"name": name})
    before = torch.get_rng_state()
    method = build_method(settings, network(0), another=network).train()
    losses = method(noise(0, count=2, side=45), Progress(0, 10))  # of neither's stride
    assert torch.equal(torch.get_rng_state(), before)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    assert any(p.requires_grad and p.grad.any() for p in method.parameters())
