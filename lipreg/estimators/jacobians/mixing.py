"""The max-cut relaxation of the Jacobian's deviations, by the mixing method: tight where several units are undecided."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import Deviations
from lipreg.bounds.semidefinite import norm_bound
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, Work, register, rounded_up, upper_interval
from lipreg.estimators.jacobians.deviation import deviation_end
from lipreg.estimators.unreached import one_by_one
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.results import Certificate, CertifiedInterval

ROOM = 2**22
"""Numbers that the programs of one batch may take."""
LARGEST = 2000
"""Undecided units, or inputs where those are fewer, up to which eigenvalues are computed: it costs their third power."""


@register("mixing")
class Mixing(Estimator):
    """L <= the semidefinite relaxation of max |c C + sum_u t_u b_u M_u| over |t_u| <= 1 (see ``bounds/deviation.py``).

    Where ``deviation`` adds up magnitudes, this keeps the signs that rows of different units have in common: a max-cut
    problem, relaxed to unit vectors and certified for whatever the iteration returns (see ``bounds/semidefinite.py``).
    Nodes of ``branch_and_bound`` are bounded by the same relaxation, of what their own cuts leave open; this one is of the
    whole region, in both scopes, and never looser than ``deviation``. For p = 1 there are no signs to keep: entries are
    bounded one by one. Networks too large for it keep the bound of ``affine_relu``, and the result says so.

    Source: Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018 (max-cut form of a gradient's norm).
    """

    certificate = Certificate.UPPER
    norms = (2.0, float("inf"))
    output_norms = (float("inf"),)
    weighed = True
    kinds = (Affine, Relu, MaxPool)
    branches = True
    everywhere = True
    source = "Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018"

    def answer(self, work: Work) -> list[CertifiedInterval]:
        return one_by_one(work, lambda local: self._point(local, work.budget))

    @torch.no_grad()
    def _point(self, local: Analysis, budget: Budget) -> CertifiedInterval:
        found, upper, detail = deviation_end(local)
        if found is not None:
            if budget.ended() is not None:
                detail = f"{detail}, no time for a program: the bound of 'deviation'"
            elif min(found.rows.shape) <= LARGEST:
                upper = min(upper, _relaxed(found, local.placed.problem.p))
            else:
                detail = f"{detail}, too many for one program: the bound of 'deviation'"
        return upper_interval(local, 0, rounded_up(local, upper)[0], self.name, detail=detail)


def _relaxed(found: Deviations, p: float) -> float:
    """The largest of the rows' relaxations."""
    # norms are even, and so are bounds that start from one of the two signs
    largest = found.centre.gather(1, found.centre.abs().argmax(1, keepdim=True))
    centre: Tensor = torch.where(largest < 0, -found.centre, found.centre)
    bounds = []
    for some in torch.arange(len(centre), device=centre.device).split(max(1, ROOM // max(1, found.rows.numel()))):
        spread = (found.bounds[some].unsqueeze(-1) * found.rows).mT
        bounds.append(norm_bound(centre[some], spread, p))
    return float(torch.cat(bounds).amax()) + found.loss
