"""Weights at the ends of float64's range: refused by the layer's name, or bounded as any others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Box, Combination, LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, audit
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, certify
from lipreg.outputs import Output, Vector
from lipreg.regions import L1Ball, Region
from tests import oracles
from tests.sampling import sampled

X = torch.tensor([[0.3, -0.2]], dtype=torch.float64)


def net(layer: int, factor: float) -> nn.Sequential:
    found = oracles.mlp(2, 4, 3, 2).double()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64))
        found[layer].weight.mul_(factor)
    return found


@pytest.mark.parametrize("factor", [1e155, 1e300, 1e-155, 1e-310])
@pytest.mark.parametrize("layer, says", [(0, "before '1'"), (2, "before '3'"), (4, "the last linear layer")])
@pytest.mark.parametrize("p", [2.0, math.inf])
def test_what_float64_cannot_square_is_refused_by_the_layers_name(
    factor: float, layer: int, says: str, p: float
) -> None:
    """Some methods gave upper ends below a witness here, others ends of [inf, inf] and [0, nan]."""
    problem = LocalLipschitz(LinfBall(0.5), AllLogits(), p=p)
    with pytest.raises(InvalidInput, match=says):
        certify(net(layer, factor), problem, X, estimator="seqlip" if p == 2 else "lp")
    with pytest.raises(InvalidInput, match=says):
        audit(net(layer, factor), AuditPlan(problem, ("affine_relu",)), X)


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_large_layers_tiny_entries_and_layers_of_zeros_are_bounded(p: float) -> None:
    problem, budget = LocalLipschitz(LinfBall(0.5), AllLogits(), p=p), Budget(600.0)
    tiny = net(0, 1.0)
    with torch.no_grad():
        tiny[0].weight[0, 0] = tiny[2].weight[1, 1] = 5e-324
    for place, network in enumerate((tiny, net(0, 1e100), net(2, 1e-100), net(4, 0.0))):
        (witness,) = certify(network, problem, X, estimator="sampling")
        for turn, (name, method) in enumerate(ESTIMATORS.items()):
            left = name in ("sampling", "lipmip", "random_points", "clever")
            if not left and method.uncovered(problem) is None and sampled(2, place, turn, p == 2.0):
                (found,) = certify(network, problem, X, estimator=name, budget=budget)
                assert found.upper == math.inf or witness.lower <= found.upper * (1 + 1e-9), (name, found)
                assert found.estimate is not None or found.upper < math.inf, (name, found)
    (constant,) = certify(net(4, 0.0), problem, X)
    assert (constant.lower, constant.upper, constant.certificate.value) == (0.0, 0.0, "exact")


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize(
    ("region", "output", "factor", "says"),
    [
        (LinfBall(1.7e308), AllLogits(), 1.0, "near the largest float64 number"),
        (LinfBall(1.7e305), AllLogits(), 1.0, "inputs up to 1.7e"),
        (Box([-1e200] * 2, [1e200] * 2), AllLogits(), 1.0, "inputs up to 1e"),
        (LinfBall(1e-310), AllLogits(), 1.0, "moved by 2e-310"),
        (LinfBall(1e140), AllLogits(), 1e118, "values that may reach"),
        (LinfBall(1.0), Combination((1e308, 1e308)), 1.0, "coefficients"),
        (LinfBall(1.0), Combination((1e-160, 1e160)), 1.0, "coefficients"),
        (LinfBall(1.0), Combination((1e-121, 0.0)), 1.0, "coefficients"),
        (LinfBall(1.0), Combination((1e100, 0.0)), 1e60, "coefficients"),
    ],
    ids=str,
)
def test_regions_functionals_and_values_beyond_the_range_are_refused(
    region: Region, output: Output, factor: float, says: str, scope: str
) -> None:
    """Where a region's values overflowed, upper ends were 0, and proofs contradicted each other."""
    problem = LocalLipschitz(region, output, scope)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=says):
        certify(net(0, factor), problem, torch.zeros(1, 2, dtype=torch.float64))


def test_a_tiny_constant_is_exact_only_when_its_ends_meet() -> None:
    """Exactness is relative: a network divided by 1e50 is known no better than the network itself."""
    problem = LocalLipschitz(LinfBall(0.5), AllLogits())
    ends = []
    for factor in (1.0, 1e-50):
        (found,) = certify(net(4, factor), problem, X, estimator="jacobian_crown")
        ends.append((found.upper / factor, found.certificate))
    assert ends[0][1] is ends[1][1] and ends[0][0] == pytest.approx(ends[1][0], rel=1e-9)


@pytest.mark.parametrize("small", [1e-155, 1e-165, 1e-200])
def test_gradients_whose_squares_are_0_have_witnesses(small: float) -> None:
    first, second = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[small, -small], [1.0, -1.0]], dtype=torch.float64))
        first.bias.copy_(torch.tensor([0.5, -9.0]))
        second.weight.fill_(1.0)
    net, x = nn.Sequential(first, nn.ReLU(), second), torch.ones(1, 2, dtype=torch.float64)
    (found,) = certify(net, LocalLipschitz(L1Ball(0.5), Vector(), p=math.inf, q=2), x)
    assert 2 * small * (1 - 1e-9) <= found.lower <= 2 * small * (1 + 1e-12) and found.upper >= 2 * small
