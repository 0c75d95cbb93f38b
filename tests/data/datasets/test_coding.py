"""Label colours and numbers to class ids: a slow twin, the tables of the makers, and TorchGeo's as oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.data.datasets import DATASETS
from geosemi.data.datasets.coding import Codes, Colours
from geosemi.data.datasets.isprs import COLOURS

COLOUR = st.tuples(*[st.integers(0, 255)] * 3)


def decode_pixel(coding, colour):
    decoded = coding.decode(np.array(colour, dtype=np.uint8).reshape(3, 1, 1))
    return int(decoded.ids[0, 0]), decoded.unknown


def slow(coding, colour):
    """One pixel by the words of the docstring."""
    for entry, number in coding.table.items():
        if all(abs(a - b) <= coding.tolerance for a, b in zip(entry, colour, strict=True)):
            return number, 0
    return 255, 1


@given(COLOUR)
def test_colours_agree_with_the_slow_twin(colour):
    assert decode_pixel(COLOURS, colour) == slow(COLOURS, colour)
    assert decode_pixel(DATASETS["deepglobe"].coding, colour) == slow(DATASETS["deepglobe"].coding, colour)


@given(st.sampled_from(sorted(COLOURS.table)), st.tuples(*[st.integers(-8, 8)] * 3))
def test_a_colour_that_is_off_by_a_few_is_repaired(colour, shift):
    near = tuple(int(np.clip(c + s, 0, 255)) for c, s in zip(colour, shift, strict=True))
    assert decode_pixel(COLOURS, near) == (COLOURS.table[colour], 0)


@pytest.mark.parametrize("colour", [(246, 255, 255), (255, 128, 0), (128, 128, 128), (9, 0, 0), (255, 0, 255)])
def test_a_colour_in_no_table_is_ignored_and_counted_and_never_class_0(colour):
    assert decode_pixel(COLOURS, colour) == (255, 1)


def test_eroded_borders_are_ignored_without_being_called_unknown():
    assert decode_pixel(COLOURS, (0, 0, 0)) == (255, 0)


def test_deepglobe_is_thresholded_between_127_and_128():
    coding = DATASETS["deepglobe"].coding
    assert decode_pixel(coding, (127, 128, 128)) == (0, 0)  # urban: (0, 255, 255)
    assert decode_pixel(coding, (128, 127, 128)) == (2, 0)  # rangeland: (255, 0, 255)
    assert decode_pixel(coding, (127, 127, 127)) == (255, 0)  # unknown, black
    assert decode_pixel(coding, (128, 128, 128)) == (5, 0)  # barren, white
    assert decode_pixel(coding, (128, 127, 127)) == (255, 1)  # red is no class


def test_loveda_numbers():
    decoded = DATASETS["loveda"].coding.decode(np.arange(10, dtype=np.uint8).reshape(1, 2, 5))
    assert decoded.ids.ravel().tolist() == [255, 0, 1, 2, 3, 4, 5, 6, 255, 255]
    assert decoded.unknown == 2  # 8 and 9; 0 is known to be no-data


def test_openearthmap_numbers():
    decoded = DATASETS["openearthmap"].coding.decode(np.arange(10, dtype=np.uint8).reshape(1, 2, 5))
    assert decoded.ids.ravel().tolist() == [255, 0, 1, 2, 3, 4, 5, 6, 7, 255]
    assert decoded.unknown == 1


@given(st.dictionaries(st.integers(0, 255), st.integers(0, 31), min_size=1), st.integers(0, 255))
def test_codes_agree_with_the_dictionary(table, value):
    decoded = Codes(table).decode(np.full((1, 1, 1), value, dtype=np.uint8))
    assert (int(decoded.ids[0, 0]), decoded.unknown) == (table.get(value, 255), int(value not in table))


def test_a_table_whose_colours_could_be_confused_is_refused():
    with pytest.raises(ValueError, match="more than 16 apart"):
        Colours({(0, 0, 0): 0, (16, 16, 16): 1})
    with pytest.raises(ValueError, match="at most 8 colours"):
        Colours({(20 * i, 0, 0): i for i in range(9)})


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_legend_and_its_coding_belong_together(name):
    original = DATASETS[name]
    ids = {i for i in original.coding.table.values() if i != 255}
    assert ids == set(range(len(original.legend)))
    assert set(original.exclude_from_mean) <= set(original.legend.names)
    if isinstance(original.coding, Colours):
        assert all(original.coding.table[c.rgb] == c.id for c in original.legend)


def test_colours_and_order_are_torchgeos():
    from torchgeo.datasets import DeepGlobeLandCover, LoveDA, Potsdam2D, Vaihingen2D

    for oracle in (Potsdam2D, Vaihingen2D):  # there clutter comes first
        assert [COLOURS.table[c] for c in oracle.colormap] == [5, 0, 1, 2, 3, 4]
    deepglobe = DATASETS["deepglobe"].coding
    assert [deepglobe.table[c] for c in DeepGlobeLandCover.colormap] == [0, 1, 2, 3, 4, 5, 255]
    assert DATASETS["loveda"].legend.names == LoveDA.classes[:7]
