"""Networks that are not piecewise linear: every method against what many points of the region show, and training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, LinfBall, LipschitzPenalty, LocalLipschitz, Vector, derivative_range
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator, certify, estimate
from lipreg.estimators.radius import certified_radii
from lipreg.outputs import Logit
from lipreg.regions import L2Ball, WholeSpace
from tests.sampling import one_in

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "mish": nn.Mish,
    "selu": nn.SELU,
    "softplus": lambda: nn.Softplus(2.0),
    "softsign": nn.Softsign,
    "hardswish": nn.Hardswish,
    "logsigmoid": nn.LogSigmoid,
}
X = torch.tensor([[0.2, -0.1, 0.3]], dtype=torch.float64)
RADIUS = 0.3


def network(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        act = ACTIVATIONS[name]
        net = nn.Sequential(nn.Linear(3, 10), act(), nn.Linear(10, 8), act(), nn.Linear(8, 2)).double()
        for layer in net[::2]:
            layer.weight.data *= 2.5
    return net


def met(net: nn.Module, scope: str, p: float) -> float:
    """The steepest of many points."""
    d = RADIUS * (2.0 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1.0)
    if scope == "pointed":
        with torch.no_grad():
            rise = (net(X + d) - net(X)).abs().amax(1)
        return float((rise / torch.linalg.vector_norm(d, p, dim=1)).max())
    z = (X + d).requires_grad_()
    rows = [torch.autograd.grad(output.sum(), z, retain_graph=True)[0] for output in net(z).unbind(1)]
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    return max(float(torch.linalg.vector_norm(row, dual, dim=1).max()) for row in rows)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("name", ACTIVATIONS)
@one_in(2)
def test_no_bound_is_below_what_is_met(name: str, scope: str) -> None:
    net, p = network(name), (1.0, 2.0, math.inf)[(sorted(ACTIVATIONS).index(name) + (scope == "pointed")) % 3]
    problem = LocalLipschitz(LinfBall(RADIUS), AllLogits(), scope, p)  # type: ignore[arg-type]
    steepest, lowest = met(net, scope, p), math.inf
    for method in (
        "spectral",
        "affine_relu",
        "abs_chain",
        "fastlip",
        "deviation",
        "mixing",
        "jacobian_crown",
        "lipsdp",
    ):
        if ESTIMATORS[method].uncovered(problem) is None:
            (found,) = certify(net, problem, X, estimator=method)
            assert found.upper >= steepest
            lowest = min(lowest, found.upper)
    (sampled,) = certify(net, problem, X, estimator="random_points")
    assert steepest * 0.5 <= sampled.lower <= lowest


def test_over_all_of_space_the_range_of_slopes_is_that_of_the_curve() -> None:
    net = network("gelu")
    for scope in ("regional", "pointed"):
        problem = LocalLipschitz(WholeSpace(), AllLogits(), scope, 2.0)  # type: ignore[arg-type]
        wide = LocalLipschitz(L2Ball(50.0), AllLogits(), scope, 2.0)  # type: ignore[arg-type]
        for method in ("spectral", "fastlip", "lipsdp"):
            (everywhere,), (far,) = (certify(net, asked, X, estimator=method) for asked in (problem, wide))
            assert everywhere.upper >= far.upper * (1 - 1e-6) and math.isfinite(everywhere.upper)


def test_engines_of_linear_pieces_refuse_and_name_others() -> None:
    problem = LocalLipschitz(LinfBall(RADIUS), AllLogits())
    for method in ("mip", "lp"):
        with pytest.raises(UnsupportedRequest, match=r"Affine and Curved nodes.*jacobian_crown"):
            certify(network("tanh"), problem, X, estimator=method)


@pytest.mark.parametrize("name", ["tanh", "silu", "selu"])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_penalties_have_the_gradient_of_their_value(name: str, scope: str) -> None:
    net, step = network(name), 1e-6
    problem = LocalLipschitz(LinfBall(RADIUS), AllLogits(), scope, math.inf)  # type: ignore[arg-type]
    directions = [
        torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype) for p in net.parameters()
    ]

    def moved(by: float, bound: str) -> Tensor:
        with torch.no_grad():
            for p, d in zip(net.parameters(), directions, strict=True):
                p += by * d
        return estimate(net, problem, X, bound=bound).sum()

    for bound in sorted(
        n for n, e in ESTIMATORS.offered().items() if isinstance(e, BoundEstimator) and e.differentiable
    ):
        found = torch.autograd.grad(moved(0.0, bound), list(net.parameters()), allow_unused=True)
        own = sum(float((g * d).sum()) for g, d in zip(found, directions, strict=True) if g is not None)
        above = float(moved(step, bound).detach())
        below = float(moved(-2 * step, bound).detach())
        moved(step, bound)
        assert own == pytest.approx((above - below) / (2 * step), rel=5e-3, abs=1e-4), bound


def test_a_penalty_trains_a_tanh_network() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    x = 2.0 * torch.rand(64, 2) - 1.0
    problem = LocalLipschitz(LinfBall(0.1), Logit(0))
    penalty = LipschitzPenalty(net, problem, weight=1.0, bound="fastlip")
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with torch.no_grad():
        before = float(estimate(net, problem, x, bound="fastlip").mean())
    for _ in range(30):
        optimizer.zero_grad()
        (penalty(x) + 0.0).backward()
        optimizer.step()
    with torch.no_grad():
        assert float(estimate(net, problem, x, bound="fastlip").mean()) < 0.5 * before


def test_the_gradient_at_the_points_has_its_own_second_derivatives() -> None:
    net = network("tanh")
    problem = LocalLipschitz(LinfBall(RADIUS), Logit(0))
    penalty = LipschitzPenalty(net, problem, weight=1.0, quantity="jacobian")
    found = torch.autograd.grad(penalty(X), list(net.parameters())[:3], allow_unused=True)
    z = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(z)[:, 0].sum(), z, create_graph=True)
    wanted = torch.autograd.grad(slope.abs().sum(), list(net.parameters())[:3])
    for own, other in zip(found, wanted, strict=True):
        assert own is not None
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-9)


def test_a_certified_radius_holds_along_attacks() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    (y,) = net(X).argmax(1)
    (found,) = certified_radii(net, X, y.unsqueeze(0), p=math.inf, bounds=("jacobian_crown", "affine_relu"))
    assert found.radius > 0
    d = found.radius * (2.0 * torch.rand(20000, 3, dtype=torch.float64) - 1.0).sign()
    assert (net(X + d).argmax(1) == y).all()


def test_derivative_ranges_are_those_of_closed_forms() -> None:
    net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    with torch.no_grad():
        net[0].weight[:, 0].abs_()
        net[2].weight.abs_()
    x = torch.zeros(1, 2, dtype=torch.float64)
    ranges = derivative_range(net, LocalLipschitz(LinfBall(0.5), Logit(0)), x)
    assert ranges[0].increasing
    z = (torch.rand(500, 2, dtype=torch.float64) - 0.5).requires_grad_()
    (slope,) = torch.autograd.grad(net(z).sum(), z)
    for column, found in enumerate(ranges):
        assert found.lower <= slope[:, column].min() and found.upper >= slope[:, column].max()


def test_whole_jacobians() -> None:
    net = network("tanh")
    z = (X + RADIUS * (2.0 * torch.rand(200, 3, dtype=torch.float64) - 1.0)).unbind()
    sizes = [torch.linalg.matrix_norm(torch.autograd.functional.jacobian(net, point), ord=2) for point in z]
    for method in ("jacobian_crown", "deviation", "lipsdp", "affine_relu"):
        (found,) = certify(net, LocalLipschitz(LinfBall(RADIUS), Vector(), p=2.0, q=2.0), X, estimator=method)
        assert found.upper >= max(sizes)
