"""A state on disk comes back bit for bit, and nothing else passes for one."""

import pytest
import safetensors.torch
import torch
from torch import nn

from geosemi.errors import BundleError, ConfigError
from geosemi.train.checkpoint import State, checkpoints, load_newest, save_checkpoint


class Network(nn.Module):
    """Parameters of several shapes, tied weights, buffers of several dtypes, a view."""

    def __init__(self, seed=0):
        super().__init__()
        noise = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.tied = self.conv
        self.register_buffer("count", torch.tensor(seed))
        self.register_buffer("flags", torch.rand(5, generator=noise) < 0.5)
        self.register_buffer("coarse", torch.rand(4, generator=noise).bfloat16())
        self.register_buffer("view", torch.rand(4, 6, generator=noise)[:, ::2])
        self.register_buffer("none", torch.zeros(0))
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=noise)

    def forward(self, x):
        return self.norm(self.conv(x))


def trained(seed=0, steps=3, kind=torch.optim.AdamW):
    net = Network(seed)
    optimizer = kind(net.parameters(), lr=0.1)
    for _ in range(steps):
        net(torch.ones(2, 2, 5, 5)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return net, optimizer


def equal(one, two):
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[k], two[k]) for k in one)
    return one == two


def test_round_trip(tmp_path):
    net, optimizer = trained()
    state = State(step=42, best=0.125, fingerprint="f" * 64, skipped=2, best_step=40)
    path = save_checkpoint(tmp_path, state, net, optimizer)
    assert path == tmp_path / "step-00000042.safetensors"
    other, fresh = trained(seed=1, steps=1)
    restored, damage = load_newest(tmp_path, "f" * 64, other, fresh)
    assert (restored, damage) == (state, [])
    assert equal(dict(net.state_dict()), dict(other.state_dict()))
    assert equal(optimizer.state_dict()["state"], fresh.state_dict()["state"])
    # and both go on alike
    for n, o in ((net, optimizer), (other, fresh)):
        n(torch.full((2, 2, 5, 5), 0.3)).square().sum().backward()
        o.step()
    assert equal(dict(net.state_dict()), dict(other.state_dict()))


def test_an_optimiser_before_its_first_step(tmp_path):
    net, optimizer = trained(steps=0)
    save_checkpoint(tmp_path, State(0, -1, "x"), net, optimizer)
    other, fresh = trained(seed=1, steps=2)
    load_newest(tmp_path, "x", other, fresh)
    assert equal(dict(net.state_dict()), dict(other.state_dict()))
    assert fresh.state_dict()["state"] == {}


def test_the_two_newest_are_kept(tmp_path):
    net, optimizer = trained()
    for step in (1, 2, 30, 400):
        save_checkpoint(tmp_path, State(step, -1, "x"), net, optimizer)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000400.safetensors", "step-00000030.safetensors"]
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in checkpoints(tmp_path)}
    assert load_newest(tmp_path, "x", *trained(seed=1))[0].step == 400


def damaged(content, how):
    if how == "flip":
        return content[:-500] + bytes([content[-500] ^ 4]) + content[-499:]
    if how == "number":  # the step in the metadata
        return content.replace(b'\\"step\\\\\\": 2', b'\\"step\\\\\\": 7', 1).replace(
            b'step\\\\\\": 2', b'step\\\\\\": 7', 1
        )
    return {"cut": content[: len(content) // 2], "empty": b"", "zeros": bytes(len(content)), "text": b"hello"}[how]


@pytest.mark.parametrize("how", ["flip", "number", "cut", "empty", "zeros", "text"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, how):
    net, optimizer = trained()
    save_checkpoint(tmp_path, State(1, 0.5, "x"), net, optimizer)
    newest = save_checkpoint(tmp_path, State(2, 0.6, "x"), net, optimizer)
    content = newest.read_bytes()
    newest.write_bytes(damaged(content, how))
    assert newest.read_bytes() != content
    other, fresh = trained(seed=1)
    state, damage = load_newest(tmp_path, "x", other, fresh)
    assert (state.step, state.best) == (1, 0.5)
    assert len(damage) == 1
    assert newest.name in damage[0]
    assert equal(dict(net.state_dict()), dict(other.state_dict()))
    newest.write_bytes(content)  # it is the damage that counts
    assert load_newest(tmp_path, "x", other, fresh)[0].step == 2


def test_another_safetensors_file_is_none(tmp_path):
    path = tmp_path / "step-00000009.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"no checkpoint in .* is whole") as caught:
        load_newest(tmp_path, "x", *trained())
    assert "is no checkpoint" in caught.value.message
    assert "without `--resume`" in caught.value.hint


def test_other_settings_are_refused_and_change_nothing(tmp_path):
    save_checkpoint(tmp_path, State(1, 0.5, "mine"), *trained())
    other, fresh = trained(seed=1)
    before = {n: t.clone() for n, t in other.state_dict().items()}
    with pytest.raises(ConfigError, match="other settings") as caught:
        load_newest(tmp_path, "theirs", other, fresh)
    assert "config.yaml" in caught.value.hint
    assert equal(before, dict(other.state_dict()))


def test_an_empty_folder(tmp_path):
    with pytest.raises(ConfigError, match="holds no checkpoint") as caught:
        load_newest(tmp_path, "x", *trained())
    assert "without `--resume`" in caught.value.hint
