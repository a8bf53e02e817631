"""CROWN on the Jacobian: linear forms carried through the backward pass, then the norm."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, linear_jacobian, within_shared
from lipreg.estimators.base import Work, cut_short, register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.unreached import cheap_intervals
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.results import CertifiedInterval
from lipreg.words import sentences


@register("jacobian_crown")
class JacobianCrown(BoundEstimator):
    """L <= norm of the Jacobian under linear relaxations of slope times gradient (see ``bounds/jacobian_relaxation.py``).

    Starts from the interval Jacobian and only intersects it, so it is never looser than ``fastlip``. For p = inf and 2 the
    norm of a row is bounded as one sum, in which entries may cancel; for p = 1, and for ``Vector`` outputs with q = 1 or
    2, entry by entry. ``lp`` has the same bounds as the limits of its variables and the same lines among its rows, and adds
    what ties slopes to pre-activations.

    For p = 2 it can be looser than ``affine_relu``, and whenever nothing was left out it is this bound all the same, the one
    that a penalty lowers. Where the time ends first, the least of what there is, of ``affine_relu`` and ``fastlip`` stands
    in, with that method's name for its proof: less time may then give the smaller number. Searches, and ``certify`` without
    a name, take the least of all.

    Source: Zhang, Zhang & Hsieh 2019 (RecurJac); Shi et al. 2022, with slope intervals so that both scopes are covered.
    """

    weighed = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    everywhere = True
    masked = True
    layer_norms = False
    preactivations = "all"  # without CROWN's own lines it is little tighter than fastlip, and not much cheaper
    source = "Zhang et al. 2019 (RecurJac); Shi et al. 2022"

    def answer(self, work: Work) -> list[CertifiedInterval]:
        with torch.no_grad(), work.analysis.norms.within(work.budget):
            found = linear_jacobian(work.analysis, work.budget)  # which ``bound`` reads
        answers = super().answer(work)
        if not found.left_out:
            return answers
        answers = [replace(a, detail=sentences(a.detail, found.left_out), status=cut_short(a.status)) for a in answers]
        return [  # what costs next to nothing is then often tighter
            replace(answer, upper=cheap.upper, proof=cheap.proof) if cheap.upper < answer.upper else answer
            for answer, cheap in zip(answers, cheap_intervals(work.analysis, work.budget), strict=True)
        ]

    def bound(self, analysis: Analysis) -> Tensor:
        placed, found = analysis.placed, linear_jacobian(analysis)
        if placed.problem.q in (None, math.inf):
            return found.row_norms().amax(-1)
        return within_shared(analysis, torch.maximum(found.lower.abs(), found.upper.abs()))
