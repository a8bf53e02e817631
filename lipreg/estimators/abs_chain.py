"""The absolute chain: magnitudes multiplied through all layers before any norm is taken."""

from __future__ import annotations

from torch import Tensor

from lipreg.bounds import Analysis, absolute_chain
from lipreg.estimators.base import BoundEstimator, register


@register("abs_chain")
class AbsChain(BoundEstimator):
    """L <= norm of |C A_K| S |A_{K-1}| ... S |A_1|, S the upper slope bounds of the scope.

    Never looser than the affine-ReLU bound for p = inf and 1 at about its cost (one backward pass with the functional's
    rows), because a norm of a product of non-negative matrices is at most the product of their norms. For p = 2, and for
    an operator norm from l_inf to l1, neither dominates: magnitudes lose the cancellation inside a layer.
    """

    masked = True
    source = "norm of the entrywise magnitudes of the chain rule"

    def bound(self, analysis: Analysis) -> Tensor:
        return analysis.placed.combine(absolute_chain(analysis))
