"""Certified radii: the papers' own, and against attacks on networks small enough to know."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import Bound
from lipreg.estimators.radius import TOLERANCE, certified_radii
from lipreg.results import Status
from tests import oracles
from tests.avant import trained
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in
from tests.test_budget import Clock

NORMS = {"p1": 1.0, "p2": 2.0, "pinf": math.inf}


@pytest.mark.parametrize(("name", "own"), [("mnist", 0.100074), *([("cifar10", 0.0076517)] if EVERYTHING else [])])
def test_the_radius_of_the_margin_rows(name: str, own: float) -> None:
    """By ball bounds and the affine-ReLU product; the bound may be up to the norms' width above, so the radius below."""
    net, x = trained(name)
    (found,) = certified_radii(net, x, bounds="affine_relu", preactivations=("ball",))
    assert own * (1 - 1e-4) <= found.radius <= own * (1 + 1e-5)
    assert "failure probability" in found.detail


@pytest.mark.parametrize("bounds", [("spectral",), ("affine_relu",), ("affine_relu", "fastlip", "deviation")], ids=str)
@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
@one_in(3)
def test_no_point_inside_the_radius_has_another_class(p: float, bounds: tuple[str, ...]) -> None:
    net = oracles.mlp(2, 12, 8, 3).double()
    x = torch.rand(4, 2, dtype=torch.float64)
    for i, found in enumerate(certified_radii(net, x, p=p, bounds=bounds)):
        assert found.radius > 0 and found.rival not in (None, found.label)
        assert found.radius * found.constant < found.margin
        steps = torch.randn(4000, 2, dtype=torch.float64)
        steps = steps / torch.linalg.vector_norm(steps, p, dim=1, keepdim=True) * found.radius
        steps *= torch.cat([torch.ones(2000, 1), torch.rand(2000, 1)]).double()
        assert (net(x[i] + steps).argmax(1) == found.label).all()


@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
def test_the_radius_of_an_affine_network_is_its_distance_to_the_border(p: float) -> None:
    net = nn.Sequential(nn.Linear(3, 4)).double()
    x = torch.randn(3, 3, dtype=torch.float64)
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    for point, found in zip(x, certified_radii(net, x, p=p), strict=True):
        values, weight = net(point), net[0].weight
        own = int(values.argmax())
        gaps = [
            float((values[own] - values[j]) / torch.linalg.vector_norm(weight[own] - weight[j], dual))
            for j in range(4)
            if j != own
        ]
        assert min(gaps) * (1 - 2 * TOLERANCE) <= found.radius <= min(gaps)


@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
def test_a_method_in_another_norm_is_taken_with_its_factor(p: float) -> None:
    """|x|_2 <= n^(1/2 - 1/p) |x|_p for p > 2, and <= |x|_p below; the product of norms sees no region."""
    net, x = oracles.mlp(3, 12, 8, 2).double(), torch.rand(2, 3, dtype=torch.float64)
    factor = 3.0 ** max(0.0, 0.5 - 1 / p)
    own, converted = (certified_radii(net, x, p=q, bounds=name) for q, name in ((2.0, "spectral"), (p, "spectral@l2")))
    for one, other in zip(own, converted, strict=True):
        assert other.constant == pytest.approx(factor * one.constant, rel=1e-6)
        assert other.radius == pytest.approx(one.radius / factor, rel=4 * TOLERANCE)
    with pytest.raises(InvalidInput, match="l7"):
        certified_radii(net, x, bounds="spectral@l7")
    with pytest.raises(UnsupportedRequest, match="closed-form"):
        certified_radii(net, x, bounds="sampling@l2")


def test_a_misclassified_point_has_none() -> None:
    net = oracles.mlp(2, 6, 3).double()
    x = torch.rand(1, 2, dtype=torch.float64)
    wrong = (net(x).argmax(1) + 1) % 3
    (found,) = certified_radii(net, x, wrong)
    assert found.radius == 0.0 and found.rival is None


def test_the_data_range_enlarges_the_radius() -> None:
    net = oracles.mlp(2, 12, 8, 3).double()
    x = torch.zeros(1, 2, dtype=torch.float64)
    (free,), (cut,) = certified_radii(net, x, p="inf"), certified_radii(net, x, p="inf", low=0.0, high=1.0)
    assert cut.radius >= free.radius * (1 - TOLERANCE)


def test_only_closed_forms_are_taken() -> None:
    net, x = oracles.mlp(2, 6, 3).double(), torch.rand(1, 2, dtype=torch.float64)
    with pytest.raises(UnsupportedRequest, match="affine_relu"):
        certified_radii(net, x, bounds=("mip",))
    with pytest.raises(InvalidInput, match="no bounds"):
        certified_radii(net, x, bounds=())
    with pytest.raises(InvalidInput, match=r"bounds=Bound\(.*several in a list"):
        certified_radii(net, x, bounds=Bound("spectral"))  # type: ignore[arg-type]


def affine(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_margin_that_float64_cannot_hold_beside_the_numbers_it_comes_of(p: float, hidden: bool) -> None:
    """f = (x + b, b) at x = 1.5, where x + b is rounded to b + 2: the margin is 1.5. Or a layer takes b away again."""
    net: nn.Module = affine([[1.0], [0.0]], [1e16, 1e16])
    if hidden:
        net = nn.Sequential(affine([[1.0]], [1e16]), nn.ReLU(), affine([[1.0], [0.0]], [-1e16, 0.0]))
    (found,) = certified_radii(net, torch.tensor([[1.5]], dtype=torch.float64), p=p)
    assert 1.5 * (1 - 2 * TOLERANCE) <= found.radius <= found.margin <= 1.5


def test_a_point_that_rounding_alone_puts_into_a_class_has_no_radius() -> None:
    net = nn.Sequential(affine([[1.0]], [1e12]), nn.ReLU(), affine([[1.0], [0.0]], [-1e12, 0.0]))
    x = torch.tensor([[-1e-5]], dtype=torch.float64)
    assert float(net(x)[0, 0]) >= 0.0
    (found,) = certified_radii(net, x, torch.tensor([0]))
    assert (found.radius, found.rival) == (0.0, None) and found.margin < 0
    (found,) = certified_radii(net, x)
    assert found.label == 1 and 0 < found.radius <= 1e-5


def test_a_point_beside_the_data_range_stands_for_the_nearest_one_in_it() -> None:
    """1e7 relu(-x) against 1 at x = -4e-7: at 0, the first point of the range, the class is the other one."""
    net = nn.Sequential(affine([[-1e7]], [0.0]), nn.ReLU(), affine([[1.0], [0.0]], [0.0, 1.0]))
    x = torch.tensor([[-4e-7]], dtype=torch.float64)
    (found,) = certified_radii(net, x, torch.tensor([0]), low=0.0, high=1.0)
    assert found.radius == 0.0
    assert certified_radii(net, x, low=0.0, high=1.0)[0].label == 1


def budgets() -> tuple[torch.nn.Module, Tensor]:
    torch.manual_seed(0)
    return oracles.mlp(3, 8, 8, 3).double(), torch.randn(3, 3, dtype=torch.float64)


def test_radii_that_the_time_ends_are_proved_and_no_larger() -> None:
    """On a clock that every look moves on: more time is more looks, and more radii tried."""
    net, x = budgets()
    whole = certified_radii(net, x, p="inf")
    before = [0.0] * len(x)
    statuses = set[Status]()
    for seconds in (0.0, 0.02, 0.2, 2.0, 1e6):
        cut = certified_radii(net, x, p="inf", budget=Budget(seconds, clock=Clock(step=1e-4)))
        for one, other, least in zip(cut, whole, before, strict=True):
            assert least <= one.radius <= other.radius * (1 + 1e-4)
            assert (one.status is Status.TIME_LIMIT) == ("cut short for want of time after" in one.detail)
            assert one.evaluations > 0 or (one.radius, one.constant) == (0.0, math.inf)
        before = [one.radius for one in cut]
        statuses |= {one.status for one in cut}
    assert before == pytest.approx([one.radius for one in whole], rel=1e-4)
    assert statuses == {Status.TIME_LIMIT, Status.BOUNDED}
    assert {one.status for one in whole} == {Status.BOUNDED}


def test_each_point_has_its_share_of_the_time_and_a_stop_ends_them_all() -> None:
    net, x = budgets()
    cut = certified_radii(net, x, p="inf", budget=Budget(0.3, clock=Clock(step=1e-4)))
    assert all(one.radius > 0 for one in cut), "the first does not take it all"
    stop = threading.Event()
    stop.set()
    assert {one.status for one in certified_radii(net, x, budget=Budget(60.0, stop=stop))} == {Status.INTERRUPTED}
    with pytest.raises(InvalidInput, match="certified_radii"):
        certified_radii(net, x, budget=-1.0)


def test_radii_in_little_memory_are_those_in_much() -> None:
    net, x = budgets()
    much, little = certified_radii(net, x), certified_radii(net, x, budget=Budget(math.inf, memory=1))
    assert [one.radius for one in little] == pytest.approx([one.radius for one in much], rel=1e-4)
