"""The door to the enumeration: what it answers, and what it refuses."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lipreg import (
    AllLogits,
    AllMargins,
    Box,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Margin,
    Polytope,
    UnitCube,
    Vector,
    certify,
)
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.regions import Region
from lipreg.testing import exact_constants
from lipreg.testing import pieces as pieces_of
from lipreg.testing.networks import input_size, mlp, network
from tests.sampling import one_in

X = torch.tensor([[0.2, 0.1], [0.4, 0.6]])


def test_a_unit_with_one_kink() -> None:
    """f(x) = relu(x - 1) at x0 = 0, radius 2: the quotient against x0 is at most 1/2, the slope on [1, 2] is 1."""
    net = mlp(1, 1, 1)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (1.0, -1.0, 1.0, 0.0), strict=True):
            parameter.fill_(value)
    for scope, wanted in (("regional", 1.0), ("pointed", 0.5)):
        problem = LocalLipschitz(LinfBall(2.0), Logit(0), scope)  # type: ignore[arg-type]
        assert exact_constants(net, problem, torch.zeros(1, 1)) == [(wanted, wanted)]


@pytest.mark.parametrize(
    "region",
    [
        UnitCube(),
        LinfBall(0.3, low=0.0),
        Polytope([[1.0, 1.0]], [0.5], low=-1.0, high=1.0, relative=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("output", [AllMargins(), Margin(), Logit(), Vector()], ids=str)
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_labels_runner_ups_and_regions_are_read_from_the_question(scope: str, output: object, region: Region) -> None:
    net, y = network("shallow").float().train(), torch.tensor([2, 0])
    problem = LocalLipschitz(region, output, scope)  # type: ignore[arg-type]
    for (low, high), found in zip(exact_constants(net, problem, X, y), certify(net.eval(), problem, X, y), strict=True):
        assert low == high and found.lower <= high * (1 + 1e-9) and found.upper >= low * (1 - 1e-9)
        assert found.upper == pytest.approx(high, rel=1e-5)


def test_where_no_list_of_points_holds_the_maximum_it_is_an_interval() -> None:
    problem = LocalLipschitz(L2Ball(0.5), AllLogits(), "pointed")
    for low, high in exact_constants(network("deep"), problem, X):
        assert 0 < low < high < math.inf


class Shared(nn.Module):
    """One activation, called twice, and another that is defined before it and called after it."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.act = nn.LeakyReLU(0.3), nn.ReLU()
        self.a, self.b, self.c = nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.c(self.act(self.b(self.act(self.a(x))))))


def test_activations_may_be_shared_and_are_taken_in_the_order_of_their_calls() -> None:
    torch.manual_seed(0)
    net, problem = Shared(), LocalLipschitz(LinfBall(1.0), AllLogits())
    for (low, high), found in zip(exact_constants(net, problem, X), certify(net, problem, X), strict=True):
        assert found.lower == pytest.approx(low, rel=1e-5) and found.upper == pytest.approx(high, rel=1e-5)


def test_what_it_cannot_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = LocalLipschitz(LinfBall(1.0), AllMargins())
    hidden = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 2))
    with pytest.raises(InvalidInput, match=r"aten\.sigmoid.*nn\.ReLU"):
        exact_constants(hidden, LocalLipschitz(LinfBall(1.0), AllLogits()), X)
    with pytest.raises(InvalidInput, match="label"):
        exact_constants(network("shallow"), problem, X)
    with pytest.raises(UnsupportedRequest, match=r"nn\.Unflatten"):
        exact_constants(nn.Flatten(), problem, torch.zeros(1, 1, 2, 2))
    with pytest.raises(UnsupportedRequest, match="low and high"):
        open_ended = Polytope([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [1.0, 1.0, 1.0, 1.0])
        exact_constants(network("shallow"), LocalLipschitz(open_ended, AllLogits()), X)
    monkeypatch.setattr(pieces_of, "MOST_PIECES", 3)
    with pytest.raises(UnsupportedRequest, match="more than 3 linear pieces"):
        exact_constants(network("shallow"), LocalLipschitz(LinfBall(1.0), AllLogits()), X)


class Calls(nn.Module):
    """A linear map to two numbers, and whatever is done to them."""

    def __init__(self, then: Callable[[torch.Tensor], torch.Tensor], bias: float = 0.0) -> None:
        super().__init__()
        self.map, self.then = nn.Linear(2, 2).double(), then
        with torch.no_grad():
            self.map.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 9.0]]))
            self.map.bias.copy_(torch.tensor([bias, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.then(self.map(x))


class Clip(nn.ReLU):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.clamp(-500.0, 500.0)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_relus_in_place_and_as_functions_are_relus(scope: str) -> None:
    problem = LocalLipschitz(LinfBall(2.0), AllLogits(), scope)  # type: ignore[arg-type]
    for name in ("line", "deep", "leaky", "residual"):
        plain = network(name)
        changed, x = copy.deepcopy(plain), torch.full((1, input_size(plain)), 0.1)
        for module in changed.modules():
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                module.inplace = True
        if name != "residual":  # the sum there is over the same memory
            assert exact_constants(changed, problem, x) == exact_constants(plain, problem, x)
    x = torch.zeros(1, 2)
    twice = exact_constants(Calls(lambda h: torch.relu_(h) + h), problem, x)  # h is rectified where it stands
    assert twice == exact_constants(Calls(lambda h: 2.0 * torch.relu(h)), problem, x) == [(18.0, 18.0)]


@pytest.mark.parametrize(
    ("then", "named"),
    [
        (lambda h: nn.MaxPool1d(2)(h.unsqueeze(1)).flatten(1), r"aten\.max_pool"),
        (lambda h: h.clamp(-500.0, 500.0), r"aten\.clamp"),
        (nn.Hardtanh(-500.0, 500.0), r"aten\.hardtanh"),
        (Clip(), r"aten\.clamp"),
        (lambda h: h if h.sum() > -500.0 else 2.0 * h, r"aten\.gt"),
        (lambda h: torch.as_tensor(h.numpy().clip(-500.0, 500.0)), r"Tensor\.numpy"),
        (lambda h: h * h, r"aten\.mul"),
        (lambda h: torch.div(h, 1.0, rounding_mode="floor"), r"aten\.div"),
    ],
)
def test_what_else_is_not_affine_is_refused_by_name_however_far_its_kinks(then: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        exact_constants(Calls(then, 300.0), LocalLipschitz(LinfBall(1.0), AllLogits()), torch.zeros(1, 2))


def _filled(*numbers: list[Any]) -> nn.Module:
    net = mlp(2, 2, 1).double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), numbers, strict=True):
            parameter.copy_(torch.tensor(value, dtype=torch.float64))
    return net


def test_units_of_weights_regions_and_polytopes_do_not_matter() -> None:
    x = torch.zeros(1, 2)
    tiny = _filled([[1e-13, 0.0], [0.0, 1e-13]], [-0.5e-13, -0.25e-13], [[1e13, -2e13]], [0.0])
    far = _filled([[1.0, 0.0], [1.0, 1.0]], [-9.99e6, -1.9995e7], [[1.0, 100.0]], [0.0])
    for net, radius, regional, pointed in ((tiny, 1.0, 2.0, 1.5), (far, 1e7, 101.0, 0.0255)):
        for scope, wanted in (("regional", regional), ("pointed", pointed)):
            problem = LocalLipschitz(LinfBall(radius), Logit(0), scope, 1)  # type: ignore[arg-type]
            ((low, high),) = exact_constants(net, problem, x)
            assert low == high == pytest.approx(wanted, rel=1e-6)
    faces, levels = (
        torch.tensor([[1.0, 1.0], [1.0, -2.0], [-3.0, 1.0]]).double(),
        torch.tensor([0.25, 0.375, 0.25]).double(),
    )
    for name in ("shallow", "deep"):
        found = []
        for unit in (1.0, 1e-9, 1e6):
            region = Polytope((faces * unit).tolist(), (levels * unit).tolist(), low=-1.0, high=1.0)
            found.append(exact_constants(network(name), LocalLipschitz(region, Logit(0), "pointed", math.inf), x)[0])
        assert found[1] == pytest.approx(found[0], rel=1e-9) and found[2] == pytest.approx(found[0], rel=1e-9)


@pytest.mark.parametrize("radius", [1e-5, 1e-8, 1e-12])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_within_one_piece_it_is_the_slope_however_small_the_region(scope: str, radius: float) -> None:
    net, x = network("deep"), torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    steepest = float(np.abs(pieces_of.jacobian(net, x[0].numpy())).max())
    for region in (LinfBall(radius), L1Ball(radius), L2Ball(radius)):
        ((low, high),) = exact_constants(net, LocalLipschitz(region, AllLogits(), scope, 1), x)  # type: ignore[arg-type]
        assert high == pytest.approx(steepest, rel=1e-9) and low <= high
        assert low == pytest.approx(high, rel=0.05 if isinstance(region, L2Ball) else 1e-9)


def test_what_rounding_hides_is_refused() -> None:
    x = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    with pytest.raises(UnsupportedRequest, match="linear piece between"):  # pieces of size one in a region of size 1e9
        exact_constants(network("deep"), LocalLipschitz(LinfBall(1e9), AllLogits(), "pointed"), x)
    thin = Box([-1.0, -0.2 - 1e-10], [1.0, -0.2 + 1e-10])
    with pytest.raises(UnsupportedRequest, match="kink or border"):
        exact_constants(network("deep"), LocalLipschitz(thin, AllLogits(), "pointed"), x)


def test_points_and_labels_that_do_not_fit_are_refused() -> None:
    net = network("shallow")
    outside = torch.tensor([[3.0, 3.0]])
    for region in (UnitCube(), LinfBall(0.1, 0.0, 1.0), L2Ball(0.1, 0.0, 1.0), Polytope([[1.0, 1.0]], [1.0], 0.0, 1.0)):
        with pytest.raises(InvalidInput, match="outside"):
            exact_constants(net, LocalLipschitz(region, AllLogits()), outside)
    for y in (torch.tensor([-1, 0]), torch.tensor([7, 0]), torch.tensor([1.0, 0.0]), torch.tensor([1])):
        with pytest.raises(InvalidInput, match="labels"):
            exact_constants(net, LocalLipschitz(LinfBall(0.1), Logit()), X, y)
