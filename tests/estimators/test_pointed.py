"""The exact pointed constant by both engines: against closed forms, against dense sampling, beside the regional one."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from lipreg import AllMargins, LinfBall, LocalLipschitz, Logit, Margin, Vector, certify
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.regions import Box, L1Ball, L2Ball, Region
from lipreg.results import Certificate, Status
from tests import oracles
from tests.conformance.questions import sampled
from tests.sampling import one_in


def single(weight: float, bias: float, out: float = 1.0) -> nn.Module:
    """out * relu(weight x + bias)."""
    net = oracles.mlp(1, 1, 1).double()
    with torch.no_grad():
        net[0].weight.fill_(weight)
        net[0].bias.fill_(bias)
        net[2].weight.fill_(out)
        net[2].bias.zero_()
    return net


ENGINES = ("mip_pointed", "branch_and_bound")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("p", [1.0, math.inf])
def test_the_counter_example_that_tells_the_scopes_apart(p: float, engine: str) -> None:
    """relu(x - 1) over |x| <= 2: the steepest quotient against 0 is f(2) / 2, the steepest slope is 1."""
    x = torch.zeros(1, 1, dtype=torch.float64)
    values = {}
    for scope, name in (("pointed", engine), ("regional", "mip")):
        problem = LocalLipschitz(LinfBall(2.0), Logit(0), scope, p)  # type: ignore[arg-type]
        (values[scope],) = certify(single(1.0, -1.0), problem, x, estimator=name)
    assert values["pointed"].certificate is values["regional"].certificate is Certificate.EXACT
    assert values["pointed"].upper == pytest.approx(0.5, rel=1e-5)
    assert values["regional"].upper == pytest.approx(1.0, rel=1e-5)
    assert values["pointed"].witness is not None
    assert values["pointed"].witness.point == pytest.approx((2.0,))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("low", "expected"), [(-1.0, 3.0), (0.0, 1.0)], ids=["both_ways", "upwards_only"])
def test_directions_that_the_data_range_closes_do_not_count(low: float, expected: float, engine: str) -> None:
    """f(x) = x for x > 0 and 3 x for x < 0: at the end of the data range only the gentle side is left."""
    net = oracles.mlp(1, 2, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.zero_()
        net[2].weight.copy_(torch.tensor([[1.0, -3.0]]))
        net[2].bias.zero_()
    x = torch.zeros(1, 1, dtype=torch.float64)
    (result,) = certify(net, LocalLipschitz(LinfBall(1.0, low=low), Logit(0), "pointed"), x, estimator=engine)
    assert result.certificate is Certificate.EXACT
    assert result.upper == pytest.approx(expected, rel=1e-5)


REGIONS: dict[str, Region] = {
    "linf": LinfBall(0.7),
    "linf_cut": LinfBall(0.7, low=-0.2, high=0.4),
    "l1": L1Ball(1.0),
    "box": Box((-0.5, -0.6), (0.9, 0.5)),
    "l2": L2Ball(0.8),
    "l2_cut": L2Ball(0.8, low=-0.2, high=0.4),
}


ASKED = [
    pytest.param(seed, region, p, ENGINES[(seed + k) % 2], id=f"{seed}-{region}-{p:g}-{ENGINES[(seed + k) % 2]}")
    for seed in range(4)
    for turn, region in enumerate(REGIONS)
    for k, p in enumerate((1.0, math.inf))
    if sampled(6, seed, turn, k)
]


@pytest.mark.parametrize(("seed", "region", "p", "engine"), ASKED)
def test_between_dense_sampling_and_every_upper_bound(seed: int, region: str, p: float, engine: str) -> None:
    torch.manual_seed(seed)
    net = oracles.mlp(2, 6, 5, 3).double()
    x = torch.rand(2, 2, dtype=torch.float64) * 0.5 - 0.15
    y = torch.tensor([0, 2])
    problem = LocalLipschitz(REGIONS[region], AllMargins(), "pointed", p)
    results = certify(net, problem, x, y, estimator=engine)
    placed = REGIONS[region].place(x)
    points = placed.sample(20_000, torch.Generator().manual_seed(seed))
    for i, result in enumerate(results):
        change = (net(points[i]) - net(x[i])).detach()
        rows = torch.stack([change[:, y[i]] - change[:, j] for j in range(3) if j != y[i]])
        run = torch.linalg.vector_norm(points[i] - x[i], ord=p, dim=-1)
        far = run > 1e-3
        sampled = float((rows.abs().amax(0)[far] / run[far]).max())
        assert result.certificate is Certificate.EXACT, result
        assert sampled <= result.upper * (1 + 1e-9)
        assert sampled >= 0.9 * result.upper, "two dimensions are sampled densely enough to come near"
    for other in ("affine_relu", "abs_chain", "fastlip", "spectral"):
        for exact, bound in zip(results, certify(net, problem, x, y, estimator=other), strict=True):
            assert bound.upper >= exact.lower
    regional = LocalLipschitz(REGIONS[region], AllMargins(), "regional", p)
    for exact, above in zip(results, certify(net, regional, x, y, estimator="mip"), strict=True):
        assert exact.lower <= above.upper


@pytest.mark.parametrize("engine", ENGINES)
def test_the_largest_margin_is_that_of_single_margins(engine: str) -> None:
    torch.manual_seed(5)
    net, x = oracles.mlp(3, 6, 6, 3).double(), torch.rand(1, 3, dtype=torch.float64)
    region = LinfBall(0.5)
    singles = [certify(net, LocalLipschitz(region, Margin(1, j), "pointed"), x, estimator=engine)[0] for j in (0, 2)]
    (whole,) = certify(net, LocalLipschitz(region, AllMargins(1), "pointed"), x, estimator=engine)
    assert whole.upper == pytest.approx(max(s.upper for s in singles), rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_budget_and_a_stop_leave_a_valid_interval(engine: str) -> None:
    torch.manual_seed(0)
    net, x = oracles.mlp(4, 12, 12, 2).double(), torch.rand(1, 4, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), Margin(0, 1), "pointed")
    (exact,) = certify(net, problem, x, estimator=engine, budget=Budget(600.0))
    stop = threading.Event()
    stop.set()
    budgets = (Budget(0.01), Budget(600.0, stop=stop))
    for budget, status in zip(budgets, (Status.TIME_LIMIT, Status.INTERRUPTED), strict=True):
        (result,) = certify(net, problem, x, estimator=engine, budget=budget)
        assert result.status is status
        assert result.lower <= exact.upper and result.upper >= exact.lower


def test_what_it_does_not_cover_is_refused() -> None:
    net, x = single(1.0, 0.0), torch.zeros(1, 1, dtype=torch.float64)
    for problem in (
        LocalLipschitz(LinfBall(1.0), Logit(0), "regional"),
        LocalLipschitz(LinfBall(1.0), Logit(0), "pointed", 2.0),
        LocalLipschitz(L2Ball(1.0), Logit(0), "pointed", 2.0),
    ):
        with pytest.raises(UnsupportedRequest):
            certify(net, problem, x, estimator="mip_pointed")


def test_kinks_that_go_through_the_reference_point_up_to_rounding_alone() -> None:
    """44 relu(w . x + b) - relu(44 w . x + b'), both 0 at x0 in float64: steep between kinks 1e-14 apart, flat beyond."""
    x, w = torch.tensor([[1.42, 1.926]], dtype=torch.float64), torch.tensor([[38.0, 28.0]], dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
        net[0].bias.zero_()
        net[2].weight.copy_(torch.cat([w, 44.0 * w]))
        net[2].bias.zero_()
        net[2].bias.copy_(-net[2](x)[0])
        net[4].weight.copy_(torch.tensor([[44.0, -1.0]]))
        net[4].bias.zero_()
    for region in (Box([0.5] * 2, [300.0] * 2), LinfBall(300.0, low=0.5, high=300.0)):
        for estimator in (*ENGINES, None):
            (found,) = certify(net, LocalLipschitz(region, Logit(0), scope="pointed"), x, estimator=estimator)
            assert found.upper >= 44.0 * (38.0 + 28.0)  # seen in rationals at a distance of 1e-20


@pytest.mark.parametrize("region", [LinfBall(0.6), L2Ball(0.8, low=-0.3), L1Ball(0.7)], ids=["linf", "l2_cut", "l1"])
@pytest.mark.parametrize("q", [1.0, 2.0, math.inf])
@one_in(3)
def test_the_whole_output_lies_between_samples_and_the_regional_constant(q: float, region: Region) -> None:
    """Signs of the outputs for q = 1, the outputs themselves for q = inf; for q = 2 an interval, which says so.

    Over two inputs linear pieces close it, but where nodes are limited, as a search's alone are.
    """
    torch.manual_seed(2)
    net, x = oracles.mlp(2, 6, 5, 3).double(), torch.rand(1, 2, dtype=torch.float64) * 0.3 - 0.1
    problem = LocalLipschitz(region, Vector(), "pointed", 2, q=q)
    (found,) = certify(net, problem, x, estimator="branch_and_bound")
    (regional,) = certify(net, replace(problem, scope="regional"), x, estimator="branch_and_bound")
    points = region.place(x).sample(20_000, torch.Generator().manual_seed(0))[0]
    rise = torch.linalg.vector_norm((net(points) - net(x)).detach(), ord=q, dim=-1)
    run = torch.linalg.vector_norm(points - x, dim=-1)
    best = float((rise / run)[run > 1e-3].max())
    assert best <= found.upper * (1 + 1e-9) and found.upper <= regional.upper * (1 + 1e-6)
    assert found.lower >= 0.95 * best
    assert found.certificate is Certificate.EXACT
    if q == 2.0:
        (alone,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(nodes=10**6))
        assert alone.certificate is Certificate.BRACKET and "an interval" in alone.detail
        assert alone.lower <= found.upper and found.lower <= alone.upper


def test_inputs_without_room_and_units_that_never_move_count_for_nothing() -> None:
    """The first input has no room, and a unit that reads it alone is flat, at its kink as well as away from it."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 2.0], [0.0, -1.0]]))
        net[0].bias.copy_(torch.tensor([-5.0, 0.0, 0.5]))
        net[2].weight.copy_(torch.tensor([[7.0, 1.0, -1.0]]))
        net[2].bias.zero_()
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    region = Box([1.0, -1.0], [1.0, 1.0])
    for scale in (None, 0.5):
        problem = LocalLipschitz(region, Logit(0), "pointed", 1, scale=scale)
        (found,) = certify(net, problem, x, estimator="branch_and_bound")
        # up to the kink at 0.5 the slope is 3, beyond it 2: on the way down 1
        assert found.certificate is Certificate.EXACT
        assert found.upper == pytest.approx(3.0 * (scale or 1.0), rel=1e-6)
