"""What is found of all points of a smooth network before any search: in little time, and without any."""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
import torch
from torch import nn

import lipreg
from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz
from lipreg.estimators import certify
from lipreg.estimators.first_forms import SHORT
from lipreg.estimators.radius import BOUNDS, certified_radii
from lipreg.results import Status
from tests.curves.test_places import _values

PROBLEM = LocalLipschitz(LinfBall(0.2), AllLogits())


class Ticking:
    """A clock that goes on by the same step whenever it is read."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Block(nn.Module):
    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.activation = nn.Linear(width, width), nn.Linear(width, width), activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(self.activation(self.a(x)))


def deep(depth: int, width: int, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [4, *[width] * depth]
    layers = [part for i, o in itertools.pairwise(sizes) for part in (nn.Linear(i, o), activation())]
    return nn.Sequential(*layers, nn.Linear(width, 3)).double()


def residual(blocks: int, width: int, activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, width), *(Block(width, activation) for _ in range(blocks)), nn.Linear(width, 2)
    ).double()


def slope(net: nn.Sequential, x: list[float], curve: lipreg.curves.Curve) -> mpmath.mpf:
    """The largest |gradient|_1 of an output of ``residual`` at x, with 60 digits."""

    def dense(layer: nn.Module) -> mpmath.matrix:
        assert isinstance(layer, nn.Linear)
        return mpmath.matrix(layer.weight.tolist())

    def bias(layer: nn.Module) -> mpmath.matrix:
        assert isinstance(layer, nn.Linear)
        return mpmath.matrix(layer.bias.tolist())

    with mpmath.workdps(60):
        first, *blocks, last = net
        value, jacobian = dense(first) * mpmath.matrix(x) + bias(first), dense(first)
        for block in blocks:
            assert isinstance(block, Block)
            pairs = [_values(curve, z) for z in dense(block.a) * value + bias(block.a)]
            value = value + dense(block.b) * mpmath.matrix([a for a, _ in pairs]) + bias(block.b)
            jacobian = jacobian + dense(block.b) * mpmath.diag([b for _, b in pairs]) * dense(block.a) * jacobian
        jacobian = dense(last) * jacobian
        return max(sum(abs(entry) for entry in jacobian[row, :]) for row in range(jacobian.rows))


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Softsign(), nn.GELU()], ids=["tanh", "softsign", "gelu"])
def test_deep_residual_networks_have_lower_ends_without_any_time(activation: nn.Module) -> None:
    net, x = residual(20, 12, activation), torch.tensor([[0.3, -0.2, 0.1], [-0.5, 0.4, 0.2]], dtype=torch.float64)
    graph = lipreg.capture(net, x).frozen()
    (_, first), *_ = graph.curves()
    for found in certify(graph, LocalLipschitz(LinfBall(0.1), AllLogits()), x, budget=0.0):
        assert found.witness is not None and 0 < found.lower < found.upper
        true = slope(net, list(found.witness.point), first.curve)
        assert (1 - 1e-6) * true <= found.lower <= true


@pytest.mark.parametrize("door", ["certify", "branch_and_bound", "audit"])
def test_little_time_goes_to_closed_forms_of_all_points(door: str) -> None:
    net, x = deep(6, 8), torch.rand(2, 4, dtype=torch.float64)
    alone = certify(net, PROBLEM, x, estimator="jacobian_crown")
    budget = Budget(600.0, nodes=1, clock=Ticking(0.1))  # in which no search gets far
    if door == "audit":
        found = [point.combined for point in lipreg.audit(net, PROBLEM, x, budget=budget).points]
    else:
        found = certify(net, PROBLEM, x, budget=budget, estimator=None if door == "certify" else door)
    for end, other in zip(found, alone, strict=True):
        assert 0 < end.lower <= end.upper <= other.upper * (1 + 1e-9)


@pytest.mark.parametrize("budget", [0.0, 1e-9])
def test_points_that_no_search_reached_are_cut_by_time(budget: float) -> None:
    """Though the bounds that stand there have done their work: more time narrows them."""
    net, x = deep(2, 8), torch.rand(3, 4, dtype=torch.float64)
    assert {found.status for found in certify(net, PROBLEM, x, budget=budget)} == {Status.TIME_LIMIT}
    if budget:
        table = lipreg.audit(net, PROBLEM, x, budget=budget)
        assert {point.combined.status for point in table.points} == {Status.TIME_LIMIT}


def test_what_was_cut_short_is_named() -> None:
    net, x = deep(8, 12), torch.rand(2, 4, dtype=torch.float64)
    for found in certify(net, PROBLEM, x, budget=Budget(40.0, clock=Ticking(1.0))):
        assert 0 < found.lower < found.upper < math.inf
        assert SHORT in found.detail


def test_radii_of_smooth_networks_are_of_the_best_closed_form() -> None:
    net, x = deep(2, 4), torch.rand(1, 4, dtype=torch.float64)
    each = [certified_radii(net, x, p="inf", bounds=name, preactivations=("interval",)) for name in BOUNDS]
    for point, found in enumerate(certified_radii(net, x, p="inf", preactivations=("interval",))):
        assert found.radius >= max(own[point].radius for own in each) * (1 - 1e-4)
        assert found.radius > 1.5 * each[0][point].radius
