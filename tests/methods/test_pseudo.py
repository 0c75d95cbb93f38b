import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.methods.pseudo import Pseudo, mix


def pseudo_of(batch: int) -> Pseudo:
    """Crop n has label n everywhere."""
    label = torch.arange(batch)[:, None, None].expand(batch, 2, 2)
    known = torch.ones(batch, 2, 2, dtype=torch.bool)
    return Pseudo(label, label / batch, known, known)


def test_from_logits_takes_the_likeliest_class():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.1]]).reshape(1, 2, 1, 2)
    pseudo = Pseudo.from_logits(logits, torch.tensor([[[True, True]]]), threshold=0.8)
    assert pseudo.label.flatten().tolist() == [0, 1]
    assert pseudo.confidence.flatten().tolist() == pytest.approx([0.8808, 0.5250], abs=1e-4)
    assert pseudo.trusted.flatten().tolist() == [True, False]
    assert pseudo.trusted_share.item() == 0.5


def test_invalid_pixels_are_never_trusted():
    pseudo = Pseudo.from_logits(
        torch.tensor([9.0, 0.0]).reshape(1, 2, 1, 1), torch.zeros(1, 1, 1).bool(), threshold=0.5
    )
    assert not pseudo.trusted.any()
    assert pseudo.trusted_share.item() == 0


@pytest.mark.parametrize(("batch", "partners"), [(4, [3, 2, 1, 0]), (3, [2, 1, 0]), (1, [0])])
def test_the_partner_is_the_reversed_batch(batch: int, partners: list[int]):
    image = torch.arange(batch).float()[:, None, None, None].expand(batch, 3, 2, 2)
    mixed, target = mix(image, pseudo_of(batch), torch.ones(batch, 2, 2, dtype=torch.bool))
    assert mixed[:, 0, 0, 0].tolist() == partners
    assert target.label[:, 0, 0].tolist() == partners


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_the_receivers_box_moves_all_alike(batch: int, seed: int):
    generator = torch.Generator().manual_seed(seed)

    def coin() -> torch.Tensor:
        return torch.rand(batch, 3, 4, generator=generator) < 0.5

    image, box, valid = torch.rand(batch, 2, 3, 4, generator=generator), coin(), coin()
    target = Pseudo((10 * image[:, 0]).long(), image[:, 0], coin() & valid, valid)
    mixed, moved = mix(image, target, box)
    for n in range(batch):
        other = batch - 1 - n
        for row in range(3):
            for column in range(4):
                source = other if box[n, row, column] else n
                assert torch.equal(mixed[n, :, row, column], image[source, :, row, column])
                for field in ("label", "confidence", "trusted", "valid"):
                    assert getattr(moved, field)[n, row, column] == getattr(target, field)[source, row, column]


def test_no_box_changes_nothing():
    image, target = torch.rand(3, 1, 2, 2), pseudo_of(3)
    mixed, moved = mix(image, target, torch.zeros(3, 2, 2, dtype=torch.bool))
    assert torch.equal(mixed, image)
    assert torch.equal(moved.label, target.label)
