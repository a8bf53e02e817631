"""CROWN on the Jacobian: linear forms carried through the backward pass, then the norm."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis, linear_jacobian, within_shared
from lipreg.bounds.pass_cost import BLINK, few_passes
from lipreg.budget import UNLIMITED, Budget
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.cheap_bounds import NO_TIME, cheap_intervals
from lipreg.graph import Affine, Curved, MaxPool, Relu
from lipreg.results import CertifiedInterval, Status

DEARER = 2
"""The cost of the part of this bound that no clock ends, as a multiple of that of bounds of a few passes."""


@register("jacobian_crown")
class JacobianCrown(BoundEstimator):
    """L <= norm of the Jacobian under linear relaxations of slope times gradient (see ``bounds/jacobian_relaxation.py``).

    Starts from the interval Jacobian and only intersects it, so it is never looser than ``fastlip``. For p = inf and 2 the
    norm of a row is bounded as one sum, in which entries may cancel; for p = 1, and for ``Vector`` outputs with q = 1 or
    2, entry by entry. ``lp`` has the same bounds as the limits of its variables and the same lines among its rows, and adds
    the rows between slopes and pre-activations.

    For p = 2 it can be looser than ``affine_relu``; where nothing was left out it is this bound all the same, the one that a
    penalty lowers. Where the time ends first, the result is the least of the part that was computed, of ``affine_relu`` and
    ``fastlip``, with that method's name for its proof: less time may then give the smaller number. Searches, and ``certify``
    without a name, take the least of all.

    Source: Zhang, Zhang & Hsieh 2019 (RecurJac); Shi et al. 2022, with slope intervals so that both scopes are covered.
    """

    weighted = True
    kinds = (Affine, Relu, MaxPool, Curved)
    branches = True
    unbounded_regions = True
    reads_masks_only = True
    layer_norms = False
    by_rows = True
    preactivations = "all"  # without CROWN's own lines it is little tighter than fastlip, and not much cheaper
    source = "Zhang et al. 2019 (RecurJac); Shi et al. 2022"

    def of_part(self, part: Analysis, budget: Budget) -> list[CertifiedInterval]:
        passes = DEARER * part.placed.batch * few_passes(part.graph, part.placed)
        if passes > UNLIMITED.pace * BLINK and not budget.affords(passes):
            return cheap_intervals(part, budget, budget.stop_reason() or Status.TIME_LIMIT, NO_TIME)
        answers = super().of_part(part, budget)
        if all(answer.status is Status.BOUNDED for answer in answers):
            return answers
        cheap = cheap_intervals(part, budget)
        return [  # cheap bounds are then often tighter
            replace(answer, upper=other.upper, proof=other.proof) if other.upper < answer.upper else answer
            for answer, other in zip(answers, cheap, strict=True)
        ]

    def left_out(self, analysis: Analysis) -> str:
        return linear_jacobian(analysis).left_out

    def bound(self, analysis: Analysis) -> Tensor:
        placed, jacobian = analysis.placed, linear_jacobian(analysis)
        if placed.problem.q in (None, math.inf):
            return jacobian.row_norms().amax(-1)
        return within_shared(analysis, torch.maximum(jacobian.lower.abs(), jacobian.upper.abs()))
