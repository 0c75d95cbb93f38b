"""Who is train, val and test: the papers' sizes, and that no group is ever divided."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.data.datasets.base import Item
from geosemi.data.datasets.division import divide, labelled_count, paper_sizes, paper_split


@pytest.mark.parametrize(
    ("tiles", "sizes"),
    [
        (5_472, (3_283, 1_094, 1_095)),  # Potsdam, 38 × 144; shipped by SemiEarth and RS-MTDF
        (20_075, (12_045, 4_015, 4_015)),  # DeepGlobe, 803 × 25
        (16_764, (10_058, 3_352, 3_354)),  # LoveDA by this rule; its shipped lists give the remainder to train
        (5, (3, 1, 1)),
        (0, (0, 0, 0)),
    ],
)
def test_sizes_of_the_papers(tiles, sizes):
    assert paper_sizes(tiles) == sizes


@pytest.mark.parametrize(
    ("train", "counts"), [(3_283, (32, 164, 328)), (10_060, (100, 503, 1_006)), (12_045, (120, 602, 1_204))]
)
def test_labelled_counts_of_the_papers(train, counts):
    assert tuple(labelled_count(train, ratio) for ratio in (1, 5, 10)) == counts


@given(st.integers(0, 300))
def test_the_patch_split_is_complete_and_repeatable(count):
    names = [f"{i:03d}" for i in range(count)]
    parts = paper_split(names[::-1])
    assert parts == paper_split(names)
    assert tuple(map(len, parts)) == paper_sizes(count)
    assert sorted(n for part in parts for n in part) == names


def items(*rows):
    """(group, official split, labelled) of each picture."""
    return [Item(f"s{i}", g, s, Path("x"), Path("y") if known else None) for i, (g, s, known) in enumerate(rows)]


ITEMS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["train", "val", "test"]), st.booleans()), max_size=30
).map(lambda rows: items(*rows))


@given(ITEMS, st.sampled_from(["official", "scene"]), st.integers(0, 5))
def test_no_group_is_divided_and_no_picture_is_forgotten(pictures, policy, seed):
    division = divide(pictures, policy, seed)
    assert division == divide(pictures, policy, seed)
    assert set(division.parts) == set(division.groups) == {i.scene_id for i in pictures}
    seen = {}
    for i in pictures:
        part = division.parts[i.scene_id]
        assert (part == "unlabelled") == (i.label is None)
        if part != "unlabelled":
            assert seen.setdefault(division.groups[i.scene_id], part) == part


@given(ITEMS, st.integers(0, 5))
def test_official_training_pictures_are_never_tested_and_held_back_ones_never_trained_on(pictures, seed):
    division = divide(pictures, "official", seed)
    if any(i.split != "train" and i.label for i in pictures):
        for i in (i for i in pictures if i.label):
            assert (
                division.parts[i.scene_id]
                in {"train": ("train", "val"), "val": ("val", "test"), "test": ("test",)}[i.split]
            )


def test_potsdam_keeps_its_test_tiles_and_gives_a_fifth_of_the_others_for_validation():
    pictures = items(*[(f"t{i}", "train", True) for i in range(24)], *[(f"e{i}", "test", True) for i in range(14)])
    parts = list(divide(pictures, "official", 0).parts.values())
    assert [parts.count(p) for p in ("train", "val", "test")] == [20, 4, 14]


def test_where_test_labels_are_hidden_the_val_part_is_reported_on():
    pictures = items(*[(f"t{i}", "train", True) for i in range(10)], ("v", "val", True), ("e", "test", False))
    division = divide(pictures, "official", 0)
    assert division.parts["s10"] == "test"
    assert division.parts["s11"] == "unlabelled"
    assert list(division.parts.values()).count("val") == 2
    assert any("official val part is test" in note for note in division.notes)


def test_a_region_that_the_official_split_cuts_falls_apart_and_is_whole_by_scene():
    pictures = items(*[(region, split, True) for region in "abcde" for split in ("train", "val", "test")])
    official = divide(pictures, "official", 0)
    assert len(set(official.groups.values())) == 15
    assert any("5 regions" in note for note in official.notes)
    assert set(divide(pictures, "scene", 0).groups.values()) == set("abcde")
