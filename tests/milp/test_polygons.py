"""Polygons that lines divide, and norms of Jacobians, in whole numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np

from lipreg.milp.gradient_norms import norm_above
from lipreg.milp.polygons import middle, nearest, parts, rectangle
from tests.milp.test_planar_pieces import NORMS, operator_norm


def test_norms_are_above_those_of_floats_and_hardly() -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        whole = generator.integers(-5, 6, (generator.integers(1, 5), 2))
        for p, q in product(NORMS, NORMS):
            expected = operator_norm(whole / 8, p, q)
            found = norm_above(whole.astype(object), -3, p, q)
            assert expected * (1 - 1e-12) <= found <= expected * (1 + 1e-12), (whole, p, q)
    assert norm_above(np.array([[1 << 2000, 0]], dtype=object), 0, 2.0, None) == math.inf
    assert 0.0 < norm_above(np.array([[1, 0]], dtype=object), -5000, 2.0, 2.0) < 1e-300


def test_polygons_are_divided_where_lines_cross_them() -> None:
    square = rectangle((Fraction(0), Fraction(1)), (Fraction(0), Fraction(2)))
    above, below = parts(square, np.array([2, 1, -2], dtype=object))
    assert above is not None and below is not None
    assert {tuple(map(Fraction, (Fraction(x, w), Fraction(y, w)))) for x, y, w in above} == {(1, 0), (1, 2), (0, 2)}
    assert (
        parts(square, np.array([1, 0, 0], dtype=object)) == (square, None)
        or parts(square, np.array([1, 0, 0]))[1] is None
    )
    assert parts(square, np.array([-1, 0, 0], dtype=object))[0] is None, "a side is no part"
    assert middle(square) == (Fraction(1, 2), Fraction(1)) == nearest(square, (Fraction(1, 2), Fraction(1)))
    assert nearest(square, (Fraction(3), Fraction(1))) == (1, 1) and nearest(below, (Fraction(2), Fraction(2))) == (
        Fraction(2, 5),
        Fraction(6, 5),
    )
