"""Networks of many layers with curves: what witnesses prove there, against mpmath with 60 digits."""

from __future__ import annotations

import itertools

import mpmath
import pytest
import torch
from torch import nn

from lipreg import AllLogits, LinfBall, LocalLipschitz
from lipreg.estimators import frozen_analysis
from lipreg.estimators.witnesses.witness import proved_value
from lipreg.graph import Affine, Curved, Relu, capture
from tests.curves.test_places import _values

mpf = mpmath.mpf
X = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
ACTIVATIONS = {"selu": (nn.SELU, 1.1), "tanh": (nn.Tanh, 1.7), "gelu": (nn.GELU, 1.6), "silu": (nn.SiLU, 1.8)}


def deep(name: str, depth: int, width: int) -> nn.Module:
    torch.manual_seed(depth)
    activation, gain = ACTIVATIONS[name]
    sizes = [2, *[width] * depth, 2]
    layers = [nn.Linear(i, o) for i, o in itertools.pairwise(sizes)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
    between = [part for layer in layers for part in (layer, activation())]
    return nn.Sequential(*between[:-1]).double()


def exact(net: nn.Module, x: torch.Tensor) -> tuple[mpmath.matrix, mpmath.matrix]:
    """Outputs and Jacobian of the captured chain, node by node."""
    value, jacobian = mpmath.matrix(x.tolist()), mpmath.eye(len(x))
    for node in capture(net, X).frozen().nodes[1:]:
        if isinstance(node, Affine):
            weight = mpmath.matrix(node.maps[0].dense().tolist())
            value, jacobian = weight * value + mpmath.matrix(node.bias.tolist()), weight * jacobian
        else:
            assert isinstance(node, Curved | Relu)
            pairs = [_values(node.curve, z) if isinstance(node, Curved) else (max(z, 0), mpf(z > 0)) for z in value]
            value = mpmath.matrix([a for a, _ in pairs])
            jacobian = mpmath.diag([b for _, b in pairs]) * jacobian
    return value, jacobian


def check_slope(net: nn.Module) -> None:
    """Nearly all of the true slope at a point is proved, and no more."""
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.01), AllLogits()), X, None, ("interval",))
    found = proved_value(analysis, X[0])
    with mpmath.workdps(60):
        _, jacobian = exact(net, X[0])
        true = max(sum(abs(entry) for entry in jacobian[row, :]) for row in range(2))
        assert (1 - 1e-9) * true <= mpf(found) <= true


@pytest.mark.parametrize(("depth", "width"), [(12, 24), (30, 12)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_behind_many_curves_are_proved(name: str, depth: int, width: int) -> None:
    check_slope(deep(name, depth, width))


@pytest.mark.parametrize("name", ["selu", "tanh"])
def test_quotients_behind_many_curves_are_proved(name: str) -> None:
    net, other = deep(name, 20, 12), X[0] + torch.tensor([0.01, -0.005], dtype=torch.float64)
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.02), AllLogits(), "pointed"), X, None, ("interval",))
    found = proved_value(analysis, other)
    with mpmath.workdps(60):
        rise = exact(net, other)[0] - exact(net, X[0])[0]
        run = max(abs(mpf(a) - mpf(b)) for a, b in zip(other.tolist(), X[0].tolist(), strict=True))
        true = max(abs(entry) for entry in rise) / run
        assert (1 - 1e-9) * true <= mpf(found) <= true


def test_relus_among_curves_need_no_more_than_their_signs() -> None:
    torch.manual_seed(0)
    parts = [part for i in range(14) for part in (nn.Linear(12, 12), nn.ReLU() if i % 2 else nn.Tanh())]
    net = nn.Sequential(nn.Linear(2, 12), *parts, nn.Linear(12, 2)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.5)
    check_slope(net)
