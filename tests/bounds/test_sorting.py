"""Pools that sort: partners share one weight in every interval Jacobian, and one ReLU where pools are written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit
from lipreg.bounds import Analysis, interval_jacobian, jacobian_sizes, without_pools
from lipreg.bounds.intervals import DigitIntervals
from lipreg.bounds.jacobian import _swept
from lipreg.estimators import frozen_analysis
from lipreg.graph import MaxPool, Relu
from tests.groupsort import GroupSort


def analysed(net: nn.Module, x: Tensor, radius: float) -> Analysis:
    return frozen_analysis(net, LocalLipschitz(LinfBall(radius), Logit(0)), x, None)


def weighing(*weights: float) -> nn.Sequential:
    """x -> weights . sorted(x), all in one group."""
    last = nn.Linear(len(weights), 1, bias=False).double()
    last.weight.data = torch.tensor([weights]).double()
    return nn.Sequential(GroupSort(1), last)


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        ([0.0, 0.1], [-3.0, -3.0], [2.0, 2.0]),  # either may be the larger: both see both weights, and nothing between
        ([0.0, 9.0], [-3.0, 2.0], [-3.0, 2.0]),  # decided: the smaller has the first weight
        ([9.0, 0.0], [2.0, -3.0], [2.0, -3.0]),
    ],
)
def test_the_jacobian_of_two_in_order(x: list[float], low: list[float], high: list[float]) -> None:
    analysis = analysed(weighing(-3.0, 2.0), torch.tensor([x]).double(), 1.0)
    least, most = (end.flatten() for end in interval_jacobian(analysis)[0])
    torch.testing.assert_close(least, torch.tensor(low).double(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(most, torch.tensor(high).double(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_intervals_hold_every_gradient_and_agree_in_every_arithmetic(groups: int, radius: float) -> None:
    torch.manual_seed(groups)
    net = nn.Sequential(
        *(nn.Linear(3, 6), GroupSort(groups), nn.Linear(6, 6), GroupSort(groups), nn.Linear(6, 1))
    ).double()
    x = torch.randn(1, 3).double()
    analysis = analysed(net, x, radius)
    low, high = (end.flatten() for end in interval_jacobian(analysis)[0])
    points = (x + radius * (2 * torch.rand(2000, 3).double() - 1)).requires_grad_()
    (gradients,) = torch.autograd.grad(net(points).sum(), points)
    assert (gradients >= low - 1e-9).all() and (gradients <= high + 1e-9).all()
    digits = [end.flatten() for end in _swept(DigitIntervals(analysis, None))[0]]
    torch.testing.assert_close(torch.stack(digits), torch.stack([low, high]), rtol=1e-9, atol=1e-10)
    sizes = jacobian_sizes(analysis).flatten()
    torch.testing.assert_close(sizes, torch.maximum(low.abs(), high.abs()), rtol=1e-9, atol=1e-10)


def test_center_and_radius_without_rounding_are_the_ends() -> None:
    """In training: the same numbers, by another pass."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 6), GroupSort(2), nn.Linear(6, 4), GroupSort(2), nn.Linear(4, 1)).double()
    analysis = analysed(net, torch.randn(2, 3).double(), 0.4)
    plain = analysis.__class__.__new__(analysis.__class__)
    plain.__dict__.update(analysis.__dict__, outward=False)
    low, high = interval_jacobian(analysis)[0]
    torch.testing.assert_close(jacobian_sizes(plain), torch.maximum(low.abs(), high.abs()), rtol=1e-9, atol=1e-10)


def test_one_relu_a_comparator_and_none_where_it_is_decided() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 6), GroupSort(2), nn.Linear(6, 1)).double()
    x = torch.randn(1, 2).double()
    for radius, units in ((100.0, 2 * 3), (1e-9, 0)):
        graph = without_pools(analysed(net, x, radius)).graph
        assert not any(isinstance(node, MaxPool) for node in graph.nodes)
        assert sum(node.shape[0] for node in graph.nodes if isinstance(node, Relu)) == units
        points = x + radius * (2 * torch.rand(50, 2).double() - 1)
        torch.testing.assert_close(graph(points), net(points).detach(), rtol=1e-10, atol=1e-10)
