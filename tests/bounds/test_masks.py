"""What training reads of an analysis against the whole one: masks, sizes of Jacobians, the gradient of the largest row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg.bounds import Analysis, analyse, interval_jacobian, jacobian_sizes, largest_row_sum
from lipreg.estimators import BoundEstimator, get_estimator, live_analysis
from lipreg.graph import capture
from lipreg.linalg import Convolution, Dense, Diagonal
from lipreg.outputs import AllLogits, AllMargins, Margin
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L2Ball, LinfBall
from tests import oracles
from tests.bounds.test_pooling import NETS

KINDS = {
    **NETS,
    **{name: lambda n=name: (oracles.network(n), (2,)) for name in ("deep", "leaky", "residual", "dead_units")},
}
BOUNDS = ("affine_relu", "abs_chain", "fastlip", "spectral")


def case(kind: str, region: Any, count: int = 6) -> tuple[nn.Module, LocalLipschitz, Tensor, Tensor]:
    net, shape = KINDS[kind]()
    torch.manual_seed(1)
    x = torch.rand(count, *shape, dtype=torch.float64)
    return net, LocalLipschitz(region), x, torch.arange(count) % 2


def whole(net: nn.Module, problem: LocalLipschitz, x: Tensor, y: Tensor) -> Analysis:
    """The analysis with pre-activation bounds, which gradients go through."""
    graph = capture(net, x).live()
    return analyse(graph, problem.place(x, graph(x).detach(), y), ["interval"], outward=False)


def lean(net: nn.Module, problem: LocalLipschitz, x: Tensor, y: Tensor) -> Analysis:
    estimator = get_estimator("affine_relu")
    assert isinstance(estimator, BoundEstimator)
    found = live_analysis(capture(net, x).live(), problem, x, y, estimator, ["interval"])
    assert found.masks is not None
    return found


@pytest.mark.parametrize("region", [LinfBall(0.15, low=0.0), L2Ball(0.4), LinfBall(1e-9)], ids=["cut", "l2", "tiny"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_those_of_the_whole_analysis(kind: str, region: Any) -> None:
    asked = case(kind, region)
    ours, theirs = lean(*asked), whole(*asked)
    for i, moves in theirs.movable.items():
        torch.testing.assert_close(ours.movable[i], moves, rtol=0, atol=0)
    for i, slopes in theirs.slopes.items():
        assert torch.equal(ours.upper_slopes[i], slopes.upper), i
        assert torch.equal(ours.slopes[i].lower, slopes.lower), i
    for i, shares in theirs.shares.items():
        assert torch.equal(ours.shares[i].upper, shares.upper), i
        assert torch.equal(ours.shares[i].lower, shares.lower), i


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_and_gradients_are_those_of_the_whole_analysis(kind: str, bound: str) -> None:
    asked, estimator = case(kind, LinfBall(0.15, low=0.0)), get_estimator(bound)
    assert isinstance(estimator, BoundEstimator)
    found = []
    for analysis in (lean(*asked), whole(*asked)):
        # by the ends at every node, and all rows; a pool's windows pass one gradient on, which ends at nodes do not know
        if bound == "fastlip" and analysis.masks is None and not any(True for _ in analysis.graph.pools()):
            low, high = interval_jacobian(analysis)[0]
            bounds = analysis.placed.combine(torch.maximum(low.abs(), high.abs()))
        else:
            bounds = estimator.bound(analysis)
        weights = torch.linspace(-1.0, 2.0, len(bounds), dtype=bounds.dtype)
        parameters = list(asked[0].parameters())
        gradients = torch.autograd.grad((weights * bounds).sum(), parameters, allow_unused=True, materialize_grads=True)
        found.append((bounds.detach(), torch.cat([g.flatten() for g in gradients])))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_ends(kind: str, scope: Any) -> None:
    net, problem, x, y = case(kind, LinfBall(0.15))
    analysis = whole(net, LocalLipschitz(problem.region, AllLogits(), scope), x, y)
    low, high = interval_jacobian(analysis)[0]
    torch.testing.assert_close(jacobian_sizes(analysis), torch.maximum(low.abs(), high.abs()), rtol=1e-12, atol=1e-14)


def test_what_a_mask_does_not_hold_is_found_when_it_is_read() -> None:
    analysis = lean(*case("residual", LinfBall(0.15)))
    assert not analysis.value_bounds[-1].value.requires_grad
    torch.testing.assert_close(analysis.value_bounds[-1].value, analysis.graph(analysis.placed.region.center).detach())
    assert len(analysis[:2].value_bounds[0].value) == 2


def test_runner_ups_are_those_of_the_network() -> None:
    net, problem, x, y = case("convolutional", LinfBall(0.15))
    analysis = lean(net, LocalLipschitz(problem.region, Margin()), x, y)
    outputs = net(x).detach()
    others = outputs.scatter(1, y.unsqueeze(1), -torch.inf).argmax(1)
    rows = torch.eye(3, dtype=x.dtype)[y] - torch.eye(3, dtype=x.dtype)[others]
    assert torch.equal(analysis.placed.rows.squeeze(1), rows)


@given(seed=st.integers(0, 10_000), stride=st.integers(1, 2), padding=st.integers(0, 1), batch=st.integers(1, 4))
def test_the_gradient_of_the_largest_row(seed: int, stride: int, padding: int, batch: int) -> None:
    torch.manual_seed(seed)
    weights = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.randn(5, 12, dtype=torch.float64)
    convolution = Convolution(weights[0], (stride,) * 2, ((padding, padding),) * 2, (1, 1), 1, (2, 5, 4))
    maps = convolution, Dense(weights[1], (12,), (5,)), Diagonal(torch.randn(3, 1, dtype=torch.float64), (3, 4), (12,))
    for map in maps:
        map.entries[0].requires_grad_()
        rows = torch.rand(batch, *map.out_shape, dtype=torch.float64)
        columns = torch.rand(batch, *map.in_shape, dtype=torch.float64)
        share = torch.randn(batch, dtype=torch.float64)
        found = [
            (norms.detach(), *torch.autograd.grad((share * norms).sum(), map.entries))
            for norms in (largest_row_sum(map, rows, columns), map.largest_sum(torch.inf, rows, columns))
        ]
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_a_box_that_holds_coordinates_still() -> None:
    region = Box(0.0, [1.0, 0.0])
    net, _, x, y = case("residual", region)
    x[:, 1] = 0.0
    ours, theirs = (make(net, LocalLipschitz(region, AllMargins()), x, y) for make in (lean, whole))
    for i, moves in theirs.movable.items():
        assert torch.equal(ours.movable[i], moves)
