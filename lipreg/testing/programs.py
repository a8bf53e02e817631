"""Small programs with known optima, on which solvers are checked."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from scipy.sparse import csc_array

from lipreg.milp import Program
from lipreg.testing.domains import Array


def program(
    cost: list[float],
    rows: list[list[float]],
    right: list[float],
    *,
    equalities: int = 0,
    lower: float = 0.0,
    upper: float = 1.0,
    offset: float = 0.0,
    integers: bool = True,
) -> Program:
    """The program max cost v + offset, from lists, all of its columns integer or none.

    Args:
        cost: a number a column.
        rows, right: rows v <= right, the first ``equalities`` of them with =.
        equalities: how many.
        lower, upper: of every column.
        offset: of the objective.
        integers: whether the columns are integers.
    """
    count = len(cost)
    return Program(
        np.array(cost, dtype=float),
        offset,
        csc_array(np.array(rows, dtype=float).reshape(-1, count)),
        np.array(right, dtype=float),
        equalities,
        np.full(count, lower),
        np.full(count, upper),
        np.arange(count if integers else 0),
    )


def knapsack(*, offset: float = 0.0, integers: bool = True) -> Program:
    """max 10 a + 13 b + 7 c + 4 d, 5 a + 7 b + 4 c + 3 d <= 12: a and b fill it, 23; relaxed 23 as well."""
    return program([10, 13, 7, 4], [[5, 7, 4, 3]], [12], offset=offset, integers=integers)


def split(count: int, seed: int = 0) -> Program:
    """A market split (Cornuejols & Dawande): max -sum of slacks of random subset sums. Hard beyond 30 columns.

    Its optimum is at most 0; every point is feasible once slacks are set.
    """
    rng = np.random.default_rng(seed)
    rows = 4
    weights = rng.integers(0, 100, size=(rows, count)).astype(float)
    target = np.floor(weights.sum(1) / 2)
    # weights @ x + s - t = target
    matrix = np.hstack([weights, np.eye(rows), -np.eye(rows)])
    size = count + 2 * rows
    return Program(
        np.concatenate([np.zeros(count), -np.ones(2 * rows)]),
        0.0,
        csc_array(matrix),
        target,
        rows,
        np.zeros(size),
        np.concatenate([np.ones(count), np.full(2 * rows, 100.0 * count)]),
        np.arange(count),
    )


def hidden_split(count: int) -> tuple[Program, Array]:
    """A split whose target is the sum of one subset, which makes its optimum 0; and the subset, which no search finds."""
    instance = split(count)
    subset = np.random.default_rng(5).integers(0, 2, count).astype(float)
    return replace(instance, right=instance.matrix.toarray()[:, :count] @ subset), subset


def strict_split(count: int) -> tuple[Program, Array]:
    """A hidden split without slacks, to maximise the number of ones, and the subset, the only point that anybody knows."""
    instance, subset = hidden_split(count)
    columns = np.arange(len(instance.cost))
    return replace(instance, upper=np.where(columns < count, 1.0, 0.0), cost=np.ones(len(columns))), subset


def wide(count: int, *, integers: bool = True) -> Program:
    """One row over many columns: max sum of all, at most 7 of them."""
    return program([1.0] * count, [[1.0] * count], [7.0], integers=integers)


def dense(size: int, seed: int = 0) -> Program:
    """An LP with a full random matrix."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, 1, (size, size)).tolist()
    return program(rng.uniform(1, 2, size).tolist(), rows, [0.2 * size] * size, integers=False)


def best_by_enumeration(instance: Program) -> float:
    """The optimum of a program whose last column may be continuous and whose other columns are integers of few values.

    For every choice of the integers, the rows leave an interval of the last column, and the best is at one of its ends.

    Returns:
        -inf for an infeasible program.
    """
    free = len(instance.cost) - 1 not in instance.integer
    whole = len(instance.cost) - int(free)
    assert set(range(whole)) <= set(instance.integer.tolist())
    values = (range(math.ceil(instance.lower[i]), math.floor(instance.upper[i]) + 1) for i in range(whole))
    choices, matrix, best = list(itertools.product(*values)), instance.matrix.toarray(), -math.inf
    for point in np.array(choices, dtype=float).reshape(len(choices), whole):
        slack = instance.right - matrix[:, :whole] @ point  # of matrix[:, -1] * last
        last = matrix[:, -1] if free else np.zeros(len(slack))
        low, high = (instance.lower[-1], instance.upper[-1]) if free else (0.0, 0.0)
        possible = True
        for row, (a, b) in enumerate(zip(last, slack, strict=True)):
            equal = row < instance.equalities
            if a == 0:
                possible &= bool(abs(b) < 1e-9 if equal else b > -1e-9)
                continue
            high = min(high, b / a) if a > 0 or equal else high
            low = max(low, b / a) if a < 0 or equal else low
        if possible and low <= high + 1e-9:
            value = instance.cost[:whole] @ point
            best = max(best, value + (max(instance.cost[-1] * low, instance.cost[-1] * high) if free else 0.0))
    return float(best + instance.offset)


def drawn(rng: np.random.Generator) -> Program:
    """A random program: integers of few values, perhaps one continuous column, small whole coefficients, many of them 0."""
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(0, 5))
    entries = rng.integers(-4, 5, (rows, columns)) * (rng.random((rows, columns)) < 0.7)
    lower, continuous = rng.integers(-2, 1, columns).astype(float), int(rng.integers(0, 2))
    return Program(
        rng.integers(-4, 5, columns).astype(float),
        float(rng.integers(-4, 5)),
        csc_array(entries.astype(float)),
        rng.integers(-4, 5, rows).astype(float),
        int(rng.integers(0, min(rows, 1) + 1)),
        lower,
        lower + rng.integers(0, 4, columns),
        np.arange(columns - continuous),
    )
