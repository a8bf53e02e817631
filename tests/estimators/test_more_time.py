"""More time never makes a bound looser: what stands for a method while its time is short stands beside its own later."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from lipreg.bounds import Analysis
from lipreg.budget import RATE, Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis, get_estimator
from lipreg.estimators.jacobians import deviation
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball, LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests.sampling import one_in
from tests.test_budget import Clock

SECONDS = [0.0, *(10.0**power for power in range(-6, 5))]
"""Budgets from none to one that everything fits into, by the step of the clock below."""
STEP = 1e-3
ROUNDED = 1.0 + 2e-9
"""Bounds that are the same number are rounded outward each in its own way."""
OWN_NUMBERS = ("affine_relu", "fastlip", "abs_chain", "jacobian_crown", "spectral", "frobenius", "lipsdp_global")
"""Bounds that penalties lower, and a global one: where nothing is left out of them, the number is that of the very bound."""


@dataclass
class Reads(Clock):
    """A clock that every look at it moves on, so that more time is more looks, on any machine."""

    step: float = field(default=STEP)


def network(seed: int, *widths: int) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def question(
    p: float, seed: int = 0, radius: float = 0.5, widths: Sequence[int] = (5, 12, 12)
) -> Callable[[], Analysis]:
    """A fresh analysis whenever it is asked for, as one keeps what was computed of it."""
    region = LinfBall(radius) if p == math.inf else L2Ball(2 * radius)
    problem = LocalLipschitz(region, AllMargins(), p=p)
    x = torch.linspace(-0.4, 0.5, 2 * widths[0], dtype=torch.float64).reshape(2, -1)
    y = torch.tensor([0, 2])
    return lambda: frozen_analysis(network(seed, *widths, 3), problem, x, y)


def rising(name: str, fresh: Callable[[], Analysis]) -> list[list[CertifiedInterval]]:
    method = get_estimator(name)
    return [method.intervals(fresh(), Budget(seconds, clock=Reads()).started()) for seconds in SECONDS]


def covered(p: float) -> list[str]:
    problem = question(p)().placed.problem
    proving = [name for name, method in ESTIMATORS.offered().items() if method.certificate is Certificate.UPPER]
    return [name for name in proving if get_estimator(name).uncovered(problem) is None]


def check_never_looser(found: list[list[CertifiedInterval]]) -> None:
    for less, more in itertools.pairwise(found):
        for before, after in zip(less, more, strict=True):
            assert after.upper <= before.upper * ROUNDED, (before.proof, before.upper, after.proof, after.upper)


@pytest.mark.parametrize("name", covered(math.inf))
def test_more_time_is_never_looser_in_l_inf(name: str) -> None:
    found = rising(name, question(math.inf))
    check_never_looser(found)
    assert {one.status for one in found[-1]} == {Status.BOUNDED}


@pytest.mark.parametrize("name", [name for name in covered(2.0) if name not in OWN_NUMBERS])
def test_nor_in_l2(name: str) -> None:
    check_never_looser(rising(name, question(2.0, radius=0.1)))


@pytest.mark.parametrize("name", ["deviation", "mixing"])
def test_nor_where_products_of_norms_are_smaller(name: str) -> None:
    """They stand in where time is short; later the least counts, with its name, and the words say so."""
    fresh = question(2.0, radius=5.0, widths=(20, 40, 40, 40))
    found = rising(name, fresh)
    check_never_looser(found)
    product, last = get_estimator("affine_relu").intervals(fresh(), Budget())[0], found[-1][0]
    assert (last.proof, last.upper, last.status) == (product.proof, product.upper, Status.BOUNDED)
    assert "unstable units" in last.detail and f"{product.proof!r} is smaller" in last.detail


@pytest.mark.parametrize("name", ["deviation", "mixing"])
@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
@one_in(2)
def test_nor_where_linear_bounds_come_first(name: str, p: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of long work: these have half of the time in any case, and the least of all counts."""
    monkeypatch.setattr(deviation, "SHORT", 0.0)
    fresh = question(p, seed, radius=0.05)
    found = rising(name, fresh)
    check_never_looser(found)
    whole = [
        get_estimator(other).intervals(fresh(), Budget()) for other in ("jacobian_crown", "affine_relu", "fastlip")
    ]
    for i, one in enumerate(found[-1]):
        assert one.upper <= min(each[i].upper for each in whole) * ROUNDED


@pytest.mark.parametrize("rate", [1e2, 1e4, 1e5, RATE])
def test_nor_where_work_is_refused_before_it_is_begun(rate: float) -> None:
    """By what it is judged to take."""
    fresh, uppers = question(2.0, radius=0.3), []
    for seconds in SECONDS:
        budget = Budget(seconds, clock=Clock(), rate=rate).started()
        uppers.append([one.upper for one in get_estimator("mixing").intervals(fresh(), budget)])
    for less, more in itertools.pairwise(uppers):
        assert all(after <= before * ROUNDED for before, after in zip(less, more, strict=True)), uppers
