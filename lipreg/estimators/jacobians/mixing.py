"""The max-cut relaxation of the Jacobian's deviations, by the mixing method: tight where several units are undecided."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations
from lipreg.bounds.room import NUMBER
from lipreg.bounds.semidefinite import RANK, SWEEPS, deviating_bound
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, Work, cut_short, register, rounded_up, upper_interval
from lipreg.estimators.jacobians.deviation import deviation_end, row_bounds
from lipreg.estimators.unreached import one_by_one
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.problem import PlacedProblem
from lipreg.results import Certificate, CertifiedInterval

CUBES = 2
"""Multiplications for the eigenvalues of a symmetric matrix, as a multiple of the third power of its side."""
COPIES = 4
"""Numbers that a row's program holds for each of its deviations, at most: with its Gram matrix, where that is as large."""


@register("mixing")
class Mixing(Estimator):
    """L <= the semidefinite relaxation of max |c C + sum_u t_u b_u M_u| over |t_u| <= 1 (see ``bounds/deviation.py``).

    Where ``deviation`` adds up magnitudes, this keeps the signs that rows of different units have in common: a max-cut
    problem, relaxed to unit vectors and certified for whatever the iteration returns (see ``bounds/semidefinite.py``).
    Nodes of ``branch_and_bound`` are bounded by the same relaxation, of what their own cuts leave open; this one is of the
    whole region, in both scopes, and never looser than ``deviation``. For p = 1 there are no signs to keep: entries are
    bounded one by one. Costs the third power of the undecided units, or of the inputs where those are fewer, for each row:
    the rows with the largest bounds of ``deviation`` come first, those for which there is no time keep these, and where
    deviations are too many to write down it is what ``deviation`` is.

    Source: Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018 (max-cut form of a gradient's norm).
    """

    certificate = Certificate.UPPER
    norms = (2.0, float("inf"))
    output_norms = (float("inf"),)
    weighed = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    everywhere = True
    source = "Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018"

    def answer(self, work: Work) -> list[CertifiedInterval]:
        return one_by_one(work, self._point)

    @torch.no_grad()
    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        found, end = deviation_end(local, budget)
        if found is None:
            return end
        bounds, missing = relaxed_rows(local.placed, found, budget)
        upper, status, detail = float(bounds.amax()) + found.loss, end.status, end.detail
        if missing:
            words = f"no time for the programs of {missing} of {len(bounds)} rows: their bounds of 'deviation'"
            detail, status = f"{detail}, {words}", cut_short(status)
        return upper_interval(local, 0, min(end.upper, rounded_up(local, upper)[0]), self.named(local), status, detail)


def relaxed_rows(placed: PlacedProblem, found: Deviations, budget: Budget) -> tuple[Tensor, int]:
    """Bounds on the norm of each row's gradient, ``(rows,)``, without what rounding may add, and for how many there was no
    time.

    Rows whose deviations alone say less than what stands for another one already are not relaxed.
    """
    bounds = row_bounds(placed, found)
    # norms are even, and so are bounds that start from one of the two signs
    largest = found.centre.gather(1, found.centre.abs().argmax(1, keepdim=True))
    centre: Tensor = torch.where(largest < 0, -found.centre, found.centre)
    short, long = sorted((found.rows.shape[0] + 1, found.rows.shape[1]))
    order = bounds.argsort(descending=True, stable=True)
    done, stands = 0, -math.inf
    # a product of each row and its scaled copies, beside the rows themselves
    at_once = max(1, (budget.memory - NUMBER * found.rows.numel()) // (COPIES * NUMBER * max(1, found.rows.numel())))
    for some in budget.paced(order.split(at_once)):
        if bounds[some[0]] <= stands:
            return bounds, 0
        if not budget.affords(len(some) * (2 * RANK * SWEEPS * short * long + short * short * (long + CUBES * short))):
            break
        own = deviating_bound(centre[some], found.bounds[some], found.rows, placed.problem.p)
        bounds[some] = torch.minimum(bounds[some], own)
        done, stands = done + len(some), max(stands, float(bounds[some].amax()))
    return bounds, int((bounds[order[done:]] > stands).sum())
