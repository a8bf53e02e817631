"""Comparisons and leaks of any slope: what they are lowered to, and constants that their definitions give."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, Vector, WholeSpace, certify
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, Bound, BoundEstimator, estimate, frozen_analysis
from lipreg.graph import MaxPool, Relu, capture
from lipreg.graph.lowerings.sorting import comparators
from lipreg.results import Certificate
from tests.graph.functions import Function
from tests.groupsort import GroupSort
from tests.sampling import one_in


def orthogonal(seed: int, *between: nn.Module, width: int = 6) -> nn.Sequential:
    """Orthogonal layers of one width."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for module in (*between, None):
        layer = nn.Linear(width, width)
        nn.init.orthogonal_(layer.weight)
        layers += [layer] if module is None else [layer, module]
    return nn.Sequential(*layers).double()


def spectral(net: nn.Module, p: float) -> float:
    (found,) = certify(
        net, LocalLipschitz(LinfBall(1.0), Vector(), p=p, q=p), torch.zeros(1, 6).double(), estimator="spectral"
    )
    return found.upper


@pytest.mark.parametrize("count", range(1, 12))
def test_comparators_sort(count: int) -> None:
    """Every sequence of zeros and ones, and so every sequence (Knuth 1998, theorem Z); each place in one pair of a round."""
    for bits in itertools.product((0, 1), repeat=count):
        row = list(bits)
        for pairs in comparators(count):
            assert len({place for pair in pairs for place in pair}) == 2 * len(pairs)
            for i, j in pairs:
                row[i], row[j] = sorted((row[i], row[j]))
        assert row == sorted(bits)


def halves(x: Tensor) -> Tensor:
    """MaxMin of one half of the features and the other."""
    a, b = x[:, :3], x[:, 3:]
    return torch.cat([torch.max(a, b), torch.min(a, b)], 1)


def neighbours(x: Tensor) -> Tensor:
    """MaxMin of neighbours, along a dimension."""
    pairs = x.reshape(-1, 3, 2)
    return torch.cat([pairs.amax(2), pairs.min(dim=2).values], 1)


BETWEEN = {
    "sorted in threes": lambda: GroupSort(2),
    "sorted in pairs": lambda: GroupSort(3),
    "all sorted": lambda: GroupSort(1),
    "halves": lambda: Function(halves),
    "neighbours": lambda: Function(neighbours),
    "magnitudes": lambda: Function(torch.abs),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_orthogonal_networks_have_the_constant_one(name: str) -> None:
    """These layers permute and change signs, so do nothing to norms: the product is that of the layers alone."""
    net = orthogonal(3, BETWEEN[name](), BETWEEN[name]())
    assert spectral(net, 2.0) == pytest.approx(1.0, rel=1e-6)
    for p, dim in ((1.0, 0), (math.inf, 1)):
        product = math.prod(float(m.weight.detach().abs().sum(dim).max()) for m in net if isinstance(m, nn.Linear))
        assert spectral(net, p) == pytest.approx(product, rel=1e-8)
    (found,) = certify(
        net, LocalLipschitz(LinfBall(1.0), Vector(), p=2.0, q=2.0), torch.zeros(1, 6).double(), estimator="affine_relu"
    )
    assert found.upper == pytest.approx(1.0, rel=1e-6)


def test_the_larger_and_the_smaller_of_two_are_one_pool() -> None:
    for function in (halves, neighbours):
        graph = capture(orthogonal(0, Function(function)), torch.zeros(1, 6)).frozen()
        assert [len(node.windows) for node in graph.nodes if isinstance(node, MaxPool)] == [6]


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("asked", [(2.0, 0.6), (math.inf, 0.3), (1.0, 0.6)], ids=str)
@one_in(2)
def test_no_bound_is_below_a_slope(name: str, asked: tuple[float, float]) -> None:
    """Every closed form and the search, against the steepest of many points' own gradients by autograd."""
    torch.manual_seed(5)
    p, radius = asked
    radius = radius / 4 if name == "all sorted" else radius  # two dozen comparators
    net = nn.Sequential(*(nn.Linear(3, 6), BETWEEN[name](), nn.Linear(6, 6), BETWEEN[name](), nn.Linear(6, 1))).double()
    x, problem = torch.zeros(1, 3).double(), LocalLipschitz(LinfBall(radius), Logit(0), p=p)
    points = (
        radius * (2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)).double() - 1)
    ).requires_grad_()
    (gradient,) = torch.autograd.grad(net(points).sum(), points)
    dual = {2.0: 2.0, 1.0: math.inf, math.inf: 1.0}[p]
    met = float(torch.linalg.vector_norm(gradient, dual, dim=1).max())
    (exact,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(60.0))
    assert exact.certificate is Certificate.EXACT and 0.9 * exact.upper <= met <= exact.upper * (1 + 1e-9)
    analysis = frozen_analysis(net, problem, x, None)
    for method in ESTIMATORS.values():
        if isinstance(method, BoundEstimator) and method.uncovered(problem, analysis.graph) is None:
            (bound,) = method.intervals(analysis, Budget(60.0))
            assert bound.upper >= exact.lower


@pytest.mark.parametrize("slope", [-2.0, -1.0, -0.3, 0.0, 0.4, 1.0, 1.0 + 2**-40, 2.5])
def test_a_leak_of_any_slope(slope: float) -> None:
    """One unit: the constant is the larger of 1 and |slope|, on either side of 0 it is that side's."""
    net = nn.Sequential(nn.LeakyReLU(slope)).double()
    for x, radius, exact in ((0.0, 1.0, max(1.0, abs(slope))), (2.0, 1.0, 1.0), (-2.0, 1.0, abs(slope))):
        (found,) = certify(
            net,
            LocalLipschitz(LinfBall(radius), Logit(0)),
            torch.full((1, 1), x).double(),
            estimator="branch_and_bound",
        )
        assert found.lower <= exact * (1 + 1e-15) and exact <= found.upper <= exact * (1 + 1e-8)
        assert found.lower == pytest.approx(exact, rel=1e-12)


def test_a_trained_slope_is_a_weight_of_live_graphs_and_a_relu_s_of_frozen_ones() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(2, 3), nn.PReLU(), nn.Linear(3, 1)).double()
    x, slope = torch.tensor([[0.3, -0.4]]).double(), net[1].weight
    captured = capture(net, x)
    assert [node.slope for node in captured.frozen().nodes if isinstance(node, Relu)] == [0.25]
    with torch.no_grad():
        slope.fill_(0.5)  # weights are read whenever a graph is asked for
    assert [node.slope for node in captured.frozen().nodes if isinstance(node, Relu)] == [0.5]
    graph = captured.live()
    (own,) = torch.autograd.grad(net(x).sum(), slope)
    (ours,) = torch.autograd.grad(graph(x).sum(), slope)
    torch.testing.assert_close(ours, own)


@pytest.mark.parametrize("estimator", ["spectral", "affine_relu", "abs_chain", "fastlip"])
@pytest.mark.parametrize("kind", ["slope", "steep", "sorted", "shrunk"])
def test_live_bounds_have_the_gradients_of_differences(estimator: str, kind: str) -> None:
    torch.manual_seed(6)
    steep = nn.PReLU(4)
    steep.weight.data = torch.tensor([-0.5, 1.5, 0.3, 0.8])
    between = {"slope": nn.PReLU(), "steep": steep, "sorted": GroupSort(2), "shrunk": nn.Softshrink(0.1)}[kind]
    net = nn.Sequential(nn.Linear(3, 4), between, nn.Linear(4, 1)).double()
    x, problem = torch.randn(1, 3).double(), LocalLipschitz(LinfBall(0.02), Logit(0))

    def bound() -> Tensor:
        return estimate(net, problem, x, bound=Bound(estimator, spectral_norms="exact")).squeeze(0)

    wanted = list(net.parameters())
    directions = [torch.randn_like(p) for p in wanted]
    gradients = torch.autograd.grad(bound(), wanted, allow_unused=True)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    step, ends = 1e-6, []
    for side in (step, -step):
        with torch.no_grad():
            for p, d in zip(wanted, directions, strict=True):
                p.add_(side * d)
            ends.append(float(bound()))
            for p, d in zip(wanted, directions, strict=True):
                p.sub_(side * d)
    assert along == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("wine_net_11x12x12x1_GroupSort_numGroups6", 2.7883061605, 2.7883061615),
        ("iris_net_4x6x6x3_GroupSort_numGroups3", 11.986, 11.987),
    ],
)
def test_published_networks_of_groupsort(
    published: Callable[[str], nn.Sequential], name: str, low: float, high: float
) -> None:
    """ExLipBaB 2026, l2 of the whole output over all of R^n: that of wine is published, the others' are the steepest met."""
    net = published(f"exlipbab/{name}")
    x = torch.zeros(1, net[0].in_features, dtype=torch.float64)  # type: ignore[arg-type]
    for region in (WholeSpace(), LinfBall(6.0)):
        (found,) = certify(
            net, LocalLipschitz(region, Vector(), p=2.0, q=2.0), x, estimator="branch_and_bound", budget=Budget(60.0)
        )
        assert found.certificate is Certificate.EXACT and low <= found.lower <= found.upper <= high


@pytest.mark.parametrize("frozen", [True, False])
def test_max_and_min_of_two_are_one_layer_of_live_weights_too(frozen: bool) -> None:
    """Written with chunks or along a dimension: one pool, whose product of norms is that of the layers."""

    class MaxMin(nn.Module):
        def __init__(self, chunks: bool) -> None:
            super().__init__()
            self.first, self.last, self.chunks = nn.Linear(3, 6), nn.Linear(6, 2), chunks

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            if self.chunks:
                a, b = h.chunk(2, 1)
                return self.last(torch.cat([torch.maximum(a, b), torch.minimum(b, a)], 1))
            pairs = h.view(-1, 3, 2)
            return self.last(torch.cat([pairs.max(2)[0], pairs.amin(2)], 1))

    problem = LocalLipschitz(LinfBall(1.0), Vector(), p=2.0, q=2.0)
    for chunks in (True, False):
        torch.manual_seed(0)
        net, x = MaxMin(chunks).double(), torch.zeros(1, 3, dtype=torch.float64)
        captured = capture(net, x)
        graph = captured.frozen() if frozen else captured.live()
        assert sum(isinstance(node, MaxPool) for node in graph.nodes) == 1
        product = torch.linalg.matrix_norm(net.first.weight, 2) * torch.linalg.matrix_norm(net.last.weight, 2)
        bound = estimate(captured, problem, x, bound=Bound("spectral", spectral_norms="exact"))
        assert float(bound) == pytest.approx(float(product), rel=1e-9)
