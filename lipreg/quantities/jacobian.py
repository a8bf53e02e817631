"""The norm of the Jacobian at the data points: the constant of the linear piece that each point lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lipreg.graph import Graph
from lipreg.linalg import best_direction, best_signs, vector_norm
from lipreg.linalg.operators import refuse_many_signs
from lipreg.problem import LocalLipschitz
from lipreg.quantities.base import Quantity, register
from lipreg.quantities.query import Query
from lipreg.quantities.rows import through_rows


@register("jacobian")
@dataclass(frozen=True)
class Jacobian(Quantity):
    """max over the functional's rows c of |c J(x)|_{p*}; for ``Vector`` outputs |J(x)|_{p->q}; x the data point.

    Inputs that the region holds fixed do not count, the others by the question's ``scale`` and ``measured``.

    All rows are computed without gradient, then the gradient of the largest one alone; for chains of layers both passes are
    written out (``lipreg.quantities.rows``).

    Guarantee: the regional constant is at least as large, wherever the point is no kink. So it is an estimate from below and
    proves nothing; the bound that measures the run, and audits, say what became of the constant. The pointed
    constant may lie below it where the data range cuts the region.
    """

    from_below = True

    def check(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        if graph is not None:
            refuse_many_signs(problem.p, problem.q, math.prod(graph.output.shape), f"quantity {self.name!r}")

    def values(self, query: Query) -> Tensor:
        columns = query.columns

        def worst(jacobian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            weighted = jacobian if columns is None else jacobian.mul_(columns.unsqueeze(1))
            values, u, v = attaining_vectors(weighted, query.problem)
            return values, u.unsqueeze(1), (v if columns is None else v * columns).unsqueeze(1)

        return through_rows(query, query.rows, worst)


def attaining_vectors(jacobian: Tensor, problem: LocalLipschitz) -> tuple[Tensor, Tensor, Tensor]:
    """The norm of matrices J ``(points, rows, inputs)`` that the question asks for, and the vectors that attain it.

    Returns:
        Norms ``(points,)``, u ``(points, rows)`` and v ``(points, inputs)``: |v|_p = 1 and u^T J v is the norm.
    """
    p, q, dual, rows = problem.p, problem.q, problem.dual, jacobian.shape[1]
    if q is None or q == math.inf:
        values, row = vector_norm(jacobian, dual).max(1)
        u = one_hot(row, rows).to(jacobian)
        return values, u, _attaining(_product(u, jacobian), dual)
    if p == 1.0:
        values, column = vector_norm(jacobian.mT, q).max(1)
        v = one_hot(column, jacobian.shape[2]).to(jacobian)
        return values, _attaining((jacobian @ v.unsqueeze(2)).squeeze(2), q), v
    if q == 1.0:
        values, u = best_signs(jacobian, dual)
        return values, u, _attaining(_product(u, jacobian), dual)
    if p == math.inf:
        v = best_direction(jacobian, p, q)
        image = (jacobian @ v.unsqueeze(2)).squeeze(2)
        values = vector_norm(image, q)
        return values, image / values.clamp(min=1e-300).unsqueeze(1), v
    left_vectors, sizes, right_vectors = torch.linalg.svd(jacobian, full_matrices=False)
    return sizes[:, 0], left_vectors[:, :, 0], right_vectors[:, 0]


def _product(u: Tensor, jacobian: Tensor) -> Tensor:
    return (u.unsqueeze(1) @ jacobian).squeeze(1)


def _attaining(vectors: Tensor, norm: float) -> Tensor:
    """The gradient of |x|_norm at x ``(points, n)``: of norm 1 in the dual norm, x times it is |x|; 0 at 0."""
    if norm == 1.0:
        return vectors.sign()
    if norm == 2.0:
        return vectors / vector_norm(vectors, 2.0).clamp(min=torch.finfo(vectors.dtype).tiny).unsqueeze(1)
    place = vectors.abs().argmax(1, keepdim=True)
    return torch.zeros_like(vectors).scatter_(1, place, vectors.gather(1, place).sign())
