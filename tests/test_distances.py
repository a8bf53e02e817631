"""Distances in units of the inputs, and between some inputs alone: what they mean, and what is refused and said of them."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg import (
    AllLogits,
    AllMargins,
    Bound,
    Box,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Vector,
    certify,
    estimate,
)
from lipreg.calibration import calibrate
from lipreg.distances import WRITTEN_OUT
from lipreg.errors import IncomparableResults, InvalidInput, UnsupportedRequest
from lipreg.estimators import ESTIMATORS, differentiable_names
from lipreg.estimators.jacobians.fastlip import FastLip
from lipreg.records import AuditRecord
from lipreg.results import Certificate
from lipreg.testing import exact_constants
from lipreg.testing.networks import mlp
from lipreg.training import LipschitzPenalty
from lipreg.transfer import certified_radius, is_certified, margin_over_constant
from tests.sampling import one_in

X = torch.tensor([[0.2, -0.1, 0.3], [0.5, 0.4, -0.2]], dtype=torch.float64)
Y = torch.tensor([0, 2])
SCALE = (0.5, 4.0, 2.0)
"""Powers of 2, by which rescaling is exact."""
REGION = Box([-0.5, -0.25, -0.5], [0.75, 0.5, 0.5])


def net(*hidden: int) -> nn.Sequential:
    torch.manual_seed(3)
    return mlp(3, *(hidden or (6, 5)), 3).double()  # type: ignore[return-value]


def asked(scope: str = "regional", p: float = math.inf, **measured: Any) -> LocalLipschitz:
    return LocalLipschitz(REGION, AllLogits(), scope, p, **measured)  # type: ignore[arg-type]


def covering(problem: LocalLipschitz) -> list[str]:
    return [name for name, method in ESTIMATORS.offered().items() if method.uncovered(problem) is None]


def ends(module: nn.Module, problem: LocalLipschitz, x: Tensor, name: str) -> list[float]:
    found = certify(module, problem, x, estimator=name, budget=20.0)
    return [end for interval in found for end in (interval.lower, interval.upper, interval.estimate or 0.0)]


# ---------------------------------------------------------------- what the constant is


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("given", [{"scale": SCALE}, {"measured": [0, 2]}, {"scale": SCALE, "measured": [1]}], ids=str)
def test_no_two_points_have_a_steeper_slope_than_the_enumerated_constant(given: dict[str, Any], p: float) -> None:
    """By definition: pairs that differ where they may, their distance measured in its units; nearly attained among many."""
    module, rng = net(), np.random.default_rng(0)
    lower, upper = (torch.tensor(end, dtype=torch.float64) for end in (REGION.lower, REGION.upper))
    start = lower + (upper - lower) * torch.from_numpy(rng.uniform(size=(20000, 3)))
    step = torch.from_numpy(rng.choice([-1.0, 0.0, 1.0], size=(20000, 3)) * 1e-3) * torch.tensor(
        given.get("scale", 1.0)
    )
    other = [i for i in range(3) if i not in given.get("measured", range(3))]
    step[:, other] = 0.0
    end = torch.minimum(torch.maximum(start + step, lower), upper)
    moved = (end - start) / torch.tensor(given.get("scale", 1.0))
    with torch.no_grad():
        rise = (module(end) - module(start)).abs().amax(1)
    apart = torch.linalg.vector_norm(moved, p, dim=1)
    steepest = float((rise / apart)[apart > 1e-6].max())
    ((low, high),) = exact_constants(module, asked(p=p, **given), X[:1])
    assert low == high
    assert steepest <= high * (1 + 1e-9)
    if p == math.inf:  # whose steepest directions are among the signs
        assert steepest >= 0.98 * high


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_a_scale_is_what_scaling_the_first_layer_is(scope: str) -> None:
    """g(u) = f(s u) over the region of u = x / s asks the plain question that f asks in units of s; by every estimator."""
    module, units = net(4), torch.tensor(SCALE, dtype=torch.float64)
    scaled = copy.deepcopy(module)
    with torch.no_grad():
        scaled[0].weight.mul_(units)  # type: ignore[operator]
    box = Box(torch.tensor(REGION.lower) / units, torch.tensor(REGION.upper) / units)
    for p in (1.0, 2.0, math.inf):
        problem = asked(scope, p, scale=SCALE)
        plain = replace(problem, region=box, scale=None)
        for name in set(covering(problem)) - {"sampling", "random_points"}:  # whose draws depend on the point
            searched = ESTIMATORS[name].certificate is Certificate.BRACKET
            if searched and p == 1.0:
                continue
            rel = 1e-9 if ESTIMATORS[name].differentiable else 1e-4
            theirs = ends(scaled, plain, X[:1] / units, name)
            assert ends(module, problem, X[:1], name) == pytest.approx(theirs, rel=rel, abs=1e-9), (name, p)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_a_number_multiplies_and_is_what_as_many_equal_ones_are(scope: str, p: float) -> None:
    module = net(4)
    for name in set(covering(asked(scope, p))) & {
        "fastlip",
        "affine_relu",
        "lipsdp",
        "branch_and_bound",
        "mip_pointed",
    }:
        plain = ends(module, asked(scope, p), X, name)
        by_number = ends(module, asked(scope, p, scale=4.0), X, name)
        assert by_number == pytest.approx([4.0 * end for end in plain], rel=1e-4 if name == "lipsdp" else 2e-5)
        assert ends(module, asked(scope, p, scale=[4.0] * 3), X, name) == pytest.approx(by_number, rel=1e-5)
    assert asked(scope, p, scale=1.0) == asked(scope, p)
    assert asked(scope, p, scale=1).describe() == asked(scope, p).describe()


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_more_measured_inputs_have_no_smaller_constant_and_all_of_them_the_plain_one(p: float) -> None:
    module = net(4)
    for name in ("spectral", "affine_relu", "abs_chain", "fastlip", "jacobian_crown", "deviation", "branch_and_bound"):
        one, two, every = (ends(module, asked(p=p, measured=range(k)), X[:1], name)[1] for k in (1, 2, 3))
        assert one <= two * (1 + 1e-6) and two <= every * (1 + 1e-6)
        assert every == pytest.approx(ends(module, asked(p=p), X[:1], name)[1], rel=1e-6)


def test_one_measured_input_is_its_largest_partial_derivative_while_the_others_move() -> None:
    module, x = net(), X[:1]
    lower, upper = (torch.tensor(end, dtype=torch.float64) for end in (REGION.lower, REGION.upper))
    points = lower + torch.rand(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * (
        upper - lower
    )
    jacobians = torch.func.vmap(torch.func.jacrev(module))(points).detach().abs()
    for i, p in enumerate((1.0, 2.0, math.inf)):  # of one number every norm is its magnitude
        largest = float(jacobians[:, :, i].max())
        (found,) = certify(module, asked(p=p, measured=[i]), x, estimator="branch_and_bound")
        assert found.upper >= largest and found.lower == pytest.approx(largest, rel=1e-2)
        still = [torch.where(torch.arange(3) == i, end, x[0]) for end in (lower, upper)]  # where the others do not move
        (alone,) = certify(module, replace(asked(), region=Box(*still)), x, estimator="branch_and_bound")
        assert alone.lower <= found.upper


def test_a_witness_is_right_in_rational_arithmetic() -> None:
    """One layer: the slope is |W diag(s)| itself, of which the lower end may not exceed a digit."""
    torch.manual_seed(0)
    module, scale = nn.Linear(3, 2).double(), (0.1, 1 / 3, 7.7)
    exact = max(
        sum(abs(Fraction(w)) * Fraction(s) for w, s in zip(row, scale, strict=True)) for row in module.weight.tolist()
    )
    for estimator in ("sampling", "branch_and_bound"):
        (found, _) = certify(module, asked(scale=scale), X, estimator=estimator)
        assert Fraction(found.lower) <= exact <= (math.inf if found.upper == math.inf else Fraction(found.upper))
        assert found.lower == pytest.approx(float(exact), rel=1e-9)
    (pointed, _) = certify(module, asked("pointed", scale=scale), X, estimator="sampling")
    assert Fraction(pointed.lower) <= exact


# ---------------------------------------------------------------- penalties


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", differentiable_names())
@one_in(2)
def test_penalties_have_value_and_gradient_of_the_bound_on_the_graph(name: str, dtype: torch.dtype) -> None:
    images = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    given: tuple[dict[str, Any], ...] = ({"scale": SCALE}, {"measured": [1, 2]}, {"scale": 3.0, "measured": [0]})
    regions = (LinfBall(0.3), L1Ball(0.4, low=-0.3), L2Ball(0.3))
    for i, module in enumerate((net(), nn.Linear(3, 3), images)):
        own, x = module.to(dtype), X.to(dtype)
        for p in (1.0, 2.0, math.inf):
            problem = LocalLipschitz(regions[i], AllMargins(), p=p, **given[(i + int(min(p, 3))) % 3])
            if name == "frobenius" and p != 2.0:
                continue
            recipe, weights = Bound(name, spectral_norms="exact"), list(own.parameters())
            penalty = LipschitzPenalty(own, problem, bound=recipe, weight=1.0, penalty="mean")
            ours = torch.autograd.grad(penalty(x, Y), weights, allow_unused=True)
            bounds = estimate(own, problem, x, Y, bound=recipe)
            theirs = torch.autograd.grad(bounds.mean(), weights, allow_unused=True)
            proved = [r.upper for r in certify(own, problem, X, Y, estimator=name)]
            assert penalty.last is not None and bounds.tolist() == pytest.approx(proved, rel=1e-4)
            assert penalty.last.bounds.tolist() == pytest.approx(bounds.tolist(), rel=1e-4)
            for mine, other in zip(ours, theirs, strict=True):
                if mine is not None and other is not None:
                    torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_estimated_spectral_norms_come_to_the_exact_ones() -> None:
    for module in (net(), nn.Linear(3, 3).double()):
        problem, weights = LocalLipschitz(L2Ball(0.3), AllMargins(), scale=SCALE), list(module.parameters())
        penalty = LipschitzPenalty(module, problem, bound="affine_relu", weight=1.0, penalty="mean")
        for _ in range(40):
            value = penalty(X, Y)
        exact = estimate(module, problem, X, Y, bound=Bound("affine_relu", spectral_norms="exact")).mean()
        assert value.item() == pytest.approx(exact.item(), rel=1e-6)
        for mine, other in zip(
            *(torch.autograd.grad(v, weights, allow_unused=True) for v in (value, exact)), strict=True
        ):
            if mine is not None and other is not None:
                torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_quantities_at_points_count_columns_by_their_weights() -> None:
    module, problem = net(), LocalLipschitz(LinfBall(0.3), AllLogits(), scale=SCALE, measured=[0, 1])
    weighted = torch.func.vmap(torch.func.jacrev(module))(X) * torch.tensor([SCALE[0], SCALE[1], 0.0])
    for quantity, wanted in (
        ("jacobian", weighted.abs().sum(2).amax(1)),
        ({"kind": "jacobian_frobenius", "projections": "exact"}, weighted.square().sum((1, 2))),
    ):
        term = LipschitzPenalty(module, problem, quantity=quantity, weight=1.0)  # type: ignore[arg-type]
        assert term(X, Y).item() == pytest.approx(wanted.mean().item(), rel=1e-9)


# ---------------------------------------------------------------- what is said and kept


def test_a_question_says_its_distances_and_compares_by_them() -> None:
    plain, scaled, some = asked(), asked(scale=SCALE), asked(measured=[2, 0])
    assert scaled == asked(scale=torch.tensor(SCALE)) == asked(scale=np.array(SCALE)) != plain
    assert some == asked(measured=np.array([0, 2])) == asked(measured=torch.tensor([2, 0])) == asked(measured={0, 2})
    assert scaled.sentence().endswith("input distances in l∞ in units from 0.5 to 4")
    assert some.sentence().endswith("input distances in l∞, of points that differ in inputs 0, 2 alone")
    assert asked(measured=[1]).sentence().endswith("of points that differ in input 1 alone")
    assert asked(scale=2).sentence().endswith("in units of 2")
    assert len({json.dumps(each.describe()) for each in (plain, scaled, some)}) == 3
    for each in (scaled, some):
        assert pickle.loads(pickle.dumps(each)) == each and replace(each, p=1) == replace(each, p=1)
        assert hash(each) == hash(copy.deepcopy(each)) and json.loads(json.dumps(each.describe())) == each.describe()
    one, other = (certify(net(), each, X, estimator="fastlip")[0] for each in (plain, scaled))
    with pytest.raises(IncomparableResults, match="in units from"):
        one.intersect(other)


def test_hundreds_of_units_flood_nothing() -> None:
    """They are told apart all the same, and a description says how far they reach."""
    units = torch.linspace(0.1, 3.0, 784).reshape(1, 28, 28).double()
    large = LocalLipschitz(LinfBall(0.1), scale=units, measured=range(700))
    assert units.numel() > WRITTEN_OUT
    told = (repr(large), large.sentence(), json.dumps(large.describe()))
    assert max(map(len, told)) < 500 and "<1 x 28 x 28 numbers from 0.1 to 3>" in repr(large)
    assert large.describe()["scale"]["most"] == 3.0 and large.describe()["measured"]["count"] == 700
    units[0, 5, 5] += 0.01
    assert LocalLipschitz(LinfBall(0.1), scale=units).describe()["scale"] != large.describe()["scale"]


def record(**question: Any) -> AuditRecord:
    described = LocalLipschitz(LinfBall(0.5), **question).describe()
    names, ends = ("run", 0, 0, 0, "combined", "exact", "proved"), (2.0, 2.0, 0.0)
    return AuditRecord(*names, *ends, "margins", described, "", margin=1.0, correct=True)


def test_margins_and_radii_are_in_the_units_of_the_question() -> None:
    """|f_0 - f_j| <= L |d / s|: with s = 4, a distance of 0.5 is 2 of d, beyond the ball, which holds 0.125 units."""
    asked_in: tuple[Any, ...] = (4.0, [4.0, 2.0], np.linspace(2.0, 4.0, 100))
    for scale in asked_in:
        own, smallest = record(scale=scale), float(np.min(scale))
        margin = margin_over_constant(own)
        assert margin is not None and margin.lower == 0.5
        assert certified_radius(own) == 0.125
        assert is_certified(own, 2.0) and is_certified(own, 2.0 * smallest) is False  # at 0.5 / smallest units
    assert certified_radius(record()) == 0.5 and is_certified(record(), 2.0) is False and is_certified(record(), 1.9)
    for measure in (margin_over_constant, certified_radius, lambda own: is_certified(own, 0.1)):
        assert measure(record(measured=[0])) is None  # nothing bounds what the other inputs do


def test_standard_deviations_of_inputs_are_in_the_units_of_the_question() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    cases: list[tuple[dict[str, Any], tuple[float, ...]]] = [
        ({}, (1, 1, 1)),
        ({"scale": SCALE}, SCALE),
        ({"scale": SCALE, "measured": [0, 2]}, (0.5, math.inf, 2)),
    ]
    for given, units in cases:
        problem = LocalLipschitz(LinfBall(0.1), Vector(), q=math.inf, **given)
        found = calibrate(y * 0.99, (x, y), problem, "run", 0, "")
        assert found.input_scale == pytest.approx(float((x.std(0, correction=0) / torch.tensor(units)).max()))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "scale",
    [0, -1.0, math.nan, math.inf, 10**400, "2", True, [], [1.0, 0.0, 1.0], [[1.0, 2.0], [3.0]], object],
    ids=repr,
)
def test_a_scale_that_cannot_be_is_refused_with_what_is_accepted(scale: Any) -> None:
    with pytest.raises(InvalidInput, match="scale") as told:
        asked(scale=scale)
    assert told.value.where == "LocalLipschitz.scale" and "above 0" in told.value.accepted


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        ([], "no measured input"),
        ([0, 1, 0], "input 0 twice"),
        ([-1], "whole numbers from 0 on"),
        ([1.0], "whole numbers from 0 on"),
        ("01", "whole numbers from 0 on"),
        (2, r"Write \[2\]"),
        ([True, False, True], r"mask.flatten\(\).nonzero"),
        (torch.tensor([True, False, True]), r"mask.flatten\(\).nonzero"),
        (np.array([True, False, True]), r"mask.flatten\(\).nonzero"),
        (torch.tensor([[0, 1]]), "whole numbers from 0 on"),
    ],
    ids=repr,
)
def test_measured_inputs_that_cannot_be_are_refused(measured: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as told:
        asked(measured=measured)
    assert told.value.where == "LocalLipschitz.measured"
    with pytest.raises(InvalidInput, match="pointed scope"):
        asked("pointed", measured=[0])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"scale": [1.0, 2.0]}, r"scale of shape \(2,\) for inputs of shape \(3,\)"),
        ({"scale": [[1.0, 2.0, 3.0]]}, r"scale of shape \(1, 3\) for inputs of shape \(3,\)"),
        ({"measured": [0, 3]}, "measured input 3 of 3.*0 to 2"),
        ({"measured": [1]}, "none of which can move around reference point 0"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_inputs_is_refused_before_any_work(given: dict[str, Any], says: str) -> None:
    module, problem = net(), LocalLipschitz(Box([-0.5, 0.25, -0.5], [0.75, 0.25, 0.5]), AllLogits(), **given)
    x = X.clone()
    x[:, 1] = 0.25
    doors: list[Callable[[], Any]] = [
        lambda: certify(module, problem, x),
        lambda: estimate(module, problem, x, bound="fastlip"),
        lambda: exact_constants(module, problem, x),
        *(
            lambda quantity=quantity: LipschitzPenalty(module, problem, weight=1.0, quantity=quantity)(x, Y)
            for quantity in ("bound", "jacobian", "jacobian_frobenius", "gradient", "pgd")
        ),
    ]
    for door in doors:
        with pytest.raises(InvalidInput, match=says):
            door()


def test_units_beyond_the_range_of_float64_are_refused() -> None:
    for scale in (1e130, 1e-130, [1.0, 1.0, 1e140]):
        with pytest.raises(InvalidInput, match="a scale of the inputs from"):
            certify(net(), asked(scale=scale), X, estimator="fastlip")


def test_a_method_that_does_not_say_that_it_weighs_inputs_refuses() -> None:
    class Unaware(FastLip):
        weighted = False

    own = Unaware()
    own.name = "unaware"
    own.check(asked())
    for given in ({"scale": 2.0}, {"measured": [0]}):
        with pytest.raises(UnsupportedRequest, match=r"scale or measured.*fastlip"):
            own.check(asked(**given))  # type: ignore[arg-type]
