"""Closed forms of many points: in parts of the memory and of the time, with the numbers of one point after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, Bound, Budget, L2Ball, LinfBall, LocalLipschitz, Vector, certify
from lipreg.bounds import analyse
from lipreg.bounds.pass_cost import BLINK, few_passes, points_at_once, rows_at_once
from lipreg.budget import BYTES_PER_NUMBER, RATE
from lipreg.estimators import BoundEstimator, frozen_analysis, get_estimator
from lipreg.estimators.cheap_bounds import products
from lipreg.estimators.naming import CUT, is_cut
from lipreg.graph import node_size
from lipreg.results import Certificate, CertifiedInterval, Status
from tests.sampling import one_in
from tests.test_budget import Clock

POINTS = 7
TIGHT = 2**12
"""Bytes with which a point of the network below is a part of its own, and so is each row."""
SLOW = 1e3
"""Multiplications a second by which every pass of the network below is long."""


def network() -> nn.Module:
    torch.manual_seed(3)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 4)]
    return nn.Sequential(*layers).double()


def points() -> Tensor:
    return torch.rand(POINTS, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


QUESTIONS = {
    "l_inf": LocalLipschitz(LinfBall(0.2), AllLogits()),
    "l2": LocalLipschitz(L2Ball(0.5), AllMargins()),
    "pointed": LocalLipschitz(L2Ball(0.5), AllLogits(), scope="pointed"),
    "operator": LocalLipschitz(LinfBall(0.2), Vector(), p=1, q=1),
    "l1": LocalLipschitz(LinfBall(0.2), AllLogits(), p=1),
}
CLOSED = ["affine_relu", "fastlip", "abs_chain", "jacobian_crown", "spectral"]


def asked(problem: LocalLipschitz, name: str, budget: Budget, some: slice = slice(None)) -> list[CertifiedInterval]:
    x = points()[some]
    return certify(network(), problem, x, torch.arange(POINTS)[some] % 4, estimator=name, budget=budget)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("problem", QUESTIONS.values(), ids=QUESTIONS)
@one_in(2)
def test_parts_of_the_memory_leave_every_number_as_it_is(problem: LocalLipschitz, name: str) -> None:
    whole = asked(problem, name, Budget(math.inf))
    parts = asked(problem, name, Budget(math.inf, memory=TIGHT))
    alone = [asked(problem, name, Budget(math.inf), slice(i, i + 1))[0] for i in range(POINTS)]
    for one, other, third in zip(whole, parts, alone, strict=True):
        # spectral norms may be of any width up to 1e-5; nothing else differs by more than sums in another order
        assert one.upper == pytest.approx(other.upper, rel=2e-9) == pytest.approx(third.upper, rel=2e-9)
        assert one.proof == other.proof and other.status is Status.BOUNDED and one.subject == other.subject
        assert one.detail == other.detail == ""


def test_tight_memory_is_one_point_and_one_row_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    method: Any = type(get_estimator("fastlip"))
    bound = method.bound

    def noted(self: Any, analysis: Any) -> Tensor:
        seen.append((analysis.placed.batch, analysis.placed.count))
        return bound(self, analysis)

    monkeypatch.setattr(method, "bound", noted)
    asked(QUESTIONS["l_inf"], "fastlip", Budget(math.inf))
    assert seen == [(POINTS, 4)]
    seen.clear()
    asked(QUESTIONS["l_inf"], "fastlip", Budget(math.inf, memory=TIGHT))
    assert seen == [(1, 1)] * 4 * POINTS


def test_rows_that_a_question_combines_stay_together() -> None:
    problem = QUESTIONS["operator"]
    analysis = frozen_analysis(network(), problem, points()[:1], None)
    method = get_estimator("fastlip")
    assert isinstance(method, BoundEstimator)
    parts = list(method._rows_in_parts(analysis, Budget(memory=1).started()))
    assert [part.placed.count for part, _ in parts] == [4]


@pytest.mark.parametrize("name", CLOSED)
def test_nothing_new_is_begun_when_the_time_is_over(name: str) -> None:
    """The first points are answered in any case, the others have one product of norms; all of it is true and said."""
    problem, clock = QUESTIONS["l_inf"], Clock(step=1.0)
    whole = asked(problem, name, Budget(math.inf))
    found = asked(problem, name, Budget(9.0, memory=TIGHT, clock=clock, rate=SLOW))
    assert len(found) == POINTS and clock.now < 100.0 + 9.0 + 170.0, "a first point, and no other"
    late = [one for one in found if one.proof.startswith("spectral")] if name != "spectral" else found[-1:]
    assert late and (name == "spectral" or not found[0].proof.startswith("spectral"))
    for one in late:
        assert (
            one.status is Status.TIME_LIMIT and "There was no time for more than the bound of 'spectral'" in one.detail
        )
    lower = asked(problem, "random_points", Budget(math.inf))
    for one, full, low in zip(found, whole, lower, strict=True):
        assert low.lower <= one.upper < math.inf and one.upper >= full.upper * (1 - 1e-9)


def test_the_product_that_stands_for_points_is_that_of_whole_layers() -> None:
    net, problem = network(), QUESTIONS["l_inf"]
    analysis = frozen_analysis(net, problem, points(), None)
    found = products(analysis, Budget(0.0).started())
    (spectral,) = certify(net, problem, points()[:1], estimator="spectral")
    assert [one.upper for one in found] == pytest.approx([spectral.upper] * POINTS, rel=1e-12)
    assert len({one.subject for one in found}) == POINTS
    assert not analysis.whole, "no region was looked at"
    _ = analysis.value_bounds
    assert analysis.whole


def test_small_questions_look_at_no_clock() -> None:
    """All of a batch whose passes are over in the blink of an eye is answered, whatever the time is."""
    found = asked(QUESTIONS["l_inf"], "fastlip", Budget(0.0))
    whole = asked(QUESTIONS["l_inf"], "fastlip", Budget(math.inf))
    assert [one.upper for one in found] == [one.upper for one in whole]


def test_points_taken_together_are_by_memory_and_time() -> None:
    analysis = frozen_analysis(network(), QUESTIONS["l_inf"], points(), None)
    graph, placed = analysis.graph, analysis.placed
    work = few_passes(graph, placed)
    assert points_at_once(graph, placed, Budget(math.inf)) == POINTS
    assert points_at_once(graph, placed, Budget(math.inf, memory=1)) == 1
    bounds_and_a_row = 2 * sum(map(node_size, graph.nodes))
    assert points_at_once(graph, placed, Budget(math.inf, memory=2 * BYTES_PER_NUMBER * bounds_and_a_row)) == 2
    for count in (1, 3):
        paced = Budget(0.0, rate=work * (count + 0.5) / BLINK)
        assert points_at_once(graph, placed, paced) == count
    assert points_at_once(graph, placed, Budget(0.0, rate=1.0)) == 1
    assert POINTS * work < RATE * BLINK
    assert rows_at_once(graph, placed, 1) == 1 and rows_at_once(graph, placed, 2**40) > 4


def test_rows_bounded_apart_share_the_bounds_of_pre_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    from lipreg.bounds.preactivations import BoundPropagation

    runs: list[int] = []
    run = BoundPropagation.run
    monkeypatch.setattr(BoundPropagation, "run", lambda self: (runs.append(len(self.region.center)), run(self))[1])
    asked(QUESTIONS["l_inf"], "jacobian_crown", Budget(math.inf, memory=TIGHT))
    assert runs == [1] * POINTS


def test_an_analysis_finds_the_points_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frozen_analysis(network(), QUESTIONS["l2"], points(), torch.zeros(POINTS, dtype=torch.long))
    whole.find()
    read: list[int] = []
    from lipreg.bounds import analysing as module

    class Noted(module.BoundPropagation):
        def run(self) -> Any:
            read.append(self.region.batch)
            return super().run()

    monkeypatch.setattr(module, "BoundPropagation", Noted)
    budget = Budget(math.inf, memory=TIGHT).started()
    with torch.no_grad():
        parts = analyse(whole.graph, whole.placed, budget=budget)
        third = parts[2:3]
        assert third.value_bounds[1].upper is parts[2:3].value_bounds[1].upper
        assert read == [1]
        asked_again = parts.for_question(replace(parts.placed, coefficients=parts.placed.rows[:, :1]))[2:3]
        assert asked_again.value_bounds[1].upper is third.value_bounds[1].upper and read == [1]
        for one, other in zip(parts.value_bounds, whole.value_bounds, strict=True):
            torch.testing.assert_close(one.lower, other.lower, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(one.upper, other.upper, rtol=1e-9, atol=1e-12)
        assert read == [1] * POINTS
        once = analyse(whole.graph, whole.placed, budget=budget, once=True)
        _ = once[0:1].value_bounds, once[1:2].value_bounds, once[0:1].value_bounds
        assert read == [1] * (POINTS + 3), "nothing was kept of the first when the second was read"
        assert parts.left_out == once[0:1].left_out == ""


def test_parts_behind_a_bound_are_in_its_certificate() -> None:
    """Norms by Lanczos of pre-activations count as those of the bound itself do."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 2))
    x, problem = torch.rand(2, 3, 16, 16), LocalLipschitz(L2Ball(0.1), AllLogits(), scope="pointed")
    recipe = Bound("affine_relu", ["ball", "interval"])
    for budget in (Budget(1e4), Budget(1e4, memory=2**18)):
        first, second = certify(net, problem, x, estimator=recipe, budget=budget)
        assert first.upper < math.inf and "spectral norms by Lanczos" in first.detail
        assert (first.detail == second.detail) == (budget.memory > 2**18), "starts are drawn for each part"


def test_what_was_cut_has_another_name() -> None:
    """One name of a recipe stands for one number."""
    problem, x = QUESTIONS["l_inf"], points()[:1]
    whole = certify(network(), problem, x, estimator="jacobian_crown")[0]
    cut = certify(
        network(), problem, x, estimator="jacobian_crown", budget=Budget(20.0, memory=1, clock=Clock(step=1.0))
    )[0]
    assert whole.proof == "jacobian_crown" and whole.status is Status.BOUNDED
    assert cut.status is Status.TIME_LIMIT and is_cut(cut.proof) and cut.proof.endswith(CUT)
    assert "in parts that fit into 1 byte" in cut.detail
    assert cut.upper >= whole.upper * (1 - 1e-9)


@pytest.mark.parametrize("name", ["branch_and_bound", None])
def test_searches_look_at_no_further_point_when_the_time_is_over(name: str | None) -> None:
    problem, clock = QUESTIONS["l_inf"], Clock(step=1.0)
    found = certify(network(), problem, points(), estimator=name, budget=Budget(20.0, clock=clock, rate=SLOW))
    whole = asked(problem, "jacobian_crown", Budget(math.inf))
    assert all(one.status is Status.TIME_LIMIT for one in found)
    for one, full in zip(found, whole, strict=True):
        assert one.lower <= full.upper and one.lower <= one.upper < math.inf
    assert any(one.proof.startswith("spectral") for one in found)
    assert clock.now < 100.0 + 20.0 + 150.0
    assert found[0].certificate in (Certificate.BRACKET, Certificate.UPPER)
