"""The rounded mode: every ball holds the exact number, and what is accepted is true and accepted in whole numbers too."""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lipreg.budget import Budget
from lipreg.certificates import certificates_of
from lipreg.checking import cells as exact
from lipreg.checking import check
from lipreg.checking.emptiness import Kind, Term
from lipreg.checking.emptiness import empties as empties_in_whole_numbers
from lipreg.checking.file import Leaf, parse
from lipreg.checking.integers import integers
from lipreg.checking.network import Affine, Matrix, MaxPool, Node, Relu
from lipreg.checking.refusal import NotShown, Refused
from lipreg.checking.region import BallInBox
from lipreg.checking.rounded import below, empties, gradient, roots
from lipreg.checking.rounded.balls import Balls
from lipreg.checking.rounded.proofs import nowhere_negative
from lipreg.checking.rounded.region import FloatRegion
from lipreg.estimators import certify, frozen_analysis
from lipreg.outputs import AllLogits, Combination
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate
from tests.certificates.cases import places
from tests.certificates.changes import QUESTIONS, accepted, change, holds, written

RNG = np.random.default_rng(0)


def exactly(array: np.ndarray) -> list[Any]:
    return [exactly(x) for x in array] if array.ndim else Fraction(float(array))


def held(balls: Balls, true: list[Any]) -> bool:
    """Whether exact numbers lie in balls."""
    wanted = np.array(true, dtype=object).reshape(balls.mid.shape)
    return all(
        abs(Fraction(float(m)) - t) <= Fraction(float(r))
        for m, r, t in zip(balls.mid.ravel(), balls.rad.ravel(), wanted.ravel(), strict=True)
    )


def numbers(*shape: int, spread: float) -> np.ndarray:
    """Numbers of very different sizes, with zeros and numbers that cancel."""
    found = RNG.normal(size=shape) * 10.0 ** RNG.uniform(-spread, spread, size=shape)
    found[RNG.uniform(size=shape) < 0.2] = 0.0
    return np.round(found, 1) if RNG.uniform() < 0.3 else found


@pytest.mark.parametrize("spread", [0.0, 3.0, 20.0, 60.0])
def test_balls_hold_exact_numbers(spread: float) -> None:
    for _ in range(30):
        a, b, c = (numbers(4, 4, spread=spread) for _ in range(3))
        x, y, z = (np.array(exactly(part), dtype=object) for part in (a, b, c))
        balls = [Balls.exactly(part) for part in (a, b, c)]
        assert held(balls[0], exactly(a))
        found = (balls[0] @ balls[1] + balls[2]) * balls[0]
        assert held(found, ((x @ y + z) * x).tolist())
        assert held(found @ balls[1] + -balls[2], (((x @ y + z) * x) @ y - z).tolist())


def test_what_is_nothing_stays_nothing_and_what_overflows_is_not_taken() -> None:
    nothing, large = Balls.exactly(np.zeros((2, 2))), Balls.exactly(np.full((2, 2), 1e200))
    assert (nothing @ large).zero.all() and (nothing + nothing).zero.all()
    with np.errstate(over="ignore", invalid="ignore"):
        assert not (large @ large).rad[0, 0] < np.inf
        assert not nowhere_negative(large @ large)


@pytest.mark.parametrize("norm", [0, 1, 2])
def test_forms_over_a_region_are_bounded_from_above(norm: int) -> None:
    for trial in range(12):
        center, lower, upper = np.array([0.1, 0.2, 0.7]), (-0.4, 0.0, 0.7), (1.1, 1 / 3, 0.9)
        region = BallInBox(center, *(tuple(map(Fraction, ends)) for ends in (lower, upper)), norm, Fraction(0.3))
        room = FloatRegion.of(region.placed())
        forms = numbers(5, 3, spread=8.0 if trial % 2 else 0.5)
        ends = room.above(forms)
        d = RNG.uniform(-1, 1, size=(100, 3)) + RNG.choice([0.0, 1.0], size=(100, 3)) * 2 - 1
        d = np.clip(d, room.low, room.high)
        if norm:
            size = np.linalg.norm(d, ord=norm, axis=1, keepdims=True)
            d = d * np.minimum(1.0, 0.3 / np.maximum(size, 1e-9)) * (1 - 1e-15)
        for point in d:
            inside = region.holds(center + point) and [Fraction(float(p)) for p in center + point]
            if inside:
                own = [x - Fraction(float(c)) for x, c in zip(inside, center, strict=True)]
                for form, end in zip(exactly(forms), ends, strict=True):
                    assert sum(f * x for f, x in zip(form, own, strict=True)) <= Fraction(float(end))


def network(seed: int) -> tuple[Node, ...]:
    """Two layers with a leaky ReLU, a pool and a branch."""
    rng = np.random.default_rng(seed)

    def matrix(outputs: int, inputs: int) -> Matrix:
        at = np.indices((outputs, inputs)).reshape(2, -1)
        return Matrix(outputs, inputs, rng.normal(size=outputs * inputs), *at)

    return (
        Affine(((0, matrix(6, 3)),), ((None, rng.normal(size=6) * 0.3),), 6),
        Relu(1, 0.1 if seed % 2 else 0.0, 6),
        Affine(((2, matrix(6, 6)), (0, matrix(6, 3))), ((matrix(6, 2), rng.normal(size=2)),), 6),
        MaxPool(3, np.array([[0, 1, 2], [2, 3, 4], [4, 5, 0]])),
        Affine(((4, matrix(2, 3)),), ((None, rng.normal(size=2)),), 2),
    )


@pytest.mark.parametrize("seed", range(6))
def test_cells_bound_what_whole_numbers_bound(seed: int) -> None:
    """In the same cells: bounds of z and of the gradient hold those of whole numbers, but for slopes that these round."""
    nodes, center = network(seed), np.array([0.3, -0.2, 0.1])
    region = BallInBox(center, *([Fraction(float(x)) + s * Fraction(1, 2) for x in center] for s in (-1, 1)))  # type: ignore[arg-type]
    asked = nodes, center, region.placed(), integers(np.array([[1.0, -0.3], [0.0, 1.0]]))
    for ours, theirs in zip(roots(*asked), exact.roots(*asked), strict=True):
        assert ours.units.number == theirs.units.number and ours.units.decided == theirs.units.decided
        rng = np.random.default_rng(seed)
        for _ in range(6):
            if ours.empty or theirs.empty or not len(ours.unstable):
                break
            unit, side = int(rng.choice(ours.unstable)), int(rng.choice([-1, 1]))
            ours, theirs = ours.child(unit, side), theirs.child(unit, side)
            if ours.empty or (ours.phase != theirs.phase).any():
                break
            bits, one = np.array(theirs.units.bits), theirs.units.region.bits
            for i, shift in enumerate(bits):
                low, high = (Fraction(int(end[i]), 1 << int(shift)) for end in (theirs.low, theirs.high))
                wide = 1e-4 * float(high - low) + 1e-12
                assert ours.low[i] - wide <= low and high <= ours.high[i] + wide
            mine, other = gradient(ours), exact.gradient(theirs)
            scale = Fraction(1, 1 << (theirs.out_bits - one))
            for name, sign in (("low", -1), ("high", 1)):
                for a, b in zip(getattr(mine, name), getattr(other, name), strict=True):
                    assert sign * (Fraction(float(a)) - int(b) * scale) >= 0


def test_matrices_that_are_not_positive_are_not_taken() -> None:
    for _ in range(300):
        count = int(RNG.integers(1, 7))
        vector = RNG.normal(size=count)
        root = RNG.normal(size=(count, count))
        root -= np.outer(root @ vector, vector) / (vector @ vector)  # so that the vector is in its kernel
        unit = 10.0 ** RNG.uniform(-5, 5, size=count)
        matrix = root.T @ root * unit[:, None] * unit - RNG.choice([0.0, 1e-14]) * np.diag(unit * unit)
        matrix = (matrix + matrix.T) / 2
        if nowhere_negative(Balls.exactly(matrix)):
            x, whole = (
                [Fraction(float(v)) / Fraction(float(u)) for v, u in zip(vector, unit, strict=True)],
                exactly(matrix),
            )
            assert sum(x[i] * whole[i][j] * x[j] for i in range(count) for j in range(count)) >= 0
    assert nowhere_negative(Balls.exactly(np.eye(3) + 0.4))


@pytest.mark.parametrize("name", QUESTIONS)
def test_certificates_hold_in_both_modes(name: str) -> None:
    certificate = parse(written(name))
    one, other = check(certificate), check(certificate, mode="rounded")
    assert (one.lower, one.upper, one.leaves) == (other.lower, other.upper, other.leaves)
    assert (one.mode, other.mode) == ("exact", "rounded")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_what_is_accepted_is_true_and_accepted_in_whole_numbers(data: st.DataObject) -> None:
    plain = copy.deepcopy(written(data.draw(st.sampled_from(list(QUESTIONS)))))
    part = data.draw(st.sampled_from(["network", "question", "claim", "claim", "upper", "upper"]))
    for _ in range(data.draw(st.integers(1, 2))):
        own = [path for path in places(plain[part], (part,)) if path != (part,)]
        change(plain, data.draw(st.sampled_from(own)), lambda options: data.draw(st.sampled_from(options)))
    if accepted(plain, "rounded"):
        assert accepted(plain) and holds(plain)


def test_what_is_proved_with_too_little_to_spare_is_not_called_refused() -> None:
    """The nearer the claim comes to the witness, the sooner radii hide what whole numbers prove."""
    certificate = parse(written("inf"))

    def refused_at(mode: str) -> tuple[int, Refused]:
        for power in range(30, 80):
            try:
                check(replace(certificate, upper=certificate.lower * (1 + Fraction(1, 2**power))), mode=mode)
            except Refused as refused:
                return power, refused
        raise AssertionError("no claim was refused")

    (one, false), (other, hidden) = refused_at("exact"), refused_at("rounded")
    assert other < one and isinstance(hidden, NotShown) and not isinstance(false, NotShown)
    false = replace(certificate, upper=certificate.lower * Fraction(99, 100), lower=Fraction(0), witness=None)
    with pytest.raises(Refused) as refused:
        check(false)
    assert not isinstance(refused.value, NotShown)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_maxima_whose_members_are_all_off_are_decided_in_whole_numbers(seed: int) -> None:
    """Their difference is 0 everywhere, which radii hide; the trees were grown where it is known."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 16))
    net = nn.Sequential(*net, nn.ReLU(), nn.Linear(16, 3)).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight *= 3.0 if weight.dim() > 1 else 1.0
    x, problem = torch.rand(1, 1, 8, 8, dtype=torch.float64), LocalLipschitz(LinfBall(0.003), AllLogits())
    analysis = frozen_analysis(net, problem, x, None)
    (found,) = certify(net, problem, x)
    assert found.certificate is Certificate.EXACT and found.upper >= found.lower * (1 + 1e-11)
    certificate = parse(certificates_of(analysis, {0: found}, Budget(60.0)).written[0].plain)
    assert check(certificate, mode="rounded").upper == check(certificate).upper


def test_leaves_that_prove_nothing_are_refused() -> None:
    plain = copy.deepcopy(written("inf"))
    for leaf in (
        ["bounds"],
        ["gradient"],
        ["empty", []],
        ["square", []],
        ["square", [{"entry": 0, "terms": [], "weights": []}]],
    ):
        with pytest.raises(Refused):
            check(parse(plain | {"upper": [[leaf] for _ in plain["upper"]]}), mode="rounded")
    assert Leaf("bounds").squares == ()


def test_cells_that_touch_the_regions_side_alone_are_empty_where_a_split_says_above_0() -> None:
    """z = x - 2 y and z = 2 y - 1/2 add up to 0 at x = 1/2 alone, the end of the region, which only z > 0 leaves out."""
    weight = np.array([[1.0, -2.0], [0.0, 2.0]])
    own = Matrix(2, 2, weight.ravel(), *np.indices((2, 2)).reshape(2, -1))
    nodes = Affine(((0, own),), ((None, np.array([0.0, -0.5])),), 2), Relu(1, 0.0, 2)
    region = BallInBox(np.zeros(2), (Fraction(-1, 2),) * 2, (Fraction(1, 2),) * 2).placed()
    asked = nodes, np.zeros(2), region, integers(np.ones((1, 2)))
    terms = Term(0, Kind.SIDE, 1, 0), Term(1, Kind.SIDE, 1, 0)
    for (cell,), shows in ((roots(*asked), empties), (exact.roots(*asked), empties_in_whole_numbers)):
        assert shows(cell.child(0, 1).child(1, 1), terms)
        assert shows(cell.with_side(0, 1).child(1, 1), terms)
        assert not shows(cell.with_side(0, 1).with_side(1, 1), terms)
        assert not shows(cell.child(0, 1).child(1, 1), (terms[0], Term(1, Kind.SIDE, 3, -1)))
        assert not shows(cell.with_side(0, 1).child(1, 1), terms[:1])


def test_ends_are_rounded_inward() -> None:
    third = Fraction(1, 3)
    assert Fraction(below(third)) <= third < Fraction(float(np.nextafter(below(third), 1)))
    assert below(Fraction(1, 2)) == 0.5


def test_a_claim_of_0_that_radii_hide_is_decided_in_whole_numbers() -> None:
    """Two outputs of the same units in another order: their margin is 0 everywhere, and no radius is."""
    torch.manual_seed(0)
    hidden, last = nn.Linear(2, 6).double(), nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        hidden.weight[3:], hidden.bias[3:] = hidden.weight[:3], hidden.bias[:3]
        last.weight[1] = last.weight[0].roll(3)
    net, x = nn.Sequential(hidden, nn.ReLU(), last), torch.tensor([[0.1, -0.3]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), Combination([1.0, -1.0]))
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    assert found.upper == 0.0
    analysis = frozen_analysis(net, problem, x, None)
    certificate = parse(certificates_of(analysis, {0: found}, Budget(60.0)).written[0].plain)
    assert check(certificate) == check(certificate, mode="rounded")
    steep = replace(parse(written("inf")), upper=Fraction(0), lower=Fraction(0), witness=None)
    with pytest.raises(Refused) as refused:
        check(steep, mode="rounded")
    assert not isinstance(refused.value, NotShown)
