"""Intervals of ratios, means and transfer against exact rationals and logarithms of 80 digits, on thousands of draws."""

from __future__ import annotations

import math
import random
import sys
from decimal import Context, Decimal
from fractions import Fraction

import pytest

from lipreg.linalg.rationals import above, below
from lipreg.transfer import Interval, geometric_mean, mean_of, ratio, transfer
from lipreg.transfer.movement import movement
from lipreg.transfer.points import PointFigures

EXACT = Context(prec=80)
DRAWS = 3000


def size(rng: random.Random) -> float:
    """A number of any size, sometimes of few digits, so that divisions come out even."""
    value = math.exp(rng.uniform(-30, 30))
    return float(f"{value:.1g}") if rng.random() < 0.2 else value


def interval(rng: random.Random) -> tuple[Interval, Fraction]:
    """An interval and a number in it, often one of its ends."""
    low, high = sorted((size(rng), size(rng)))
    high = rng.choice([low, math.nextafter(low, math.inf), low * (1 + 1e-6), high])
    inside = rng.choice([Fraction(low), Fraction(high), Fraction(low) + (Fraction(high) - Fraction(low)) / 3])
    return Interval(low, max(low, high)), inside


def holds(found: Interval, exact: Fraction) -> bool:
    return Fraction(found.lower) <= exact <= Fraction(found.upper)


def logarithm(number: Fraction) -> Fraction:
    return Fraction(EXACT.ln(EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))))


def test_ratios_hold_what_the_ends_give_in_rationals_and_are_the_closest_floats() -> None:
    rng = random.Random(0)
    for _ in range(DRAWS):
        (top, a), (bottom, b) = interval(rng), interval(rng)
        found = ratio(top, bottom)
        assert found is not None and holds(found, a / b)
        low, high = Fraction(top.lower) / Fraction(bottom.upper), Fraction(top.upper) / Fraction(bottom.lower)
        assert Fraction(found.lower) <= low < Fraction(math.nextafter(found.lower, math.inf))
        assert Fraction(math.nextafter(found.upper, 0)) < high <= Fraction(found.upper)


def test_arithmetic_means_hold_the_mean_of_every_choice() -> None:
    rng = random.Random(1)
    for _ in range(DRAWS // 2):
        parts = [interval(rng) for _ in range(rng.randint(1, 7))]
        found = mean_of([part for part, _ in parts])
        assert holds(found, sum((inside for _, inside in parts), Fraction()) / len(parts))
        lowest = sum((Fraction(part.lower) for part, _ in parts), Fraction()) / len(parts)
        assert lowest < Fraction(math.nextafter(found.lower, math.inf))
    assert mean_of([Interval(1, 2), Interval(0, math.inf)]) == Interval(0.5, math.inf)


def test_geometric_means_hold_the_root_of_the_product() -> None:
    rng = random.Random(2)
    for _ in range(DRAWS // 2):
        parts = [interval(rng) for _ in range(rng.randint(2, 7))]
        found, product = geometric_mean([part for part, _ in parts]), math.prod(inside for _, inside in parts)
        assert Fraction(found.lower) ** len(parts) <= product <= Fraction(found.upper) ** len(parts)
        lowest = math.prod(Fraction(part.lower) for part, _ in parts)
        assert lowest < Fraction(found.lower) ** len(parts) * (1 + Fraction(1, 2**48))


def figures(bound: float, exact: Interval) -> PointFigures:
    return PointFigures(bound, exact, None)  # type: ignore[arg-type]  # no record is read


@pytest.mark.parametrize("points", [1, 3])
def test_movement_and_transfer_hold_every_choice_of_constants(points: int) -> None:
    """Among them bounds that hardly moved, where a relative error of the movement is a thousand times that of its log."""
    rng, seen = random.Random(3), 0
    for _ in range(DRAWS // 2):
        pairs, quotient, moved = [], Fraction(1), Fraction(1)
        for _ in range(points):
            (mine, a), (other, b) = interval(rng), interval(rng)
            bound = size(rng)
            less = bound * math.exp(rng.choice([-2.0, -1.1e-3, 1.1e-3, 2.0]) * rng.uniform(1, 2))
            pairs.append((figures(less, mine), figures(bound, other)))
            quotient, moved = quotient * a / b, moved * Fraction(less) / Fraction(bound)
        found = movement(pairs)
        assert found.combined is not None
        assert Fraction(found.combined.lower) ** points <= quotient <= Fraction(found.combined.upper) ** points
        if found.transfer is not None:
            seen += 1
            assert holds(found.transfer, logarithm(quotient) / logarithm(moved))
    assert seen > DRAWS // 4


def test_transfer_is_no_wider_than_the_last_digits() -> None:
    rng = random.Random(4)
    for _ in range(DRAWS // 4):
        exact, bound = size(rng), size(rng)
        found, _ = transfer(Interval(exact, exact), bound)
        if found is not None:
            assert 0 <= found.upper - found.lower <= 4e-16 * abs(found.upper)
            assert holds(found, logarithm(Fraction(exact)) / logarithm(Fraction(bound)))


def test_the_ends_of_the_range_of_floats() -> None:
    largest, least = sys.float_info.max, math.ulp(0.0)
    beyond, tiny = Fraction(largest) * 2, Fraction(least) / 2
    assert (below(beyond), above(beyond), below(-beyond), above(-beyond)) == (largest, math.inf, -math.inf, -largest)
    assert (below(tiny), above(tiny), below(-tiny), above(-tiny)) == (0.0, least, -least, 0.0)
    assert ratio(Interval(largest, largest), Interval(least, 0.5)) == Interval(largest, math.inf)
    assert ratio(Interval(least, least), Interval(3.0, math.inf)) == Interval(0.0, least)
    found = geometric_mean([Interval(least, largest)] * 3)
    assert found.lower <= least and found.upper == largest
    assert transfer(Interval(1, 1), Interval(largest, math.inf))[0] is None
