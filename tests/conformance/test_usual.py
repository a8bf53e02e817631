"""What answers where nobody names a method: both ends for every question, exact wherever an engine covers it."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import pytest
import torch

from lipreg import AllMargins, L2Ball, LocalLipschitz, Vector
from lipreg.auditing import AuditPlan, audit
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, certify, usual, usual_estimators
from lipreg.estimators.answers import answered
from lipreg.graph import Affine, Curved, MaxPool, Relu, capture
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.testing.judged import ABSOLUTE, TOLERANCE
from lipreg.testing.soundness import check_witness
from tests import oracles
from tests.conformance.questions import NORMS, OUTPUTS, REGIONS, SCOPES, Q, Question
from tests.sampling import one_in

KINDS = {Affine, Relu, MaxPool}


def is_exact(question: Question) -> bool:
    """Whether some engine says that it finds the constant itself."""
    return answered(question.problem).kind == "exact"


def test_every_question_has_usual_methods_for_both_ends() -> None:
    for region, scope, p in itertools.product(REGIONS, SCOPES, NORMS.values()):
        for name in OUTPUTS:
            question = Question("shallow", region, scope, p, name)
            kinds = {ESTIMATORS[n].certificate for n in usual_estimators(question.problem)}
            assert {Certificate.UPPER, Certificate.LOWER} <= kinds, question
            assert is_exact(question) is (name != "vector_q2" or scope == "regional"), question


def test_they_cover_every_network_so_that_none_has_fewer_ends() -> None:
    for name in usual.USUAL:
        assert set(ESTIMATORS[name].kinds) >= KINDS and ESTIMATORS[name].branches, name
    curved = [ESTIMATORS[name].certificate for name in usual.USUAL if Curved in ESTIMATORS[name].kinds]
    assert {Certificate.UPPER, Certificate.LOWER} <= set(curved)


def test_one_that_does_not_cover_a_network_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("residual", "linf", "regional", math.inf, "all_margins")
    graph, (engine, *others) = (
        capture(question.module, question.x).frozen(),
        reversed(usual_estimators(question.problem)),
    )
    monkeypatch.setattr(type(ESTIMATORS[engine]), "branches", False)
    left = usual_estimators(question.problem, graph)
    assert engine in usual_estimators(question.problem) and engine not in left and set(others) <= set(left)
    calls = Calls(monkeypatch)
    for point, found in enumerate(certify(question.module, question.problem, question.x)):
        low, high = question.truth(point)
        assert 0 < found.lower <= high * (1 + TOLERANCE) and low * (1 - TOLERANCE) <= found.upper < math.inf
    assert engine not in {name for name, _, _ in calls.made}


@pytest.mark.parametrize("region", ["linf", "l2"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
@one_in(2)
def test_both_ends_are_proved(p: float, scope: str, region: str) -> None:
    for name in ("all_margins", *Q):
        question = Question("shallow", region, scope, p, name)
        for point, found in enumerate(certify(question.module, question.problem, question.x)):
            low, high = question.truth(point)
            assert 0 < found.lower <= high * (1 + TOLERANCE) + ABSOLUTE, question
            assert low * (1 - TOLERANCE) <= found.upper < math.inf, question
            check_witness(question, point, found, str(question))
            if is_exact(question):
                assert found.certificate is Certificate.EXACT and found.status is Status.PROVED, question
                continue
            x = question.x[point : point + 1]
            (product,) = certify(question.module, question.problem, x, estimator="affine_relu")
            assert found.upper <= product.upper * (1 + TOLERANCE), question


def test_in_l2_they_close_most_of_what_the_product_of_norms_leaves_open() -> None:
    """The margins over an l2 ball and the whole output: the semidefinite bound and a witness, where one end was missing."""
    torch.manual_seed(0)
    net, x, y = oracles.mlp(4, 12, 8, 3).double(), torch.rand(2, 4, dtype=torch.float64), torch.tensor([1, 0])
    for output in (AllMargins(), Vector()):
        for scope in SCOPES:
            problem = LocalLipschitz(L2Ball(0.3), output, p=2, scope=scope)  # type: ignore[arg-type]
            product = certify(net, problem, x, y, estimator="affine_relu")
            for found, loose in zip(certify(net, problem, x, y), product, strict=True):
                by_search = found.proof == "branch and bound"
                assert found.proof.startswith("LipSDP") or by_search or found.certificate is Certificate.EXACT
                assert found.upper - found.lower < 0.2 * (loose.upper - found.lower), (output, scope)


def test_an_audit_without_names_runs_the_same_methods() -> None:
    question = Question("shallow", "l2", "regional", 2.0, "vector_q2")
    (first, _) = audit(question.module, AuditPlan(question.problem), question.x)
    assert list(first.intervals) == ["combined", *usual_estimators(question.problem)]
    found = certify(question.module, question.problem, question.x)[0]
    assert (first.combined.lower, first.combined.upper) == pytest.approx((found.lower, found.upper), rel=1e-4)


class Calls:
    """Which estimators are asked, at how many points and for how long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, int, float]] = []
        monkeypatch.setattr(usual, "get_estimator", self._watched)

    def _watched(self, name: str) -> Any:
        method, made = ESTIMATORS[name], self.made

        class Watched:
            searches, certificate, uncovered = method.searches, method.certificate, method.uncovered

            @staticmethod
            def intervals(analysis: Analysis, budget: Budget, *given: Any) -> list[CertifiedInterval]:
                made.append((name, analysis.placed.batch, round(budget.seconds_left, 6)))
                return method.intervals(analysis, budget, *given)

        return Watched


def test_nothing_more_is_done_at_a_point_that_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("shallow", "linf", "regional", math.inf, "all_margins")
    calls = Calls(monkeypatch)
    certify(question.module, question.problem, question.x)
    assert [(name, points) for name, points, _ in calls.made] == [("branch_and_bound", 1)] * 2
    calls.made.clear()
    l2 = Question("affine", "l2", "regional", 2.0, "all_margins")  # closed forms are exact here
    assert {found.status for found in certify(l2.module, l2.problem, l2.x)} == {Status.PROVED}
    assert "lipsdp" not in {name for name, _, _ in calls.made}


def test_limits_leave_both_ends_and_say_what_ended_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("deep", "linf", "regional", math.inf, "all_margins")
    stopped = threading.Event()
    stopped.set()
    budgets = {
        Status.TIME_LIMIT: Budget(0.0),
        Status.NODE_LIMIT: Budget(nodes=1),
        Status.INTERRUPTED: Budget(stop=stopped),
        Status.GAP_LIMIT: Budget(gap=0.9),
    }
    for status, budget in budgets.items():
        for point, found in enumerate(certify(question.module, question.problem, question.x, budget=budget)):
            low, high = question.truth(point)
            assert 0 < found.lower <= high * (1 + TOLERANCE) and low * (1 - TOLERANCE) <= found.upper < math.inf
            assert found.certificate is Certificate.EXACT or found.status is status, (found, status)
    calls = Calls(monkeypatch)
    l2 = Question("deep", "l2", "regional", 2.0, "vector_q2")
    (cheap, _) = certify(l2.module, l2.problem, l2.x, budget=Budget(gap=0.99))
    assert cheap.status is Status.GAP_LIMIT and "lipsdp" not in {name for name, _, _ in calls.made}
    calls.made.clear()
    certify(l2.module, l2.problem, l2.x, budget=Budget(0.0))
    assert "lipsdp" not in {name for name, _, _ in calls.made}, "both ends are there and no time is left"


def test_too_many_outputs_for_an_engine_are_left_to_the_others() -> None:
    torch.manual_seed(0)
    net, x = oracles.mlp(2, 3, 11).double(), torch.rand(1, 2, dtype=torch.float64)
    for scope in SCOPES:
        problem = LocalLipschitz(REGIONS["linf"](2), Vector(), p=math.inf, q=1.0, scope=scope)  # type: ignore[arg-type]
        (found,) = certify(net, problem, x, budget=Budget(0.1))
        assert 0 < found.lower <= found.upper < math.inf
