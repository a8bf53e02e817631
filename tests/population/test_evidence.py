"""Refuted numbers of marked points, against the hypergeometric law summed up in rationals and against enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from lipreg.population import AnyTime, Evidence, Planned
from lipreg.population.evidence import most

KINDS = [Planned(), AnyTime()]
each_kind = pytest.mark.parametrize("evidence", KINDS, ids=lambda kind: kind.name)


def at_most(s: int, n: int, K: int, N: int) -> Fraction:
    """P(at most s of n are marked), in rationals."""
    ways = sum(math.comb(K, i) * math.comb(N - K, n - i) for i in range(s + 1))
    return Fraction(ways, math.comb(N, n))


def test_planned_is_the_hypergeometric_tail() -> None:
    N, level = 23, 0.1
    for n, K in itertools.product((0, 1, 7, 23), range(N + 1)):
        for s in range(max(0, n + K - N), min(n, K) + 1):
            refuted = bool(Planned().refutes(K, s, n, N, level))
            assert refuted == (at_most(s, n, K, N) <= Fraction(level / 2) and K > 0), (n, K, s)


@each_kind
@pytest.mark.parametrize("size", [1, 6, 40])
def test_more_is_refuted_by_less_and_what_is_refuted_stays_so(evidence: Evidence, size: int) -> None:
    """If K is refuted so is every larger number, and by fewer marked points; what has been seen never is."""
    for n in sorted({0, 1, size // 2, size}):
        marked, least = np.arange(n + 1)[:, None], np.arange(size + 1)[None, :]
        refuted = evidence.refutes(least, marked, n, size, 0.2)
        assert (refuted[:, 1:] >= refuted[:, :-1]).all() and (refuted[:-1] >= refuted[1:]).all()
        assert not refuted[least <= marked].any()
        assert refuted[(least > marked + size - n)].all()
        for s in range(n + 1):
            assert most(evidence, s, n, size, 0.2) == int((~refuted[s]).nonzero()[0].max())


@pytest.mark.parametrize(("size", "truth"), [(6, 2), (7, 5), (8, 1), (8, 4)])
def test_at_any_time_misses_as_seldom_as_it_says_over_every_order(size: int, truth: int) -> None:
    """Over all orders in which marked and unmarked points can come, looked at after every point, both ends together."""
    level, missed, orders = 0.3, 0, 0
    for marked in itertools.combinations(range(size), truth):
        orders += 1
        for n in range(size + 1):
            s = sum(i < n for i in marked)
            above = evidence_refutes(truth, s, n, size, level)
            below = evidence_refutes(size - truth, n - s, n, size, level)
            if above or below:
                missed += 1
                break
    assert missed / orders <= level


def evidence_refutes(least: int, marked: int, drawn: int, size: int, level: float) -> bool:
    return bool(AnyTime().refutes(least, marked, drawn, size, level))


def test_at_any_time_costs_more_than_a_plan() -> None:
    for s, n in ((0, 30), (3, 60), (30, 100)):
        assert most(Planned(), s, n, 500, 0.05) < most(AnyTime(), s, n, 500, 0.05)
