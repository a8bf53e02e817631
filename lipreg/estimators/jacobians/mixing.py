"""The max-cut relaxation of the Jacobian's deviations, by the mixing method: tight where several units are unstable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations
from lipreg.bounds.pass_cost import NUMBER_BYTES
from lipreg.bounds.semidefinite import RANK, SWEEPS, deviating_bound
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, cut_short, register, upper_interval
from lipreg.estimators.cheap_bounds import one_by_one
from lipreg.estimators.jacobians.deviation import deviation_end, row_bounds
from lipreg.estimators.naming import cut_name
from lipreg.estimators.rounding import rounded_up
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.problem import PlacedProblem
from lipreg.results import Certificate, CertifiedInterval

CUBES = 2
"""Multiplications for the eigenvalues of a symmetric matrix, as a multiple of the third power of its side."""
COPIES = 4
"""Numbers in memory for each deviation of a row's program, at most: with its Gram matrix, where that is as large."""


@register("mixing")
class Mixing(Estimator):
    """L <= the semidefinite relaxation of max |c C + sum_u t_u b_u M_u| over |t_u| <= 1 (see ``bounds/deviation.py``).

    Where ``deviation`` adds up magnitudes, this keeps the signs that rows of different units have in common: a max-cut
    problem, relaxed to unit vectors and certified whatever the iteration returns (see ``bounds/semidefinite.py``).
    Nodes of ``branch_and_bound`` are bounded by the same relaxation, of the units that their cuts leave unstable; this one
    is of the whole region, in both scopes, and never looser than ``deviation``. For p = 1 there are no signs to keep:
    entries are bounded one by one. Costs the third power of the unstable units, or of the inputs where those are fewer, for
    each row: the rows with the largest bounds of ``deviation`` come first, those for which there is no time keep these, and
    where deviations are too many to write down it is the bound of ``deviation``.

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

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return one_by_one(work, self._point)

    @torch.no_grad()
    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        terms, end = deviation_end(local, budget)
        if terms is None:
            return end
        bounds, missing = relaxed_rows(local.placed, terms, budget)
        upper, status, detail = float(bounds.amax()) + terms.loss, end.status, end.detail
        if missing:
            words = f"no time for the programs of {missing} of {len(bounds)} rows: their bounds of 'deviation'"
            detail, status = f"{detail}, {words}", cut_short(status)
        name = cut_name(self.named(local)) if missing else self.named(local)
        return upper_interval(local, 0, min(end.upper, rounded_up(local, upper)[0]), name, status, detail)


def relaxed_rows(placed: PlacedProblem, terms: Deviations, budget: Budget) -> tuple[Tensor, int]:
    """Bounds on the norm of each row's gradient, ``(rows,)``, and for how many there was no time.

    The rounding of the deviations, ``terms.loss``, is not included. Rows whose bounds by deviations alone are below that of
    another row already are not relaxed.

    Args:
        placed: the single-point problem.
        terms: its deviations.
        budget: started; rows come in order of their bounds by deviations, the largest first, until it ends.
    """
    bounds = row_bounds(placed, terms)
    # norms are even, and so are bounds that start from one of the two signs
    largest = terms.centre.gather(1, terms.centre.abs().argmax(1, keepdim=True))
    centre: Tensor = torch.where(largest < 0, -terms.centre, terms.centre)
    short, long = sorted((terms.rows.shape[0] + 1, terms.rows.shape[1]))
    order = bounds.argsort(descending=True, stable=True)
    done, largest_bound = 0, -math.inf
    # a product of each row and its scaled copies, beside the rows themselves
    at_once = max(
        1, (budget.memory - NUMBER_BYTES * terms.rows.numel()) // (COPIES * NUMBER_BYTES * max(1, terms.rows.numel()))
    )
    for some in budget.paced(order.split(at_once)):
        if bounds[some[0]] <= largest_bound:
            return bounds, 0
        if not budget.affords(len(some) * (2 * RANK * SWEEPS * short * long + short * short * (long + CUBES * short))):
            break
        relaxed = deviating_bound(centre[some], terms.bounds[some], terms.rows, placed.problem.p)
        bounds[some] = torch.minimum(bounds[some], relaxed)
        done, largest_bound = done + len(some), max(largest_bound, float(bounds[some].amax()))
    return bounds, int((bounds[order[done:]] > largest_bound).sum())
