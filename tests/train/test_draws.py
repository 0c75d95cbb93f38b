"""What layers draw: by seed, rank and step alone, on every device, and torch's own state is given back."""

import pytest
import torch

from geosemi.train.draws import private_draws, seed_layers

DEVICES = [
    torch.device("cpu"),
    pytest.param(
        torch.device("cuda", 0), marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]


def drawn(device: torch.device, *key: int) -> torch.Tensor:
    with private_draws(device):
        seed_layers(device, *key)
        return torch.nn.functional.dropout(torch.ones(64, device=device))


@pytest.mark.parametrize("device", DEVICES)
def test_the_key_decides(device):
    one = drawn(device, 0, 0, 7)
    torch.rand(3, device=device)
    assert torch.equal(one, drawn(device, 0, 0, 7))
    for other in ((1, 0, 7), (0, 1, 7), (0, 0, 8)):
        assert not torch.equal(one, drawn(device, *other))


@pytest.mark.parametrize("device", DEVICES)
def test_others_go_on_as_if_nothing_had_been_drawn(device):
    torch.rand(1, device=device)
    with private_draws(device):
        first = torch.rand(4, device=device)
    drawn(device, 0, 0, 0)
    assert torch.equal(first, torch.rand(4, device=device))
