"""The oracles over all of R^n, in l2 balls and in other units: by hand, against each other and against larger boxes."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from tests.attacks.asked import EVERYWHERE, endless
from tests.attacks.cases import NORMS
from tests.attacks.kinds import Generator, chain, dense
from tests.attacks.oracle import Functional, Measure, Oracle, Where, functional
from tests.attacks.polytopes import Row, dot, everywhere
from tests.attacks.programs import Affine, MaxPool, Program, Relu
from tests.attacks.test_oracles import LOGIT, equals
from tests.attacks.truths import Constant, enter_jacobian

NAMES = ("all_logits", "vector 1", "vector 2", "vector inf")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_parts_of_all_space_fill_it_and_do_not_overlap(size: int) -> None:
    rng, parts = np.random.default_rng(size), everywhere(size)
    for part in parts:
        for vertex, tight in zip(part.vertices, part.tight, strict=True):
            sides = [dot(row, vertex) for row in part.rows]
            assert min(sides) >= 0 and [s == 0 for s in sides] == [bool(tight >> i & 1) for i in range(len(sides))]
    for point in rng.integers(-9, 10, size=(50, size)).tolist():
        at: Row = (*point, 1)
        ties = [0, *point].count(min(0, *point))
        assert sum(part.holds(at) for part in parts) == ties


@pytest.mark.parametrize("seed", range(6))
def test_all_space_is_a_box_that_holds_every_vertex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = 1 + seed % 3
    program, x0 = chain(endless(rng, inputs)), tuple(rng.normal(size=inputs).tolist())
    whole = Oracle(program, x0, EVERYWHERE)
    corners = [
        abs(Fraction(a, v[-1])) for piece in whole.pieces for v in piece.polytope.vertices if v[-1] for a in v[:-1]
    ]
    most = 2.0 ** math.ceil(math.log2(max(corners) + 2) + 1)
    box = Oracle(program, x0, Where("box", lower=(-most,) * inputs, upper=(most,) * inputs))
    for p, name in itertools.product(NORMS, NAMES):
        told = functional(name, whole.outputs)
        assert float(whole.regional(told, p)) == float(box.regional(told, p))
        # not for p = 2, where the largest quotients over R^n are between two bounds
        assert p == 2 or not box.pointed(told, p).above(Fraction(float(whole.pointed(told, p)) * (1 + 1e-12)))


def test_slopes_far_out() -> None:
    """f = relu(x) + 5 relu(x - 2^40): slopes 0, 1, 6; against 0 the quotient tends to 6 and is there nowhere."""
    net = chain([([[1], [1]], [0, -(2.0**40)]), ([[1, 5]], [0])])
    oracle = Oracle(net, (0.0,), EVERYWHERE)
    assert equals(oracle.regional(LOGIT, 2.0), 6) and equals(oracle.pointed(LOGIT, 1.0), 6)


def test_a_dead_unit_is_dead_everywhere() -> None:
    """3 relu(1e-9 - |x| - |y|) + 3 relu(-7 |x| - 7 |y|): a bump of slope 3 about 0; the steeper unit is on nowhere."""
    first = ([[1, 0], [-1, 0], [0, 1], [0, -1]], [0, 0, 0, 0])
    second = ([[-1, -1, -1, -1], [-7, -7, -7, -7]], [1e-9, 0])
    net = chain([first, second, ([[3, 3]], [0])])
    oracle = Oracle(net, (1.0, 0.0), EVERYWHERE)
    assert equals(oracle.regional(LOGIT, 1.0), 3) and equals(oracle.regional(LOGIT, math.inf), 6)


def test_a_piece_touches_a_ball_or_meets_it() -> None:
    """relu(3 x + 4 y - 5): its kink is at distance 1 of 0."""
    net = chain([([[3, 4]], [-5]), ([[1]], [0])])
    for radius, slope in ((1.0, 0), (math.nextafter(1.0, 2), 5)):
        assert equals(Oracle(net, (0.0, 0.0), Where("l2", radius)).regional(LOGIT, 2.0), slope)
    # cut at 0.7, the ball of radius 1.05 ends before the kink in one direction: 3 * 0.7 + 4 * y = 5 at y = 0.725
    for high, slope in ((0.7, 0), (0.72, 5)):
        assert equals(Oracle(net, (0.0, 0.0), Where("l2", 1.05, high=high)).regional(LOGIT, 2.0), slope)


def test_pointed_constants_in_balls_lie_between() -> None:
    """|x| + relu(2 x - 1) against 0 in radius 1: 1 up to 1 / 2, 2 at the end."""
    net = chain([([[1], [-1], [2]], [0, 0, -1]), ([[1, 1, 1]], [0])])
    truth = Oracle(net, (0.0,), Where("l2", 1.0)).pointed(LOGIT, 2.0)
    assert truth.above(Fraction(199, 100)) and not truth.above(Fraction(2))
    assert truth.below(Fraction(301, 100)) and not truth.below(Fraction(3))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sign_vectors_of_inputs(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix = rng.integers(-5, 6, size=(3, size))
    best = max(int(((matrix @ np.array(s)) ** 2).sum()) for s in itertools.product((1, -1), repeat=size))
    constant = Constant()
    enter_jacobian(constant, matrix.tolist(), 1, math.inf, 2.0)
    assert Fraction(constant.over, constant.under) == Fraction(best, 4)
    enter_jacobian(most := Constant(), abs(matrix).tolist(), 1, math.inf, 2.0)
    assert Fraction(most.over, most.under) == Fraction(int((abs(matrix).sum(1) ** 2).sum()), 4)


@pytest.mark.parametrize("kind", ["linf", "l1", "polytope", "everywhere"])
@pytest.mark.parametrize("seed", range(2))
def test_units_are_a_layer_in_front(kind: str, seed: int) -> None:
    """f over x in units u is z -> f(u z) over z = x / u; units of powers of two make that exact."""
    rng = np.random.default_rng(seed)
    inputs = 2 + seed
    layers, x0 = dense(rng, [inputs, 3, 2]), np.round(rng.normal(size=inputs) * 8) / 8
    units = 2.0 ** (rng.integers(-3, 4, size=inputs) if kind != "l1" else np.repeat(rng.integers(-3, 4), inputs))
    (weight, bias), *rest = layers
    where, other = _both(rng, kind, x0, units)
    plain = Oracle(chain([(weight * units, bias), *rest]), tuple((x0 / units).tolist()), other)
    weighed, measure = Oracle(chain(layers), tuple(x0.tolist()), where), Measure(tuple(units.tolist()))
    for p, name in itertools.product(NORMS, NAMES):
        told = functional(name, 2)
        assert float(weighed.regional(told, p, measure)) == float(plain.regional(told, p))
        assert float(weighed.pointed(told, p, measure)) == float(plain.pointed(told, p))


def _both(rng: Generator, kind: str, x0: np.ndarray, units: np.ndarray) -> tuple[Where, Where]:
    """A region, and the same one in other units."""
    if kind == "everywhere":
        return EVERYWHERE, EVERYWHERE
    if kind == "l1":
        return Where("l1", 0.5), Where("l1", 0.5 / float(units[0]))
    if kind == "linf":
        ends = [(tuple((x0 - 0.5).tolist()), tuple((x0 + 0.5).tolist()))]
        ends.append((tuple(((x0 - 0.5) / units).tolist()), tuple(((x0 + 0.5) / units).tolist())))
        return Where("box", lower=ends[0][0], upper=ends[0][1]), Where("box", lower=ends[1][0], upper=ends[1][1])
    row, level = rng.integers(1, 4, size=len(x0)).astype(float), float(rng.integers(1, 9)) + 9
    box = [(*(s * float(i == j) for j in range(len(x0))), 16.0) for i in range(len(x0)) for s in (1.0, -1.0)]
    rows = [(*row.tolist(), level), *box]
    moved = [(*(a * u for a, u in zip(r[:-1], units.tolist(), strict=True)), r[-1]) for r in rows]
    low, high = -(2.0**10), 2.0**10
    return Where("polytope", low=low, high=high, rows=tuple(rows)), Where(
        "polytope", low=low, high=high, rows=tuple(moved)
    )


def test_measured_inputs_leave_columns_out() -> None:
    """relu(2 x - 3 y) + 4 z: columns 2, -3, 4."""
    net: Program = [
        Affine(np.array([[2.0, -3.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), np.zeros(3)),
        Relu(),
        Affine(np.array([[1.0, 4.0, -4.0]]), np.zeros(1)),
    ]
    told: Functional = functional("logit", 1)
    oracle = Oracle(net, (0.0, 0.0, 0.0), Where("linf", 1.0))
    for among, truth in (((0,), 2), ((1,), 3), ((0, 2), 6), ((0, 1, 2), 9)):
        assert equals(oracle.regional(told, math.inf, Measure(among=among)), truth)
    assert equals(oracle.regional(told, math.inf, Measure((3.0, 0.5, 0.25), (0, 1))), Fraction(15, 2))
    pool: Program = [*net[:1], MaxPool(3)]
    assert equals(Oracle(pool, (0.0,) * 3, EVERYWHERE).regional(told, math.inf, Measure(among=(2,))), 1)
