"""The LP relaxation of the exact program: an upper bound with a dual certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget, OutOfBudget
from lipreg.ctrl_c import pass_on_ctrl_c
from lipreg.estimators.base import Estimator, EstimatorTask, cut_short, register, upper_interval
from lipreg.estimators.cheap_bounds import cheap_intervals, one_by_one
from lipreg.estimators.jacobians.jacobian_crown import JacobianCrown
from lipreg.estimators.rounding import ROUNDING
from lipreg.estimators.settings import Settings
from lipreg.folding import least_work
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.milp import Encoding, FunctionalFamily, SolverOutcome, encode, families, get_solver, program_size
from lipreg.milp.solvers import FEASIBILITY, GAP
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.outcome import no_search_message
from lipreg.words import capitalised, counted, sentences

WORTH = 1e-3
"""The relative improvement by tangents of an l2 ball from which on more of them are added."""


class ProgramEstimator(Estimator):
    """The questions and networks that the LP and the MIP cover, and their solvers."""

    scopes = ("regional",)
    norms = (1.0, math.inf)
    output_norms = (1.0, math.inf)
    weighted = True
    kinds = (Affine, Relu, MaxPool)  # pools are written out as ReLUs first
    branches = True
    searches = True

    def engine(self, solver: str | None) -> str:
        assert solver is not None
        try:
            return get_solver(solver).version()
        except Exception as error:  # a failed run is recorded all the same
            pass_on_ctrl_c(error)
            return f"{solver}: {type(error).__name__}: {error}"

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "feasibility": FEASIBILITY, "mip_gap": GAP}


@register("lp")
class LinearProgram(ProgramEstimator):
    """The largest over the functionals of the LP relaxation's dual bound.

    The same encoding as the MIP with its binaries relaxed to [0, 1]. The lower sides of every ReLU's triangle are rows of
    it, and its rows with binaries imply the upper side; ``lp_no_triangle`` is without. The bound is evaluated here from the
    solver's row multipliers by weak duality, rounded outward, so it holds whatever the solver returns. An l2 ball has
    tangents around it, more of them wherever the solver's point leaves it, for as long as that moves the bound. A network
    whose linear forms do not fit into the budget's memory has no program: the result is the least of ``jacobian_crown``,
    ``affine_relu`` and ``fastlip``, above which it never is, with the status MEMORY_LIMIT, and the detail has the number of
    rows.

    Attributes:
        triangle: whether the lower sides of the triangles are rows.

    Source: Jordan & Dimakis 2020, section 6 (LipLP).
    """

    certificate = Certificate.UPPER
    source = "Jordan & Dimakis 2020 (LipLP)"
    triangle: ClassVar[bool] = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return one_by_one(work, partial(self._point, settings=work.settings))

    def _point(self, local: Analysis, budget: Budget, settings: Settings) -> CertifiedInterval:
        """The bound at a single point; functionals without time have the bound of linear bounds on the Jacobian."""
        apart, _ = families(local)  # with max pools it has fewer units than without
        begins = budget.affords(least_work(apart), 0.5) and program_size(apart).memory <= budget.memory
        (few_passes,) = cheap_intervals(local, budget)  # what stands for points without time, and so for all
        (start,) = JacobianCrown().intervals(local, budget.share(0.5) if begins else budget)
        start = min(start, few_passes, key=lambda interval: interval.upper)
        cheap = start.upper
        bounds, status, detail = [], Status.BOUNDED, ""
        apart_local, sought = families(without_pools(local, budget))
        size = program_size(apart_local)
        if size.memory > budget.memory:
            words = f"{size}, beyond the budget's memory: nothing was built. Budget(memory={size.memory}) is enough for them"
            detail = sentences(f"{words}. The bound of {start.proof!r}", start.detail)
            return replace(start, status=Status.MEMORY_LIMIT, detail=detail)
        for family in sought:
            try:
                budget.check()
                encoding, outcome = relaxation(apart_local, family, budget, settings, self.triangle)
            except OutOfBudget as over:
                words = f"There was time for {len(bounds)} of {counted(len(sought), 'program')}"
                status, detail = (
                    over.status,
                    sentences(words, "" if over.judged is None else capitalised(no_search_message(over))),
                )
                bounds.append(cheap)
                break
            bounds.append(min(cheap, outcome.dual_bound * (1 + ROUNDING)))
            detail = sentences(outcome.detail, encoding.left_out)
            if outcome.claims_infeasible:  # the reference point is feasible: the solver has failed
                status = Status.FAILED
            elif outcome.status is not Status.PROVED:
                status = outcome.status
            elif encoding.left_out:
                status = cut_short(status)
        proof = start.proof if max(bounds) == cheap else "LP dual bound"
        return upper_interval(local, 0, max(bounds), proof, status, detail)


def relaxation(
    local: Analysis, family: FunctionalFamily, budget: Budget, settings: Settings, triangle: bool = True
) -> tuple[Encoding, SolverOutcome]:
    """The encoding of one family of functionals at one point and the outcome of its LP relaxation.

    The analysis keeps them, because the LP estimator and the MIP both start from them; what was cut short, until there is
    more time for it.

    Args:
        local: the analysis of the single point, without max pools, with the rows of the families.
        family: the functionals.
        budget: started.
        settings: the solver and its threads.
        triangle: whether the lower sides of every ReLU's triangle are rows.

    Raises:
        OutOfBudget: there was no time to fold the network.
    """
    solved = local.within(budget).memoised(_solved, family, settings.solver, settings.threads, triangle, is_cut=_is_cut)
    return solved.encoding, solved.outcome


@dataclass(frozen=True)
class _Solved:
    """A relaxation, and whether time or a solver ended it before its tangents were all there."""

    encoding: Encoding
    outcome: SolverOutcome
    ended: bool


def _is_cut(solved: _Solved) -> bool:
    return solved.ended or solved.outcome.status is not Status.PROVED or bool(solved.encoding.left_out)


def _solved(local: Analysis, family: FunctionalFamily, solver_name: str, threads: int, triangle: bool) -> _Solved:
    encoding = encode(local, family, triangle=triangle, budget=local.budget)
    solver, limit, ended = get_solver(solver_name), replace(local.budget, nodes=None), False
    outcome = solver.solve(encoding.program.relaxed(), limit, threads=threads)
    while (tighter := encoding.without(outcome.point)) is not None:
        ended = limit.stop_reason() is not None
        if ended:
            break
        again = solver.solve(tighter.program.relaxed(), limit, threads=threads)
        if again.status is not Status.PROVED:
            ended = True
            break  # the bound by the looser rows stays
        gained = again.dual_bound < outcome.dual_bound * (1 - WORTH)
        encoding, outcome = tighter, replace(again, dual_bound=min(again.dual_bound, outcome.dual_bound))
        if not gained:
            break
    return _Solved(encoding, outcome, ended)
