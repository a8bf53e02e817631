"""Values and gradients of penalties over regions with and without ends: finite, and those of finite differences."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import (
    AllMargins,
    Box,
    L1Ball,
    L2Ball,
    LinfBall,
    LipschitzPenalty,
    LocalLipschitz,
    Logit,
    Polytope,
    Vector,
    WholeSpace,
    estimate,
)
from lipreg.bounds import Slopes, ValueBounds, slope_bounds
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import differentiable_names
from lipreg.quantities import QUANTITIES
from lipreg.regions import Region
from lipreg.regions.reference import largest_radius
from lipreg.testing.gradients import bound_as_function_of_parameters
from lipreg.testing.networks import mlp

REGIONS: dict[str, Region] = {
    "whole": WholeSpace(),
    "linf": LinfBall(0.3),
    "one end": LinfBall(0.3, low=-0.5),
    "l2, one end": L2Ball(0.3, high=0.5),
    "l1": L1Ball(0.3),
    "fixed": Box([0.13, -1.0], [0.13, 1.0]),
    "polytope": Polytope([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]], [1.0, 1.0, 1.0]),
    "huge": LinfBall(1e30),
}
NETS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: mlp(2, 4, 3, 3),
    "leaky": lambda: mlp(2, 4, 3, negative_slope=0.2),
    "gelu": lambda: nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 3)),
}
ASKED: tuple[tuple[str, Any, Any], ...] = (
    ("relu", "pointed", AllMargins()),
    ("relu", "regional", Vector()),
    ("leaky", "pointed", Vector()),
    ("gelu", "pointed", AllMargins()),
)
X, Y = torch.tensor([[0.13, -0.21], [0.13, 0.4]], dtype=torch.float64), torch.tensor([0, 1])


def net_of(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return NETS[name]().double()


@pytest.mark.parametrize("region", REGIONS)
def test_every_penalty_and_its_gradient_are_finite(region: str) -> None:
    """Or refused: of all bounds and quantities, in both scopes, and of all penalties of the default bound."""
    p, taken = {"l2, one end": 2.0, "l1": 1.0}.get(region, math.inf), 0
    asked: list[dict[str, Any]] = [{"bound": name} for name in differentiable_names()]
    asked += [{"quantity": name} for name in QUANTITIES if name != "bound"]
    asked += [{"penalty": given} for given in ("layer_sum", "log", {"kind": "hinge", "target": 0.1})]
    for (name, scope, output), what in itertools.product(ASKED, asked):
        net, q = net_of(name), p if isinstance(output, Vector) else None
        problem = LocalLipschitz(REGIONS[region], output=output, p=p, q=q, scope=scope)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = LipschitzPenalty(net, problem, weight=1.0, **what)(X, Y)
        except UnsupportedRequest:
            continue
        assert value is not None and bool(torch.isfinite(value)), (name, scope, what)
        if value.requires_grad:
            value.backward()
        assert all(w.grad is None or bool(torch.isfinite(w.grad).all()) for w in net.parameters()), (name, scope, what)
        taken += 1
    assert taken > 10


@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain", "fastlip", "jacobian_crown"])
def test_gradients_over_all_of_space_are_those_of_finite_differences(bound: str) -> None:
    for name, scope in itertools.product(("relu", "leaky"), ("regional", "pointed")):
        problem = LocalLipschitz(WholeSpace(), AllMargins(target=0), scope)  # type: ignore[arg-type]
        function, parameters = bound_as_function_of_parameters(net_of(name), problem, X, bound)
        assert torch.autograd.gradcheck(function, parameters, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("ball", [LinfBall, L1Ball, L2Ball])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_radius_beyond_the_dtype_is_refused(ball: Callable[..., Region], dtype: torch.dtype) -> None:
    """Where its sums overflow a bound was 0, by the closed form and by the graph."""
    net, x = net_of("relu").to(dtype), X.to(dtype)
    largest = largest_radius(dtype)
    for scope, bound in itertools.product(("regional", "pointed"), ("affine_relu", "fastlip")):
        problem = LocalLipschitz(ball(1.1 * largest), Logit(0), scope)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"a radius up to .* or WholeSpace\(\) for all of R\^n"):
            estimate(net, problem, x, bound=bound)
        within = LocalLipschitz(ball(0.9 * largest), Logit(0), scope)  # type: ignore[arg-type]
        space = LocalLipschitz(WholeSpace(), Logit(0), scope, p=within.p)  # type: ignore[arg-type]
        found, endless = (estimate(net, each, x, bound=bound).detach() for each in (within, space))
        assert bool(torch.isfinite(found).all()) and bool((found > 0.4 * endless).all())


def pointed(ends: list[Tensor], leak: float) -> Slopes:
    y, low, high = ends
    return slope_bounds(ValueBounds(y, low, high, torch.tensor([[True]])), leak, "pointed")


@pytest.mark.parametrize("leak", [0.0, 0.2])
def test_pointed_slopes_at_infinite_ends_are_the_limits_and_have_gradients(leak: float) -> None:
    """Of every y, with either end, both or none at infinity, and with ends so far out that their difference is."""
    for y, low, high in itertools.product((-1e308, -0.7, 0.0, 0.7, 1e308), (-math.inf, -1.7e308), (1.7e308, math.inf)):
        ends = [torch.tensor([[number]], dtype=torch.float64, requires_grad=True) for number in (y, low, high)]
        slopes = pointed(ends, leak)
        (slopes.lower + slopes.upper).sum().backward()
        lower, upper = float(slopes.lower.detach()), float(slopes.upper.detach())
        assert all(end.grad is not None and bool(torch.isfinite(end.grad).all()) for end in ends), (y, low, high)
        near = pointed([end.detach().clamp(-1e300, 1e300) / 1e100 for end in ends], leak)
        assert lower <= float(near.lower) + 1e-12 and upper >= float(near.upper) - 1e-12
        if abs(y) <= 1:  # in the limit every secant from y to either side
            assert (lower, upper) == (pytest.approx(leak), 1.0)
