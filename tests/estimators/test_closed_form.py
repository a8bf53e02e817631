"""The closed forms against the registered estimators on captured graphs: values and gradients, on every kind of chain."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from lipreg import (
    AllLogits,
    AllMargins,
    AllPairs,
    Bound,
    Box,
    Combination,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Margin,
    UnitCube,
    Vector,
)
from lipreg.errors import InvalidInput
from lipreg.estimators import BoundEstimator, PenaltyQuestion, estimate, get_estimator, live_analysis
from lipreg.estimators.jacobians import fastlip
from lipreg.graph import ReluChain, capture, fixed_chain
from lipreg.linalg import PowerIteration
from tests.conformance.questions import sampled
from tests.sampling import one_in

INF = float("inf")
EXACT_NORMS = Bound("affine_relu", spectral_norms="exact")


def closed_form(
    chain: ReluChain,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    bound: str,
    methods: list[str] | None,
    power: PowerIteration | None = None,
) -> Tensor | None:
    """That of a registered estimator."""
    estimator = get_estimator(bound)
    assert isinstance(estimator, BoundEstimator)
    return estimator.closed_form(PenaltyQuestion(chain, problem, x, y, methods, power))


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Functional(nn.Module):
    """Flatten, functional ReLUs, neutral layers, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(6, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 4)
        self.flatten, self.drop = nn.Flatten(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.drop(self.first(self.flatten(x))))
        x = torch.relu(self.again(x))
        return self.last(self.again(x).relu())


def dying() -> nn.Sequential:
    """Units that nothing reaches, that are always off, and that have weights of 0."""
    net = mlp(6, 8, 8, 4)
    with torch.no_grad():
        net[0].bias[:3] = -50.0
        net[0].weight[3] = 0.0
        net[2].weight[:, 4:] = 0.0
        net[2].weight[0] = 0.0
        net[2].bias[1] = -50.0
    return net


def off() -> nn.Sequential:
    net = mlp(6, 8, 8, 4)
    with torch.no_grad():
        net[2].bias[:] = -50.0
    return net


NETWORKS: dict[str, Any] = {
    "deep": lambda: mlp(6, 12, 9, 7, 4),
    "shallow": lambda: mlp(6, 40, 4),
    "linear": lambda: mlp(6, 4),
    "without bias": lambda: mlp(6, 12, 9, 4, bias=False),
    "functional": Functional,
    "dying": dying,
    "off": off,
}
REGIONS: dict[str, Any] = {
    "cut": LinfBall(0.3, low=0.0, high=1.0),
    "one side": LinfBall(0.3, high=1.0),
    "open": LinfBall(0.3),
    "box": Box([0.0, 0.0, 0.5, 0.2, 0.0, 0.0], [1.0, 0.0, 0.5, 0.8, 1.0, 0.1]),
}
OUTPUTS = [AllMargins(), AllMargins(2), Logit(), Logit(1), AllLogits(), AllPairs(), Combination((1.0, -2.0, 0.5, 0.0))]


def points(region: Any, count: int) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, 6, dtype=torch.float64)
    if isinstance(region, Box):
        low, high = torch.tensor(region.lower), torch.tensor(region.upper)
        x = low + x * (high - low)
    return x, torch.randint(4, (count,))


def both(net: nn.Module, problem: LocalLipschitz, x: Tensor, y: Tensor, bound: str, methods: list[str]) -> Any:
    """Bounds and gradients of both ways, the gradients of a loss that weighs the points differently."""
    captured = capture(net, x)
    chain = fixed_chain(captured)
    assert chain is not None
    found = []
    for bounds in (
        closed_form(chain, problem, x, y, bound, methods),
        estimate(captured, problem, x, y, bound=Bound(bound, methods, "exact")),
    ):
        assert bounds is not None
        weights = torch.linspace(-1.0, 2.0, len(x), dtype=x.dtype)
        parameters = [p for p in net.parameters() if p.dim() == 2]
        gradients = torch.autograd.grad((weights * bounds).sum(), parameters, allow_unused=True, materialize_grads=True)
        found.append((bounds.detach(), torch.cat([g.flatten() for g in gradients])))
    return found


@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain", "fastlip"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("network", NETWORKS)
@one_in(2)
def test_it_is_the_registered_bound(network: str, region: str, bound: str) -> None:
    net = NETWORKS[network]().double()
    turn = list(NETWORKS).index(network) + list(REGIONS).index(region)
    for place, count in enumerate((1, 5, 60)):  # fewer points than rows, and more
        x, y = points(REGIONS[region], count)
        for k, methods in enumerate((["interval"], ["ball"], ["ball", "interval"])):
            if not sampled(5, turn, place, k):
                continue
            problem = LocalLipschitz(REGIONS[region])
            if len(x) < 4:
                problem = LocalLipschitz(REGIONS[region], AllMargins(1))
            (bounds, gradient), (expected, theirs) = both(net, problem, x, y, bound, methods)
            torch.testing.assert_close(bounds, expected, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(gradient, theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain", "fastlip"])
def test_every_functional(output: Any, bound: str) -> None:
    net = mlp(6, 12, 9, 4).double()
    x, y = points(None, 20)
    found = both(net, LocalLipschitz(LinfBall(0.2), output), x, y, bound, ["interval"])
    (bounds, gradient), (expected, theirs) = found
    torch.testing.assert_close(bounds, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("p", [1.0, 2.0, INF])
@pytest.mark.parametrize("region", [REGIONS["box"], L2Ball(0.4), L1Ball(0.5, low=0.0)], ids=["box", "l2", "l1"])
def test_fastlip_in_every_norm(region: Any, p: float) -> None:
    net = mlp(6, 12, 9, 4).double()
    x, y = points(region, 12)
    (bounds, gradient), (expected, theirs) = both(net, LocalLipschitz(region, p=p), x, y, "fastlip", ["interval"])
    torch.testing.assert_close(bounds, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, theirs, rtol=1e-10, atol=1e-12)


def test_fastlip_takes_points_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, problem = mlp(6, 12, 9, 4).double(), LocalLipschitz(REGIONS["box"])
    x, y = points(REGIONS["box"], 20)
    whole, _ = both(net, problem, x, y, "fastlip", ["interval"])
    monkeypatch.setattr(fastlip, "LAYER_NUMBERS", 7 * 3 * 12)
    parts, _ = both(net, problem, x, y, "fastlip", ["interval"])
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "region", [Box([[0.0] * 3, [0.2] * 3], [[1.0, 0.5, 0.0], [1.0] * 3]), LinfBall(0.2), UnitCube()]
)
def test_inputs_with_a_shape(region: Any) -> None:
    net = nn.Sequential(nn.Flatten(), *mlp(6, 9, 4)).double()
    x = torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.4, 0.5]], dtype=torch.float64).expand(5, 2, 3)
    y = torch.tensor([0, 1, 2, 3, 0])
    (bounds, gradient), (expected, theirs) = both(net, LocalLipschitz(region), x, y, "affine_relu", ["interval"])
    torch.testing.assert_close(bounds, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, theirs, rtol=1e-7, atol=1e-10)


def test_errors_are_those_of_the_generic_way() -> None:
    """Points outside the data range, not finite, or too coarse for the radius: the closed form lets ``place`` refuse."""
    net, problem = mlp(6, 9, 4), LocalLipschitz(LinfBall(0.2, low=0.0, high=1.0), AllLogits())
    chain = fixed_chain(capture(net, torch.rand(2, 6)))
    assert chain is not None
    x = torch.rand(3, 6)
    for wrong, words in ((x + 1.0, "outside the data range"), (x * torch.nan, "NaN"), (x[:0], "at least one point")):
        with pytest.raises(InvalidInput, match=words):
            closed_form(chain, problem, wrong, None, "affine_relu", ["interval"])
    coarse = LocalLipschitz(LinfBall(1e-9), AllLogits())
    with pytest.raises(InvalidInput, match="lost in rounding"):
        closed_form(chain, coarse, x + 1.0, None, "affine_relu", ["interval"])


@given(
    seed=st.integers(0, 10_000), hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3), radius=st.floats(0.01, 2)
)
def test_random_chains_in_float32(seed: int, hidden: list[int], radius: float) -> None:
    torch.manual_seed(seed)
    net = mlp(6, *hidden, 4)
    x, y = torch.randn(7, 6), torch.randint(4, (7,))
    for bound in ("affine_relu", "abs_chain", "fastlip"):
        captured = capture(net, x)
        chain, problem = fixed_chain(captured), LocalLipschitz(LinfBall(radius))
        assert chain is not None
        ours = closed_form(chain, problem, x, y, bound, ["interval"])
        assert ours is not None
        theirs = estimate(captured, problem, x, y, bound=Bound(bound, spectral_norms="exact"))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- p = 2


@pytest.mark.parametrize("region", [LinfBall(0.2, low=0.0, high=1.0), L2Ball(0.4), L1Ball(0.5, low=0.0)], ids=str)
def test_power_iteration_converges_to_the_registered_bound(region: Any) -> None:
    net = mlp(6, 12, 9, 4).double()
    x, y = points(region, 5)
    problem, captured = LocalLipschitz(region, p=2.0), capture(net, x)
    chain, power = fixed_chain(captured), PowerIteration(shared=False)
    assert chain is not None
    expected = estimate(captured, problem, x, y, bound=EXACT_NORMS)
    theirs = torch.autograd.grad(expected.square().sum(), chain.weights)
    previous = torch.zeros_like(expected)
    for _ in range(1500):
        bounds = closed_form(chain, problem, x, y, "affine_relu", ["interval"], power)
        assert bounds is not None
        assert (bounds >= previous * (1 - 1e-12)).all(), "from below, step by step"
        previous = bounds.detach()
        if torch.allclose(previous, expected, rtol=1e-9, atol=0.0):
            break
    torch.testing.assert_close(bounds, expected, rtol=1e-7, atol=0.0)
    ours = torch.autograd.grad(bounds.square().sum(), chain.weights)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_estimates_stay_below_the_norm() -> None:
    """Whatever the start, shared or not, an estimate is attained by a vector."""
    net = mlp(6, 12, 9, 4).double()
    problem = LocalLipschitz(LinfBall(0.2), p=2.0)
    for shared in (False, True):
        power = PowerIteration(shared)
        for _ in range(5):
            x, y = points(None, 8)
            captured = capture(net, x)
            chain = fixed_chain(captured)
            assert chain is not None
            ours = closed_form(chain, problem, x, y, "affine_relu", ["interval"], power)
            exact = estimate(captured, problem, x, y, bound=EXACT_NORMS)
            assert ours is not None
            assert (ours <= exact * (1 + 1e-12)).all()
            assert (ours >= 0.5 * exact).all()


# ---------------------------------------------------------------- what it leaves to others


def test_questions_without_a_closed_form() -> None:
    net = mlp(6, 12, 4)
    x, y = torch.rand(5, 6), torch.randint(4, (5,))
    chain = fixed_chain(capture(net, x))
    assert chain is not None
    regional = LocalLipschitz(LinfBall(0.2))
    y[0], y[1] = 3, 0
    asked: list[tuple[LocalLipschitz, Tensor | None, str, list[str] | None]] = [
        (LocalLipschitz(LinfBall(0.2), scope="pointed"), y, "affine_relu", ["interval"]),
        (LocalLipschitz(LinfBall(0.2), p=1.0), y, "affine_relu", ["interval"]),
        (LocalLipschitz(LinfBall(0.2), p=2.0), y, "affine_relu", ["interval"]),
        (LocalLipschitz(L2Ball(0.2), p=INF), y, "affine_relu", ["ball"]),
        (LocalLipschitz(LinfBall(0.2), Margin()), y, "affine_relu", ["interval"]),
        (LocalLipschitz(LinfBall(0.2), Vector()), y, "affine_relu", ["interval"]),
        (regional, y, "jacobian_crown", ["interval"]),
        (regional, y, "affine_relu", ["crown", "interval"]),
        (regional, y, "affine_relu", None),
        (regional, None, "affine_relu", ["interval"]),
        (regional, y - 1, "affine_relu", ["interval"]),
        (regional, y + 1, "affine_relu", ["interval"]),
        (regional, y.float(), "affine_relu", ["interval"]),
    ]
    for problem, labels, bound, methods in asked:
        assert closed_form(chain, problem, x, labels, bound, methods) is None


def test_other_networks_are_no_chains() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.relu(self.one(x))) + x

    pruned = mlp(6, 5, 4)
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    normed = mlp(6, 5, 4)
    torch.nn.utils.parametrizations.weight_norm(normed[0])
    mixed = mlp(6, 5, 4)
    mixed[2].double()
    others = [
        Residual(),
        pruned,
        normed,
        nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 4)),
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)),
        nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4)).eval(),
        nn.Sequential(nn.Linear(6, 5), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.Linear(6, 4)),
    ]
    for net in others:
        assert fixed_chain(capture(net, torch.rand(2, 6))) is None
    assert fixed_chain(capture(nn.Linear(6, 4), torch.rand(2, 3, 6))) is None
    first = fixed_chain(capture(mlp(6, 5, 4), torch.rand(2, 6)))
    assert first is not None
    assert first.is_current()


def test_a_replaced_module_is_noticed() -> None:
    net = nn.Sequential(nn.ModuleDict({"body": mlp(6, 5, 4)})["body"], nn.Identity())
    chain = fixed_chain(capture(net, torch.rand(2, 6)))
    assert chain is not None
    assert chain.is_current()
    net[0][1] = nn.Tanh()  # type: ignore[index]
    assert not chain.is_current()
    net[0] = mlp(6, 5, 4)
    assert not chain.is_current()


# ---------------------------------------------------------------- autograd's rules


def case() -> tuple[nn.Sequential, Any]:
    net, x, y = mlp(6, 12, 9, 4).double(), torch.rand(5, 6, dtype=torch.float64), torch.randint(4, (5,))
    chain = fixed_chain(capture(net, x))
    assert chain is not None
    return net, lambda bound: closed_form(chain, LocalLipschitz(LinfBall(0.2)), x, y, bound, ["interval"])


@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain", "fastlip"])
def test_gradients_of_several_evaluations_do_not_mix(bound: str) -> None:
    net, bounds = case()
    weights = [p for p in net.parameters() if p.dim() == 2]
    alone = torch.autograd.grad(bounds(bound).sum(), weights)
    one, two = bounds(bound), bounds(bound)
    together = torch.autograd.grad(one.sum() + 2 * two.sum(), weights)
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(3 * a, b, rtol=1e-12, atol=0.0)


def test_stale_weights_and_second_derivatives_are_refused() -> None:
    net, bounds = case()
    found = bounds("affine_relu")
    with torch.no_grad():
        net[0].weight.add_(1.0)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        found.sum().backward()
    (gradient,) = torch.autograd.grad(bounds("affine_relu").square().sum(), [net[0].weight], create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable"):
        gradient.sum().backward()


def test_frozen_weights_need_no_gradient() -> None:
    net, bounds = case()
    net[0].requires_grad_(False)
    bounds("affine_relu").sum().backward()
    assert net[0].weight.grad is None
    assert net[2].weight.grad is not None
    with torch.no_grad():
        assert not bounds("affine_relu").requires_grad


# ---------------------------------------------------------------- estimates on any graph


def test_the_estimate_of_a_graph_is_that_of_the_closed_form() -> None:
    net, problem = mlp(6, 12, 9, 4).double(), LocalLipschitz(LinfBall(0.2), p=2.0)
    x, y = points(None, 5)
    captured, estimator = capture(net, x), get_estimator("affine_relu")
    chain, ours, theirs = fixed_chain(captured), PowerIteration(shared=True), PowerIteration(shared=True)
    assert chain is not None
    assert isinstance(estimator, BoundEstimator)
    for _ in range(4):
        bounds = closed_form(chain, problem, x, y, "affine_relu", ["interval"], ours)
        assert bounds is not None
        analysis = live_analysis(captured.live(), problem, x, y, estimator, ["interval"], theirs)
        expected = estimator.bound(analysis)
        torch.testing.assert_close(bounds, expected, rtol=1e-10, atol=0.0)
        gradients = [torch.autograd.grad(b.square().sum(), chain.weights) for b in (bounds, expected)]
        for mine, other in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("scope", "methods"),
    [
        (scope, [method])
        for turn, scope in enumerate(("regional", "pointed"))
        for place, method in enumerate(("interval", "ball"))
        if sampled(2, turn, place)
    ],
)
def test_estimates_on_a_residual_network_converge(scope: Any, methods: list[str]) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.one(x))
            return self.three(F.relu(self.two(x) + x))

    net, problem = Residual().double(), LocalLipschitz(L2Ball(0.1), scope=scope)
    x, y = torch.rand(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2])
    captured, estimator, power = capture(net, x), get_estimator("affine_relu"), PowerIteration(shared=False)
    assert isinstance(estimator, BoundEstimator)
    expected = estimate(captured, problem, x, y, bound=Bound("affine_relu", methods, "exact"))
    for _ in range(300):
        estimate_now = estimator.bound(live_analysis(captured.live(), problem, x, y, estimator, methods, power))
        if torch.allclose(estimate_now, expected, rtol=1e-5, atol=0.0):
            break
    torch.testing.assert_close(estimate_now, expected, rtol=1e-4, atol=0.0)
