"""A whole run with an encoder that came with weights: what it says of their licence, and what it leaves."""

import huggingface_hub
import pytest
import safetensors.torch
import scenery
import torch
from small_networks import shrink

from geosemi.models.bundle import Bundle
from geosemi.models.encoders import MIT
from geosemi.models.networks import NETWORKS
from geosemi.train.run import train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96)


def test_non_commercial_weights_are_warned_of_and_learn_slowly(root, tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub" / "models--smp-hub--mit_b2.imagenet" / "snapshots" / MIT[2].revision
    place.mkdir(parents=True)
    torch.manual_seed(0)
    state = NETWORKS["segformer_b2"].encoder.build(3, stride=32).state_dict()
    safetensors.torch.save_file(state, place / "model.safetensors")
    watch = scenery.Watch()
    settings = scenery.run_settings(
        root,
        model={"name": "segformer_b2"},
        augment={"size": 40},
        train={"steps": 3, "lr_pretrained": 1e-9},
    )
    shipped = Bundle.load(train(settings, tmp_path / "run", watcher=watch))
    (warning,) = [n for n in watch.notes if "NVIDIA" in n]
    assert warning.startswith("warning: the pretrained weights of `segformer_b2` are NVIDIA's, for non-commercial use")
    assert shipped.card.tile == 40  # it attends to the whole window
    assert shipped.card.mean == (0.485 * 255, 0.456 * 255, 0.406 * 255)  # of the images that the encoder has seen
    for name, tensor in shipped.model.encoder.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-5, atol=1e-6)
