"""The two tests of significance against scipy, and what few seeds cannot show."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.benchmark.stats import least_p, mean_and_spread, paired_t, sign_flip, student_tails

DIFFERENCES = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=2, max_size=8)


@given(DIFFERENCES)
@settings(max_examples=40, deadline=None)
def test_sign_flip_is_scipys_permutation_test_of_paired_samples(differences):
    zeros = np.zeros(len(differences))

    def mean(a, b, axis):
        return np.round((a - b).sum(axis=axis), 9)

    exact = scipy.stats.permutation_test(
        (np.array(differences), zeros), mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert sign_flip(differences) == pytest.approx(exact.pvalue, abs=1e-12)


@given(DIFFERENCES)
def test_sign_flip_forgets_scale_and_sign_and_is_never_below_its_least(differences):
    p = sign_flip(differences)
    assert least_p(len(differences)) <= p <= 1
    assert sign_flip([-d for d in differences]) == p
    assert sign_flip([1024 * d for d in differences]) == p


@pytest.mark.parametrize(("seeds", "least"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_least_p_is_reached_when_all_seeds_agree(seeds, least):
    assert least_p(seeds) == least
    assert sign_flip([0.01 * (k + 1) for k in range(seeds)]) == least


def test_sign_flip_by_hand():
    # sums of ±1 ±2 ±4: 7 5 3 1 −1 −3 −5 −7; found 1 + 2 − 4 = −1: all are as far
    assert sign_flip([1, 2, -4]) == 1
    assert sign_flip([1, -2, 4]) == 6 / 8  # found 3


@pytest.mark.parametrize("differences", [[], [0.1] * 17])
def test_sign_flip_takes_what_it_can_count(differences):
    with pytest.raises(ValueError, match="1 to 16 differences"):
        sign_flip(differences)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 15])
def test_tails_of_student(freedom):
    for t in (0, 0.3, 1, 2.5, 12):
        assert student_tails(t, freedom) == pytest.approx(2 * scipy.stats.t.sf(t, freedom), abs=1e-12)
        assert student_tails(-t, freedom) == student_tails(t, freedom)


@given(DIFFERENCES)
def test_paired_t_is_scipys(differences):
    p = paired_t(differences)
    if math.isnan(p):
        assert np.std(differences) < 1e-9
    else:
        assert p == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue, abs=1e-9)


def test_nothing_can_be_said_of_one_or_of_equal_differences():
    assert math.isnan(paired_t([0.1]))
    assert math.isnan(paired_t([0.1, 0.1, 0.1]))
    assert math.isnan(paired_t([0.0, 0.0]))


def test_mean_and_spread_leave_out_what_is_no_number():
    assert mean_and_spread([0.2, math.nan, 0.4]) == pytest.approx((0.3, math.sqrt(0.02)))
    mean, spread = mean_and_spread([0.2])
    assert mean == 0.2
    assert math.isnan(spread)
    assert all(math.isnan(v) for v in mean_and_spread([]))
