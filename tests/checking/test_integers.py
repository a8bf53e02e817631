"""Float64 numbers as whole numbers times a power of two, against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lipreg.checking.integers import integers

EDGES = [0.0, -0.0, 5e-324, -3 * 2.0**-1074, 2.0**-1022, 1.7976931348623157e308, -(2.0**1000), 1.5, -6.0, 2.0**80]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (7,), (3, 4)])
def test_whole_numbers_are_the_floats(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        floats = generator.normal(size=shape) * 10.0 ** generator.integers(-300, 300, size=shape)
        _check(np.where(generator.random(shape) < 0.3, np.round(generator.normal(size=shape) * 1e3), floats))


@pytest.mark.parametrize("edge", EDGES)
def test_edges_of_the_format(edge: float) -> None:
    for others in ([], [1.0], [edge, 5e-324], [3.0, 1e300]):
        _check(np.array([edge, *others]))


def test_what_is_not_finite_is_no_number() -> None:
    for wrong in (np.inf, -np.inf, np.nan):
        with pytest.raises(OverflowError):
            integers(np.array([1.0, wrong]))


def _check(floats: np.ndarray) -> None:
    numbers, bits = integers(floats)
    truth = [Fraction(float(x)) for x in floats.ravel()]
    assert numbers.shape == floats.shape
    assert all(type(n) is int for n in numbers.ravel())
    assert [Fraction(n, 1 << bits) for n in numbers.ravel()] == truth
    assert bits == max((x.denominator.bit_length() - 1 for x in truth), default=0)
