"""Every method runs on every kind of network: pyramids, a single map, and a transformer with maps of one size."""

import pytest
import torch
from pydantic import TypeAdapter
from small_networks import ONE_OF_A_KIND, shrink
from tiny_teachers import told
from witness import noise

from geosemi.methods.base import Progress
from geosemi.methods.build import METHODS, build_method
from geosemi.methods.settings import MethodSettings
from geosemi.models.build import build_segmenter
from geosemi.models.segmenter import Segmenter
from geosemi.models.spec import ModelSpec

DROPS = ("segformer_b2", "upernet_r50", "upernet_convnext_tiny")  # they drop paths or channels by torch's generator


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.mark.parametrize("model", ONE_OF_A_KIND)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_a_network_on_crops_of_any_size(name: str, model: str):
    def network(seed: int) -> Segmenter:
        return build_segmenter(ModelSpec(name=model, weights=None), bands=3, classes=3, seed=seed)

    settings = TypeAdapter(MethodSettings).validate_python(told(name))
    before = torch.get_rng_state()
    method = build_method(settings, network(0), another=network).train()
    losses = method(noise(0, count=2, side=45), Progress(0, 10))  # of neither's stride
    assert model in DROPS or torch.equal(torch.get_rng_state(), before)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    assert any(p.requires_grad and p.grad.any() for p in method.parameters())
