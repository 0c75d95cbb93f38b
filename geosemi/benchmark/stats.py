"""Is a difference more than luck: two paired tests over seeds, in closed form."""

import math
import statistics
from collections.abc import Sequence
from itertools import product


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation of the numbers among values; NaN for what too few of them have."""
    known = [v for v in values if not math.isnan(v)]
    mean = statistics.fmean(known) if known else math.nan
    return mean, statistics.stdev(known) if len(known) > 1 else math.nan


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p of the exact sign-flip permutation test.

    If the two methods were alike, every difference could as well have the other sign; p is the share of the 2ⁿ patterns
    of signs whose sum is as far from zero as the one that was found. It cannot be below 2/2ⁿ (`least_p`).

    Args:
        differences: one a seed, of the same seed's two runs; n ≤ 16.

    Raises:
        ValueError: there are none, or more than 16.
    """
    if not 1 <= len(differences) <= 16:
        raise ValueError(f"the test takes 1 to 16 differences, got {len(differences)}")
    found = abs(math.fsum(differences))
    slack = 1e-12 * math.fsum(map(abs, differences))  # sums of the same numbers in another order are the same
    patterns = product((1, -1), repeat=len(differences))
    far = sum(abs(math.fsum(s * d for s, d in zip(p, differences, strict=True))) >= found - slack for p in patterns)
    return float(far / 2 ** len(differences))


def least_p(seeds: int) -> float:
    """Return the smallest p that the sign-flip test can give for so many seeds."""
    return min(1.0, 2.0 ** (1 - seeds))


def paired_t(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's paired t test; NaN for fewer than two differences, or equal ones.

    It takes the differences for normal, which nobody can check with three seeds.
    """
    if len(differences) < 2:
        return math.nan
    spread = statistics.stdev(differences)
    if spread <= 1e-12 * max(map(abs, differences)):
        return math.nan
    t = statistics.fmean(differences) / (spread / math.sqrt(len(differences)))
    return student_tails(t, len(differences) - 1)


def student_tails(t: float, freedom: int) -> float:
    """Return P(|T| ≥ |t|) of Student's distribution, by the finite series for whole degrees of freedom.

    Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if freedom % 2 else 1.0
    total = term if freedom > 1 or not freedom % 2 else 0.0
    first = 2 if freedom % 2 else 1
    for k in range(first, freedom - 2, 2):
        term *= cosine**2 * k / (k + 1)
        total += term
    inside = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return max(0.0, 1 - inside)
