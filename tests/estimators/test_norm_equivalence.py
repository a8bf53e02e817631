"""Methods asked for in another norm: the factor is right, spelled out, never there unasked, and the ends are sound."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from lipreg.auditing import AuditPlan, audit
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator, Estimator, EstimatorTask, certify, get_estimator, register
from lipreg.graph import capture
from lipreg.linalg import norm_name
from lipreg.outputs import AllMargins, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L2Ball, LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conformance.questions import NORMS, SCOPES, Q, Question
from tests.sampling import one_in, sampled

BUDGET = Budget(600.0)
TOLERANCE = 1e-8


@pytest.fixture
def euclidean() -> Iterator[None]:
    """A method for p = 2 alone, and an estimate of it."""

    @register("euclidean")
    class Euclidean(BoundEstimator):
        norms = (2.0,)
        output_norms = (2.0,)
        branches = True

        def bound(self, analysis: Analysis) -> Tensor:
            bound = ESTIMATORS["fastlip"]
            assert isinstance(bound, BoundEstimator)
            return bound.bound(analysis)

    @register("guess")
    class Guess(Estimator):
        certificate = Certificate.ESTIMATE
        norms = (2.0,)
        output_norms = (2.0,)

        def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
            placed = work.analysis.placed
            return [CertifiedInterval(placed.problem, name, estimate=3.0) for name in placed.functional_names]

    yield
    del ESTIMATORS["euclidean"], ESTIMATORS["guess"]


@pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("scope", SCOPES)
@one_in(2)
def test_ends_hold_the_exact_constant(euclidean: None, scope: str, p: float) -> None:
    turn, networks = [*NORMS.values()].index(p), (("shallow", "linf_cut"), ("residual", "l1_cut"))
    for place, (net, region) in enumerate(networks):
        for kind in (kind for k, kind in enumerate(("all_margins", *Q)) if sampled(2, turn, place, k)):
            question = Question(net, region, scope, p, kind)
            names = ("euclidean@l2", "fastlip@l1", "spectral@linf")
            for name in (*names, "sampling@l2", "sampling@l1") if kind == "all_margins" else names:
                if get_estimator(name).uncovered(question.problem) is not None:
                    continue
                results = certify(question.module, question.problem, question.x, estimator=name, budget=BUDGET)
                for point, result in enumerate(results):
                    low, high = question.truth(point)
                    assert result.upper >= low * (1 - TOLERANCE), f"{name}: {question}"
                    assert result.lower <= high * (1 + TOLERANCE), f"{name}: {question}"
                    if name.startswith("sampling"):
                        assert result.lower > 0.5 * low and "points in " in result.detail
                    elif name.endswith(norm_name(p)) and question.problem.q is None:
                        assert " times " not in result.detail
                    elif question.problem.q is None:
                        assert f"in {name[name.index('@') + 1 :]}, times " in result.detail


def test_an_exact_method_in_another_norm_keeps_a_bracket_and_claims_no_more() -> None:
    """mip covers p = 1 and inf: |g|_2 <= |g|_1 is its upper end for p = 2, the witness measured in l2 its lower one."""
    question = Question("deep", "linf", "regional", 2.0, "all_logits")
    found = certify(question.module, question.problem, question.x, estimator="mip@linf", budget=BUDGET)
    own = LocalLipschitz(question.problem.region, question.problem.output, p=math.inf)
    for point, (result, exact) in enumerate(
        zip(found, certify(question.module, own, question.x, estimator="mip", budget=BUDGET), strict=True)
    ):
        low, high = question.truth(point)
        assert exact.status is Status.PROVED and result.status is Status.BOUNDED
        assert result.upper == pytest.approx(exact.upper, rel=1e-9) and result.lower <= high * (1 + TOLERANCE)
        assert result.upper >= low and result.witness is not None and result.families == ()
        gradient = oracles.jacobian(question.module, np.array(result.witness.point))
        assert result.lower == pytest.approx(np.linalg.norm(gradient, axis=1).max(), rel=1e-9)


def test_the_factor_counts_coordinates_with_room_and_outputs(euclidean: None) -> None:
    torch.manual_seed(0)
    net = oracles.mlp(5, 6, 3).double()
    x = torch.full((2, 5), 0.5, dtype=torch.float64)
    x[1, :2] = 0.2
    for problem, factor, text in (
        (LocalLipschitz(LinfBall(0.1), Logit(0)), math.sqrt(5), "2.23606798 (|x|_2 <= 5^0.5 |x|_inf)"),
        (LocalLipschitz(LinfBall(0.1), Logit(0), p=1), 1.0, "1 (|x|_2 <= |x|_1)"),
        (LocalLipschitz(LinfBall(0.1), Vector(), p=1, q=1), math.sqrt(3), "1 (|x|_2 <= |x|_1) and 1.73205081"),
        (LocalLipschitz(L2Ball(0.1), Vector(), q=1), math.sqrt(3), "1 (|x|_2 <= |x|_2) and 1.73205081 (|y|_1 <= 3^0.5"),
        (LocalLipschitz(LinfBall(0.1), Vector(), q=math.inf), math.sqrt(5), "5^0.5 |x|_inf) and 1 (|y|_inf <= |y|_2)"),
    ):
        inner = LocalLipschitz(problem.region, problem.output, p=2, q=None if problem.q is None else 2)
        own = certify(net, inner, x, estimator="euclidean")
        for asked, result in zip(own, certify(net, problem, x, estimator="euclidean@l2"), strict=True):
            assert result.upper == pytest.approx(factor * asked.upper, rel=1e-8)
            assert text in result.detail and f"{asked.upper:.9g} in l2" in result.detail
            assert result.proof.startswith("euclidean in l2") and result.problem == problem
    room = LocalLipschitz(Box([0.5, 0.5, 0.5, 0.3, 0.3], [0.5, 0.5, 0.5, 0.6, 0.7]), Logit(0))
    (cut,) = certify(net, room, x[:1], estimator="euclidean@l2")
    assert "2^0.5" in cut.detail


def test_in_its_own_norm_nothing_is_added(euclidean: None) -> None:
    question = Question("deep", "linf", "regional", 2.0, "vector_q2")
    plain, named = (
        certify(question.module, question.problem, question.x, estimator=name) for name in ("euclidean", "euclidean@l2")
    )
    assert plain == named


def test_an_estimate_stays_one(euclidean: None) -> None:
    net, x = oracles.network("solid"), torch.zeros(1, 3, dtype=torch.float64)
    (result,) = certify(net, LocalLipschitz(LinfBall(0.1), Logit(0)), x, estimator="guess@l2")
    assert result.certificate is Certificate.ESTIMATE and result.estimate == pytest.approx(3 * math.sqrt(3))
    assert result.detail == "3 in l2, times 1.73205081 (|x|_2 <= 3^0.5 |x|_inf)."


def test_a_method_that_proves_nothing_stays_trivial() -> None:
    question = Question("deep", "linf", "regional", 2.0, "margin")
    budget = Budget(0.0)
    for result in certify(question.module, question.problem, question.x, estimator="mip@linf", budget=budget):
        assert result.status is Status.TIME_LIMIT and result.lower <= result.upper


def test_without_being_asked_it_is_refused_and_the_message_says_how_to_ask(euclidean: None) -> None:
    net, x = oracles.network("solid"), torch.zeros(1, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.1), AllMargins())
    with pytest.raises(UnsupportedRequest, match="'euclidean@l2' takes it"):
        certify(net, problem, x, torch.zeros(1, dtype=torch.int64), estimator="euclidean")
    with pytest.raises(UnsupportedRequest, match="'mip@linf' takes it"):
        get_estimator("mip").check(LocalLipschitz(LinfBall(0.1), AllMargins(), p=2))
    with pytest.raises(UnsupportedRequest) as refusal:  # the scope is what is wrong here, and no norm mends it
        get_estimator("mip").check(LocalLipschitz(LinfBall(0.1), AllMargins(), "pointed", p=2))
    assert "@l" not in str(refusal.value)
    with pytest.raises(UnsupportedRequest, match="euclidean@linf"):
        get_estimator("euclidean@linf").check(problem)
    with pytest.raises(InvalidInput, match='1, 2 or "inf"'):
        get_estimator("euclidean@l3")
    with pytest.raises(InvalidInput, match="nothing"):
        get_estimator("nothing@l2")


def test_every_method_by_norm_covers_or_refuses_without_work() -> None:
    for name, norm, p, scope in itertools.product(ESTIMATORS, NORMS, NORMS.values(), SCOPES):
        method = get_estimator(f"{name}@l{norm_name(NORMS[norm])}")
        for kind in (Logit(0), Vector()):
            problem = LocalLipschitz(LinfBall(0.1), kind, scope, p, math.inf if kind.joint else None)  # type: ignore[arg-type]
            covers = ESTIMATORS[name].vector or not kind.joint
            expected = scope in ESTIMATORS[name].scopes and NORMS[norm] in ESTIMATORS[name].norms and covers
            assert (method.uncovered(problem) is None) == expected, f"{method.name}, p={p}, {scope}, {kind}"


def test_an_audit_takes_it_by_name_and_its_records_spell_it_out(euclidean: None) -> None:
    torch.manual_seed(0)
    net = oracles.mlp(4, 6, 3).double()
    x, y = torch.rand(2, 4, dtype=torch.float64), torch.tensor([0, 2])
    problem = LocalLipschitz(LinfBall(0.1), AllMargins())
    plan = AuditPlan(problem, ["euclidean@l2", "fastlip", "sampling"], budget=600.0)
    for point in audit(capture(net, x), plan, x, y):
        records = {record.estimator: record for record in point.records("run", 0)}
        assert "in l2, times 2 (|x|_2 <= 4^0.5 |x|_inf)" in records["euclidean@l2"].detail
        assert records["euclidean@l2"].certificate == "upper"
        assert records["combined"].upper <= records["euclidean@l2"].upper


def test_worker_processes_take_it() -> None:
    sent = pickle.loads(pickle.dumps(get_estimator("frobenius@l2")))
    problem = LocalLipschitz(LinfBall(0.1), Logit(0))
    assert sent.name == "frobenius@l2" and sent.uncovered(problem) is None
    assert ESTIMATORS["frobenius"].uncovered(problem) is not None
