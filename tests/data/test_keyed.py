import torch

from geosemi.data.keyed import keyed_generator

PINNED = [534677727, 398452738, 434328920, 467647990]


def draws(*key: int | str) -> list[int]:
    return torch.randint(1 << 30, (4,), generator=keyed_generator(*key)).tolist()


def test_same_key_draws_the_same_whatever_ran_before():
    first = draws(3, "augment", 7)
    torch.rand(5, generator=keyed_generator(3, "other"))
    assert draws(3, "augment", 7) == first


def test_every_part_of_the_key_matters():
    keys = [
        (3, "a", 7),
        (4, "a", 7),
        (3, "b", 7),
        (3, "a", 8),
        (3, "a"),
        (3, 7, "a"),
        (3, "a", "7"),
        (3, "a7"),
        (3, -7),
    ]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_boundaries_between_parts_matter():
    assert draws(0, "ab", "c") != draws(0, "a", "bc")
    assert draws(0, "a|str:1:b") != draws(0, "a", "b")


def test_numbers_are_pinned_so_that_old_runs_resume():
    assert draws(0, "pin", 1) == PINNED
