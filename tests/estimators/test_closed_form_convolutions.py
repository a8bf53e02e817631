"""The closed forms on convolutional chains, against the registered estimators on the same graphs: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, AllPairs, Bound, Box, LinfBall, LipschitzPenalty, LocalLipschitz
from lipreg.estimators import BoundEstimator, estimate, get_estimator, live_analysis
from lipreg.graph import ReluChain, capture, chain_of, fixed_chain
from lipreg.linalg import PowerIteration
from tests.estimators.test_closed_form import closed_form
from tests.sampling import one_in

SHAPE = (2, 7, 6)


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 4),
    )  # fmt: skip


def padded() -> nn.Module:
    """Padding that torch's own covers and does not, dilation, groups, no bias."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), nn.ReLU(),
        nn.Conv2d(4, 6, 2, padding="same", dilation=2, groups=2, bias=False), nn.ReLU(),
        nn.Conv2d(6, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(60, 4),
    )  # fmt: skip


def pooled() -> nn.Module:
    """Average pools and running statistics, which fold into kernels and matrices."""
    net = nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(4, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    for norm in (net[0], net[2]):
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            nn.init.uniform_(tensor, 0.5, 1.5)
    return net


class Calls(nn.Module):
    """A forward with calls in place of modules, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 2), nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(torch.relu(self.second(x)).flatten(1))


def dying() -> nn.Module:
    """Channels that are off, channels without weights, and windows that nothing reaches."""
    net = lenet()
    with torch.no_grad():
        net[0].bias[:2] = -50.0  # type: ignore[index]
        net[0].weight[2] = 0.0  # type: ignore[index]
        net[2].weight[0, 2:] = 0.0  # type: ignore[index]
        net[2].bias[0] = 1.0  # type: ignore[index]
    return net


def two_matrices() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 5), nn.Linear(5, 4))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": lenet,
    "padded": padded,
    "pooled": pooled,
    "calls": Calls,
    "dying": dying,
    "two matrices": two_matrices,
}
CUT, OPEN = LinfBall(0.2, low=0.0, high=1.0), LinfBall(0.2)
HELD = Box(torch.zeros(SHAPE).tolist(), torch.rand(SHAPE).where(torch.rand(SHAPE) > 0.3, torch.zeros(())).tolist())


def seeded(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double().eval()


def points(count: int, region: Any = CUT) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, *SHAPE, dtype=torch.float64)
    return x * torch.tensor(region.upper) if isinstance(region, Box) else x, torch.arange(count) % 4


def chain_in(captured: Any) -> ReluChain:
    chain = fixed_chain(captured) or chain_of(captured.live())
    assert chain is not None
    return chain


def compare(ours: Tensor | None, theirs: Tensor, net: nn.Module, rtol: float = 1e-9) -> None:
    """Bounds, and gradients of a loss that weighs the points differently, in every parameter."""
    assert ours is not None
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-12)
    weights = torch.linspace(-1.0, 2.0, len(ours), dtype=ours.dtype)
    found = [
        torch.autograd.grad((weights * b).sum(), list(net.parameters()), allow_unused=True, materialize_grads=True)
        for b in (ours, theirs)
    ]
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain", "fastlip"])
@pytest.mark.parametrize("region", [CUT, OPEN, HELD], ids=["cut", "open", "held"])
@pytest.mark.parametrize("network", NETWORKS)
@one_in(3)
def test_it_is_the_registered_bound(network: str, region: Any, bound: str) -> None:
    net = seeded(network)
    for count, methods in ((4, ["interval"]), (40, ["interval"]), (5, ["ball"]), (5, ["ball", "interval"])):
        x, y = points(count, region)
        captured, problem = capture(net, x), LocalLipschitz(region)
        ours = closed_form(chain_in(captured), problem, x, y, bound, methods)
        compare(ours, estimate(captured, problem, x, y, bound=Bound(bound, methods, "exact")), net)


@pytest.mark.parametrize("region", [CUT, HELD], ids=["cut", "held"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_registered_estimate(network: str, region: Any) -> None:
    net, problem = seeded(network), LocalLipschitz(region, p=2.0)
    x, y = points(6, region)
    captured, estimator = capture(net, x), get_estimator("affine_relu")
    assert isinstance(estimator, BoundEstimator)
    ours, theirs = PowerIteration(shared=True), PowerIteration(shared=True)
    for _ in range(3):
        bounds = closed_form(chain_in(captured), problem, x, y, "affine_relu", ["interval"], ours)
        analysis = live_analysis(captured.live(), problem, x, y, estimator, ["interval"], theirs)
        compare(bounds, estimator.bound(analysis), net)


def test_one_dimension() -> None:
    net = nn.Sequential(
        nn.Conv1d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv1d(4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(15, 4)
    )
    net, x, y = net.double(), torch.rand(5, 3, 8, dtype=torch.float64), torch.arange(5) % 4
    captured = capture(net, x)
    for bound in ("affine_relu", "abs_chain", "fastlip"):
        ours = closed_form(chain_in(captured), LocalLipschitz(CUT), x, y, bound, ["interval"])
        compare(ours, estimate(captured, LocalLipschitz(CUT), x, y, bound=Bound(bound, spectral_norms="exact")), net)


@given(
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_transposes(channels: int, kernel: Any, stride: Any, padding: Any) -> None:
    """By phases or by torch, <W x, u> = <x, W^T u>, in |W| too."""
    convolution = nn.Conv2d(channels, 4, kernel, stride, padding).double()
    net = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.LazyLinear(4, dtype=torch.float64))
    x = torch.rand(3, channels, 7, 6, dtype=torch.float64)
    net(x)
    (layer, _) = chain_in(capture(net, x)).layers
    with torch.no_grad():
        layer.measure()
        for absolute in (False, True):
            through = layer.forward(x, absolute)
            u = torch.randn_like(through)
            back = layer.back(u, absolute)
            torch.testing.assert_close((through * u).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("output", [AllMargins(2), AllLogits(), AllPairs()], ids=str)
def test_other_functionals(output: Any) -> None:
    net, problem = seeded("lenet"), LocalLipschitz(CUT, output)
    x, y = points(20)
    captured = capture(net, x)
    ours = closed_form(chain_in(captured), problem, x, y, "affine_relu", ["interval"])
    compare(ours, estimate(captured, problem, x, y, bound=Bound("affine_relu", spectral_norms="exact")), net)


@given(
    seed=st.integers(0, 10_000),
    channels=st.integers(1, 5),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_random_geometries(seed: int, channels: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    torch.manual_seed(seed)
    first = nn.Conv2d(2, 4, 2)
    second = nn.Conv2d(4, channels, kernel, stride, padding, dilation)
    if min(6 + 2 * padding, 5 + 2 * padding) < dilation * (kernel - 1) + 1:
        return
    x, y = points(5)
    width = second(first(x.float())).flatten(1).shape[1]
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(width, 4)).double()
    captured, problem = capture(net, x), LocalLipschitz(CUT)
    for bound in ("affine_relu", "abs_chain", "fastlip"):
        ours = closed_form(chain_in(captured), problem, x, y, bound, ["interval"])
        compare(ours, estimate(captured, problem, x, y, bound=Bound(bound, spectral_norms="exact")), net)


def test_which_chains_stand_on_their_parameters() -> None:
    """Folded weights are computed at each evaluation; plain ones are read where they are, and watched."""
    x = torch.rand(2, *SHAPE, dtype=torch.float64)
    standing = {name for name in NETWORKS if fixed_chain(capture(seeded(name), x)) is not None}
    assert standing == {"lenet", "padded", "calls", "dying"}
    net = seeded("lenet")
    chain = fixed_chain(capture(net, x))
    assert chain is not None
    assert chain.is_current()
    net[0].weight = nn.Parameter(net[0].weight.detach().clone())  # type: ignore[index]
    assert not chain.is_current()
    shifted = nn.Sequential(Shifted(lenet()), nn.ReLU(), nn.Linear(4, 4)).double()
    assert fixed_chain(capture(shifted, x)) is None


class Shifted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1.0


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("p", [float("inf"), 2.0])
def test_the_penalty_follows_training(network: str, p: float) -> None:
    """The term's gradient added to the loss's, step after step, in a network whose weights move."""
    net = seeded(network)
    problem = LocalLipschitz(CUT, p=p)
    penalty, power = LipschitzPenalty(net, problem, weight=0.1), PowerIteration(shared=True)
    estimator = get_estimator("affine_relu")
    assert isinstance(estimator, BoundEstimator)
    x, y = points(8)
    for _ in range(3):
        analysis = live_analysis(capture(net, x).live(), problem, x, y, estimator, ["interval"], power)
        expected = 0.1 * estimator.bound(analysis).mean()
        loss = nn.functional.cross_entropy(net(x), y)
        parameters = list(net.parameters())
        theirs = torch.autograd.grad(loss + expected, parameters)
        ours = torch.autograd.grad(nn.functional.cross_entropy(net(x), y) + penalty(x, y), parameters)
        for mine, other, parameter in zip(ours, theirs, parameters, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)
            with torch.no_grad():
                parameter.sub_(0.05 * mine)
