"""Networks on which figures were false, with the constants that are right, by every estimator that covers the question."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lipreg import AllLogits, Certificate, LinfBall, LocalLipschitz, Logit, certify
from lipreg.errors import LipregError
from lipreg.estimators import ESTIMATORS
from lipreg.graph import capture
from tests.attacks.cases import NORMS, SCOPES
from tests.attacks.kinds import chain
from tests.attacks.modules import module
from tests.attacks.oracle import Oracle, Where, functional
from tests.sampling import one_in

CASES = {
    # 1e8 (1e8 x + 1e9) + (x + 10) - 1e8 (1e8 x + 1e9): slope 1
    "cancelled": ([([[1e8], [1], [1e8]], [1e9, 10, 1e9]), ([[1e8, 1, -1e8]], [0])], 0.0, 0.5, 1),
    # the same over two layers, whose sum of magnitudes is 1e16 times the slope
    "cancelled_later": (
        [
            ([[1e4], [1], [1e4]], [1e5, 10, 1e5]),
            ([[1e4, 0, 0], [0, 1, 0], [0, 0, 1e4]], [0, 0, 0]),
            ([[1e8, 1, -1e8]], [0]),
        ],
        0.0,
        0.5,
        1,
    ),
    # a unit that is on beyond x0 + 2^-22 alone, which is where x0 + r is rounded to
    "too_far": ([([[1]], [-1.7e9 - 2.0**-22]), ([[1]], [0])], 1.7e9, 3.5e-7, 1),
    # one that is on between the last float of the region and its end, where there is no float
    "far": ([([[1]], [-1.7e9 - 41 * 2.0**-22]), ([[1]], [0])], 1.7e9, 1e-5, 1),
    # two units whose kinks are a hair inside of a region whose ends are no floats
    "small": ([([[1], [-1]], [-1 - 2.0**-30, 1 - 2.0**-30]), ([[1, 3]], [0])], 1.0, 2.0**-30 * (1 + 2.0**-20), 3),
    "underflowing": ([([[1e-100]], [1]), ([[1e-110]], [0])], 0.0, 1.0, Fraction(1e-100) * Fraction(1e-110)),
    "underflowing_wholly": (
        [([[1e-110]], [1]), ([[1e-110]], [1]), ([[1e-110]], [0])],
        0.0,
        1.0,
        Fraction(1e-110) ** 3,
    ),
}


@pytest.mark.parametrize(("scope", "p"), list(itertools.product(SCOPES, NORMS)))
@pytest.mark.parametrize("name", CASES)
@one_in(4)
def test_the_constant_is_within(name: str, scope: str, p: float) -> None:
    layers, x0, radius, steepest = CASES[name]
    program = chain(layers)
    oracle = Oracle(program, (x0,), Where("linf", radius))
    regional = oracle.regional(functional("logit", 1), p)
    assert not regional.above(Fraction(steepest)) and not regional.below(Fraction(steepest))
    truth = regional if scope == "regional" else oracle.pointed(functional("logit", 1), p)
    problem = LocalLipschitz(LinfBall(radius), Logit(0), scope, p)  # type: ignore[arg-type]
    x, answered = torch.full((1, 1), x0, dtype=torch.float64), 0
    network = capture(module(program), x)
    for estimator in (e for e in ESTIMATORS if ESTIMATORS.find(e).uncovered(problem) is None):
        try:
            (found,) = certify(network, problem, x, estimator=estimator)
        except LipregError:
            continue  # what float64 cannot hold may be refused
        answered += 1
        assert not truth.above(Fraction(found.upper)) if found.upper < math.inf else True, (estimator, found)
        assert found.lower == 0 or not truth.below(Fraction(found.lower)), (estimator, found)
        if found.certificate is Certificate.EXACT:
            assert found.upper - found.lower <= max(1e-5 * float(truth), 1e-12), (estimator, found)
    assert answered or name.startswith(("underflowing", "too_far"))


@pytest.mark.parametrize(("depth", "width"), [(25, 8), (15, 32), (40, 4)])
def test_deep_networks_of_one_piece_are_exact(depth: int, width: int) -> None:
    """Nothing is unstable, so every engine has the constant, however many layers the rounding goes through."""
    rng = np.random.default_rng(depth)
    layers = [(rng.normal(size=(width, 2)), np.full(width, 30.0))]
    for _ in range(depth):
        layers.append((np.eye(width) + 0.1 * rng.normal(size=(width, width)) / width, np.zeros(width)))
    program = chain([*layers, (rng.normal(size=(2, width)), np.zeros(2))])
    x0, told = (0.1, 0.2), functional("all_logits", 2)
    oracle = Oracle(program, x0, Where("linf", 0.05))
    assert len(oracle.pieces) == 1
    for scope, p, engine in (
        ("regional", 1.0, "branch_and_bound"),
        ("regional", 2.0, "branch_and_bound"),
        ("regional", math.inf, "mip"),
        ("pointed", math.inf, "mip_pointed"),
    ):
        truth = oracle.regional(told, p) if scope == "regional" else oracle.pointed(told, p)
        problem = LocalLipschitz(LinfBall(0.05), AllLogits(), scope, p)  # type: ignore[arg-type]
        found = certify(module(program), problem, torch.tensor([x0], dtype=torch.float64), estimator=engine)[0]
        assert found.certificate is Certificate.EXACT, (scope, p, found)
        assert not truth.above(Fraction(found.upper)) and not truth.below(Fraction(found.lower))
