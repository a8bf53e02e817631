"""What ranges of derivatives say and refuse, and how they change with the question."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from lipreg import (
    AllLogits,
    AllMargins,
    Box,
    Budget,
    Certificate,
    Combination,
    DerivativeRange,
    DerivativeRanges,
    LinfBall,
    LocalLipschitz,
    Logit,
    Margin,
    Status,
    Vector,
    WholeSpace,
    derivative_range,
)
from lipreg.derivatives import RangeEnd
from lipreg.errors import CrossingBounds, InvalidInput, UnsupportedRequest
from tests.bounds.test_signs import monotone
from tests.derivatives.cases import steep
from tests.oracles import mlp

BALL = LocalLipschitz(LinfBall(0.4), Logit(0))


def net(seed: int = 0, outputs: int = 3) -> nn.Module:
    return steep(mlp(3, 6, 5, outputs).double(), seed)


def points(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------- properties


def test_ranges_grow_with_the_region_and_lie_in_closed_forms() -> None:
    x = points()
    before: DerivativeRanges | None = None
    for radius in (0.05, 0.2, 0.5):
        problem = LocalLipschitz(LinfBall(radius), Logit(0))
        found = derivative_range(net(), problem, x)
        closed = derivative_range(net(), problem, x, estimator="jacobian_crown")
        for own, wide in zip(found, closed, strict=True):
            assert wide.lower <= own.lower and own.upper <= wide.upper
            assert wide.least.status in (Status.BOUNDED, Status.PROVED)
        for own, inner in zip(found, before or found, strict=True):
            assert own.lower <= inner.least.upper and inner.largest.lower <= own.upper
        before = found


def test_a_positive_factor_of_the_outputs_changes_no_sign() -> None:
    x, other = points(4), net()
    with torch.no_grad():
        other[-1].weight.mul_(1000.0)
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    found, scaled = (derivative_range(own, problem, x, until="sign") for own in (net(), other))
    assert found.signs() == scaled.signs() and [a.sign for a in found] == [b.sign for b in scaled]
    assert {"increasing", "decreasing"} <= {own.sign for own in found}


def test_units_multiply_derivatives() -> None:
    x, units = points(), [0.5, 1.0, 4.0]
    plain = derivative_range(net(), BALL, x)
    found = derivative_range(net(), replace(BALL, scale=units), x)
    for a, b, unit in zip(plain, found, units, strict=True):
        assert (b.lower, b.upper) == pytest.approx((unit * a.lower, unit * a.upper), rel=1e-5)
        assert b.unit == unit and b.question["unit"] == unit
    assert found[2].words == "d (logit 0) / d (input 2) per 4"


def test_functionals_of_outputs() -> None:
    x, y, problem = points(), torch.tensor([2]), LocalLipschitz(LinfBall(0.2), Vector())
    every = derivative_range(net(), problem, x, input=1)
    assert [found.output for found in every] == ["logit 0", "logit 1", "logit 2"]
    for output, words in (
        (1, "logit 1"),
        (Margin(0, 2), "margin 0 - 2"),
        (Combination((0.5, 0.0, 2.0)), "combination"),
    ):
        (found,) = derivative_range(net(), problem, x, output=output, input=1)
        assert found.output == words
    rivals = derivative_range(net(), replace(problem, output=AllMargins()), x, y, input=1)
    assert [found.output for found in rivals] == ["margin 2 - 0", "margin 2 - 1"]
    (runner_up,) = derivative_range(net(), problem, x, y, output=Margin(), input=1)
    assert runner_up.output.startswith("margin 2 - ")


@pytest.mark.parametrize("at", range(3))
def test_networks_that_are_monotone_by_their_weights_are_proved_so(at: int) -> None:
    x = torch.rand(2, 9, dtype=torch.float64)
    with torch.no_grad():
        found = derivative_range(monotone()[at], LocalLipschitz(LinfBall(2.0), Logit(0)), x, until="sign", budget=0.0)
    assert len(found) == 18 and all(own.increasing for own in found)
    assert found.signs()["increasing"] >= 16, "windows may leave the last input out"


def test_a_derivative_that_is_one_number() -> None:
    linear = nn.Linear(2, 1).double()
    for found, weight in zip(derivative_range(linear, BALL, points()[:, :2]), linear.weight[0].tolist(), strict=True):
        assert found.certificate is Certificate.EXACT and found.gap < 1e-12
        assert found.lower <= weight <= found.upper
    dead = steep(mlp(2, 4, 1).double(), 0)
    with torch.no_grad():
        dead[2].weight.zero_()
    for found in derivative_range(dead, BALL, points()[:, :2]):
        assert (found.sign, found.lower, found.upper, found.certificate) == ("constant", 0.0, 0.0, Certificate.EXACT)


def test_points_in_one_box_are_searched_once() -> None:
    problem = LocalLipschitz(Box([0.0] * 3, [1.0] * 3), Logit(0))
    found = derivative_range(net(), problem, points(2))
    assert [(a.lower, a.upper) for a in found.of(point=0)] == [(a.lower, a.upper) for a in found.of(point=1)]
    assert found[0].subject != found[3].subject


# ---------------------------------------------------------------- budgets


def test_limits_leave_what_is_proved() -> None:
    x, problem, own = points(2), LocalLipschitz(LinfBall(0.8), Logit(0)), steep(mlp(3, 9, 9, 1).double(), 0)
    whole = derivative_range(own, problem, x)
    for budget, status in ((Budget(600.0, nodes=2), Status.NODE_LIMIT), (0.0, Status.TIME_LIMIT)):
        found = derivative_range(own, problem, x, budget=budget)
        assert status in {end.status for own in found for end in (own.least, own.largest)}
        for limited, truth in zip(found, whole, strict=True):
            assert limited.lower <= truth.least.upper and truth.largest.lower <= limited.upper
            assert limited.gap > truth.gap or limited.certificate is Certificate.EXACT


def test_nodes_of_programs_are_those_of_the_point() -> None:
    problem, own = LocalLipschitz(LinfBall(0.8), Logit(0)), steep(mlp(3, 9, 9, 1).double(), 0)
    found = derivative_range(own, problem, points(), estimator="mip", budget=Budget(600.0, nodes=6))
    details = [end.detail for each in found for end in (each.least, each.largest)]
    assert sum(int(count) for detail in details for count in re.findall(r"(\d+) node", detail)) <= 6
    assert all(end.status is Status.NODE_LIMIT for each in found for end in (each.least, each.largest))


def test_a_gap_ends_the_search_earlier() -> None:
    problem = LocalLipschitz(LinfBall(0.8), Logit(0))
    found = derivative_range(net(), problem, points(), budget=Budget(600.0, gap=0.2))
    assert all(own.gap <= 0.2 * 1.001 for own in found)
    assert Status.GAP_LIMIT in {end.status for own in found for end in (own.least, own.largest)}


def test_a_stop_from_outside() -> None:
    budget = Budget(600.0)

    def watch(progress: object) -> None:
        budget.stop.set()

    found = derivative_range(net(), LocalLipschitz(LinfBall(0.8), Logit(0)), points(), budget=budget, progress=watch)
    assert Status.INTERRUPTED in {end.status for own in found for end in (own.least, own.largest)}


# ---------------------------------------------------------------- results


def test_ranges_are_plain_data_and_back() -> None:
    found = derivative_range(net(), replace(BALL, scale=[1.0, 2.0, 3.0]), points(2), output=AllLogits())
    read = DerivativeRanges.of_plain(json.loads(json.dumps(found.plain())))
    assert read == found and read.signs() == found.signs()
    (first, *_) = found.plain()
    for wrong in (
        {},
        first | {"lesser": 1},
        first | {"input": "one"},
        first | {"least": first["least"] | {"lower": math.nan}},
    ):
        with pytest.raises(InvalidInput):
            DerivativeRange.of_plain(wrong)
    unknown = RangeEnd()
    bare = replace(found[0], least=unknown, largest=unknown)
    assert DerivativeRange.of_plain(json.loads(json.dumps(bare.plain()))) == bare
    assert bare.sign == "open" and bare.gap == math.inf and bare.certificate is Certificate.UPPER


def test_a_table() -> None:
    lines = derivative_range(net(), BALL, points()).table().splitlines()
    assert lines[0].split() == ["point", "output", "input", "least", "largest", "sign", "status"]
    assert len(lines) == 4 and lines[1].startswith("0      logit 0  0")


def test_ends_need_their_backing() -> None:
    (whole, *_) = derivative_range(net(), BALL, points())
    with pytest.raises(InvalidInput, match="without a proof"):
        replace(whole, least=RangeEnd(-1.0, whole.least.upper, witness=whole.least.witness))
    with pytest.raises(InvalidInput, match="without a witness"):
        replace(whole, least=replace(whole.least, witness=None))
    with pytest.raises(CrossingBounds):
        RangeEnd(1.0, 0.0)
    with pytest.raises(CrossingBounds, match="exceeds the largest one"):
        replace(whole, least=RangeEnd(whole.upper + 1.0, proof="none"))


# ---------------------------------------------------------------- refusals


def test_what_cannot_be_asked() -> None:
    x = points()
    with pytest.raises(UnsupportedRequest, match="pointed"):
        derivative_range(net(), LocalLipschitz(LinfBall(0.1), Logit(0), scope="pointed"), x)
    for wrong, words in (
        ({"output": "first"}, "output='first'"),
        ({"output": 3}, "output index 3 of 3"),
        ({"input": 3}, "input 3 of 3"),
        ({"input": True}, "measured=True"),
        ({"until": "signs"}, "until='signs'"),
        ({"estimator": "lp"}, "estimator='lp'"),
        ({"settings": 3}, "settings=3"),
        ({"budget": -1}, "budget=-1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            derivative_range(net(), BALL, x, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedRequest, match="without ends"):
        derivative_range(net(), LocalLipschitz(WholeSpace(), Logit(0)), x, estimator="mip")
    with pytest.raises(InvalidInput, match="problem="):
        derivative_range(net(), LinfBall(0.1), x)  # type: ignore[arg-type]
    stuck = LocalLipschitz(Box([0.0, 0.5, 0.0], [1.0, 0.5, 1.0]), Logit(0))
    middle = torch.full((1, 3), 0.5, dtype=torch.float64)
    assert [own.input for own in derivative_range(net(), stuck, middle)] == [0, 2]
    with pytest.raises(InvalidInput, match="move"):
        derivative_range(net(), stuck, middle, input=1)
