from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from geosemi.data.augment import IGNORE, Augment, AugmentSettings, Geometry
from geosemi.data.batch import Chips
from geosemi.data.keyed import keyed_generator
from geosemi.data.normalise import Radiometry
from geosemi.data.photometric import PhotometricSettings
from geosemi.errors import BandMismatch, InputError

CLASSES = 4
PAINTED = Radiometry(low=(0.0,) * 4, high=(255.0,) * 4, mean=(0.0,) * 4, std=(1.0,) * 4, rgb=(0, 1, 2))


def chips(seed: int, *, batch: int = 3, size: int = 24, radiometry: Radiometry = PAINTED) -> Chips:
    """Chips whose last band is the label painted in grey levels of 50, with blocky classes and a nodata corner."""
    generator = keyed_generator(seed, "chips")
    label = torch.randint(CLASSES, (batch, 3, 3), generator=generator)
    label = label.repeat_interleave(size // 3, 1).repeat_interleave(size // 3, 2)
    valid = torch.ones(batch, size, size, dtype=torch.bool)
    valid[:, : size // 4, : size // 4] = False
    image = 255 * torch.rand(batch, radiometry.bands, size, size, generator=generator)
    image[:, -1] = 50.0 * label
    opinion = torch.nn.functional.one_hot(label, CLASSES).movedim(-1, 1).bool()
    return Chips(image, valid, label, opinion, tuple(f"scene.tif@{n},0" for n in range(batch)))


def augment(**changes: object) -> Augment:
    return Augment(PAINTED, AugmentSettings(size=20).model_copy(update=changes))


ANY_TURN = {"vertical_flip": 0.5, "rotate90": True}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([{}, ANY_TURN]))
def test_the_label_follows_the_image(seed: int, changes: dict[str, object]):
    batch = augment(**changes).labelled(chips(seed), keyed_generator(seed))
    known = batch.label != IGNORE
    # far from class borders, nodata and what was cut away, smoothing changes nothing: the painted level is the class
    spread = torch.nn.functional.max_pool2d(batch.label.float()[:, None], 5, 1, 2)
    spread += torch.nn.functional.max_pool2d(-batch.label.float()[:, None], 5, 1, 2)
    inside = torch.zeros_like(known)
    inside[:, 2:-2, 2:-2] = True
    sure = known & inside & (spread[:, 0] == 0)
    torch.testing.assert_close(batch.image[:, -1][sure], 50.0 * batch.label[sure], atol=0.5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([{}, ANY_TURN]))
def test_valid_and_opinion_follow_the_label(seed: int, changes: dict[str, object]):
    piece = chips(seed)
    labelled = augment(**changes).labelled(piece, keyed_generator(seed))
    unlabelled = augment(**changes).unlabelled(piece, keyed_generator(seed))
    assert torch.equal(unlabelled.weak, labelled.image)  # the same draws make the same crops
    assert torch.equal(unlabelled.valid, labelled.label != IGNORE)
    assert unlabelled.opinion is not None
    one_hot = torch.nn.functional.one_hot(labelled.label.clamp(max=CLASSES), CLASSES + 1)[..., :CLASSES].movedim(-1, 1)
    expected = one_hot.bool() & unlabelled.valid[:, None]
    assert torch.equal(unlabelled.opinion, expected)  # silent on padding and nodata


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([{}, ANY_TURN]))
def test_opinions_of_labelled_crops_follow_the_label(seed: int, changes: dict[str, object]):
    piece = chips(seed)
    with_opinion = augment(**changes).labelled(piece, keyed_generator(seed))
    without = augment(**changes).labelled(replace(piece, opinion=None), keyed_generator(seed))
    assert with_opinion.opinion is not None
    known = with_opinion.label != IGNORE
    assert torch.equal(with_opinion.opinion.any(dim=1), known)
    assert torch.equal(with_opinion.opinion.float().argmax(dim=1)[known], with_opinion.label[known])
    assert without.opinion is None
    assert torch.equal(without.image, with_opinion.image)  # whoever asks for opinions sees the same crops
    assert torch.equal(without.label, with_opinion.label)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_strong_views_share_the_weak_geometry(seed: int):
    still = PhotometricSettings(jitter=0, grey=0, blur=0)
    batch = augment(strong=still).unlabelled(chips(seed), keyed_generator(seed))
    assert len(batch.strong) == len(batch.boxes) == 2
    for strong, box in zip(batch.strong, batch.boxes, strict=True):
        assert torch.equal(strong, batch.weak)
        assert box.shape == batch.valid.shape


def test_two_strong_views_differ_in_colour_and_box():
    batch = augment().unlabelled(chips(0, batch=8), keyed_generator(0))
    assert not torch.allclose(batch.strong[0], batch.strong[1])
    assert not torch.equal(batch.boxes[0], batch.boxes[1])
    assert len(augment(views=1).unlabelled(chips(0), keyed_generator(0)).strong) == 1


def test_same_generator_same_crops():
    first, again = (augment().unlabelled(chips(5), keyed_generator(5)) for _ in range(2))
    assert torch.equal(first.strong[1], again.strong[1])
    assert torch.equal(first.boxes[0], again.boxes[0])
    assert not torch.equal(first.weak, augment().unlabelled(chips(5), keyed_generator(6)).weak)


def test_padding_is_black_ignored_invalid_and_silent():
    far = Radiometry(low=(100.0,) * 4, high=(300.0,) * 4, mean=(200.0,) * 4, std=(50.0,) * 4, rgb=None)
    piece = replace(chips(1), valid=torch.ones(3, 24, 24, dtype=torch.bool))
    recipe = Augment(far, AugmentSettings(size=64, scale=(0.5, 2.0), flip=0.0))
    batch = recipe.unlabelled(piece, keyed_generator(1))
    labelled = recipe.labelled(piece, keyed_generator(1))
    pad = ~batch.valid
    assert pad.flatten(1).any(dim=1).all()
    assert not pad[:, 0, 0].any()  # right and bottom only
    assert (pad.int().diff(dim=1) >= 0).all()  # once padded, padded to the end
    assert (pad.int().diff(dim=2) >= 0).all()
    torch.testing.assert_close(batch.weak.movedim(1, -1)[pad], torch.full((int(pad.sum()), 4), -2.0))  # raw 100
    assert (labelled.label[pad] == IGNORE).all()
    assert batch.opinion is not None
    assert not batch.opinion.movedim(1, -1)[pad].any()


@pytest.mark.parametrize("nodata", [float("nan"), float("inf"), -9999.0, 1e30])
def test_nodata_never_leaks_into_its_neighbours(nodata: float):
    piece = chips(2)
    image = piece.image.clamp(0, 255).movedim(1, -1)
    image[~piece.valid] = nodata
    batch = augment().unlabelled(replace(piece, image=image.movedim(-1, 1)), keyed_generator(2))
    for view in (batch.weak, *batch.strong):
        assert view.isfinite().all()
        assert -1e-3 <= view.min() <= view.max() <= 255.001


def test_the_legends_own_ignore_value_becomes_255():
    piece = chips(3)
    assert piece.label is not None
    label = piece.label.clone()
    label[:, 12:] = 99
    batch = replace(augment(), ignore=99).labelled(replace(piece, label=label), keyed_generator(3))
    assert set(batch.label.unique().tolist()) <= {0, 1, 2, 3, IGNORE}


def test_one_scale_no_flip_is_the_plain_chip():
    piece = chips(4)
    batch = augment(size=24, scale=(1.0, 1.0), flip=0.0).unlabelled(piece, keyed_generator(4))
    expected = piece.image * piece.valid[:, None]
    torch.testing.assert_close(batch.weak, expected, atol=1e-3, rtol=0)
    assert torch.equal(batch.valid, piece.valid)
    assert batch.place == piece.place


@pytest.mark.parametrize("long", [10, 17, 24, 31, 48])
def test_rescale_is_that_of_pil(long: int):
    levels = torch.randint(0, 256, (24, 24), generator=keyed_generator(long), dtype=torch.uint8)
    picture = Image.fromarray(levels.numpy())
    geometry = Geometry(height=long, width=long, top=0, left=0, mirror=False, upend=False, turns=0)

    def of_pil(how: Image.Resampling) -> torch.Tensor:
        return torch.tensor(list(picture.resize((long, long), how).tobytes())).reshape(1, long, long)

    image = geometry.image(levels[None].float(), long)
    torch.testing.assert_close(image, of_pil(Image.Resampling.BILINEAR).float(), atol=1.01, rtol=0)  # PIL rounds twice
    place = (torch.arange(long) + 0.5) * 24 / long
    clear = (place - place.round()).abs() > 1e-4  # half-way between two pixels, either is nearest
    nearest = geometry.layers(levels[None], long).long(), of_pil(Image.Resampling.NEAREST).long()
    assert torch.equal(*(n[:, clear][:, :, clear] for n in nearest))


def test_geometry_draws_cover_their_ranges():
    generator, recipe = keyed_generator(7), AugmentSettings(size=20)
    drawn = [Geometry.draw(24, 12, recipe, generator) for _ in range(4000)]
    assert {g.height for g in drawn} == set(range(12, 49))
    assert all(abs(g.width - g.height / 2) <= 0.5 for g in drawn)  # the aspect stays
    assert sum(g.mirror for g in drawn) / 4000 == pytest.approx(0.5, abs=0.03)
    assert not any(g.upend or g.turns for g in drawn)  # as in the papers' code
    tall = [g.top for g in drawn if g.height == 48]
    assert min(tall) <= 3
    assert max(tall) >= 25
    assert all(0 <= g.top <= max(0, g.height - 20) and 0 <= g.left <= max(0, g.width - 20) for g in drawn)


def test_chips_without_labels_or_with_other_bands_are_refused():
    with pytest.raises(InputError, match=r"`scene.tif@0,0` has no label") as caught:
        augment().labelled(replace(chips(8), label=None), keyed_generator(8))
    assert "among the unlabelled" in caught.value.hint
    with pytest.raises(BandMismatch, match="has 4 bands, its statistics describe 3") as caught:
        Augment(Radiometry.imagenet(), AugmentSettings()).unlabelled(chips(8), keyed_generator(8))
    assert "statistics" in caught.value.hint


@pytest.mark.parametrize("pair", [(2.0, 0.5), (0.0, 1.0), (float("nan"), 1.0)])
def test_ranges_are_positive_and_in_order(pair: tuple[float, float]):
    with pytest.raises(ValidationError, match="`scale` is a range of positive numbers, lowest first"):
        AugmentSettings(scale=pair)
    with pytest.raises(ValidationError, match="`sigma` is a range of positive numbers, lowest first"):
        PhotometricSettings(sigma=pair)


def test_no_opinion_stays_none():
    assert augment().unlabelled(replace(chips(9), opinion=None, label=None), keyed_generator(9)).opinion is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_does_not_change_the_draws():
    piece = chips(10)
    moved = Chips(
        piece.image.cuda(),
        piece.valid.cuda(),
        piece.label.cuda(),
        piece.opinion.cuda(),
        piece.place,  # type: ignore[union-attr]
    )
    here = augment().unlabelled(piece, keyed_generator(10))
    there = augment().unlabelled(moved, keyed_generator(10))
    assert torch.equal(there.valid.cpu(), here.valid)
    assert torch.equal(there.boxes[1].cpu(), here.boxes[1])
    torch.testing.assert_close(there.strong[0].cpu(), here.strong[0], atol=0.1, rtol=0)
