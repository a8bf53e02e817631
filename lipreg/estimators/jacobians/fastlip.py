"""FastLip: an interval backward pass, then the norm of the larger magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis, interval_jacobian
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.graph import Affine, MaxPool, Relu


@register("fastlip")
class FastLip(BoundEstimator):
    """L <= norm of max(|G_lo|, |G_hi|), [G_lo, G_hi] the interval Jacobian over the slope bounds of the scope.

    Units whose slope is decided keep their signs, so contributions may cancel: never looser than the absolute chain.

    Source: Weng et al. 2018 (Fast-Lip, section 3.4), with slope intervals so that both scopes are covered.
    """

    kinds = (Affine, Relu, MaxPool)
    branches = True
    masked = True
    source = "Weng et al. 2018 (Fast-Lip)"

    def bound(self, analysis: Analysis) -> Tensor:
        low, high = interval_jacobian(analysis)[0]
        return analysis.placed.combine(torch.maximum(low.abs(), high.abs()))
