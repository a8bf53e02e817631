"""The searches with each solver, and the limits of a ``Budget``: one constant, whoever proves it."""

from __future__ import annotations

import functools
import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg.auditing import COMBINED, AuditPlan, audit
from lipreg.budget import Budget
from lipreg.callbacks import LipschitzAudit
from lipreg.errors import InvalidInput
from lipreg.estimators import certify
from lipreg.estimators.settings import Settings
from lipreg.milp import SOLVERS, Found, Options, Program, Solver, get_solver, installed_solvers, register_solver
from lipreg.outputs import AllLogits, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests.given import as_asked
from tests.milp.test_solvers import limited
from tests.sampling import one_in

each_solver = pytest.mark.parametrize("solver", installed_solvers())


def network(*widths: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, dtype=torch.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


SMALL, HARD = network(2, 5, 5, 2), network(3, 7, 7, 1, seed=3)
X, Y = torch.tensor([[0.1, -0.2]], dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)


def ask(net: nn.Module, x: Tensor, name: str, **given: Any) -> list[CertifiedInterval]:
    scope = "pointed" if name == "mip_pointed" else "regional"
    problem = LocalLipschitz(LinfBall(1.0), AllLogits(), scope)
    return certify(net, problem, x, estimator=name, **as_asked(given))


@functools.cache
def exact(name: str) -> CertifiedInterval:
    """The constant of the harder network, from HiGHS."""
    (found,) = ask(HARD, Y, name)
    assert found.certificate is Certificate.EXACT
    return found


def nodes(found: CertifiedInterval) -> int:
    """Branch and bound nodes in all programs."""
    said = re.search(r"([\d,]+) nodes", found.detail)
    assert said is not None
    return int(said[1].replace(",", ""))


@each_solver
@pytest.mark.parametrize("name", ["lp", "mip", "mip_pointed"])
@one_in(3)
def test_every_solver_proves_the_same(solver: str, name: str) -> None:
    for ours, theirs in zip(ask(SMALL, X, name, solver=solver), ask(SMALL, X, name), strict=True):
        assert ours.upper == pytest.approx(theirs.upper, rel=1e-5)
        assert ours.lower == pytest.approx(theirs.lower, rel=1e-5)
        assert (ours.status, ours.certificate) == (theirs.status, theirs.certificate)
        assert get_solver(solver).version() in ours.detail


@each_solver
@pytest.mark.parametrize("name", ["mip", "mip_pointed"])
def test_a_node_limit_leaves_a_true_bracket(solver: str, name: str) -> None:
    (limited,) = ask(HARD, Y, name, solver=solver, nodes=1)
    assert limited.lower <= exact(name).upper and limited.upper >= exact(name).lower
    if limited.certificate is not Certificate.EXACT:
        assert limited.status is Status.NODE_LIMIT
        assert get_solver(solver).version() in limited.detail


def test_a_node_limit_is_for_all_programs_of_a_point() -> None:
    used = nodes(exact("mip_pointed"))
    assert used > 4
    (limited,) = ask(HARD, Y, "mip_pointed", nodes=used // 2)
    assert limited.status is Status.NODE_LIMIT
    assert nodes(limited) < used
    (enough,) = ask(HARD, Y, "mip_pointed", nodes=used + 10)
    assert (enough.upper, enough.status) == (pytest.approx(exact("mip_pointed").upper), Status.PROVED)


@each_solver
@pytest.mark.parametrize(("name", "gap"), [("mip", 0.3), ("mip_pointed", 0.2)])
def test_a_gap_ends_the_search(solver: str, name: str, gap: float) -> None:
    (wide,) = ask(HARD, Y, name, solver=solver, gap=gap)
    assert wide.gap <= gap + 1e-5
    assert wide.lower <= exact(name).upper and wide.upper >= exact(name).lower
    assert wide.status is (Status.PROVED if wide.certificate is Certificate.EXACT else Status.GAP_LIMIT)


def test_a_wide_gap_spares_work() -> None:
    (wide,) = ask(HARD, Y, "mip", gap=0.9)
    assert wide.status is Status.GAP_LIMIT
    assert wide.detail.startswith("0 programs")


@each_solver
def test_two_threads_prove_the_same(solver: str) -> None:
    (one,), (two,) = (ask(SMALL, X, "mip", solver=solver, threads=threads) for threads in (1, 2))
    assert one.upper == pytest.approx(two.upper, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"gap": gap} for gap in (-0.1, 1.0, math.nan, "0.1")),
        *({"nodes": nodes} for nodes in (0, 1.5, True)),
        *({"seconds": seconds} for seconds in (-1.0, math.nan, "10", None)),
        {"threads": 0},
    ],
    ids=str,
)
def test_limits_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        as_asked(wrong)


# ---------------------------------------------------------------- audits


@each_solver
def test_an_audit_takes_the_solver(solver: str) -> None:
    problem = LocalLipschitz(LinfBall(1.0), Logit(0))
    assert LipschitzAudit(problem, settings=Settings(solver)).plan.settings.solver == solver
    for point in audit(SMALL, AuditPlan(problem, ("mip", "lp", "sampling"), settings=Settings(solver)), X):
        assert point.combined.certificate is Certificate.EXACT
        for record in point.records("run", 0):
            if record.estimator in ("lp", "mip"):
                assert get_solver(solver).version() in record.detail


def test_the_callback_refuses_an_unknown_solver_when_it_is_made() -> None:
    with pytest.raises(InvalidInput, match="solver"):
        LipschitzAudit(LocalLipschitz(LinfBall(1.0), Logit(0)), settings=Settings("gurobbi"))


def test_an_audit_whose_engine_cannot_be_loaded_is_recorded() -> None:
    class Broken(Solver):
        package, finest = "numpy", 1e-9

        def version(self) -> str:
            raise ImportError("libengine.so")

        def run(self, program: Program, budget: Budget, options: Options) -> Found:
            raise AssertionError

    register_solver("broken")(Broken)
    try:
        plan = AuditPlan(
            LocalLipschitz(LinfBall(1.0), Logit(0)), ("mip", "lp", "sampling"), settings=Settings("broken")
        )
        for point in audit(SMALL, plan, X):
            assert 0 < point.combined.lower < point.combined.upper < math.inf
            engines = {record.estimator: record.engine for record in point.records("run", 0)}
            assert engines["mip"] == engines["lp"] == "broken: ImportError: libengine.so"
            assert "libengine.so" in point.intervals["mip"].detail
    finally:
        del SOLVERS["broken"]


def test_an_audit_beyond_the_licence_keeps_its_bracket() -> None:
    """No other engine steps in unasked: the record says who failed, why, and what to do."""
    if not limited():
        pytest.skip("no Gurobi, or one with a full licence")
    plan = AuditPlan(LocalLipschitz(LinfBall(1.0), Logit(0)), ("mip", "lp", "sampling"), 20.0, Settings("gurobi"))
    (point,) = audit(network(2, 1500, 1), plan, torch.zeros(1, 2, dtype=torch.float64))
    mip = point.intervals["mip"]
    assert mip.status is Status.FAILED
    assert "licence" in mip.detail and "solver='highs'" in mip.detail and "Gurobi" in mip.detail
    assert 0 < point.combined.lower < point.combined.upper < math.inf
    (record,) = [record for record in point.records("run", 0) if record.estimator == COMBINED]
    assert (record.lower, record.upper) == (point.combined.lower, point.combined.upper)
