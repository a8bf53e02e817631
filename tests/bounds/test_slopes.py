"""Slope bounds, the one place where the scope appears: against derivatives and secants on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from lipreg.bounds import Slopes, ValueBounds, relax, slope_bounds

LEAKS = [0.0, 0.01, 0.2, 0.3]


def one(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def bounds(y: float, low: float, high: float, leak: float, scope: str, moves: bool = True) -> tuple[float, float]:
    slopes = slope_bounds(ValueBounds(one(y), one(low), one(high), torch.tensor([[moves]])), leak, scope)  # type: ignore[arg-type]
    assert isinstance(slopes, Slopes)
    return float(slopes.lower), float(slopes.upper)


def activation(z: np.ndarray, leak: float) -> np.ndarray:
    return np.where(z > 0, z, leak * z)


numbers = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, -1.0, 1.0]))


@given(points=st.tuples(numbers, numbers, numbers), leak=st.sampled_from(LEAKS))
@example(points=(0.0, 0.0, 0.0), leak=0.0)  # bounded to the kink itself
@example(points=(-1.0, 0.0, 0.0), leak=0.2)
@example(points=(0.0, 0.0, 1.0), leak=0.2)
@example(points=(-1.0, -1.0, 0.0), leak=0.0)
def test_slopes_hold_every_derivative_and_every_secant(points: tuple[float, float, float], leak: float) -> None:
    low, y, high = sorted(points)
    z = np.linspace(low, high, 101)
    z = z[np.abs(z) > 1e-12]
    regional = bounds(y, low, high, leak, "regional")
    assert regional[0] <= regional[1]
    derivative = np.where(z > 0, 1.0, leak)
    assert (regional[0] - 1e-15 <= derivative).all() and (derivative <= regional[1] + 1e-15).all()
    pointed = bounds(y, low, high, leak, "pointed")
    assert pointed[0] <= pointed[1]
    away = z[np.abs(z - y) > 1e-6]
    secant = (activation(away, leak) - activation(np.array([y]), leak)) / (away - y)
    assert (pointed[0] - 1e-9 <= secant).all() and (secant <= pointed[1] + 1e-9).all()
    # never looser than regional, except that a unit bounded to one value has no secant at all
    if low < high:
        assert regional[0] - 1e-15 <= pointed[0] and pointed[1] <= regional[1] + 1e-15


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize(
    ("y", "low", "high"), [(-0.5, -1.0, 1.0), (0.5, -1.0, 1.0), (0.0, -1.0, 1.0), (-1.0, -2.0, -0.1), (1.0, 0.1, 2.0)]
)
def test_pointed_slopes_are_the_secants_at_the_ends(y: float, low: float, high: float, leak: float) -> None:
    ends = [(activation(np.array(e), leak) - activation(np.array(y), leak)) / (e - y) for e in (low, high)]
    assert bounds(y, low, high, leak, "pointed") == pytest.approx([float(e) for e in ends], rel=1e-12)


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-2.0, -1.0, ("leak", "leak")),
        (-2.0, 0.0, ("leak", "leak")),
        (1.0, 2.0, (1, 1)),
        (0.0, 2.0, (1, 1)),
        (-1, 1, ("leak", 1)),
    ],
)
def test_regional_slopes(low: float, high: float, expected: tuple[object, object], leak: float) -> None:
    wanted = [leak if e == "leak" else 1.0 for e in expected]
    assert bounds((low + high) / 2, low, high, leak, "regional") == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_a_unit_that_cannot_move_has_slope_zero(scope: str) -> None:
    assert bounds(1.0, 1.0, 1.0, 0.1, scope, moves=False) == (0.0, 0.0)


def test_pointed_slopes_are_differentiable() -> None:
    def slopes(y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        z = ValueBounds(y, y - spread, y + 2 * spread, torch.ones_like(y, dtype=torch.bool))
        found = slope_bounds(z, 0.1, "pointed")
        return found.lower, found.upper

    y = torch.tensor([[-0.7, -0.2, 0.3, 0.9]], dtype=torch.float64, requires_grad=True)
    spread = torch.tensor([[0.5, 0.5, 0.6, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(slopes, (y, spread))
    # on the kink, and where both ends meet the reference point, gradients stay finite
    flat = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    found = slope_bounds(ValueBounds(flat, flat, flat, torch.ones(1, 3, dtype=torch.bool)), 0.0, "pointed")
    for part in torch.autograd.grad((found.lower + found.upper).sum(), flat, allow_unused=True):
        assert part is None or torch.isfinite(part).all()


# ---------------------------------------------------------------- linear relaxations


@given(ends=st.tuples(numbers, numbers), leak=st.sampled_from(LEAKS))
@example(ends=(-1.0, 0.5), leak=0.01)
@example(ends=(0.0, 0.0), leak=0.0)
def test_relaxation_encloses_the_activation(ends: tuple[float, float], leak: float) -> None:
    low, high = sorted(ends)
    line = relax(one(low), one(high), leak)
    z = np.append(np.linspace(low, high, 101), [0.0] if low <= 0 <= high else [])
    exact = activation(z, leak)
    assert (float(line.lower_slope) * z <= exact + 1e-15).all()
    assert (exact <= float(line.upper_slope) * z + float(line.upper_offset) + 1e-15).all()
    if low >= 0 or high <= 0:  # stable units are exact
        assert float(line.upper_offset) == 0.0
        np.testing.assert_allclose(float(line.lower_slope) * z, exact, atol=1e-15)
    else:  # the chord meets the activation at both ends
        ends_on_chord = float(line.upper_slope) * np.array([low, high]) + float(line.upper_offset)
        np.testing.assert_allclose(ends_on_chord, activation(np.array([low, high]), leak), atol=1e-12)
