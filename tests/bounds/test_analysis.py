"""Pre-activation bounds of whole networks against dense sampling, linear pieces and a second implementation."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.bounds import METHODS, Analysis, analyse, crown, linear_upper_bound, pool_factor, relax
from lipreg.bounds.preactivations import BoundPropagation
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound, estimate, get_estimator
from lipreg.graph import Affine, MaxPool, Relu, capture
from lipreg.outputs import Logit, Margin
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall
from tests import oracles
from tests.conformance.questions import REGIONS, Question, domain, sampled
from tests.sampling import one_in

SUBSETS = [methods for n in range(1, 4) for methods in itertools.combinations(METHODS, n)]
SUBSETS += [("alpha",), ("interval", "alpha")]
each_net = pytest.mark.parametrize("net", oracles.ZOO)
each_region = pytest.mark.parametrize("region", REGIONS)
each_scope = pytest.mark.parametrize("scope", ["regional", "pointed"])


def analysed(question: Question, methods: tuple[str, ...] | None = None) -> Analysis:
    graph = capture(question.module, question.x).frozen()
    return analyse(graph, question.problem.place(question.x, graph(question.x)), methods)


@functools.cache
def points(net: str, region: str, count: int = 400) -> Tensor:
    """Points of each region, by rejection from its definition, with the box's corners where they belong to it."""
    question = Question(net, region, "regional", math.inf, "logit")
    stacks = []
    for x0 in question.x.numpy():
        where = domain(region, x0)
        rng = np.random.default_rng(0)
        d = where.sample(40 * count, rng)[:count]
        corners = np.array(list(itertools.product(*zip(where.lower, where.upper, strict=True)))) - x0
        a, b = where.facets()
        kept = np.linalg.norm(corners, where.norm, axis=1) <= where.radius
        kept &= (corners[:, where.free] @ a.T <= b + 1e-12).all(1)
        d = np.vstack([corners[kept][:, where.free], d])[:count]
        stacks.append(where.points(np.vstack([d, np.zeros((count - len(d), d.shape[1]))])))
    return torch.from_numpy(np.stack(stacks))


@each_region
@each_net
@one_in(8)
def test_reach_holds_what_sampling_finds(net: str, region: str) -> None:
    """Values, motionless entries and distances, for every set of methods."""
    question = Question(net, region, "regional", math.inf, "logit")
    graph = capture(question.module, question.x).frozen()
    x = points(net, region)
    values = graph.values(x)
    norm = question.problem.region.norm
    turn = list(oracles.ZOO).index(net) + list(REGIONS).index(region)
    for methods in (methods for place, methods in enumerate(SUBSETS) if sampled(2, turn, place)):
        for index, reach in enumerate(analysed(question, methods).value_bounds):
            at, own = values[index], graph.values(question.x)[index]
            torch.testing.assert_close(reach.value, own)
            where = f"node {index} by {'+'.join(methods)}"
            assert (reach.lower <= own).all() and (own <= reach.upper).all(), where
            low, high = reach.lower.unsqueeze(1), reach.upper.unsqueeze(1)
            assert ((low - 1e-12 <= at) & (at <= high + 1e-12)).all(), where
            change = at - own.unsqueeze(1)
            assert (change.abs().amax(1)[~reach.movable] < 1e-12).all(), where
            if reach.distance is not None:
                moved = torch.linalg.vector_norm(change, norm, dim=2).amax(1)
                assert (moved <= reach.distance * (1 + 1e-12)).all(), where


@pytest.mark.parametrize("leak", [0.01, 0.1, 0.3])
def test_crown_is_valid_to_rounding_for_any_leak(leak: float) -> None:
    """A lower line whose slope is rounded to single precision cuts into the function by 1e-9."""
    torch.manual_seed(3)
    net = oracles.mlp(2, 5, 5, 3, negative_slope=leak).double()
    graph = capture(net, torch.zeros(1, 2)).frozen()
    x0 = torch.zeros(1, 2, dtype=torch.float64)
    placed = LocalLipschitz(LinfBall(30.0), Logit(0)).place(x0, graph(x0))
    reach = analyse(graph, placed, ("crown",)).value_bounds
    for at, (_, node) in enumerate(graph.relus()):
        z = reach[node.source]
        line = relax(z.lower, z.upper, leak)
        on_the_leak = (line.lower_slope < 1) & (z.lower < 0)
        assert at > 0 or on_the_leak.any()
        assert (line.lower_slope[on_the_leak] >= leak).all()


@each_scope
@each_net
@one_in(2)
def test_slopes_hold_what_sampling_finds(net: str, scope: str) -> None:
    for region in REGIONS:
        analysis = analysed(Question(net, region, scope, math.inf, "logit"))
        values = analysis.graph.values(points(net, region))
        for index, node in analysis.graph.relus():
            z, reach = values[node.source], analysis.value_bounds[node.source]
            y = reach.value.unsqueeze(1)
            if scope == "regional":
                slope, counts = torch.where(z > 0, torch.ones_like(z), torch.full_like(z, node.slope)), z.abs() > 1e-9
            else:
                counts = (z - y).abs() > 1e-6
                slope = (node(z) - node(y)) / torch.where(counts, z - y, torch.ones_like(z))
            counts &= reach.movable.unsqueeze(1)
            low, high = analysis.slopes[index].lower.unsqueeze(1), analysis.slopes[index].upper.unsqueeze(1)
            assert (low <= high).all()
            assert (((low - 1e-9 <= slope) & (slope <= high + 1e-9)) | ~counts).all(), region


@each_net
def test_reach_is_exact_where_every_unit_is_decided(net: str) -> None:
    """On a tiny region the network is affine, so CROWN gives the extremes over the region's corners."""
    module = oracles.network(net)
    x0 = torch.full((1, oracles.input_size(module)), 0.17, dtype=torch.float64)
    graph = capture(module, x0).frozen()
    for region in (LinfBall(1e-7), L1Ball(1e-7)):
        analysis = analyse(graph, LocalLipschitz(region, Logit(0)).place(x0, graph(x0)), ("crown",))
        where = oracles.Domain(
            x0[0].numpy(),
            x0[0].numpy() - 1e-7,
            x0[0].numpy() + 1e-7,
            region.norm,
            1e-7 if region.norm == 1 else math.inf,
        )
        for index, node in enumerate(graph.nodes[:-1]):
            if isinstance(node, Affine):
                values = graph.values(torch.from_numpy(where.points(_extremes(where)))[None])[index][0]
                reach = analysis.value_bounds[index]
                torch.testing.assert_close(reach.upper[0], values.amax(0), rtol=0, atol=1e-12)
                torch.testing.assert_close(reach.lower[0], values.amin(0), rtol=0, atol=1e-12)
        assert int(analysis.unstable_units()) == 0


def _extremes(where: oracles.Domain) -> np.ndarray:
    size = len(where.center)
    if where.norm == 1:
        return where.radius * np.vstack([np.eye(size), -np.eye(size)])
    return np.array(list(itertools.product(*zip(where.lower - where.center, where.upper - where.center, strict=True))))


@each_region
def test_unstable_units_are_those_that_both_signs_are_left_to(region: str) -> None:
    analysis = analysed(Question("deep", region, "regional", math.inf, "logit"))
    counted = torch.zeros(2, dtype=torch.int64)
    for _, node in analysis.graph.relus():
        reach = analysis.value_bounds[node.source]
        counted += ((reach.lower < 0) & (reach.upper > 0)).sum(1)
    assert torch.equal(analysis.unstable_units(), counted)


# ---------------------------------------------------------------- CROWN


@each_region
def test_linear_upper_bound_is_above_every_value(region: str) -> None:
    for net in ("deep", "leaky", "residual"):
        question = Question(net, region, "regional", math.inf, "logit")
        analysis = analysed(question)
        graph, reach = analysis.graph, analysis.value_bounds
        lines = {i: relax(reach[n.source].lower, reach[n.source].upper, n.slope) for i, n in graph.relus()}
        rows = torch.randn(2, 5, *graph.output.shape, dtype=torch.float64)
        last = len(graph.nodes) - 1
        above = linear_upper_bound(graph, last, rows, analysis.anchors, lines, analysis.placed.region)
        values = torch.einsum("bkm,bnm->bkn", rows, graph(points(net, region))).amax(-1)
        assert (values <= above + 1e-12).all()
        low, high = crown(graph, last, analysis.anchors, lines, analysis.placed.region)
        units = torch.eye(*graph.output.shape, dtype=torch.float64).expand(2, -1, -1)
        torch.testing.assert_close(
            high, linear_upper_bound(graph, last, units, analysis.anchors, lines, analysis.placed.region)
        )
        torch.testing.assert_close(
            low, -linear_upper_bound(graph, last, -units, analysis.anchors, lines, analysis.placed.region)
        )


# ---------------------------------------------------------------- the papers' bound, written a second time


def papers_bound(net: nn.Sequential, x0: np.ndarray, radius: float, p: float, c: np.ndarray) -> float:
    """Ball pre-activation bounds and the affine-ReLU product on a chain, unit by unit, from the text of the papers.

    Avant & Morgansen 2023, section IV: eps_{k+1} = |diag(s) A D| eps_k with s_i = relu-secant at y_i + eps_k |row_i D|_{p*}.
    """
    layers = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in net if isinstance(m, nn.Linear)]
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    moves, value, eps, product = np.ones(len(x0)), x0, radius * 1.0, 1.0
    for weight, bias in layers[:-1]:
        y = weight @ value + bias
        masked = weight * moves
        slopes = np.zeros(len(y))
        for i in range(len(y)):
            reach = eps * np.linalg.norm(masked[i], dual)
            if reach == 0 or y[i] + reach <= 0:
                slopes[i] = 0.0
            elif y[i] >= 0:
                slopes[i] = 1.0
            else:
                slopes[i] = (y[i] + reach) / reach
        factor = np.linalg.norm(slopes[:, None] * masked, p)
        product *= factor
        eps *= factor
        moves = (slopes > 0).astype(float)
        value = np.maximum(y, 0.0)
    return float(product * np.linalg.norm((c @ layers[-1][0]) * moves, dual))


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
@pytest.mark.parametrize("radius", [0.01, 0.1, 0.5, 3.0])
def test_ball_bounds_alone_reproduce_the_papers(radius: float, p: float) -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        net = oracles.mlp(6, 12, 10, 8, 3).double()
        x0 = torch.randn(1, 6, dtype=torch.float64)
        region = {1.0: L1Ball, 2.0: L2Ball, math.inf: LinfBall}[p](radius)
        problem = LocalLipschitz(region, Margin(0, 2), "pointed")
        bound = estimate(net, problem, x0, bound=Bound("affine_relu", ("ball",), "exact"))
        own = papers_bound(net, x0[0].numpy(), radius, p, np.array([1.0, 0.0, -1.0]))
        assert bound.item() == pytest.approx(own, rel=1e-10)


# ---------------------------------------------------------------- zero tracking


def test_dead_units_and_fixed_inputs_are_dropped() -> None:
    net = oracles.mlp(2, 3, 2).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        net[0].bias.copy_(torch.tensor([-5.0, 0.3, 0.0]))
    x0 = torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    graph = capture(net, x0).frozen()
    for methods in SUBSETS:
        placed = LocalLipschitz(Box([0.0, 0.25], [1.0, 0.25]), Logit(0)).place(x0, graph(x0))
        reach = analyse(graph, placed, methods).value_bounds
        assert reach[0].movable.tolist() == [[True, False]]
        assert reach[1].movable.tolist() == [[True, False, True]]  # unit 1 sees only the fixed input
        assert reach[2].movable.tolist() == [[False, False, True]]  # unit 0 is below its kink on the whole box
        assert (
            0 <= reach[1].upper[0, 1] - reach[1].lower[0, 1] < 1e-13
        )  # its value, and what rounding may have done to it


def test_methods_are_checked() -> None:
    question = Question("shallow", "linf", "regional", 2.0, "logit")
    for bad in ((), ("interva",), ("ball", "zonotope")):
        with pytest.raises(InvalidInput, match="ball, interval, crown"):
            analysed(question, bad)


# ---------------------------------------------------------------- max pooling


POOLS = {
    "apart": nn.MaxPool1d(2),
    "overlapping": nn.MaxPool1d(3, stride=1),
    "padded": nn.MaxPool1d(3, stride=2, padding=1),
    "dilated": nn.MaxPool1d(2, stride=1, dilation=2),
    "planes": nn.MaxPool2d(2, stride=1),
    "planes_padded": nn.MaxPool2d(3, stride=2, padding=1),
}


def pool_node(pool: nn.Module, shape: tuple[int, ...]) -> MaxPool:
    graph = capture(nn.Sequential(pool), torch.zeros(1, *shape)).frozen()
    (node,) = [node for node in graph.nodes if isinstance(node, MaxPool)]
    return node


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
def test_pool_factor_is_the_lipschitz_constant_of_pooling(pool: nn.Module, p: float) -> None:
    """Never exceeded; met by raising the one input that enters most windows above all others."""
    shape = (1, 4, 5) if isinstance(pool, nn.MaxPool2d) else (1, 9)
    factor = pool_factor(pool_node(pool, shape), p)
    a, b = torch.randn(2, 3000, *shape, dtype=torch.float64)
    b = a + torch.where(torch.rand(3000, *(1,) * len(shape)) < 0.5, 1e-3, 1.0) * b
    rise = torch.linalg.vector_norm((pool(a) - pool(b)).flatten(1), p, dim=1)
    run = torch.linalg.vector_norm((a - b).flatten(1), p, dim=1)
    assert (rise / run).max() <= factor * (1 + 1e-12)
    size = math.prod(shape)
    peaks = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    best = torch.linalg.vector_norm((pool(2 * peaks) - pool(peaks)).flatten(1), p, dim=1).max()
    assert float(best) == pytest.approx(factor)


@pytest.mark.parametrize("methods", [("interval",), ("ball",), ("ball", "interval"), None], ids=str)
def test_reach_through_max_pooling(methods: tuple[str, ...] | None) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 8), nn.ReLU(), nn.MaxPool1d(2, stride=1), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    net = net.double()
    x0 = torch.randn(2, 3, dtype=torch.float64)
    graph = capture(net, x0).frozen()
    for region in (LinfBall(0.3), L2Ball(0.3), L1Ball(0.5)):
        placed = LocalLipschitz(region, Logit(0)).place(x0, graph(x0))
        analysis = analyse(graph, placed, methods)
        x = placed.region.sample(500, torch.Generator().manual_seed(0))
        values, own = graph.values(x), graph.values(x0)
        for reach, at, y in zip(analysis.value_bounds, values, own, strict=True):
            assert (at >= reach.lower.unsqueeze(1) - 1e-12).all() and (at <= reach.upper.unsqueeze(1) + 1e-12).all()
            if reach.distance is not None:
                moved = torch.linalg.vector_norm(at - y.unsqueeze(1), region.norm, dim=2).amax(1)
                assert (moved <= reach.distance * (1 + 1e-12)).all()
    assert any(isinstance(node, Relu) for node in graph.nodes)


def test_an_analysis_computes_what_is_asked_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lines and no secants where intervals alone are asked for, and no pre-activations for a product of norms."""
    net = nn.Sequential(
        nn.Linear(3, 8), nn.ReLU(), nn.Unflatten(1, (1, 8)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 2)
    )
    graph, x = capture(net.double(), torch.zeros(2, 3, dtype=torch.float64)).frozen(), torch.zeros(2, 3).double()
    placed = LocalLipschitz(LinfBall(0.1), Logit(0)).place(x, graph(x))
    wanted = get_estimator("affine_relu").bound(analyse(graph, placed, ("interval",)))  # type: ignore[union-attr]

    def never(*args: object, **options: object) -> None:
        raise AssertionError("nobody asked for this")

    for name in ("crown", "relax", "relax_pool", "slopes_of"):
        monkeypatch.setattr(f"lipreg.bounds.preactivations.{name}", never)
    analysis = analyse(graph, placed, ("interval",))
    assert torch.equal(get_estimator("affine_relu").bound(analysis), wanted)  # type: ignore[union-attr]
    monkeypatch.setattr(BoundPropagation, "run", never)
    lazy = analyse(graph, placed)
    assert (get_estimator("spectral").bound(lazy[:1]) >= wanted[:1]).all()  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="nobody"):
        _ = lazy.value_bounds


def test_parts_of_an_analysis_share_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of points, of other questions about the same regions, and of a copy in another process."""
    question = Question("leaky", "linf", "regional", math.inf, "logit")
    graph = capture(question.module, question.x).frozen()
    placed = question.problem.place(question.x, graph(question.x))
    analysis, calls = analyse(graph, placed), []
    run = BoundPropagation.run
    monkeypatch.setattr(BoundPropagation, "run", lambda self: calls.append(1) or run(self))
    parts = [analysis[i : i + 1] for i in range(len(question.x))]
    other = analysis.for_question(
        dataclasses.replace(placed, problem=dataclasses.replace(question.problem, scope="pointed"))
    )
    copy = pickle.loads(pickle.dumps(parts[0]))
    for i, part in enumerate(parts):
        assert torch.equal(part.value_bounds[1].lower, analysis.value_bounds[1].lower[i : i + 1])
    assert torch.equal(copy.value_bounds[1].upper, analysis.value_bounds[1].upper[:1]) and len(calls) == 1
    (index, _), *_ = graph.relus()
    assert not torch.equal(other.slopes[index].upper, analysis.slopes[index].upper)
    assert other.memoised(count_of_nodes) == len(graph.nodes) and other.memoised(count_of_nodes) is other.memoised(
        count_of_nodes
    )


def count_of_nodes(analysis: Analysis) -> int:
    return len(analysis.value_bounds)
