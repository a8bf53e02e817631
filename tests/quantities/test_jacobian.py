"""The Jacobian's norm against autograd and definitions, its hand-written pass against the graph's, and its refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipreg import AllLogits, AllMargins, AllPairs, Box, L1Ball, L2Ball, LinfBall, LocalLipschitz, Logit, Margin, Vector
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.outputs import Output
from lipreg.quantities import values
from lipreg.regions import Region
from lipreg.testing import networks
from tests.sampling import one_in

X = torch.tensor([[0.13, -0.21], [-0.05, 0.4], [0.3, 0.2]], dtype=torch.float64)
Y = torch.tensor([0, 1, 1])
REGIONS = {1.0: L1Ball(0.2), 2.0: L2Ball(0.2), math.inf: LinfBall(0.2)}


def jacobians(net: nn.Module, x: Tensor) -> Tensor:
    """``(points, outputs, inputs)`` by autograd."""
    return torch.stack([torch.autograd.functional.jacobian(lambda p: net(p[None])[0], point) for point in x])  # type: ignore[misc]


def dual(rows: Tensor, p: float) -> Tensor:
    order = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    return torch.linalg.vector_norm(rows, order, -1)


@pytest.mark.parametrize("net", ["deep", "residual", "convolution", "leaky"])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@one_in(2)
def test_scalar_functionals_by_definition(net: str, p: float) -> None:
    module = networks.network(net)
    x = X[:, : networks.input_size(module)]
    x = torch.cat([x, x[:, : networks.input_size(module) - x.shape[1]]], 1)
    own = jacobians(module, x)
    asked: dict[Output, Tensor] = {
        AllLogits(): dual(own, p).amax(1),
        Logit(1): dual(own[:, 1], p),
        AllMargins(): torch.stack(
            [dual(own[i, y] - own[i], p).amax() for i, y in enumerate(Y.tolist())]
        ),  # the row of y itself is 0
        Margin(0, 1): dual(own[:, 0] - own[:, 1], p),
        AllPairs(): dual(own[:, :, None] - own[:, None], p).flatten(1).amax(1),
    }
    for output, wanted in asked.items():
        problem = LocalLipschitz(REGIONS[p], output)
        torch.testing.assert_close(values("jacobian", module, problem, x, Y), wanted)


INF = math.inf
NORMS = [(1.0, 1.0), (1.0, 2.0), (1.0, INF), (2.0, 2.0), (2.0, 1.0), (INF, 1.0), (INF, INF)]


@pytest.mark.parametrize("net", ["deep", "residual"])
@pytest.mark.parametrize("p, q", NORMS)
def test_operator_norms_by_definition(net: str, p: float, q: float) -> None:
    """Against the best of all corners, or of the circle, of the unit ball."""
    module = networks.network(net)
    own = jacobians(module, X)
    turn = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    circle = torch.stack([turn.cos(), turn.sin()], 1)
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    ball = {1.0: torch.eye(2, dtype=torch.float64), 2.0: circle, math.inf: corners}[p]
    wanted = torch.linalg.vector_norm(ball @ own.mT, q, -1).amax(1)
    problem = LocalLipschitz(REGIONS[p], Vector(), q=q)
    found = values("jacobian", module, problem, X)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    parameters = list(module.parameters())
    torch.autograd.grad(found.sum(), parameters, allow_unused=True)


ASKED = [(INF, AllMargins(0)), (2.0, AllLogits()), (1.0, AllMargins()), (2.0, Vector())]
BY_ROWS = ["jacobian", {"kind": "jacobian_frobenius", "projections": "exact"}, "jacobian_frobenius"]


@pytest.mark.parametrize("net", ["shallow", "deep", "dead_units", "convolution"])
@pytest.mark.parametrize("p, output", ASKED)
@pytest.mark.parametrize("quantity", BY_ROWS, ids=str)
@one_in(3)
def test_the_pass_of_chains_is_that_of_the_graph(
    net: str, p: float, output: Output, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = networks.network(net)
    x = torch.cat([X, X[:, :1]], 1)[:, : networks.input_size(module)]
    problem, weights = LocalLipschitz(REGIONS[p], output), list(module.parameters())

    def found() -> tuple[Tensor, ...]:
        own = values(quantity, module, problem, x, Y, seed=3)
        total = (torch.arange(1.0, 1 + len(own)) * own).sum()
        return own.detach(), *torch.autograd.grad(total, weights, materialize_grads=True, allow_unused=True)

    by_hand = found()
    monkeypatch.setattr("lipreg.quantities.query.Query.chain", None)
    for ours, theirs in zip(by_hand, found(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_signs_of_many_outputs_are_refused_before_they_are_listed() -> None:
    problem = LocalLipschitz(LinfBall(0.1), Vector(), q=1)
    plain = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 40)).double()
    leaky = nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(), nn.Linear(4, 40)).double()
    for wide in (plain, leaky):  # a chain, and a network that is none
        with pytest.raises(UnsupportedRequest, match="linf to l1 of 40 outputs"):
            values("jacobian", wide, problem, X)
        wanted = jacobians(wide, X).abs().sum(1).amax(1)
        found = values("jacobian", wide, LocalLipschitz(L1Ball(0.1), Vector(), q=1), X)
        torch.testing.assert_close(found, wanted)


def test_inputs_without_room_do_not_count() -> None:
    module = networks.network("shallow")
    region: Region = Box([-1.0, 0.25], [1.0, 0.25])
    x = X.clone()
    x[:, 1] = 0.25
    wanted = jacobians(module, x)[:, :, 0].abs().amax(1)
    torch.testing.assert_close(values("jacobian", module, LocalLipschitz(region, AllLogits()), x), wanted)


def test_points_outside_the_data_range_are_refused() -> None:
    problem = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0), AllLogits())
    for net in ("shallow", "residual"):
        with pytest.raises(InvalidInput, match="range"):
            values("jacobian", networks.network(net), problem, X)


def test_projections_have_the_frobenius_norm_for_their_mean() -> None:
    module, problem = networks.network("deep"), LocalLipschitz(LinfBall(0.1), AllLogits())
    wanted = jacobians(module, X).square().sum((1, 2))
    torch.testing.assert_close(
        values({"kind": "jacobian_frobenius", "projections": "exact"}, module, problem, X), wanted
    )
    draws = 1000
    for projections in (1, 3):
        asked = {"kind": "jacobian_frobenius", "projections": projections}
        drawn = values(asked, module, problem, X.repeat(draws, 1)).detach().reshape(draws, -1)
        error = drawn.std(0) / draws**0.5
        assert ((drawn.mean(0) - wanted).abs() < 4 * error + 1e-12).all()


def test_the_gradient_of_the_loss_by_autograd() -> None:
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    module, x = networks.network("deep"), X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(module(x), Y, reduction="sum"), x, create_graph=True)
    wanted = slope.square().sum(1)
    found = values("gradient", module, problem, X, Y)
    torch.testing.assert_close(found, wanted)
    parameters = list(module.parameters())
    ours, theirs = (torch.autograd.grad(v.sum(), parameters) for v in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    target = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(3 * F.mse_loss(module(x), target), x)
    torch.testing.assert_close(
        values({"kind": "gradient", "loss": "squared"}, module, problem, X, target), slope.square().sum(1)
    )
