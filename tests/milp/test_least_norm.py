"""Cells and programs of l2 balls: no point of a ball is lost to multipliers or tangents, and what is outside is found."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipreg.folding import Displacements
from lipreg.milp import domain, least_norm
from lipreg.milp.assembly import Assembly
from lipreg.milp.least_norm import misses_ball, nearest
from lipreg.milp.program import Program
from lipreg.regions import L2Ball


def polyhedron(seed: int, distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and levels of a random polyhedron whose point nearest to 0 is that many units away, and the point."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 8)), int(rng.integers(1, 20))
    touching = int(rng.integers(1, n + 1))
    rows = rng.normal(size=(touching, n))
    at = rng.uniform(0.1, 1.0, touching) @ rows  # a positive combination of what holds it: by Karush, Kuhn and Tucker
    at *= distance / np.linalg.norm(at)
    others = rng.normal(size=(k, n))
    levels = np.concatenate([rows @ at, others @ at - rng.uniform(0.01, 1.0, k)])
    rows = np.concatenate([rows, others])
    size = 10.0 ** rng.uniform(-3, 3, len(rows))
    return rows * size[:, None], levels * size, at


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), distance=st.sampled_from([1e-3, 0.9, 1 - 1e-9, 1 + 1e-9, 1.001, 50.0]))
def test_a_polyhedron_misses_the_ball_from_distance_1_on(seed: int, distance: float) -> None:
    rows, levels, at = polyhedron(seed, distance)
    assert misses_ball(rows, levels, np.zeros(len(levels))) == (distance > 1.0)
    found = nearest(rows, levels)
    assert found is not None
    np.testing.assert_allclose(found, at, atol=1e-7 * distance)
    doubt = 1e-6 * np.abs(levels) + 1e-6
    if distance < 1.001:
        assert not misses_ball(rows, levels, doubt + 1e-8 * np.linalg.norm(rows, axis=1))


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6))
def test_no_multipliers_lose_a_point(seed: int) -> None:
    """Whatever the iteration says, on polyhedra that hold a point of the sphere up to rounding."""
    rows, levels, at = polyhedron(seed, 1.0)
    exact = [Fraction(float(v)) for v in at]
    if sum(v * v for v in exact) > 1:
        exact = [v * (1 - Fraction(1, 10**15)) for v in exact]
    held = [sum(Fraction(float(a)) * d for a, d in zip(row, exact, strict=True)) for row in rows]
    levels = np.array([min(level, math.nextafter(float(h), -math.inf)) for level, h in zip(levels, held, strict=True)])
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        own = least_norm._multipliers
        for sway in (0.0, 1e-12, 1e-3, 1.0, 1e9):

            def moved(rows: np.ndarray, levels: np.ndarray, sway: float = sway) -> np.ndarray | None:
                y = own(rows, levels)
                return None if y is None else np.maximum(y * (1 + sway * rng.normal(size=y.shape)), 0.0)

            patch.setattr(least_norm, "_multipliers", moved)
            assert not misses_ball(rows, levels, np.zeros(len(levels)))


def program_around(radius: float, inputs: int, low: float | None) -> tuple[Program, Displacements]:
    placed = L2Ball(radius, low=low).place(torch.zeros(1, inputs, dtype=torch.float64))
    within, program = Displacements.within(placed), Assembly()
    domain.displacement(program, within)
    return program.program({}, 0.0), within


@pytest.mark.parametrize("radius", [3e-7, 1.0, 2e5])
@pytest.mark.parametrize("inputs, low", [(1, None), (3, -1e-7), (20, None)])
def test_tangents_hold_the_ball_and_cut_off_what_is_outside(radius: float, inputs: int, low: float | None) -> None:
    program, within = program_around(radius, inputs, low)
    rng = np.random.default_rng(0)
    down, up = within.lower.numpy(), within.upper.numpy()
    outside = np.zeros(len(program.cost))
    for _ in range(3):
        outside[program.columns["d"]] = np.clip(rng.normal(size=inputs) * 3 * radius, down, up)
        outside[program.columns["square"]] = radius / inputs
        if not domain.leaves(program, within.ball, outside):
            continue
        tighter = domain.cut_off(program, within.ball, outside)
        assert (tighter.matrix @ outside > tighter.right + 1e-9 * radius).any()
        program = tighter
    matrix: Any = program.matrix.toarray()
    for point in rng.normal(size=(20, inputs)):
        d = np.clip(radius * point / np.linalg.norm(point), down, up) * (1 - 1e-15)
        moved, ball = [Fraction(float(v)) for v in d], Fraction(radius)
        assert sum(v * v for v in moved) <= ball**2
        values = [*moved, *(v * v / ball for v in moved)]
        assert all(Fraction(float(end)) >= v for end, v in zip(program.upper, values, strict=True))
        for row, right in zip(matrix, program.right, strict=True):
            assert sum(Fraction(float(a)) * v for a, v in zip(row, values, strict=True)) <= Fraction(float(right))
