"""Products of the layers' norms, where layers were multiplied out: bounds of the network with all its layers.

The networks are read as fractions; two layers in a row cancel by eight orders, so that rounding shows.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, Box, Budget, L2Ball, LinfBall, LocalLipschitz, certify, identity
from lipreg.bounds import Analysis, analyse
from lipreg.bounds.induced import InducedNorms
from lipreg.estimators import frozen_analysis
from lipreg.estimators.cheap_bounds import products
from lipreg.graph import capture
from lipreg.testing import exact_constants
from tests import oracles
from tests.test_budget import Clock

SEEDS = range(12)
HUGE = 2.0**30
"""The size of entries of which sums of the size 1 are left."""
X = torch.zeros(1, 3, dtype=torch.float64)
ORDERS = {1.0: 1, 2.0: 2, math.inf: np.inf}
"""Of numpy's norms of matrices."""


def cancelling(seed: int, behind: bool = False) -> nn.Sequential:
    """A network with two layers in a row that cancel: before its ReLU, or behind it."""
    generator = torch.Generator().manual_seed(seed)
    first, second, other = (torch.randn(size, generator=generator).double() for size in ((4, 3), (3, 4), (3, 3)))
    first[1] = first[0] + torch.randn(3, generator=generator).double() / HUGE
    second[:, 0] *= HUGE
    second[:, 1] = -second[:, 0]
    layers = [nn.Linear(weight.shape[1], len(weight), bias=False).double() for weight in (first, second, other)]
    for layer, weight in zip(layers, (first, second, other), strict=True):
        layer.weight.data.copy_(weight)
    return (
        nn.Sequential(layers[2], nn.ReLU(), *layers[:2]) if behind else nn.Sequential(*layers[:2], nn.ReLU(), layers[2])
    )


def exact_product(*layers: nn.Module) -> np.ndarray:
    """The product of layers, the first one first, each entry rounded once from its fraction."""
    total = None
    for layer in layers:
        assert isinstance(layer, nn.Linear)
        weight = np.vectorize(Fraction, otypes=[object])(layer.weight.detach().numpy())
        total = weight if total is None else weight @ total
    assert total is not None
    return total.astype(float)


def norm(matrix: np.ndarray, p: float) -> float:
    return float(np.linalg.norm(matrix, ORDERS[p]))


def largest_row(matrix: np.ndarray, p: float) -> float:
    """The largest norm of a row over inputs measured in p."""
    return float(np.linalg.norm(matrix, {1.0: np.inf, 2.0: 2, math.inf: 1}[p], axis=1).max())


def analysis_of(net: nn.Module, problem: LocalLipschitz, x: Tensor = X) -> Analysis:
    return frozen_analysis(net, problem, x, None)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_what_rounding_took_from_a_layer_is_in_its_norm(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(seed: int) -> tuple[float, float]:
        net = cancelling(seed)
        exact = norm(exact_product(net[0], net[1]), p)
        columns, rows = torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
        norms = InducedNorms(capture(net, X).frozen())
        return float(norms(1, 0, p, rows, columns)) / exact, float(norms(1, 0, p, rows, columns / 4)) * 4 / exact

    ratios = [ends(seed) for seed in SEEDS]
    assert all(1.0 <= one <= 1.01 and other == pytest.approx(one, rel=1e-12) for one, other in ratios)
    monkeypatch.setattr(InducedNorms, "rounding", lambda *_: 0.0)
    assert min(one for one, _ in map(ends, SEEDS)) < 1.0 - 1e-9


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("behind", [False, True])
def test_a_product_is_never_below_that_of_the_exact_layers(p: float, behind: bool) -> None:
    problem = LocalLipschitz(LinfBall(0.1), AllLogits(), p=p)
    for seed in SEEDS:
        net = cancelling(seed, behind)
        first, last = (net[:1], net[2:]) if behind else (net[:2], net[3:])
        exact = norm(exact_product(*first.children()), p) * largest_row(exact_product(*last.children()), p)
        (interval,) = products(analysis_of(net, problem), Budget(math.inf).started())
        assert exact <= interval.upper <= 1.01 * exact and interval.proof == "spectral"
        assert certify(net, problem, X, estimator="spectral")[0].upper == pytest.approx(interval.upper, rel=1e-2)


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_outputs_too_many_for_rows_have_their_rounding_too(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MANY", 2)
    problem = LocalLipschitz(LinfBall(0.1), AllLogits(), p=p)
    for seed in SEEDS:
        net = cancelling(seed, behind=True)
        exact = norm(exact_product(net[0]), p) * largest_row(exact_product(*net[2:].children()), p)
        for name in ("spectral", "affine_relu"):
            (interval,) = certify(net, problem, X, estimator=name)
            assert exact <= interval.upper <= 1.01 * exact


def test_ball_bounds_stretch_by_the_exact_norm() -> None:
    problem = LocalLipschitz(L2Ball(1.0), AllLogits(), scope="pointed")
    for seed in SEEDS:
        net = cancelling(seed)
        graph = capture(net, X).frozen()
        (index, _), *_ = graph.relus()
        analysis = analyse(graph, problem.place(X, net(X)), ("ball",))
        assert float(analysis.value_bounds[index].distance) >= norm(exact_product(net[0], net[1]), 2.0)  # type: ignore[arg-type]


def normalised(dtype: torch.dtype, exponent: int) -> nn.Module:
    """A network with batch norm whose scale is multiplied by a power of two that the next layer is divided by."""
    net = oracles.network("batch_norm").to(dtype).eval()
    factor = 2.0**exponent
    with torch.no_grad():
        net[1].weight.mul_(factor), net[1].bias.mul_(factor)  # type: ignore[index,operator]
        net[3].weight.div_(factor)  # type: ignore[index,operator]
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_batch_norm_has_a_product_above_the_enumeration(p: float, dtype: torch.dtype) -> None:
    problem = LocalLipschitz(Box([-0.4, -0.4], [0.4, 0.4]), AllMargins(), p=p)
    x, y = torch.tensor([[0.1, -0.2], [-0.3, 0.2]], dtype=dtype), torch.tensor([0, 1])
    uppers = []
    for exponent in (0, 30, -30):
        net = normalised(dtype, exponent)
        exact = exact_constants(net, problem, x, y)
        intervals = products(frozen_analysis(net, problem, x, y), Budget(math.inf).started())
        assert all(one.upper >= low for one, (low, _) in zip(intervals, exact, strict=True))
        uppers.append([one.upper for one in intervals])
    assert uppers[1] == pytest.approx(uppers[0], rel=1e-12) and uppers[2] == pytest.approx(uppers[0], rel=1e-12)


def test_points_without_time_have_the_product_with_batch_norm_too() -> None:
    net = oracles.network("batch_norm").double().eval()
    problem, x = LocalLipschitz(LinfBall(0.1), AllLogits()), torch.rand(9, 2, dtype=torch.float64)
    late = certify(net, problem, x, budget=Budget(0.0, memory=1, clock=Clock(step=60.0)), estimator="fastlip")
    assert late[-1].proof == "spectral" and all(math.isfinite(one.upper) for one in late)
