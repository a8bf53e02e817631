"""The Frobenius product against matrices written out, through chains, branches and convolutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.estimators import estimate, get_estimator, live_analysis
from lipreg.graph import capture
from lipreg.outputs import AllLogits, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball
from tests import oracles

BALL = L2Ball(0.1)


def bound(net: nn.Module, problem: LocalLipschitz, x: Tensor, name: str = "frobenius") -> float:
    return float(estimate(net, problem, x, bound=name).detach()[0])


def weights(*layers: nn.Module) -> list[np.ndarray]:
    return [layer.weight.detach().numpy() for layer in layers]  # type: ignore[union-attr]


def test_a_chain_is_the_product_of_its_layers() -> None:
    net = oracles.network("deep")
    first, second, third, last = weights(net[0], net[2], net[4], net[6])
    x = torch.zeros(1, 2, dtype=torch.float64)
    hidden = math.prod(map(np.linalg.norm, (first, second, third)))
    assert bound(net, LocalLipschitz(BALL, Logit(1)), x) == pytest.approx(hidden * np.linalg.norm(last[1]), rel=1e-12)
    largest = np.linalg.norm(last, axis=1).max()
    assert bound(net, LocalLipschitz(BALL, AllLogits()), x) == pytest.approx(hidden * largest, rel=1e-12)
    joint = bound(net, LocalLipschitz(BALL, Vector()), x)
    assert joint == pytest.approx(hidden * np.linalg.norm(last, 2), rel=1e-12)


def test_branches_add_up() -> None:
    """h = relu(A x), f = C (h + relu(B h)) + D x: |C| |A| (1 + |B|) + |D|, the identity of h folded into C."""
    net = oracles.network("residual")
    a, b, c, d = weights(net.a, net.b, net.c, net.skip)
    x = torch.zeros(1, 2, dtype=torch.float64)
    expected = np.linalg.norm(c[0]) * np.linalg.norm(a) * (1 + np.linalg.norm(b)) + np.linalg.norm(d[0])
    assert bound(net, LocalLipschitz(BALL, Logit(0)), x) == pytest.approx(expected, rel=1e-12)


def test_a_convolution_has_the_norm_of_its_matrix() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)).double()
    x = torch.rand(1, 2, 5, 5, dtype=torch.float64)
    zero = net[0](torch.zeros(1, 2, 5, 5, dtype=torch.float64))
    columns = net[0](torch.eye(50, dtype=torch.float64).reshape(50, 2, 5, 5)) - zero
    expected = float(columns.detach().norm() * net[3].weight[1].detach().norm())
    assert bound(net, LocalLipschitz(BALL, Logit(1)), x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("net", oracles.ZOO)
def test_it_is_never_below_the_spectral_product(net: str) -> None:
    module = oracles.network(net)
    x = torch.zeros(1, oracles.input_size(module), dtype=torch.float64)
    for kind in (AllLogits(), Vector()):
        problem = LocalLipschitz(BALL, kind)
        assert bound(module, problem, x) >= bound(module, problem, x, "spectral") * (1 - 1e-12)


def test_its_factors_are_the_layers() -> None:
    net, x = oracles.network("deep"), torch.zeros(2, 2, dtype=torch.float64)
    method, problem = get_estimator("frobenius"), LocalLipschitz(BALL, Logit(0))
    analysis = live_analysis(capture(net, x).live(), problem, x, None, method)  # type: ignore[arg-type]
    factors = method.factors(analysis)  # type: ignore[attr-defined]
    assert factors.shape == (2, 4)
    torch.testing.assert_close(factors.prod(1), method.bound(analysis))  # type: ignore[attr-defined]
