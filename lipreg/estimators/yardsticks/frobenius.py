"""The Frobenius product: the cheapest global bound in l2."""

from __future__ import annotations

from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.estimators.base import register
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.products.spectral import layer_product, ones
from lipreg.graph import Affine, MaxPool, Relu
from lipreg.linalg import LinearMap, vector_norm


@register("frobenius")
class Frobenius(BoundEstimator):
    r"""L <= prod_k |A_k|_F for p = 2, the last map with the output functional folded in, in the question's own norm.

    |A|_{2->2} <= |A|_F <= sqrt(rank A) |A|_{2->2}, so it is never below the spectral product, and needs no singular values:
    one pass of A * A a layer. Global like that one; factors of parallel branches add up.

    Source: Golub & Van Loan 2013, section 2.3.2; compared by Virmaux & Scaman 2018, section 3.
    """

    norms = (2.0,)
    weighted = True
    kinds = (Affine, Relu, MaxPool)
    branches = True
    unbounded_regions = True
    layered = True
    reads_masks_only = True
    source = "norm inequality; Virmaux & Scaman 2018"

    def bound(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis), _frobenius)[0].expand(analysis.placed.batch)

    def factors(self, analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis), _frobenius)[1].expand(analysis.placed.batch, -1)


def _frobenius(map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
    return vector_norm((rows * map.row_norms(2.0, columns)).flatten(1), 2.0)
