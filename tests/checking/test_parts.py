"""The parts of the checker by themselves, against numbers in float64 and brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from lipreg.checking import Refused, rounded
from lipreg.checking.cells import gradient, roots
from lipreg.checking.integers import floor_at, integers
from lipreg.checking.network import Affine, Matrix, Relu
from lipreg.checking.plain import array, count, fraction
from lipreg.checking.region import BallInBox
from lipreg.checking.squares import nowhere_negative
from lipreg.checking.witness import attained


def whole(matrix: np.ndarray) -> np.ndarray:
    return np.array([[int(x) for x in row] for row in matrix], dtype=object)


def dense(weight: np.ndarray) -> Matrix:
    place = np.indices(weight.shape).reshape(2, -1)
    return Matrix(weight.shape[0], weight.shape[1], weight.ravel(), place[0], place[1])


def chain(rng: np.random.Generator, *widths: int) -> tuple[Affine | Relu, ...]:
    nodes: list[Affine | Relu] = []
    for inputs, outputs in itertools.pairwise(widths):
        weight, bias = rng.normal(size=(outputs, inputs)), 0.3 * rng.normal(size=outputs)
        nodes += [Affine(((len(nodes), dense(weight)),), ((None, bias),), outputs), Relu(len(nodes) + 1, 0.1, outputs)]
    return tuple(nodes[:-1])


def box(n: int, radius: float = 1.0) -> BallInBox:
    return BallInBox(np.zeros(n), (Fraction(-radius),) * n, (Fraction(radius),) * n)


@pytest.mark.parametrize("values", [[0.1, -3.0, 0.0], [5e-324, 1e308], [0.0]])
def test_integers_are_the_floats(values: list[float]) -> None:
    found, bits = integers(np.array(values))
    assert [Fraction(int(n), 1 << bits) for n in found] == [Fraction(x) for x in values]
    assert any(int(n) % 2 for n in found) or bits == 0


def test_floors() -> None:
    assert floor_at(Fraction(-7, 2), 0) == -4 and floor_at(Fraction(7, 2), 1) == 7 and floor_at(Fraction(9), -2) == 2


@pytest.mark.parametrize("norm", [0, 1, 2])
def test_forms_over_a_region_are_bounded_and_nearly_attained(norm: int) -> None:
    rng = np.random.default_rng(norm)
    for _ in range(10):
        low, high = -rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
        region = BallInBox(np.zeros(3), tuple(map(Fraction, low)), tuple(map(Fraction, high)), norm, Fraction(0.75))
        form, bits = integers(rng.normal(size=3))
        placed = region.placed()
        bound = int(placed.above(form[None])[0]) / 2 ** (bits + placed.bits)
        d = rng.uniform(low, high, (20000, 3))
        if norm:
            size = np.linalg.norm(d, ord=norm, axis=1, keepdims=True)
            d = np.clip(d * 0.75 / size * rng.choice([1.0, 0.99], (len(d), 1)), low, high)
            d = d[np.linalg.norm(d, ord=norm, axis=1) <= 0.75]
        best = (d @ (form.astype(float) / 2**bits)).max()
        assert best <= bound + 1e-12 and best >= bound - 0.25 * abs(bound)


@pytest.mark.parametrize("radius", [0.25, 2.0**-40, 2.0**30])
def test_a_length_is_rounded_in_its_last_bits_alone_however_coarse_the_numbers_are(radius: float) -> None:
    """Of forms (1, 2) and (3, 1, 1), in balls and where a side of the box is nearer."""
    own = Fraction(radius)
    for form, high, squared in (
        ([1, 2], [1, 1], Fraction(5)),
        ([3, 1, 1], [1, 1, 1], Fraction(11)),
        ([3, 1], [Fraction(13, 16), 1], None),
    ):
        region = BallInBox(np.zeros(len(form)), (-own,) * len(form), tuple(own * h for h in high), 2, own).placed()
        bound = Fraction(int(region.above(np.array([form], dtype=object))[0]), 1 << region.bits) / own
        if squared is None:  # at (13, sqrt(87)) / 16
            bound, squared = bound - Fraction(39, 16), Fraction(87, 256)
        assert squared <= bound * bound <= squared * (1 + Fraction(1, 2**50))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("norm", [0, 1, 2])
def test_whole_numbers_bound_coarse_networks_as_tightly_as_radii(norm: int, seed: int) -> None:
    rng, center = np.random.default_rng(seed), np.array([0.25, 0.03125])  # where no unit's ends are of one size
    nodes: list[Affine | Relu] = []
    for inputs, outputs in ((2, 5), (5, 5), (5, 5), (5, 1)):
        weight, bias = rng.integers(-2, 3, (outputs, inputs)).astype(float), rng.integers(-1, 2, outputs).astype(float)
        nodes += [Affine(((len(nodes), dense(weight)),), ((None, bias),), outputs), Relu(len(nodes) + 1, 0.0, outputs)]
    ends = (tuple(Fraction(float(x)) + side * Fraction(1, 2) for x in center) for side in (-1, 1))
    region = BallInBox(center, *ends, norm, Fraction(1, 2)).placed()  # type: ignore[arg-type]
    asked = tuple(nodes[:-1]), center, region, integers(np.ones((1, 1)))
    (cell,), (ours,) = roots(*asked), rounded.roots(*asked)
    assert cell.units.number and set(cell.units.number) <= set(ours.units.number)
    for unit, number in enumerate(cell.units.number):
        low, high = (int(end[unit]) / 2 ** cell.units.bits[unit] for end in (cell.low, cell.high))
        other = ours.units.number.index(number)
        assert ours.low[other] <= low + 1e-12 and high <= ours.high[other] + 1e-12


def test_matrices_that_are_nowhere_negative() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7):
        factor = rng.integers(-50, 50, (size, size))
        square = factor @ factor.T + np.eye(size, dtype=int)
        assert nowhere_negative(whole(square) * 10**40)
        smallest = np.linalg.eigvalsh(square.astype(float))[0]
        assert not nowhere_negative(whole(square * 1000 - np.eye(size, dtype=int) * int(smallest * 1000 + 2)))
    assert nowhere_negative(whole(np.zeros((2, 2))))
    assert not nowhere_negative(whole(np.array([[0, 1], [1, 5]])))


def test_bounds_of_cells_hold_at_their_points() -> None:
    rng = np.random.default_rng(5)
    nodes = chain(rng, 3, 5, 4, 1)
    region = box(3)
    (cell,) = roots(nodes, region.center, region.placed(), integers(np.ones((1, 1))))
    for side in rng.choice([-1, 1], 3):
        if len(cell.unstable) and not cell.empty:
            cell = cell.child(int(rng.choice(cell.unstable)), int(side))
    found, scale = gradient(cell), 2.0 ** (cell.units.region.bits - cell.out_bits)
    sides, seen = cell.phase, 0
    for x in rng.uniform(-1, 1, (3000, 3)):
        slopes, value, jacobian, z_all = [], x, np.eye(3), []
        for node in nodes:
            if isinstance(node, Affine):
                weight = node.terms[0][1].values.reshape(node.size, -1)  # type: ignore[attr-defined]
                value, jacobian = weight @ value + node.bias[0][1], weight @ jacobian
            else:
                z_all += value.tolist()
                slopes = np.where(value > 0, 1.0, 0.1)
                value, jacobian = value * slopes, slopes[:, None] * jacobian
        z = np.array(z_all)[cell.units.number]
        if ((sides == 0) | (sides * z > 0)).all():
            seen += 1
            ends = [
                np.array([int(v) / 2**b for v, b in zip(end, cell.units.bits, strict=True)])
                for end in (cell.low, cell.high)
            ]
            assert (z >= ends[0] - 1e-12).all() and (z <= ends[1] + 1e-12).all()
            low, high = ([int(v) * scale for v in end] for end in (found.low, found.high))
            assert (jacobian[0] >= np.array(low) - 1e-12).all() and (jacobian[0] <= np.array(high) + 1e-12).all()
    assert seen > 20


def test_a_witness_on_a_kink_is_refused() -> None:
    nodes = (
        Affine(((0, dense(np.eye(2))),), ((None, np.zeros(2)),), 2),
        Relu(1, 0.0, 2),
        Affine(((2, dense(np.ones((1, 2)))),), ((None, np.zeros(1)),), 1),
    )
    moves, one = np.array([True, True]), integers(np.ones((1, 1)))
    row = (one[0][0], one[1])
    found, bits = attained(nodes, np.array([1.0, -0.5]), moves, row)
    assert [int(n) / 2**bits for n in found] == [1.0, 0.0]
    with pytest.raises(Refused, match="unit 1 is on its kink"):
        attained(nodes, np.array([1.0, 0.0]), moves, row)


def test_plain_data_is_not_trusted() -> None:
    for wrong in (True, -1, 1.0, "1", None):
        with pytest.raises(Refused):
            count(wrong, "here")
    for wrong in ("1", "1/0", "a/b", 3):
        with pytest.raises(Refused):
            fraction(wrong, "here")
    nan = {"shape": [1], "float64": "AAAAAAAA+H8="}
    for wrong in (nan, {"shape": [2], "float64": "AAAAAAAA8D8="}, {"shape": [1]}, {"shape": [1], "float64": 3}, [1.0]):
        with pytest.raises(Refused):
            array(wrong, "here", (1,))
    assert array({"shape": [1], "float64": "AAAAAAAA8D8="}, "here", (1,)).tolist() == [1.0]


def test_a_region_without_room_or_center_is_refused() -> None:
    with pytest.raises(Refused, match="no coordinate can move"):
        box(2, 0.0)
    with pytest.raises(Refused, match="outside"):
        BallInBox(np.array([2.0]), (Fraction(-1),), (Fraction(1),))
