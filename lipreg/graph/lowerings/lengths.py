"""Norms of activations that are piecewise linear: the sum and the largest of magnitudes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.averaging import lower_sum
from lipreg.graph.lowerings.casts import check_dtype
from lipreg.graph.lowerings.comparing import lower_abs, lower_amax, lower_amin
from lipreg.graph.registry import NEVER, Example, Refusal, lowers
from lipreg.graph.symbols import Symbol


def _length(context: Context, x: Symbol, norm: Any, dim: Any, keepdim: bool, dtype: Any) -> Symbol:
    """A norm of vectors, where it is piecewise linear."""
    check_dtype(dtype)
    by_norm = {1.0: lower_sum, math.inf: lower_amax, -math.inf: lower_amin}
    reduction = by_norm.get(float(norm)) if isinstance(norm, int | float) else None
    if reduction is None:
        raise Refusal("never", NEVER["norm"])
    if dim is None:
        raise Refusal("settings", "a norm over the batch axis; name the dimensions, dim=1 for rows of features")
    return reduction(context, lower_abs(context, x), dim, keepdim)


@lowers(torch.norm, "norm")
def lower_norm(
    context: Context,
    input: Symbol,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: None = None,  # torch passes it on as None
    dtype: Any = None,
) -> Symbol:
    """The sum (p = 1), the largest (inf) or the smallest (-inf) of magnitudes along ``dim``.

    Raises:
        Refusal: another norm, or one over the batch axis.
    """
    return _length(context, input, p, dim, keepdim, dtype)


@lowers(torch.linalg.vector_norm)
def lower_vector_norm(
    context: Context, x: Symbol, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Symbol:
    """The sum, the largest or the smallest of magnitudes along ``dim``; see ``lower_norm``."""
    return _length(context, x, ord, dim, keepdim, dtype)


@lowers(torch.linalg.norm)
def lower_linalg_norm(
    context: Context, A: Symbol, ord: Any = None, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Symbol:
    """The sum, the largest or the smallest of magnitudes along one dimension; see ``lower_norm``.

    Raises:
        Refusal: a norm of matrices, or another one of vectors.
    """
    if isinstance(dim, tuple | list) and len(dim) != 1:
        raise Refusal("never", "a norm of matrices; torch.linalg.vector_norm is one of their entries")
    return _length(context, A, ord, dim, keepdim, dtype)


class _Norms(nn.Module):
    """Each norm that has linear pieces, over one dimension and over several."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 6), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).unflatten(1, (2, 3))
        y = torch.norm(x, 1, 1, dtype=x.dtype) + x.norm(p=math.inf, dim=1) - torch.norm(x, p=-math.inf, dim=(1,))
        y = y + torch.norm(x, p=1, dim=(1, 2)).unsqueeze(1) + torch.linalg.vector_norm(x, 1, dim=2, keepdim=True)[:, 0]
        y = y - torch.linalg.vector_norm(x, ord=math.inf, dim=(1, 2)).unsqueeze(1)
        return self.b(y + torch.linalg.norm(x, 1, dim=1) + torch.linalg.norm(x, ord=math.inf, dim=(1,)))


for _lowering in (lower_norm, lower_vector_norm, lower_linalg_norm):
    lowers(example=Example(_Norms, (3,)))(_lowering)
