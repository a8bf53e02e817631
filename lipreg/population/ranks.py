"""Between which ranks of a finite population the values of a sample without replacement lie, all of them at once.

The j-th smallest of n values that are drawn from N has the rank R_j among all N (ties in any order that is fixed before the
draw). The ranks R_1 < ... < R_n are a set of n of the numbers 1..N, each as likely as any other, whatever the values are. So
the probability that l_j <= R_j <= u_j holds for all j is known exactly: it is the number of such sets, counted by the
recursion over j, over all sets. Each single R_j leaves its two ends with the same probability, at most the local level; the
largest local level is taken at which all hold together with the confidence. This is what Owen 1995 ("Nonparametric
likelihood confidence bands for a distribution function") computes for samples of a distribution, with the local levels of
Gontscharuk, Landwehr & Finner 2016, for a finite population.
"""

from __future__ import annotations

import functools
import math

import numpy as np

LEVELS = 128
"""Local levels that are tried, from one that holds in any case to the whole level, evenly in their logarithm."""
DEVIATIONS = 9.0
"""Standard deviations below its mean from which on a rank is looked at; the ends that come of it are proved together."""
ROUNDING = 1e-6
"""By so much, relative, the level that is spent stays below the one allowed: more than what the recursion loses."""

Ranks = tuple[np.ndarray, np.ndarray]


@functools.lru_cache(maxsize=16)
def ranks(drawn: int, size: int, level: float) -> Ranks:
    """The least and the largest rank of each of the drawn values in ascending order, ``(drawn,)`` each.

    Args:
        drawn: n, how many values were drawn, a number that was fixed beforehand.
        size: N.
        level: the probability with which any of them may lie outside.
    """
    certain = np.arange(1, drawn + 1)
    if drawn in (0, size):
        return certain, certain
    # all 2 n ends hold together where each fails with level / (2 n), whatever depends on what
    least = _least(drawn, size, np.geomspace(level / drawn, level, LEVELS))
    first, last = 0, LEVELS
    while last - first > 1:
        middle = (first + last) // 2
        missed = 1 - _together(least[:, middle], size + 1 - least[::-1, middle], size)
        first, last = (middle, last) if missed <= level * (1 - ROUNDING) else (first, middle)
    return least[:, first], size + 1 - least[::-1, first]


def _least(drawn: int, size: int, local: np.ndarray) -> np.ndarray:
    """For each rank and local level the least r with P(R_j <= r) > local / 2, ``(drawn, levels)``."""
    from scipy.special import gammaln  # heavy, and of no use to those who draw nothing

    ways, least_ranks = gammaln(np.arange(size + 2) + 1.0), []  # logarithms of factorials
    sets = ways[size] - ways[drawn] - ways[size - drawn]
    for j in range(1, drawn + 1):
        mean, share = j * (size + 1) / (drawn + 1), j / (drawn + 1)
        deviation = size * math.sqrt(share * (1 - share) / (drawn + 2)) + 1
        r = np.arange(max(j, int(mean - DEVIATIONS * deviation)), min(size - drawn + j, int(mean + 2 * deviation)) + 1)
        before = ways[r - 1] - ways[j - 1] - ways[r - j]
        after = ways[size - r] - ways[drawn - j] - ways[size - r - (drawn - j)]
        cumulative = np.cumsum(np.exp(before + after - sets))
        least_ranks.append(r[np.minimum(np.searchsorted(cumulative, local / 2, "right"), len(r) - 1)])
    return np.stack(least_ranks)


def _together(least: np.ndarray, most: np.ndarray, size: int) -> float:
    """The probability that all ranks lie between their ends."""
    drawn, scale = len(least), 0.0
    ways, start = np.ones(most[0] - least[0] + 1), int(least[0])  # of R_1 = start, start + 1, ...
    for low, high in zip(least[1:].tolist(), most[1:].tolist(), strict=True):
        so_far = np.append(0.0, np.cumsum(ways))  # of R_j < start, R_j < start + 1, ...
        ways = so_far[np.clip(np.arange(low, high + 1) - start, 0, len(so_far) - 1)]
        largest, start = float(ways.max()), low
        if largest == 0:
            return 0.0
        ways, scale = ways / largest, scale + math.log(largest)
    all_sets = math.lgamma(size + 1) - math.lgamma(drawn + 1) - math.lgamma(size - drawn + 1)
    return math.exp(scale + math.log(ways.sum()) - all_sets)
