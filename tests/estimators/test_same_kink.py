"""Units on one hyperplane in several calls, as in concatenated ReLUs: exact and confirmed, against an enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.estimators import certify, general_position
from lipreg.outputs import AllLogits, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from lipreg.testing import exact_constants
from tests.sampling import sampled

Forward = Callable[["_Net", Tensor], Tensor]


def _halves(h: Tensor) -> Tensor:
    return torch.cat([h.relu(), (-h).relu()], 1)


FORWARDS: dict[str, Forward] = {
    "concatenated": lambda net, x: net.wide(_halves(net.a(x))),
    "difference": lambda net, x: net.narrow(net.a(x).relu() - (-net.a(x)).relu()),
    "multiple": lambda net, x: net.narrow((3 * net.a(x)).relu() - net.a(x).relu()),
    "leaky": lambda net, x: net.wide(torch.cat([F.leaky_relu(net.a(x), 0.1), (-net.a(x)).relu()], 1)),
    "multiplied out": lambda net, x: net.wide(_halves(net.b(net.a(x)))),
    "second": lambda net, x: net.wide(_halves(net.b(net.a(x).relu()))),
    "residual": lambda net, x: net.wide(_halves(net.b(net.a(x).relu()) + net.a(x))),
    "one call": lambda net, x: net.wide(torch.relu(torch.cat([net.b(net.a(x)), -net.b(net.a(x))], 1))),
}


class _Net(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(2, 4), nn.Linear(4, 4)
        self.wide, self.narrow = nn.Linear(8, 2), nn.Linear(4, 2)
        self.own = forward
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self, x)


X = torch.tensor([[0.1, -0.2]], dtype=torch.float64)


@pytest.mark.parametrize("name", list(FORWARDS))
def test_they_are_exact_and_confirmed(name: str) -> None:
    asked = ((1.0, "mip"), (2.0, "branch_and_bound"), (math.inf, "branch_and_bound"), (math.inf, "mip"))
    for p, method in (each for place, each in enumerate(asked) if sampled(2, list(FORWARDS).index(name), place)):
        net, problem = _Net(FORWARDS[name]), LocalLipschitz(LinfBall(0.9), AllLogits(), p=p)
        ((low, high),) = exact_constants(net, problem, X)
        (found,) = certify(net, problem, X, estimator=method, budget=Budget(60.0))
        assert found.status is Status.PROVED, (p, method)
        assert found.lower == pytest.approx(low, rel=1e-6)
        assert found.upper == pytest.approx(high, rel=2e-6)


@pytest.mark.parametrize("name", list(FORWARDS))
def test_they_are_named(name: str) -> None:
    (report,) = general_position(_Net(FORWARDS[name]), LocalLipschitz(LinfBall(0.9), AllLogits()), X)
    assert report.harmless and "switch together" in report.sentence()


def test_what_is_nearly_the_negative_is_not_tied() -> None:
    def forward(net: _Net, x: Tensor) -> Tensor:
        h = net.a(x)
        return net.wide(torch.cat([h.relu(), (-h + 1e-15).relu()], 1))

    (report,) = general_position(_Net(forward), LocalLipschitz(LinfBall(0.9), AllLogits()), X)
    assert not report.harmless and "up to rounding" in report.sentence()


class _Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() - (-x).relu()


class _LargerOfItself(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(2 * x, 2 * x) + torch.minimum(x, x)


@pytest.mark.parametrize(("net", "slope"), [(_Identity(), 1.0), (_LargerOfItself(), 3.0)])
def test_the_identity_in_pieces(net: nn.Module, slope: float) -> None:
    for method in ("branch_and_bound", "mip"):
        (found,) = certify(net, LocalLipschitz(LinfBall(0.5), Logit(1)), X, estimator=method)
        assert found.status is Status.PROVED
        assert (found.lower, found.upper) == pytest.approx((slope, slope), rel=1e-8)


def test_pointed() -> None:
    net, problem = _Net(FORWARDS["concatenated"]), LocalLipschitz(LinfBall(0.9), Logit(0), p="inf", scope="pointed")
    ((low, high),) = exact_constants(net, problem, X)
    (found,) = certify(net, problem, X, estimator="mip_pointed", budget=Budget(60.0))
    assert (found.lower, found.upper) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=2e-6))
