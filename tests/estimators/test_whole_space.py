"""The constant over all of R^n: against the linear pieces listed in fractions, boxes, published values, and by scaling."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, AllPairs, Box, Budget, LinfBall, LocalLipschitz, Vector, WholeSpace, certify, estimate
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.outputs import Output
from lipreg.results import CertifiedInterval, Status
from lipreg.testing import exact_constants
from lipreg.testing.networks import JUDGED, Pooled, input_size, mlp, network, written_out
from tests.sampling import sampled

QUESTIONS: list[tuple[float, Output, float | None]] = [
    (2.0, AllLogits(), None),
    (math.inf, AllPairs(), None),
    (1.0, Vector(), math.inf),
    (math.inf, Vector(), 1.0),
]
BOUNDS = ("spectral", "affine_relu", "abs_chain", "fastlip", "jacobian_crown", "deviation", "mixing", "lipsdp_global")
PUBLISHED = Path(os.environ.get("LIPREG_NETS") or Path(__file__).resolve().parents[3] / "shared" / "nets") / "exlipbab"


def _origin(net: nn.Module) -> Tensor:
    return torch.zeros(1, input_size(net), dtype=torch.float64)


def _exact(net: nn.Module, problem: LocalLipschitz, x: Tensor | None = None) -> CertifiedInterval:
    (found,) = certify(
        net, problem, _origin(net) if x is None else x, estimator="branch_and_bound", budget=Budget(30.0)
    )
    return found


@cache
def _steepest(kind: str) -> float:
    net = network(kind)
    return exact_constants(written_out(net), LocalLipschitz(WholeSpace(), AllLogits()), _origin(net))[0][0]


def _layers(*layers: tuple[list[list[float]], list[float]], leak: float = 0.0) -> nn.Module:
    """A chain of the given weights and biases."""
    found: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(weight)).double()
        linear.weight.data, linear.bias.data = (torch.tensor(own, dtype=torch.float64) for own in (weight, bias))
        found += [linear, nn.LeakyReLU(leak)]
    return nn.Sequential(*found[:-1])


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_the_largest_of_all_linear_pieces(name: str) -> None:
    """Chains, branches, leaky ReLUs, max pools, convolutions and dead units, in several norms."""
    turn = sorted(JUDGED).index(name)
    net = network(name, turn % 2)
    p, output, q = QUESTIONS[turn % len(QUESTIONS)]
    problem = LocalLipschitz(WholeSpace(), output, p=p, q=q)
    ((truth, same),) = exact_constants(written_out(net), problem, _origin(net))
    found = _exact(net, problem, torch.full_like(_origin(net), 3.25))
    assert truth == same and found.status is Status.PROVED
    assert found.lower == pytest.approx(truth, rel=1e-6) and found.upper == pytest.approx(truth, rel=1e-5)
    assert found.lower <= truth * (1 + 1e-9) and found.upper >= truth * (1 - 1e-9)


FAR = {
    # a kink at 1e9 behind which the slope is 4, and one at 1e9 + 1 that takes it back
    "a step at 1e9": (_layers(([[1.0], [1.0]], [-1e9, -1e9 - 1.0]), ([[4.0, -4.0]], [0.0])), 4.0),
    # both units are on where x > 1e9 and x < -1e9, nowhere: only rays with s = 0 lie on both borders
    "nowhere": (_layers(([[1.0], [-1.0]], [-1e9, -1e9]), ([[3.0, -3.0]], [0.5]), ([[1.0]], [0.0])), 3.0),
    # relu(-|x| - 1) is off everywhere
    "dead": (
        _layers(([[1.0], [-1.0]], [0.0, 0.0]), ([[-1.0, -1.0], [1.0, 1.0]], [-1.0, 0.0]), ([[100.0, 1.0]], [0.0])),
        1.0,
    ),
    # two units on one hyperplane, one the negative of the other, and copies of them
    "tied": (
        _layers(([[1.0, 2.0], [-1.0, -2.0], [2.0, 4.0]], [1.0, -1.0, 2.0]), ([[5.0, -7.0, 1.0]], [0.0])),
        7.0 * 5**0.5,
    ),
    # no biases: the cells are cones, and nothing depends on s
    "no biases": (_layers(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[3.0, 4.0]], [0.0])), 5.0),
    # relu(x) - relu(y) in all of R^2 but a sliver between two nearly parallel lines
    "sliver": (_layers(([[1.0, 0.0], [-1.0, 1e-9]], [0.0, -1.0]), ([[3.0, 3.0]], [0.0])), 3.0),
}


@pytest.mark.parametrize("name", sorted(FAR))
def test_patterns_far_out_and_patterns_that_are_none(name: str) -> None:
    net, steepest = FAR[name]
    x = torch.zeros(1, net[0].in_features, dtype=torch.float64)  # type: ignore[index,arg-type]
    problem = LocalLipschitz(WholeSpace(), AllLogits())
    found = _exact(net, problem, x)
    ((truth, _),) = exact_constants(net, problem, x)
    assert truth == pytest.approx(steepest, rel=1e-6)
    assert found.upper == pytest.approx(truth, rel=1e-5) and found.upper >= truth * (1 - 1e-9)
    assert found.lower == pytest.approx(truth, rel=1e-6) and found.status is Status.PROVED


def test_no_box_has_a_larger_constant_and_a_large_one_has_the_same() -> None:
    torch.manual_seed(3)
    net = mlp(2, 6, 4, 2).double()
    x, everywhere = (
        torch.zeros(1, 2, dtype=torch.float64),
        _exact(net, LocalLipschitz(WholeSpace(), p=2.0, output=AllLogits())),
    )
    small, large = (
        certify(net, LocalLipschitz(Box(-end, end), AllLogits(), p=2.0), x, estimator="branch_and_bound")[0]
        for end in (1.0, 1e4)
    )
    assert small.lower <= large.lower * (1 + 1e-9) and large.lower <= everywhere.upper
    assert large.upper == pytest.approx(everywhere.lower, rel=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e5])
def test_scaling_inputs_and_layers(factor: float) -> None:
    """f(x / c) has 1 / c of the constant; c times the outputs have c times it."""
    torch.manual_seed(5)
    net = mlp(3, 5, 4, 2).double()
    problem = LocalLipschitz(WholeSpace(), AllLogits(), p=math.inf)
    before = _exact(net, problem)
    with torch.no_grad():
        net[0].weight /= factor
    assert _exact(net, problem).lower == pytest.approx(before.lower / factor, rel=1e-6)
    with torch.no_grad():
        net[4].weight *= factor
        net[4].bias *= factor
    again = _exact(net, problem)
    assert again.lower == pytest.approx(before.lower, rel=1e-6) and again.status is Status.PROVED


def test_units_of_inputs_and_measured_inputs() -> None:
    torch.manual_seed(6)
    net, x = mlp(3, 5, 4, 2).double(), torch.zeros(1, 3, dtype=torch.float64)
    scaled = nn.Sequential(nn.Linear(3, 3, bias=False).double(), *net)
    scaled[0].weight.data = torch.diag(torch.tensor([2.0, 0.5, 4.0], dtype=torch.float64))
    by_scale = _exact(net, LocalLipschitz(WholeSpace(), AllLogits(), scale=[2.0, 0.5, 4.0]), x)
    by_layer = _exact(scaled, LocalLipschitz(WholeSpace(), AllLogits()), x)
    assert by_scale.lower == pytest.approx(by_layer.lower, rel=1e-6) and by_scale.status is Status.PROVED
    every = _exact(net, LocalLipschitz(WholeSpace(), AllLogits(), p=1.0), x)
    alone = [_exact(net, LocalLipschitz(WholeSpace(), AllLogits(), measured=[i]), x) for i in range(3)]
    assert max(one.lower for one in alone) == pytest.approx(every.lower, rel=1e-6)


@pytest.mark.parametrize("name", BOUNDS)
def test_closed_bounds_hold_over_all_of_it(name: str) -> None:
    turn = BOUNDS.index(name)
    for kind in (k for place, k in enumerate(("solid", "residual", "leaky", "pooled")) if sampled(2, turn, place)):
        net = network(kind)
        problem, x = LocalLipschitz(WholeSpace(), AllLogits()), _origin(net) + 0.5
        if name == "lipsdp_global" and isinstance(net, Pooled):
            continue
        truth = _steepest(kind)
        (found,) = certify(net, problem, x, estimator=name)
        assert math.isfinite(found.upper) and found.upper >= truth
        pointed = LocalLipschitz(WholeSpace(), AllLogits(), scope="pointed")
        try:
            (bound,) = certify(net, pointed, x, estimator=name)
        except UnsupportedRequest:
            continue
        (seen,) = certify(net, pointed, x, estimator="sampling")
        assert math.isfinite(bound.upper) and seen.lower <= bound.upper and 0 < seen.lower <= truth * (1 + 1e-9)


def test_penalties_have_gradients() -> None:
    net = network("deep").float()
    for name in ("affine_relu", "abs_chain", "fastlip"):
        value = estimate(net, LocalLipschitz(WholeSpace(), AllLogits(), p=math.inf), torch.zeros(2, 2), bound=name)
        (gradient,) = torch.autograd.grad(value.sum(), [next(net.parameters())])
        assert torch.isfinite(value).all() and torch.isfinite(gradient).all() and gradient.any()


def test_what_is_refused() -> None:
    net, x = network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    for name in ("mip", "lp", "clever"):
        with pytest.raises(UnsupportedRequest, match=r"all of R\^n"):
            certify(net, LocalLipschitz(WholeSpace(), AllLogits(), p=math.inf), x, estimator=name)
    with pytest.raises(UnsupportedRequest, match="scope"):
        certify(net, LocalLipschitz(WholeSpace(), AllLogits(), scope="pointed"), x, estimator="branch_and_bound")
    with pytest.raises(InvalidInput, match="data range"):
        WholeSpace(low=0.0, high=1.0)


def test_how_it_is_said() -> None:
    problem = LocalLipschitz(WholeSpace(), AllLogits())
    assert problem.p == 2.0 and "over all of R^n" in problem.sentence()
    assert problem.describe()["region"] == {"kind": "WholeSpace", "norm": "2"}
    assert WholeSpace() == WholeSpace() and problem != LocalLipschitz(LinfBall(1.0), AllLogits())


@pytest.mark.parametrize(("name", "constant"), [("wine_net_11x12x12x1_ReLU", 1.7433699967)])
def test_published_constants(name: str, constant: float) -> None:
    """ExLipBaB, 2026: l2 of the whole output over all of R^n."""
    if not (PUBLISHED / f"{name}.npz").exists():
        pytest.skip(f"no {name}.npz in {PUBLISHED}")
    with np.load(PUBLISHED / f"{name}.npz") as saved:
        layers = [(saved[f"W{i}"], saved[f"b{i}"]) for i in range(len(saved.files) // 2)]
    net = _layers(*((weight.tolist(), bias.flatten().tolist()) for weight, bias in layers))
    found = _exact(
        net, LocalLipschitz(WholeSpace(), AllLogits()), torch.zeros(1, layers[0][0].shape[1], dtype=torch.float64)
    )
    assert found.status is Status.PROVED and found.lower == pytest.approx(constant, abs=1e-9)
