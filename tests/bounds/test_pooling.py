"""Max pooling in every bound: shares, relaxations, and whole networks with pools against samples."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg.bounds import PoolWeights, analyse, interval_jacobian, pool_shares, relax_pool
from lipreg.bounds.deviation import deviations
from lipreg.bounds.pooling import PoolLines
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, Bound, certify, estimate, frozen_analysis
from lipreg.estimators.witnesses.witness import attained
from lipreg.graph import MaxPool, capture
from lipreg.outputs import AllLogits, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.results import Certificate
from tests.bounds.test_analysis import POOLS, pool_node
from tests.sampling import one_in

REGIONS = {"linf": LinfBall(0.15), "l2": L2Ball(0.4), "l1": L1Ball(0.8)}


def convolutional(seed: int = 0) -> nn.Sequential:
    """Overlapping and padded pools, a strided convolution, a dead channel that ties its windows."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2, stride=1, padding=1),
        nn.Flatten(),
        nn.Linear(36, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ).double()
    net[0].bias.data[0] = -9.0
    return net


class Residual(nn.Module):
    """Branches that meet again, by sum and by concatenation, with and without a convolution on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(1, 3, 1)
        self.pool, self.last = nn.MaxPool2d(2), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        h = torch.relu(self.b(h) + self.c(x)) + h
        return self.last(torch.cat([self.pool(h), self.pool(-h)], 1).flatten(1))


NETS = {"convolutional": lambda: (convolutional(), (1, 6, 6)), "residual": lambda: (Residual().double(), (1, 4, 4))}


@given(seed=st.integers(0, 10**6), width=st.sampled_from([0.0, 0.1, 1.0]))
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_relaxations_and_shares_hold(pool: nn.Module, seed: int, width: float) -> None:
    shape = (1, 4, 5) if isinstance(pool, nn.MaxPool2d) else (1, 9)
    node = pool_node(pool, shape)
    draw = torch.Generator().manual_seed(seed)
    low = torch.randn(2, *shape, generator=draw, dtype=torch.float64).round(decimals=1)  # with ties
    high = low + width * torch.rand(2, *shape, generator=draw, dtype=torch.float64).round(decimals=1)
    z = low + (high - low) * torch.rand(40, 2, *shape, generator=draw, dtype=torch.float64).round(decimals=1)
    lines, top = relax_pool(node, low, high), node(z).flatten(2)
    assert ((lines.lower_slope * node.members(z)).sum(-1) <= top + 1e-12).all()
    assert ((lines.upper_slope * node.members(z)).sum(-1) + lines.upper_offset.squeeze(-1) >= top - 1e-12).all()
    shares = pool_shares(node, low, high, high > low)
    chosen = node.largest_members(z) * node.members((high > low).double())
    assert ((chosen <= shares.upper) | (node.members(z) >= top.unsqueeze(-1))).all()
    assert (chosen >= shares.lower).all()


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("methods", [("ball",), ("interval",), ("crown",), None], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_reach_holds_what_sampling_finds(name: str, methods: tuple[str, ...] | None, region) -> None:
    net, shape = NETS[name]()
    x0 = torch.rand(2, *shape, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    placed = LocalLipschitz(region, AllLogits()).place(x0, graph(x0))
    x = placed.region.sample(300, torch.Generator().manual_seed(0))
    with torch.no_grad():
        analysis = analyse(graph, placed, methods)
        for reach, at in zip(analysis.value_bounds, graph.values(x), strict=True):
            assert (at >= reach.lower.unsqueeze(1) - 1e-12).all() and (at <= reach.upper.unsqueeze(1) + 1e-12).all()
            if reach.distance is not None:
                moved = torch.linalg.vector_norm((at - reach.value.unsqueeze(1)).flatten(2), region.norm, dim=2)
                assert (moved.amax(1) <= reach.distance * (1 + 1e-12)).all()


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("name", NETS)
@one_in(3)
def test_every_upper_bound_is_above_every_witness(name: str, scope: str, p: float) -> None:
    net, shape = NETS[name]()
    x0 = torch.rand(2, *shape, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    outputs = [AllLogits(), Vector()] if p == 2.0 else [AllLogits()]
    for output in outputs:
        problem = LocalLipschitz(L2Ball(0.3), output, scope=scope, p=p)
        with torch.no_grad():
            analysis = analyse(graph, problem.place(x0, graph(x0)))
        lower = [i.lower for i in ESTIMATORS["sampling"].intervals(analysis, Budget())]
        assert min(lower) > 0
        for bound in ("spectral", "affine_relu", "abs_chain", "fastlip", "jacobian_crown", "deviation"):
            found = ESTIMATORS[bound].intervals(analysis, Budget())
            assert all(i.upper >= low for i, low in zip(found, lower, strict=True)), bound


@pytest.mark.parametrize("name", NETS)
def test_jacobians_lie_in_their_intervals_and_deviations(name: str) -> None:
    net, shape = NETS[name]()
    x0 = torch.rand(1, *shape, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    with torch.no_grad():
        analysis = analyse(graph, problem.place(x0, graph(x0)))
        x = analysis.placed.region.sample(200, torch.Generator().manual_seed(1))
        slopes = {i: s.unsqueeze(2) for i, s in graph.patterns(graph.values(x)).items()}
        rows = analysis.placed.rows.unsqueeze(1).expand(-1, x.shape[1], -1, -1)
        jacobians = graph.gradients(slopes, rows)
        low, high = interval_jacobian(analysis)[0]
        assert (jacobians >= low.unsqueeze(1) - 1e-12).all() and (jacobians <= high.unsqueeze(1) + 1e-12).all()
        found = deviations(analysis)
        off = (jacobians[0].flatten(2) - found.centre).abs()
        assert (off <= found.bounds @ found.rows.abs() + 1e-12).all()
        assert len(found.rows) > 0


def test_deviations_are_exact_where_every_unit_is_decided() -> None:
    net, shape = NETS["convolutional"]()
    x0 = torch.rand(1, *shape, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    for p in (1.0, 2.0, math.inf):
        problem = LocalLipschitz(LinfBall(1e-9), AllLogits(), p=p)
        with torch.no_grad():
            analysis = analyse(graph, problem.place(x0, graph(x0)))
        own = torch.autograd.functional.jacobian(lambda z: net(z)[0], x0).flatten(1)
        exact = {1.0: own.abs().amax(), 2.0: own.norm(dim=1).amax(), math.inf: own.abs().sum(1).amax()}[p]
        (found,) = ESTIMATORS["deviation"].intervals(analysis, Budget())
        assert found.upper == pytest.approx(float(exact), rel=1e-8)


def test_ties_of_constant_windows_do_not_count() -> None:
    """Dead units tie at 0 in their windows, and pass nothing on whichever is chosen."""
    net, shape = NETS["convolutional"]()
    x0 = torch.rand(1, *shape, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    with torch.no_grad():
        analysis = analyse(graph, LocalLipschitz(LinfBall(1e-9), AllLogits()).place(x0, graph(x0)))
    pools = [i for i, node in enumerate(graph.nodes) if isinstance(node, MaxPool)]
    assert (analysis.shares[pools[0]].upper[0, :9] == 0).all()  # the dead channel's windows
    assert len(deviations(analysis).rows) == 0


def test_a_window_passes_one_gradient_on_and_not_one_to_each_member() -> None:
    """max(x1, x2) moves as far as x1 or x2 does in l_inf: 1, not 2."""
    net, x = nn.MaxPool1d(2, stride=1), torch.zeros(1, 1, 5, dtype=torch.float64)
    for output in (AllLogits(), Vector()):
        for scope in ("regional", "pointed"):
            q = None if output == AllLogits() else "inf"
            problem = LocalLipschitz(LinfBall(1.0), output, scope, "inf", q)  # type: ignore[arg-type]
            for name in ("affine_relu", "abs_chain", "fastlip", "jacobian_crown"):
                (found,) = certify(nn.Sequential(net, nn.Flatten()), problem, x, estimator=name)
                assert found.upper == pytest.approx(1.0, rel=1e-8), (name, scope)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("name", NETS)
def test_bounds_on_the_jacobian_are_no_looser_than_the_product_behind_pools(name: str, scope: str) -> None:
    """For p = inf, whatever the norm of the outputs; and their gradients are finite."""
    net, shape = NETS[name]()
    torch.manual_seed(1)
    x, names = torch.rand(1, *shape, dtype=torch.float64), ("affine_relu", "abs_chain", "fastlip", "jacobian_crown")
    for output, q in ((AllLogits(), None), (Vector(), 2)):
        problem = LocalLipschitz(LinfBall(0.5), output, scope, "inf", q)  # type: ignore[arg-type]
        analysis = frozen_analysis(net, problem, x, None)
        points = analysis.placed.region.sample(100, torch.Generator().manual_seed(0))
        uppers = [certify(net, problem, x, estimator=Bound(each, ["interval"]))[0].upper for each in names]
        # of operators the linear forms are taken entry by entry
        assert all(a >= b * (1 - 1e-9) for a, b in itertools.pairwise(uppers[: 4 if q is None else 3])), uppers
        assert min(uppers) >= float(attained(analysis, points).amax()) > 0
    for each in names:
        live = estimate(net, problem, x, bound=each).sum()
        parts = torch.autograd.grad(live, list(net.parameters()), allow_unused=True)
        assert all(torch.isfinite(part).all() for part in parts if part is not None)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
@one_in(3)
def test_bounds_behind_pools_are_above_the_exact_constant(seed: int, p: float) -> None:
    """By another engine, on the same function written out as ReLUs."""
    torch.manual_seed(seed)
    pools = nn.MaxPool1d(2), nn.MaxPool1d(2, stride=1), nn.MaxPool1d(3, padding=1, stride=2)
    net = nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), pools[seed], nn.Flatten(), nn.LazyLinear(2)).double()
    x = torch.rand(1, 1, 5, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.7), AllLogits(), p=p)
    net(x)
    (exact,) = certify(net, problem, x, estimator="branch_and_bound")
    assert exact.certificate is Certificate.EXACT
    for name in ("abs_chain", "fastlip", "jacobian_crown", "affine_relu"):
        (found,) = certify(net, problem, x, estimator=name)
        assert found.upper >= exact.lower, name


@given(seed=st.integers(0, 10**6))
def test_lines_above_what_a_window_passes_on(seed: int) -> None:
    """Over all shares, ends and forms; and they touch it at both ends."""
    draw = torch.Generator().manual_seed(seed)
    able, moves = (torch.rand(1, 1, 3, generator=draw) > 0.3 for _ in range(2))
    able[..., 0] |= ~able.any(-1)
    low, width = torch.randn(1, 1, 1, generator=draw).double(), torch.rand(1, 1, 1, generator=draw).double() * 3
    form = torch.randn(1, 1, 1, 1, 3, generator=draw).double()
    lines = PoolLines(low, low + width, PoolWeights(able, moves, torch.float64))
    slope, offset = (part.flatten() for part in lines.above(form))
    passed = torch.where(able & moves, form.flatten(), 0.0).flatten()[
        able.flatten()
    ]  # what each able member makes of g
    for g in torch.linspace(float(low), float(low + width), 7, dtype=torch.float64):
        line = slope * g + offset
        assert (passed * g <= line + 1e-12).all()
        if g in (low, low + width):
            assert (passed * g).amax() == pytest.approx(float(line), abs=1e-12)


@pytest.mark.parametrize("bound", ["fastlip", "jacobian_crown", "abs_chain", "affine_relu"])
def test_what_is_differentiated_is_what_is_certified_whichever_row_is_the_largest(bound: str) -> None:
    """Behind pools each row has the smaller of two bounds: the largest of these is that of no row chosen by one of them."""
    for seed in range(6):
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.MaxPool2d(5), nn.Flatten()
        net, x = nn.Sequential(*layers).double(), torch.randn(2, 1, 5, 5, dtype=torch.float64)
        for q in (None, math.inf):
            output = AllLogits() if q is None else Vector()
            problem = LocalLipschitz(LinfBall(0.5), output, p=math.inf, q=q)  # type: ignore[arg-type]
            recipe = Bound(bound, preactivations=["interval"])
            own = estimate(net, problem, x, bound=recipe).tolist()
            assert own == pytest.approx([found.upper for found in certify(net, problem, x, estimator=recipe)], rel=1e-6)
