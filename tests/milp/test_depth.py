"""Small linear programs over the unit box, against the corners of the set, and one set beside another."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from lipreg.milp.depth import RowSet, deepest


def corners(matrix: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The corners of matrix v + levels >= 0, -1 <= v <= 1."""
    n = matrix.shape[1]
    a, b = np.vstack([matrix, np.eye(n), -np.eye(n)]), np.concatenate([levels, np.ones(2 * n)])
    points = []
    for rows in map(list, combinations(range(len(b)), n)):
        if abs(np.linalg.det(a[rows])) > 1e-9:
            v = np.linalg.solve(a[rows], -b[rows])
            if (a @ v + b >= -1e-9).all():
                points.append(v)
    return np.array(points)


@pytest.mark.parametrize("seed", range(5))
def test_the_farthest_point_is_a_corner_whatever_is_solved_in_between(seed: int) -> None:
    random = np.random.default_rng(seed)
    (one, other), way = (random.normal(size=(2, 4, 3))), random.normal(size=3)
    levels, row = random.uniform(0.1, 1.0, 4), random.normal(size=3)
    sets = RowSet(one, levels), RowSet(other, levels)
    assert deepest(np.eye(3), np.zeros(3), np.ones(3)) is not None
    for rows, points in zip((one, other), sets, strict=True):  # neither set is that of the other
        solution = points.farthest(way)
        assert solution is not None
        assert solution[0] == pytest.approx((corners(rows, levels) @ way).max(), abs=1e-8)
    sets[0].cut(row, 0.05)
    both = np.vstack([one, row]), np.append(levels, 0.05)
    for rows, bounds, points in ((*both, sets[0]), (other, levels, sets[1])):
        solution = points.farthest(-way)
        assert solution is not None
        assert solution[0] == pytest.approx((corners(rows, bounds) @ -way).max(), abs=1e-8)


def test_the_deepest_point_of_a_simplex_is_as_deep_as_its_inner_ball() -> None:
    """v >= 0 and 1 - v_1 - v_2 >= 0, every row with unit normal: s is the radius of the inscribed circle."""
    root = 2.0**0.5
    matrix, levels = np.array([[1.0, 0.0], [0.0, 1.0], [-1 / root, -1 / root]]), np.array([0.0, 0.0, 1 / root])
    solution = deepest(matrix, levels, np.ones(3))
    assert solution is not None
    depth, point, multipliers = solution
    assert depth == pytest.approx(1 / (2 + root)) and point == pytest.approx([depth, depth])
    assert multipliers.sum() == pytest.approx(1.0) and (multipliers > 0).all()
    empty = deepest(np.array([[1.0], [-1.0]]), np.array([-0.5, 0.2]), np.ones(2))
    assert empty is not None and empty[0] == pytest.approx(-0.15)
