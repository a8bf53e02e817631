"""Sums with their errors and ends rounded to one side, against exact rationals."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipreg.linalg.floats import add_above, add_below, cast_above, cast_below, norm_above, spacing, two_sum

floats = st.floats(-1e300, 1e300, allow_nan=False)


def one(x: float) -> torch.Tensor:
    return torch.tensor([x], dtype=torch.float64)


@given(a=floats, b=floats)
def test_a_sum_and_its_error_are_exact(a: float, b: float) -> None:
    s, error = two_sum(one(a), one(b))
    assert Fraction(float(s)) + Fraction(float(error)) == Fraction(a) + Fraction(b)


@given(a=floats, b=floats)
def test_sums_are_rounded_to_the_side_asked_for_and_no_further(a: float, b: float) -> None:
    total = Fraction(a) + Fraction(b)
    low, high = float(add_below(one(a), one(b))), float(add_above(one(a), one(b)))
    assert Fraction(low) <= total <= Fraction(high)
    assert Fraction(math.nextafter(low, math.inf)) > total > Fraction(math.nextafter(high, -math.inf))


def test_open_ends_stay_open() -> None:
    assert add_below(one(-math.inf), one(3.0)).item() == -math.inf
    assert add_above(one(math.inf), one(3.0)).item() == math.inf


@given(x=st.floats(-1e30, 1e30))
def test_casts_are_rounded_to_the_side_asked_for_and_no_further(x: float) -> None:
    like = torch.zeros(1, dtype=torch.float32)
    low, high = cast_below(one(x), like), cast_above(one(x), like)
    assert low.dtype == high.dtype == torch.float32
    assert float(low) <= x <= float(high)
    assert low == high or torch.nextafter(low, torch.tensor(math.inf)) == high


@given(x=st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=6), p=st.sampled_from([1.0, 2.0, math.inf]))
def test_norms_are_never_rounded_down(x: list[float], p: float) -> None:
    exact = [abs(Fraction(v)) for v in x]
    found = Fraction(float(norm_above(torch.tensor([x], dtype=torch.float64), p)))
    if p == math.inf:
        assert found == max(exact)
        return
    power = int(p)
    assert found**power >= sum(v**power for v in exact)
    slack = 1 + Fraction(1, 10**13)
    assert found**power <= slack * sum(v**power for v in exact) + Fraction(5e-324) ** power * 100


@pytest.mark.parametrize("x", [0.0, 1.0, -1.7e9, 1e-310])
def test_spacing_is_the_step_to_the_next_float(x: float) -> None:
    assert spacing(one(x)).item() == math.ulp(x)
