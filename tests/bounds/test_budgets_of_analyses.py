"""What is made of an analysis is made in its budget: what one budget cut short is made again where there is more of it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, WholeSpace
from lipreg.bounds import Analysis, interval_jacobian, jacobian, linear_jacobian, without_pools
from lipreg.estimators import Settings, frozen_analysis, get_estimator
from lipreg.estimators.cheap_bounds import products
from lipreg.estimators.exact.rays import over_rays
from lipreg.estimators.relaxations.lp import relaxation
from lipreg.linalg import SpectralNorm
from lipreg.milp import FunctionalFamily, gradients
from lipreg.results import Status
from tests import oracles
from tests.test_budget import Clock

X = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
SPENT, AMPLE = Budget(0.0).started(), Budget(math.inf).started()


def analysis(net: nn.Module | None = None, region: Any = None, **more: Any) -> Analysis:
    torch.manual_seed(0)
    net = net or oracles.mlp(2, 12, 12, 3).double()
    return frozen_analysis(net, LocalLipschitz(region or LinfBall(0.8), AllLogits(), **more), X, None)


def pooled() -> nn.Module:
    first = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 12), nn.Unflatten(1, (1, 12)), nn.MaxPool1d(2))
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def jacobian_crown(local: Analysis, budget: Budget) -> Any:
    (interval,) = get_estimator("jacobian_crown").intervals(local, budget)
    return interval


def test_more_time_is_a_better_bound_of_the_same_analysis() -> None:
    local = analysis()
    cut, whole, fresh = (jacobian_crown(*each) for each in ((local, SPENT), (local, AMPLE), (analysis(), AMPLE)))
    assert cut.status is Status.TIME_LIMIT and "There was no time" in cut.detail
    assert whole.status is Status.BOUNDED and whole.detail == fresh.detail
    assert whole.upper == fresh.upper < cut.upper
    assert jacobian_crown(local, SPENT).upper == whole.upper, "what is whole is kept, whatever the budget"


def test_what_was_cut_short_is_kept_for_as_long_as_there_is_no_more_time() -> None:
    local, clock = analysis(), Clock()
    budget = Budget(10.0, clock=clock).started()
    clock.now += 20.0
    cut = linear_jacobian(local, budget)
    assert cut.left_out and linear_jacobian(local, SPENT).bounds is cut.bounds
    stopped = Budget(math.inf).started()
    stopped.stop.set()
    assert linear_jacobian(local, stopped).bounds is cut.bounds, "time is of no use to who has stopped"
    whole = linear_jacobian(local)
    assert not whole.left_out and linear_jacobian(local, SPENT).bounds is whole.bounds


def test_what_was_stopped_is_made_again_without_a_limit() -> None:
    local, stopped = analysis(), Budget(math.inf).started()
    stopped.stop.set()
    assert linear_jacobian(local, stopped).left_out and not linear_jacobian(local, AMPLE).left_out


def test_bounds_of_programs_are_as_whole_as_the_bounds_that_they_are_made_of() -> None:
    local = analysis()
    cut = gradients.gradient_bounds(local, SPENT)
    assert cut.left_out and cut.of([0]).left_out and gradients.gradient_bounds(local, SPENT) is cut
    whole, fresh = gradients.gradient_bounds(local, AMPLE), gradients.gradient_bounds(analysis(), AMPLE)
    assert not whole.left_out and (whole.lower == fresh.lower).all() and (whole.lower > cut.lower).any()


def test_a_program_made_of_cut_bounds_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    local, family, settings = analysis(), FunctionalFamily((0,)), Settings()
    with monkeypatch.context() as patch:
        patch.setattr("lipreg.milp.encoding.gradient_bounds", lambda made, _: gradients.gradient_bounds(made, SPENT))
        encoding, cut = relaxation(local, family, Budget(60.0).started(), settings)
    assert "There was no time" in encoding.left_out
    _, whole = relaxation(local, family, AMPLE, settings)
    _, fresh = relaxation(analysis(), family, AMPLE, settings)
    assert whole.dual_bound == pytest.approx(fresh.dual_bound, rel=1e-9) and whole.dual_bound < cut.dual_bound
    assert relaxation(local, family, Budget(60.0).started(), settings)[1] is whole


@pytest.mark.parametrize(
    ("made", "local"),
    [
        (without_pools, lambda: analysis(pooled())),
        (over_rays, lambda: analysis(region=WholeSpace())),
    ],
    ids=["pools", "rays"],
)
def test_networks_in_place_of_another_are_written_again_where_their_bounds_were_cut(
    made: Callable[..., Analysis], local: Callable[[], Analysis]
) -> None:
    network = local()
    cut = made(network, SPENT)
    assert cut.left_out and made(network, SPENT) is cut
    whole = made(network, AMPLE)
    assert whole is not cut and not whole.left_out and made(network, SPENT) is whole


def test_norms_are_made_again_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[bool]()

    def slow(map: Any, rows: torch.Tensor, columns: torch.Tensor, *rest: Any) -> SpectralNorm:
        cut = rest[-1]() is not None
        calls.append(cut)
        size = rows.new_full((1,), 3.0 if cut else 2.0)
        return SpectralNorm(size, size / 2, True, 1e-12, 1, "seed", cut)

    monkeypatch.setattr("lipreg.bounds.induced.spectral_norm", slow)
    local = analysis(p=2.0)
    (cut,), (whole,), (again,) = (products(local, budget) for budget in (SPENT, AMPLE, SPENT))
    assert cut.upper > whole.upper == again.upper and calls == [True, True, False, False]
    assert "all of the width of 2 of 2 spectral norms" in cut.detail
    assert "all of the width" not in whole.detail + again.detail, "what was read is whole"
    assert local.certificate().startswith("4 spectral norms by Lanczos"), "each of them may have failed"


def test_one_budget_is_not_that_of_others() -> None:
    local = analysis()
    spent = local.within(SPENT)
    assert local.budget.seconds_left == math.inf and spent.budget is SPENT and spent.norms.budget is SPENT
    assert (
        spent.slopes is local.slopes and spent[:1].budget is SPENT and spent.for_question(spent.placed).budget is SPENT
    )
    assert local.norms.budget.seconds_left == math.inf
    sent = pickle.loads(pickle.dumps(spent))
    assert sent.budget.seconds_left == sent.norms.budget.seconds_left == math.inf, "a budget ends where it began"


def test_digits_that_there_was_no_time_for_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobian, "LOST", 0.0)  # rounding is then a good part of any bound
    local, sharper = analysis(), list[Any]()
    swept = jacobian._swept
    monkeypatch.setattr(jacobian, "_swept", lambda rules: sharper.append(rules) or swept(rules))
    bounds, words = jacobian.timed_interval_jacobian(local.within(SPENT))
    assert len(sharper) == 1 and "no time for more digits" in words
    assert jacobian.timed_interval_jacobian(local)[1] == "" and len(sharper) == 3
    assert torch.equal(interval_jacobian(local.within(SPENT))[0][0], bounds[0][0])
    assert "no time for more digits" in linear_jacobian(local, SPENT).left_out


def test_what_tightens_bounds_is_not_taken_to_be_dearer_in_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of 20 seconds, of which nodes' own bounds take 9: as many again are left for the pass in digits."""
    monkeypatch.setattr(jacobian, "LOST", 0.0)
    clock = Clock()
    local = analysis().within(Budget(20.0, clock=clock).started())
    nodes, began = len(interval_jacobian(local)), clock.now

    def slowly(index: int, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        clock.now += 9.0 / nodes
        return low, high

    assert jacobian.timed_interval_jacobian(local, slowly)[1] == "" and clock.now - began == pytest.approx(18.0)
