"""CROWN on the Jacobian: linear forms carried through the backward pass, then the norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis, linear_jacobian
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.graph import Affine, MaxPool, Relu


@register("jacobian_crown")
class JacobianCrown(BoundEstimator):
    """L <= norm of the Jacobian under linear relaxations of slope times gradient (see ``bounds/jacobian_relaxation.py``).

    Starts from the interval Jacobian and only intersects it, so it is never looser than ``fastlip``. For p = inf and 2 the
    norm of a row is bounded as one sum, in which entries may cancel; for p = 1, and for ``Vector`` outputs with q = 1 or
    2, entry by entry. ``lp`` has the same bounds as the limits of its variables and the same lines among its rows, and adds
    what ties slopes to pre-activations.

    Source: Zhang, Zhang & Hsieh 2019 (RecurJac); Shi et al. 2022, with slope intervals so that both scopes are covered.
    """

    kinds = (Affine, Relu, MaxPool)
    branches = True
    masked = True
    preactivations = "all"  # without CROWN's own lines it is little tighter than fastlip, and not much cheaper
    source = "Zhang et al. 2019 (RecurJac); Shi et al. 2022"

    def bound(self, analysis: Analysis) -> Tensor:
        placed, found = analysis.placed, linear_jacobian(analysis)
        if placed.problem.q in (None, math.inf):
            return found.row_norms().amax(-1)
        return placed.combine(torch.maximum(found.lower.abs(), found.upper.abs()))
