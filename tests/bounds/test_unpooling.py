"""Max pools written out as ReLUs: the same function over the region, no pool left, and two engines that agree."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllMargins, Difference, L2Ball, LinfBall, LocalLipschitz, Logit, Margin, certify
from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.graph import MaxPool
from lipreg.results import Certificate
from tests.sampling import one_in


def after_relus() -> nn.Sequential:
    head = (nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), *head)


def before_relus() -> nn.Sequential:
    head = (nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.LeakyReLU(0.2), *head)


def overlapping() -> nn.Sequential:
    pools = (nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d(2, stride=1))
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.LeakyReLU(0.1), *pools, nn.Flatten(), nn.Linear(2, 3))


def reshaped() -> nn.Sequential:
    """The pool reads the ReLU in another shape, which is no node of its own."""
    layers = (nn.Flatten(), nn.Linear(25, 6), nn.ReLU(), nn.Unflatten(1, (1, 2, 3)), nn.MaxPool2d((1, 2), stride=1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 3))


class Branches(nn.Module):
    """A pool of ReLUs that a second branch reads too, beside a pool of the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 2, 2), nn.Linear(3 * 4, 3)
        self.act, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.conv(x))
        pooled = torch.cat([self.pool(h) + h[:, :, ::2, ::2], self.pool(x[:, :, :4, :4])], 1)
        return self.last(pooled.flatten(1))


NETS = {
    "after": after_relus,
    "before": before_relus,
    "overlapping": overlapping,
    "reshaped": reshaped,
    "branches": Branches,
}
each_net = pytest.mark.parametrize("name", NETS)


def asked(name: str, radius: float, scope: str = "regional", p: float = math.inf) -> tuple[nn.Module, Analysis]:
    torch.manual_seed(4)
    net = NETS[name]().double().eval()
    x = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(radius), AllMargins(0), scope=scope, p=p)  # type: ignore[arg-type]
    return net, frozen_analysis(net, problem, x, None)


@each_net
@pytest.mark.parametrize("radius", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(3)
def test_the_function_and_its_bounds_are_the_same_inside(name: str, radius: float, scope: str) -> None:
    _, pooled = asked(name, radius, scope)
    plain = without_pools(pooled)
    assert not any(isinstance(node, MaxPool) for node in plain.graph.nodes)
    assert plain.graph.fingerprint() == pooled.graph.fingerprint() and plain.subject(0) == pooled.subject(0)
    x = pooled.placed.region.sample(200, torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain.graph(x), pooled.graph(x), rtol=1e-12, atol=1e-12)
    values = plain.graph.values(x)
    gradients = []
    for graph, at in ((plain.graph, values), (pooled.graph, pooled.graph.values(x))):
        slopes = {i: s.unsqueeze(2) for i, s in graph.patterns(at).items()}
        gradients.append(graph.gradients(slopes, pooled.placed.rows.unsqueeze(1).expand(-1, 200, -1, -1)))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
    for reach, value in zip(plain.value_bounds[:-1], values[:-1], strict=True):
        slack = 1e-9 * (1 + value.abs())
        assert (reach.lower.unsqueeze(1) <= value + slack).all() and (value - slack <= reach.upper.unsqueeze(1)).all()


def test_pools_of_reshaped_relus_are_bounded_in_batches() -> None:
    net, _ = asked("reshaped", 0.1)
    x = torch.rand(2, 1, 5, 5, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.3), AllMargins(0))
    both = certify(net, problem, x, estimator="fastlip")
    alone = [certify(net, problem, x[i : i + 1], estimator="fastlip")[0].upper for i in range(2)]
    assert [found.upper for found in both] == pytest.approx(alone, rel=1e-9)


def test_decided_windows_cost_nothing() -> None:
    _, pooled = asked("after", 1e-6)
    plain = without_pools(pooled)
    assert int(plain.unstable_units()) == 0 and len(plain.graph.nodes) == len(pooled.graph.nodes) - 2
    assert without_pools(pooled) is plain and without_pools(plain) is plain


def brute_force(net: nn.Module, region: Tensor, rows: Tensor, p: float) -> float:
    """The largest gradient norm at many random points: from below, and close on networks of few cells."""
    x = region.requires_grad_()
    best = 0.0
    for row in rows:
        (gradient,) = torch.autograd.grad((net(x) @ row).sum(), x)
        sizes = gradient.flatten(1).abs()
        best = max(best, float((sizes.sum(1) if p == math.inf else sizes.amax(1)).max()))
    return best


@each_net
@pytest.mark.parametrize(("radius", "p"), [(0.03, math.inf), (0.04, 1.0)], ids=["pinf", "p1"])
@one_in(2)
def test_two_engines_agree_and_no_point_is_steeper(name: str, radius: float, p: float) -> None:
    net, pooled = asked(name, radius, p=p)
    x = pooled.placed.region.center
    found = {
        engine: certify(net, pooled.placed.problem, x, estimator=engine, budget=Budget(600.0))[0]
        for engine in ("branch_and_bound", "mip", "lp", "fastlip")
    }
    exact = found["branch_and_bound"]
    assert exact.certificate is Certificate.EXACT and found["mip"].certificate is Certificate.EXACT
    assert exact.upper == pytest.approx(found["mip"].upper, rel=1e-5)
    assert exact.upper <= found["lp"].upper * (1 + 1e-6) and found["lp"].upper <= found["fastlip"].upper * (1 + 1e-6)
    points = pooled.placed.region.sample(20000, torch.Generator().manual_seed(2))[0]
    seen = brute_force(net, points, pooled.placed.rows[0], p)
    assert 0.98 * exact.upper <= seen <= exact.upper * (1 + 1e-6)


@pytest.mark.parametrize("name", ["after", "before"])
def test_exact_pointed_constants(name: str) -> None:
    net, pooled = asked(name, 0.05, "pointed")
    x = pooled.placed.region.center
    problem = LocalLipschitz(LinfBall(0.05), Margin(0, 1), scope="pointed")
    (found,) = certify(net, problem, x, estimator="mip_pointed", budget=Budget(600.0))
    assert found.certificate is Certificate.EXACT
    (seen,) = certify(net, problem, x, estimator="sampling")
    assert 0.97 * found.upper <= seen.lower <= found.upper * (1 + 1e-9)


def test_members_that_are_off_together_do_not_tie() -> None:
    """relu(a) and relu(b) are both 0 on a whole cell; written as the ReLU of a pool no unit is degenerate there."""
    for seed, p in itertools.product(range(4), (1.0, math.inf)):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.MaxPool1d(2), nn.Linear(2, 2)).double().eval()
        problem = LocalLipschitz(LinfBall(1.0), Margin(0, 1), p=p)
        (found,) = certify(net, problem, torch.zeros(1, 2, dtype=torch.float64), estimator="branch_and_bound")
        assert found.certificate is Certificate.EXACT


class ReadTwice(nn.Module):
    """Units behind a pool whose windows are decided, others, and the first ones once more without the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.wide, self.last = nn.Linear(2, 4), nn.Linear(2, 2), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        pooled = torch.relu(nn.functional.max_pool1d(z.unsqueeze(1), 2).squeeze(1))
        return self.last(torch.cat([pooled, torch.relu(self.wide(x)), torch.relu(z[:, ::2])], 1))


@pytest.mark.parametrize("method", ["branch_and_bound", "mip", "lp"])
def test_units_that_turn_out_the_same_leave_the_bounds_of_others_alone(method: str) -> None:
    net = ReadTwice().double().requires_grad_(False)
    net.first.weight.copy_(torch.tensor([[0.1, 0.0], [0.0, 0.0], [0.0, 0.1], [0.0, 0.0]]))
    net.first.bias.copy_(torch.tensor([-1.0, -9.0, -1.0, -9.0]))
    net.wide.weight.copy_(torch.tensor([[9.0, 0.0], [0.0, -9.0]]))
    net.wide.bias.fill_(-3.0)
    net.last.weight.fill_(1.0)
    x = torch.zeros(1, 2, dtype=torch.float64)
    found = certify(net, LocalLipschitz(LinfBall(1.0), Logit(0)), x, estimator=method)[0]
    assert found.upper >= 18.0, "both of the wide units are on at (1, -1), where the gradient is (9, -9)"
    assert method == "lp" or found.lower >= 18.0 * (1 - 1e-9)


def test_a_difference_whose_parts_vanish_has_bounds_of_the_right_shapes() -> None:
    def part() -> nn.Sequential:
        pooled = (nn.Linear(1, 6), nn.Unflatten(1, (1, 6)), nn.MaxPool1d(2), nn.Flatten())
        net = nn.Sequential(*pooled, nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)).double().requires_grad_(False)
        for weight in net.parameters():
            weight.zero_()
        return net

    first, second = part(), part()
    first[0].weight[3], first[4].weight[2, 1] = 1.0, 1.0
    x = torch.full((1, 1), 1.5, dtype=torch.float64)
    for module in (Difference(first, second), Difference(second, first)):
        assert certify(module, LocalLipschitz(L2Ball(1.0), Logit(0)), x)[0].upper == 0.0
