"""The max-cut relaxation of the Jacobian's deviations, by the mixing method: tight where several units are unstable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations
from lipreg.bounds.pass_cost import DENSE_SPEED, NUMBER_BYTES
from lipreg.bounds.semidefinite import RANK, SWEEPS, deviating_bound
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, cut_short, register, upper_interval
from lipreg.estimators.cheap_bounds import least_form, one_by_one
from lipreg.estimators.jacobians.deviation import deviation_forms, row_bounds
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
    is of the whole region, in both scopes, and never looser than ``deviation``, ``affine_relu`` and ``fastlip``. For p = 1
    there are no signs to keep: entries are bounded one by one. Costs the third power of the unstable units, or of the inputs
    where those are fewer, for each row: the rows with the largest bounds of ``deviation`` come first, and those for which
    there is no time keep these. Where that is long, or deviations are too many to write down, ``jacobian_crown`` comes
    before it, as in ``deviation``.

    Source: Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018 (max-cut form of a gradient's norm).
    """

    certificate = Certificate.UPPER
    norms = (2.0, float("inf"))
    output_norms = (float("inf"),)
    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    source = "Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return one_by_one(work, self._point)

    @torch.no_grad()
    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        rows, inputs = local.placed.rows.shape[1], local.placed.region.center.numel()
        forms = deviation_forms(local, budget, lambda units: rows * program_work(units, inputs) / DENSE_SPEED)
        terms, own = forms.terms, forms.own
        if terms is None or own is None:
            return forms.others
        bounds, missing = relaxed_rows(local.placed, terms, budget, forms.others.upper)
        upper, status, detail = float(bounds.amax()) + terms.loss, own.status, own.detail
        if missing:
            words = f"no time for the programs of {missing} of {len(bounds)} rows: their bounds of 'deviation'"
            detail, status = f"{detail}, {words}", cut_short(status)
        name = cut_name(self.named(local)) if missing else self.named(local)
        upper = min(own.upper, rounded_up(local, upper)[0])
        return least_form(upper_interval(local, 0, upper, name, status, detail), forms.others)


def program_work(units: int, inputs: int) -> float:
    """About how many multiplications the program of a row takes.

    Args:
        units: how many deviate.
        inputs: how many inputs there are.
    """
    short, long = sorted((units + 1, inputs))
    return 2.0 * RANK * SWEEPS * short * long + short * short * (long + CUBES * short)


def relaxed_rows(
    placed: PlacedProblem, terms: Deviations, budget: Budget, known: float = math.inf
) -> tuple[Tensor, int]:
    """Bounds on the norm of each row's gradient, ``(rows,)``, and for how many there was no time.

    The rounding of the deviations, ``terms.loss``, is not included. Rows whose bounds by deviations alone are below that of
    another row already are not relaxed.

    Args:
        placed: the single-point problem.
        terms: its deviations.
        budget: started; rows come in order of their bounds by deviations, the largest first, until it ends.
        known: a bound on all rows that is proved otherwise; once a row's is above it, those of others make no difference.
    """
    bounds = row_bounds(placed, terms)
    # norms are even, and so are bounds that start from one of the two signs
    largest = terms.centre.gather(1, terms.centre.abs().argmax(1, keepdim=True))
    centre: Tensor = torch.where(largest < 0, -terms.centre, terms.centre)
    order = bounds.argsort(descending=True, stable=True)
    done, largest_bound = 0, -math.inf
    # a product of each row and its scaled copies, beside the rows themselves
    at_once = max(
        1, (budget.memory - NUMBER_BYTES * terms.rows.numel()) // (COPIES * NUMBER_BYTES * max(1, terms.rows.numel()))
    )
    # where the rows' bounds are above it, the first row alone mostly tells whether they stay so
    first = 1 if float(bounds[order[0]]) + terms.loss > known else 0
    parts = [part for part in (order[:first], *order[first:].split(at_once)) if len(part)]
    for some in budget.paced(parts, len):
        if bounds[some[0]] <= largest_bound or largest_bound + terms.loss > known:
            return bounds, 0
        if not budget.affords(len(some) * program_work(*terms.rows.shape)):
            break
        relaxed = deviating_bound(centre[some], terms.bounds[some], terms.rows, placed.problem.p)
        bounds[some] = torch.minimum(bounds[some], relaxed)
        done, largest_bound = done + len(some), max(largest_bound, float(bounds[some].amax()))
    return bounds, int((bounds[order[done:]] > largest_bound).sum()) if largest_bound + terms.loss <= known else 0
