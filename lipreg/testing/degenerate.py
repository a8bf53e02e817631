"""Networks on which rounding alone would prove something: cancelled units, kinks on the border, constants."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import torch
from torch import Tensor, nn

from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall
from lipreg.testing import networks
from lipreg.testing.failures import expect
from lipreg.testing.judged import TOLERANCE, EstimatorUnderTest


def _filled(widths: tuple[int, ...], *numbers: list[list[float]] | list[float]) -> nn.Module:
    """A chain with these weights and biases, layer by layer."""
    net = networks.mlp(*widths).double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), numbers, strict=True):
            parameter.copy_(torch.tensor(value, dtype=torch.float64))
    return net


def cancelled(scale: float) -> nn.Module:
    """scale * relu(h1 - h2) + relu(x) on x in R, with h1 = h2: the first unit is constant, though its sources are not."""
    first = [[1.0], [1.0], [1.0]], [5.0, 5.0, 0.0]
    return _filled((1, 3, 2, 1), *first, [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0], [[scale, 1.0]], [0.0])


def cancelled_units(judged: EstimatorUnderTest) -> None:
    """The pre-activation is 0 on all of X while its sources vary, so both its bounds are 0: the constant is 1."""
    for scope, p, scale in judged.each((0.25, 1.0, -2.0)):
        problem = LocalLipschitz(LinfBall(1.0), Logit(0), scope, p)  # type: ignore[arg-type]
        (result,) = judged.certify(cancelled(scale), problem, torch.zeros(1, 1, dtype=torch.float64))
        message = f"{judged.name}: {problem.sentence()}, with a unit {scale} relu(h - h): {result} where it is 1"
        expect(result.upper >= 1.0 - TOLERANCE and result.lower <= 1.0 + TOLERANCE, message)


def kinks_on_the_border(judged: EstimatorUnderTest) -> None:
    """A kink on the border of the region is not inside it, wherever rounding puts points there: the constant is 0."""
    if "regional" not in judged.method.scopes:
        return
    p = judged.method.norms[-1]
    # relu(x - b) on (-inf, b], where rounding puts random border points a hair above b
    center, radius = -0.999, 0.7
    border, lower = center + radius, center - radius
    assert lower + (border - lower) > border, "the example needs this rounding"
    net = _filled((1, 1, 1), [[1.0]], [-border], [[1.0]], [0.0])
    x = torch.tensor([[center]], dtype=torch.float64)
    _flat(judged, net, LocalLipschitz(LinfBall(radius), Logit(0), p=p), x)
    # relu(w . x - b) on [0, 1]^n with b just above sum(w), in exact arithmetic; at the corner the sum rounds to above b, and
    # being the only unit of its layer it is no small number there
    for seed in (26, 194, 248):
        rng = random.Random(seed)
        weights = [rng.uniform(0.05, 1.0) for _ in range(5)]
        exact = sum(map(Fraction, weights))
        bias = float(exact)
        while Fraction(bias) < exact:
            bias = math.nextafter(bias, math.inf)
        net = _filled((5, 1, 1), [weights], [-bias], [[1.0]], [0.0])
        x = torch.full((1, 5), 0.5, dtype=torch.float64)
        _flat(judged, net, LocalLipschitz(Box(0.0, 1.0), Logit(0), p=p), x)


def _flat(judged: EstimatorUnderTest, net: nn.Module, problem: LocalLipschitz, x: Tensor) -> None:
    (result,) = judged.certify(net, problem, x)
    message = f"{judged.name}: {problem.sentence()} of a unit whose kink is on the border: {result} where it is 0"
    expect(result.lower <= TOLERANCE, message)


def constant_networks(judged: EstimatorUnderTest) -> None:
    """A constant network has the constant 0."""
    net = networks.mlp(2, 3, 2).double()
    with torch.no_grad():
        list(net.parameters())[2].zero_()
    for scope, p in judged.declared_scopes_and_norms:
        problem = LocalLipschitz(LinfBall(0.5), Logit(0), scope, p)  # type: ignore[arg-type]
        (result,) = judged.certify(net, problem, torch.zeros(1, 2, dtype=torch.float64))
        message = f"{judged.name}: {problem.sentence()} of a constant network: {result} where it is 0"
        expect(result.lower == 0.0 and (result.upper == math.inf or result.upper <= 1e-6), message)
