"""The max-cut relaxation of the Jacobian's deviations, by the mixing method: tight where several units are undecided."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.deviation import deviations
from lipreg.estimators.base import ROUNDING, Effort, Estimator, register, upper_interval
from lipreg.estimators.deviation import deviation_bound
from lipreg.results import Certificate, CertifiedInterval


@register("mixing")
class Mixing(Estimator):
    """L <= the semidefinite relaxation of max |c C + sum_u t_u b_u M_u| over |t_u| <= 1 (see ``bounds/deviation.py``).

    Where ``deviation`` adds up magnitudes, this keeps the signs that rows of different units have in common: a max-cut
    problem, relaxed to unit vectors and certified for whatever the iteration returns (see ``search/semidefinite.py``). It is
    the bound of a node of ``branch_and_bound``, at the root and in both scopes; never looser than ``deviation``. For p = 1
    there are no signs to keep: entries are bounded one by one.

    Source: Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018 (max-cut form of a gradient's norm).
    """

    certificate = Certificate.UPPER
    norms = (2.0, float("inf"))
    output_norms = (float("inf"),)
    source = "Wang, Chang & Kolter 2017 (mixing method); Raghunathan et al. 2018"

    def intervals(self, analysis: Analysis, effort: Effort) -> list[CertifiedInterval]:
        from lipreg.search.semidefinite import norm_bound

        self.check(analysis.placed.problem)
        p, results = analysis.placed.problem.p, []
        for i in range(analysis.placed.batch):
            local = analysis[i : i + 1]
            with torch.no_grad():
                found = deviations(local)
                centres = found.centre * _signs(found.centre)
                by_row = [
                    norm_bound(centre.unsqueeze(0), (bounds.unsqueeze(1) * found.rows).mT.unsqueeze(0), p)[0]
                    for centre, bounds in zip(centres, found.bounds, strict=True)
                ]
                upper = float(torch.minimum(torch.stack(by_row).amax(), deviation_bound(local.placed, found)))
            detail = f"{len(found.rows)} undecided units and members of pooling windows"
            results.append(upper_interval(local, 0, upper * (1.0 + ROUNDING), self.name, detail=detail))
        return results


def _signs(centre: Tensor) -> Tensor:
    """That of each row's largest entry: norms are even, and so are bounds that start from one of the two signs."""
    largest = centre.gather(1, centre.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -1.0, 1.0).to(centre)
