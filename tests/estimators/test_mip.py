"""The exact estimator beyond the conformance grid: several functionals, budgets, interrupts, degenerate networks."""

from __future__ import annotations

import copy
import math
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify, get_estimator
from lipreg.outputs import AllLogits, AllMargins, Combination, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Region
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in

NORMS = pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])


def exact(net: nn.Module, x: torch.Tensor, output: Output, p: float, region: Region | None = None) -> CertifiedInterval:
    problem = LocalLipschitz(region or LinfBall(0.7), output, p=p)
    (interval,) = certify(net, problem, x, torch.tensor([1]), estimator="mip", budget=Budget(600.0))
    return interval


def hard() -> tuple[nn.Module, torch.Tensor, LocalLipschitz]:
    """A network that no solver closes in seconds."""
    torch.manual_seed(4)
    net = oracles.mlp(8, 40, 40, 40, 1).double()
    return net, torch.zeros(1, 8, dtype=torch.float64), LocalLipschitz(LinfBall(3.0), Logit(0))


def holds(interval: CertifiedInterval, truth: float) -> None:
    assert interval.lower <= truth * (1 + 1e-9)
    assert interval.upper >= truth * (1 - 1e-9)


@NORMS
@pytest.mark.parametrize("name", ["shallow", "solid"])
def test_several_functionals_are_the_largest_of_single_ones(name: str, p: float) -> None:
    net = oracles.network(name)
    x = torch.full((1, oracles.input_size(net)), 0.1, dtype=torch.float64)
    count = oracles.evaluate(net, x.numpy()).shape[1]
    logits = [exact(net, x, Logit(i), p) for i in range(count)]
    margins = [exact(net, x, Margin(1, j), p) for j in range(count) if j != 1]
    for singles, together in ((logits, AllLogits()), (margins, AllMargins())):
        assert all(s.certificate is Certificate.EXACT for s in singles)
        interval = exact(net, x, together, p)
        assert interval.status is Status.PROVED
        assert interval.lower == pytest.approx(max(s.lower for s in singles), rel=1e-9)
        assert interval.upper == pytest.approx(max(s.upper for s in singles), rel=2e-6)
    # and of the enumeration
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 0.7, x[0].numpy() + 0.7)
    truth = oracles.regional(oracles.cells(net, domain), np.eye(count), p, None)
    holds(exact(net, x, AllLogits(), p), truth)


@NORMS
def test_a_batch_is_its_points(p: float) -> None:
    net = oracles.network("shallow")
    x = torch.tensor([[0.1, -0.2], [0.5, 0.4], [-0.6, 0.3]], dtype=torch.float64)
    together = certify(net, LocalLipschitz(LinfBall(0.5), Logit(0), p=p), x, estimator="mip", budget=Budget(600.0))
    for i, interval in enumerate(together):
        alone = exact(net, x[i : i + 1], Logit(0), p, LinfBall(0.5))
        assert interval.lower == pytest.approx(alone.lower, rel=1e-9)
        assert interval.upper == pytest.approx(alone.upper, rel=2e-6)


@pytest.mark.parametrize("estimator", ["mip", "lp"])
@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.01, 0.05])
def test_a_tiny_budget_gives_a_valid_bracket(seconds: float, estimator: str) -> None:
    net = oracles.network("deep")
    x = torch.tensor([[0.1, -0.2], [0.4, 0.3]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), AllLogits())
    found = certify(net, problem, x, estimator=estimator, budget=Budget(seconds))
    for point, interval in zip(x.numpy(), found, strict=True):
        cells = oracles.cells(net, oracles.Domain(point, point - 0.8, point + 0.8))
        holds(interval, oracles.regional(cells, np.eye(3), math.inf, None))
        assert interval.upper < math.inf
        if seconds < 1e-3:
            assert interval.status in (Status.TIME_LIMIT, Status.BOUNDED)
    if seconds < 1e-3 and estimator == "mip":
        assert {i.status for i in found} == {Status.TIME_LIMIT}


def test_a_budget_is_kept_on_a_hard_network() -> None:
    net, x, problem = hard()
    began = time.monotonic()
    (interval,) = certify(net, problem, x, estimator="mip", budget=Budget(2.0))
    assert time.monotonic() - began < 40
    assert interval.status is Status.TIME_LIMIT
    assert interval.certificate is Certificate.BRACKET
    witness = np.array(interval.witness.point)  # type: ignore[union-attr]
    assert np.abs(witness).max() <= 3.0
    own = np.abs(oracles.jacobian(net, witness)).sum()
    assert interval.lower == pytest.approx(own, rel=1e-9)
    assert "HiGHS" in interval.detail


@pytest.mark.parametrize("estimator", ["mip", "lp"])
def test_stop_ends_the_search_with_what_is_proved(estimator: str) -> None:
    net, x, problem = hard()
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    began = time.monotonic()
    try:
        (interval,) = certify(net, problem, x, estimator=estimator, budget=Budget(120.0, stop=stop))
    finally:
        timer.cancel()
    if estimator == "mip":
        assert interval.status is Status.INTERRUPTED
    assert time.monotonic() - began < 60
    rng = np.random.default_rng(0)
    sampled = max(float(np.abs(oracles.jacobian(net, v)).sum()) for v in rng.uniform(-3, 3, (50, 8)))
    assert sampled <= interval.upper < math.inf


@pytest.mark.parametrize("estimator", ["mip", "lp"])
def test_a_stop_that_was_set_before(estimator: str) -> None:
    stop = threading.Event()
    stop.set()
    net = oracles.network("shallow")
    x = torch.full((2, 2), 0.1, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.8), Logit(0))
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() - 0.8, x[0].numpy() + 0.8)
    truth = oracles.regional(oracles.cells(net, domain), np.eye(3)[:1], math.inf, None)
    for interval in certify(net, problem, x, estimator=estimator, budget=Budget(stop=stop)):
        assert interval.status is Status.INTERRUPTED
        holds(interval, truth)


def degenerate(extra: float = 0.0, ratio: float = -1.0) -> nn.Sequential:
    """3 x - 2 relu(x) + 2 relu(-x), which is x: the slope is 1 but at 0, where the pattern "both off" has slope 3.

    3 x is written as 3 relu(x + 9) - 27, so that it holds above -9 and its unit is stable. The kinks of relu(x + extra) and
    of relu(-x + extra) are written as those of two units, the second one scaled by ``ratio``.
    """
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [1.0], [ratio]], dtype=torch.float64))
        net[0].bias.copy_(torch.tensor([9.0, extra, abs(ratio) * extra], dtype=torch.float64))
        net[2].weight.copy_(torch.tensor([[3.0, -2.0, -2.0 / ratio]]))
        net[2].bias.fill_(-27.0)
    return net


def meeting_layers() -> nn.Sequential:
    """The same function with relu(-x) in the second layer, so that kinks of two layers meet."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([9.0, 0.0]))  # x + 9 and relu(x)
        net[2].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        net[2].bias.copy_(torch.tensor([0.0, 5.0, 9.0]))  # x + 9, relu(x) + 5 and -x
        net[4].weight.copy_(torch.tensor([[3.0, -2.0, 2.0]]))
        net[4].bias.fill_(-17.0)
    return net


@NORMS
def test_a_pattern_without_interior_does_not_count(p: float) -> None:
    """The program's optimum is its slope, 3; the search that proves the upper end leaves it out."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    interval = exact(meeting_layers(), x, Logit(0), p, LinfBall(1.0))
    assert interval.status is Status.PROVED
    assert (interval.lower, interval.upper) == (pytest.approx(1.0, abs=1e-12), pytest.approx(1.0, rel=1e-5))


@NORMS
def test_units_that_switch_together_are_tied(p: float) -> None:
    """relu(x) and relu(-x): the pattern "both off" exists at 0 alone, and the program does not allow it."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    for ratio in (-1.0, -3.0, -1 / 3):
        interval = exact(degenerate(ratio=ratio), x, Logit(0), p, LinfBall(1.0))
        assert interval.status is Status.PROVED
        assert interval.upper == pytest.approx(1.0, rel=1e-5)


@NORMS
def test_units_that_are_multiples_up_to_rounding_are_named(p: float) -> None:
    """Exact arithmetic cannot tie them: a sliver of a few ulps may be there, and its slope counts."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    net = degenerate(extra=-0.1, ratio=1.0)
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = -3.0, 0.3  # 3 * 0.1 is not 0.3 in float64
    net[2].weight.data[0, 2] = 2.0 / 3.0
    interval = exact(net, x, Logit(0), p, LinfBall(1.0))
    assert interval.status is Status.UNCONFIRMED
    assert "0[" not in interval.detail and "1[1], 1[2]" in interval.detail
    assert "up to rounding" in interval.detail


@NORMS
def test_a_pattern_with_little_interior_is_confirmed(p: float) -> None:
    """Both units off on (-0.001, 0.001): the slope 3 is real, however seldom a random point finds it."""
    x = torch.tensor([[0.3]], dtype=torch.float64)
    interval = exact(degenerate(-1e-3), x, Logit(0), p, LinfBall(1.0))
    assert interval.status is Status.PROVED
    assert interval.lower == pytest.approx(3.0, rel=1e-12)
    assert interval.witness is not None
    assert abs(interval.witness.point[0]) < 1e-3


@NORMS
def test_a_constant_functional_is_zero(p: float) -> None:
    net = oracles.network("dead_units")
    with torch.no_grad():
        net[4].weight[0] = 0.0
    x = torch.full((1, 2), 0.1, dtype=torch.float64)
    interval = exact(net, x, Logit(0), p)
    assert (interval.lower, interval.upper) == (0.0, 0.0)


@NORMS
def test_a_stable_network_is_its_jacobian(p: float) -> None:
    net = oracles.network("deep")
    x = torch.full((1, 2), 0.123, dtype=torch.float64)
    truth = oracles.slope_norm(oracles.jacobian(net, x[0].numpy()), np.eye(3), p, None)
    interval = exact(net, x, AllLogits(), p, LinfBall(1e-6))
    assert interval.status is Status.PROVED
    holds(interval, truth)
    assert interval.upper == pytest.approx(truth, rel=2e-6)


@NORMS
def test_a_stable_network_about_which_no_witness_is_known(p: float) -> None:
    net, x = oracles.network("deep"), torch.full((1, 2), 0.123, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1e-6), AllLogits(), p=p)
    (upper,) = certify(net, problem, x, estimator="lp")
    (interval,) = certify(net, problem, x, estimator="mip", known=(upper,))
    assert interval.status is Status.PROVED
    holds(interval, oracles.slope_norm(oracles.jacobian(net, x[0].numpy()), np.eye(3), p, None))


@pytest.mark.parametrize("estimator", ["mip", "lp"])
@pytest.mark.parametrize(
    "problem, says",
    [
        (LocalLipschitz(LinfBall(0.1), Logit(0), scope="pointed"), "regional"),
        (LocalLipschitz(LinfBall(0.1), Logit(0), p=2), "p in 1, inf"),
        (LocalLipschitz(L2Ball(0.1), Logit(0)), "p in 1, inf"),
        (LocalLipschitz(L1Ball(0.1), Vector(), q=2), "q in 1, inf"),
    ],
    ids=["scope", "p2", "l2_ball", "vector"],
)
def test_questions_that_are_not_covered(estimator: str, problem: LocalLipschitz, says: str) -> None:
    with pytest.raises(UnsupportedRequest) as raised:
        certify(oracles.network("shallow"), problem, torch.zeros(1, 2, dtype=torch.float64), estimator=estimator)
    text = str(raised.value)
    assert repr(estimator) in text
    assert says in text
    # what it recommends does cover the question
    named = [name for name in ("affine_relu", "abs_chain", "fastlip", "spectral", "sampling") if name in text]
    assert named
    for name in named:
        get_estimator(name).check(problem)


@pytest.mark.parametrize("region", [Box(-0.6, 0.8), L1Ball(0.9, low=-0.3, high=0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_random_networks_on_every_region(region: Region, seed: int) -> None:
    net = oracles.network("shallow", seed + 10)
    x = torch.tensor([[0.2, 0.0]], dtype=torch.float64)
    weights = (0.3, -1.0, 0.6)
    placed = region.place(x)
    radius = getattr(region, "radius", math.inf) if region.norm == 1 else math.inf
    domain = oracles.Domain(x[0].numpy(), placed.lower[0].numpy(), placed.upper[0].numpy(), region.norm, radius)
    cells = oracles.cells(net, domain)
    for p in (1.0, math.inf):
        truth = oracles.regional(cells, np.array([weights]), p, None)
        interval = exact(net, x, Combination(weights), p, region)
        assert interval.status is Status.PROVED
        holds(interval, truth)
        assert interval.gap <= 1e-5


@pytest.mark.parametrize("scale", [1e-3, 1e3, *([1e-2, 1e2] if EVERYTHING else [])])
@pytest.mark.parametrize("p", [1.0, math.inf])
@one_in(2)
def test_tolerances_follow_the_size_of_the_network(scale: float, p: float) -> None:
    """Every layer scaled by s scales the constant by s^3, down to slopes of 1e-9; a solver's own tolerances are absolute."""
    torch.manual_seed(3)
    net = oracles.mlp(3, 9, 9, 3).double()
    x = torch.rand(2, 3, dtype=torch.float64)
    for scope, name in (("regional", "mip"), ("pointed", "mip_pointed")):
        problem = LocalLipschitz(LinfBall(0.4), AllLogits(), scope, p)  # type: ignore[arg-type]
        plain = certify(net, problem, x, estimator=name)
        scaled_net = copy.deepcopy(net)
        with torch.no_grad():
            for power, layer in enumerate((m for m in scaled_net if isinstance(m, nn.Linear)), 1):
                layer.weight.mul_(scale)
                layer.bias.mul_(scale**power)
        for one, other in zip(plain, certify(scaled_net, problem, x, estimator=name), strict=True):
            assert one.certificate is other.certificate is Certificate.EXACT
            assert other.upper == pytest.approx(one.upper * scale**3, rel=1e-5)
