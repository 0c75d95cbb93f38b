"""CCT: each disturbance against its definition, the adversarial one in closed form, the loss against a slow twin."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from witness import Witness, log_softmax, noise, pixels, slow_supervised

from geosemi.errors import InputError
from geosemi.methods.base import Progress
from geosemi.methods.cct import AuxiliaryDecoder, Cct
from geosemi.methods.perturb import adversarial, feature_drop, feature_noise
from geosemi.methods.settings import CctSettings
from geosemi.models.light import LightSegmenter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps(seed: int, channels: int = 6) -> Tensor:
    return torch.rand(3, channels, 4, 5, generator=seeded(seed))


@pytest.mark.parametrize("seed", range(5))
def test_feature_drop_silences_what_stands_out(seed: int):
    map_ = maps(seed)
    dropped = feature_drop(map_, seeded(seed), keep=(0.8, 0.8))
    for before, after in zip(map_, dropped, strict=True):
        attention = before.mean(dim=0)
        for row in range(4):
            for column in range(5):
                high = attention[row, column] >= 0.8 * attention.max()
                wanted = torch.zeros(6) if high else before[:, row, column]
                assert torch.equal(after[:, row, column], wanted)
        assert not after.flatten(1)[:, attention.argmax()].any()  # the maximum always goes


def test_feature_drop_draws_its_threshold():
    kept = [(feature_drop(maps(0), seeded(s), keep=(0.7, 0.9)) != 0).float().mean().item() for s in range(30)]
    least, most = ((feature_drop(maps(0), seeded(), keep=(g, g)) != 0).float().mean().item() for g in (0.7, 0.9))
    assert least < min(kept) + 0.1
    assert all(least <= share <= most for share in kept)
    assert len(set(kept)) > 3


def test_feature_noise_is_relative_bounded_and_shared_by_the_batch():
    map_ = maps(0) + 0.1
    change = feature_noise(map_, seeded(), size=0.3) / map_ - 1
    torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-5, rtol=0)
    assert change.abs().max().item() == pytest.approx(0.3, abs=0.01)
    assert change.mean().item() == pytest.approx(0, abs=0.05)


def test_the_adversarial_direction_is_the_closed_form_of_a_linear_decoder():
    """There KL(p(z) ‖ p(z + ξ d)) = ξ² dᵀ H d / 2 + O(ξ³) with H = Wᵀ (diag p − p pᵀ) W at each pixel."""
    weight = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    map_ = maps(2)

    def decoder(z: Tensor) -> Tensor:
        return torch.einsum("kd,bdhw->bkhw", weight.to(z), z)

    move = adversarial(map_, decoder, seeded(3), xi=1e-2, epsilon=2.0) - map_
    start = torch.rand(map_.shape, generator=seeded(3)).double() - 0.5
    p = decoder(map_.double()).softmax(dim=1)
    inner = torch.einsum("kd,bdhw->bkhw", weight, start)
    curved = torch.einsum("kd,bkhw->bdhw", weight, p * (inner - (p * inner).sum(dim=1, keepdim=True)))
    wanted = 2 * curved / curved.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(move.double(), wanted, atol=2e-3, rtol=1e-2)


def test_the_adversarial_step_moves_what_is_said_further_than_a_random_one():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        decoder = AuxiliaryDecoder(16, 5)
    map_ = torch.randn(2, 16, 6, 6, generator=seeded())

    def divergence(moved: Tensor) -> float:
        said, still = decoder(moved).log_softmax(dim=1), decoder(map_).softmax(dim=1)
        return float(torch.nn.functional.kl_div(said, still, reduction="sum").item())

    random = [torch.randn(map_.shape, generator=seeded(n)) for n in range(5)]
    others = [divergence(map_ + 2 * r / r.flatten(1).norm(dim=1)[:, None, None, None]) for r in random]
    assert divergence(adversarial(map_, decoder, seeded(), xi=1e-2, epsilon=2.0)) > 3 * max(others)
    assert all(p.grad is None for p in decoder.parameters())


def test_an_auxiliary_decoder_starts_without_a_checkerboard():
    logits = AuxiliaryDecoder(7, 4)(torch.randn(2, 7, 3, 2, generator=seeded()))
    assert logits.shape == (2, 4, 24, 16)
    first = logits[:, :, ::8, ::8]
    torch.testing.assert_close(logits, first.repeat_interleave(8, 2).repeat_interleave(8, 3))


@pytest.mark.parametrize("seed", range(2))
def test_the_loss_is_that_of_a_slow_twin(seed: int):
    batch, student = noise(seed), Witness()
    u = batch.unlabelled
    assert u is not None
    method = Cct(student, CctSettings(weight=7, ramp=0.5)).train()
    said: list[Tensor] = []
    for decoder in method.auxiliary:
        decoder.register_forward_hook(lambda *call: said.append(call[-1].detach()))
    losses = method(batch, Progress(25, 100))  # half of the ramp
    assert torch.equal(student.images[0][1], torch.cat([batch.labelled.image, u.weak]))
    # an adversarial decoder is asked three times, twice for its direction
    answers = said[:18] + said[20::3]
    assert len(said) == 24
    assert len(answers) == 20
    target = pixels(student.said[0][4:].softmax(dim=1))
    total = 0.0
    for answer in answers:
        large = torch.nn.functional.interpolate(answer, (5, 5), mode="bilinear", align_corners=False)
        for n, row, column in u.valid.nonzero().tolist():
            logs = torch.tensor(log_softmax(large[n, :, row, column].tolist()))
            total += float((logs.exp() - torch.tensor(target[n][row][column])).square().mean())
    wanted = 7 * 0.2865 * total / len(answers) / int(u.valid.sum())
    assert losses["consistency"].item() == pytest.approx(wanted, rel=1e-3)
    assert losses["supervised"].item() == pytest.approx(slow_supervised(student.said[0][:4], batch.labelled.label))


def test_truth_alone_teaches_the_main_decoder():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        method = Cct(LightSegmenter(bands=3, classes=3), CctSettings(ramp=0))
    method(noise(0, side=32), Progress(0, 10))["consistency"].backward()
    touched = {name.split(".")[1] for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"stem", "stages"} <= touched
    assert not {"lateral", "fuse", "classify"} & touched


def test_other_numbers_of_decoders():
    method = Cct(Witness(), CctSettings(feature_drop=1, feature_noise=0, dropout=2, adversarial=0))
    assert len(method.auxiliary) == 3
    assert method(noise(0), Progress(0, 10))["consistency"].isfinite()
    with pytest.raises(ValidationError, match="at least one auxiliary decoder"):
        CctSettings(feature_drop=0, feature_noise=0, dropout=0, adversarial=0)


def test_crops_that_are_no_multiple_of_the_stride():
    method = Cct(LightSegmenter(bands=3, classes=3), CctSettings())
    assert method(noise(0, side=27), Progress(5, 10))["consistency"].isfinite()


def test_a_network_without_feature_maps_is_refused():
    with pytest.raises(InputError, match="`cct` disturbs feature maps"):
        Cct(Witness(widths=()), CctSettings())
