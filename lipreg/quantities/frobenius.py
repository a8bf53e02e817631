"""The Frobenius norm of the outputs' Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.options import check_count
from lipreg.quantities.base import Quantity, register
from lipreg.quantities.query import Query
from lipreg.quantities.rows import through_rows


@register("jacobian_frobenius")
@dataclass(frozen=True)
class JacobianFrobenius(Quantity):
    """|J(x)|_F^2, J the Jacobian of all outputs at the data point, whatever functional the problem asks for.

    Its columns count by the question's ``scale`` and ``measured``.

    By random projections: for unit vectors v drawn anew for every point, outputs * mean |v^T J|_2^2, whose mean over the
    draws it is. An estimate of no constant, but half the logarithm of it moves as the l2 norms of the Jacobian do.

    Args:
        projections: how many unit vectors are drawn for each point; "exact" takes all outputs.

    Source: Hoffman, Roberts & Yaida 2019.
    """

    projections: int | str = 1
    draws = True

    def __post_init__(self) -> None:
        if isinstance(self.projections, str):
            if self.projections != "exact":
                got = f"projections={self.projections!r}"
                raise InvalidInput(got, where=f"quantity {self.name!r}", accepted='a whole number, or "exact"')
        else:
            check_count(self.projections, "projections", f"quantity {self.name!r}")

    def values(self, query: Query) -> Tensor:
        outputs = query.rows.shape[2]
        if self.projections == "exact":
            rows = torch.eye(outputs, dtype=query.dtype, device=query.x.device).expand(len(query.x), -1, -1)
        else:
            size = len(query.x), int(self.projections), outputs
            drawn = torch.randn(size, generator=query.generator, dtype=torch.float64)
            rows = torch.nn.functional.normalize(drawn, dim=2) * (outputs / size[1]) ** 0.5
        counts = query.counts

        def squared(jacobian: Tensor) -> tuple[Tensor, None, Tensor]:
            if counts is None:
                return jacobian.square().sum((1, 2)), None, 2.0 * jacobian
            weighted = jacobian * counts
            return weighted.square().sum((1, 2)), None, 2.0 * weighted * counts

        return through_rows(query, rows.to(query.x.device, query.dtype), squared)
