import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geosemi.data.normalise import IMAGENET_MEAN, IMAGENET_STD, Radiometry
from geosemi.errors import BandMismatch

UINT16 = Radiometry(low=(100.0, 0.0), high=(3100.0, 10000.0), mean=(900.0, 4000.0), std=(300.0, 1500.0))


def test_imagenet_statistics_are_those_of_unit_rgb():
    image = torch.randint(0, 256, (2, 3, 4, 4)).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(Radiometry.imagenet().normalise(image), (image / 255 - mean) / std)


def test_black_and_white_of_each_band():
    low_high = torch.tensor([[100.0, 3100.0], [0.0, 10000.0]]).reshape(2, 1, 2)
    assert UINT16.to_unit(low_high).tolist() == [[[0.0, 1.0]], [[0.0, 1.0]]]
    assert UINT16.to_unit(torch.full((2, 1, 1), 13000.0)).max() > 1  # nothing is clipped


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=2))
def test_unit_range_and_back(values: list[float]):
    raw = torch.tensor(values).reshape(2, 1, 1)
    torch.testing.assert_close(UINT16.from_unit(UINT16.to_unit(raw)), raw, atol=0.01, rtol=1e-5)


def test_wrong_number_of_bands_is_refused():
    with pytest.raises(BandMismatch, match="an image has 4 bands, its statistics describe 3") as caught:
        Radiometry.imagenet().normalise(torch.zeros(1, 4, 2, 2))
    assert "pick the bands" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"std": (1.0, float("nan"), 1.0)}, "std must be positive"),
        ({"high": (255.0, 0.0, 255.0)}, "high must exceed low"),
        ({"mean": (1.0,)}, "one number a band"),
        ({"rgb": (0, 1, 3)}, "rgb must be three of the bands"),
        ({"rgb": (0, 1, 1)}, "rgb must be three of the bands"),
    ],
)
def test_impossible_radiometry_is_refused(change: dict[str, tuple[float, ...]], message: str):
    facts = {"low": (0.0,) * 3, "high": (255.0,) * 3, "mean": (1.0,) * 3, "std": (1.0,) * 3, "rgb": (0, 1, 2)}
    with pytest.raises(ValueError, match=message):
        Radiometry(**{**facts, **change})
