"""LipMIP as published: one plain program a functional, over interval pre-activation bounds."""

from __future__ import annotations

import numpy as np
import torch

from lipreg.bounds import Analysis, analyse
from lipreg.estimators.base import register
from lipreg.estimators.exact.confirmation import confirm, on_claims
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.folding import UnstableUnits, unstable_units
from lipreg.milp import interior_point
from lipreg.problem import LocalLipschitz
from lipreg.results import CertifiedInterval, Status


@register("lipmip")
class PlainMixedInteger(ExactEstimator):
    """The exact constant by the published encoding, or an interval: the yardstick of ``mip``.

    Interval pre-activation bounds, a binary for every unit and sign, each functional solved without a start. Where the
    solver claims that it closed them all, lipreg's branch and bound proves it from the witness, as for
    ``lipreg.estimators.exact.mip``; where it does not, its bound stays a claim, and the upper end is that of the Jacobian's
    linear relaxation. Use ``mip``, which proves the same numbers faster.

    Source: Jordan & Dimakis 2020 (LipMIP), section 5.
    """

    source = "Jordan & Dimakis 2020 (LipMIP), as published"
    vector = False

    def uncovered_question(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        refusal = super().uncovered_question(problem)
        if refusal is None and problem.region.norm == 2.0:
            return "a region that is no polytope, an l2 ball,", "LinfBall, L1Ball, Box or Polytope regions"
        return refusal

    def search_point(self, search: PointSearch) -> CertifiedInterval:
        from lipreg.estimators.yardsticks.plain import encode_plain

        with torch.no_grad():
            local = analyse(search.local.graph, search.local.placed, ["interval"])
        units = unstable_units(local)
        for row in range(len(search.families)):
            if search.is_over():
                break
            program = encode_plain(local, row)
            outcome = search.solve(program, search.remaining, gap=search.budget.gap)
            if outcome.claims_infeasible:  # the reference point is feasible, so the solver is wrong
                search.status, search.detail = Status.FAILED, outcome.detail
                continue
            search.claims[row] = outcome.claimed
            if outcome.point is None:
                continue
            x = interior_point(
                local, units, outcome.point[program.columns["a"]][_columns(local, units)], search.remaining
            )
            if x is not None:
                point = torch.from_numpy(x).reshape(1, *local.placed.region.shape)
                search.offer(point)
        if search.status is Status.PROVED:
            confirm(search, {})
        search.detail = f"{search.detail} {on_claims(search)}".strip()
        return search.conclude(Status.UNCONFIRMED)


def _columns(local: Analysis, units: UnstableUnits) -> np.ndarray:
    """Where the unstable units stand among all units, in the graph's order."""
    begin, starts = 0, {}
    for index, node in local.graph.relus():
        starts[index] = begin
        begin += local.value_bounds[node.source].value[0].numel()
    return np.array([starts[int(n)] for n in units.node], dtype=np.int64) + units.position
