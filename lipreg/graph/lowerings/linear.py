"""Linear layers and matrix products with constants."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol
from lipreg.linalg import Dense, Repeated


def _apply(context: Context, x: Symbol, weight: Tensor, bias: Tensor | None) -> Symbol:
    """x W^T + b over the last axis; earlier axes share the weight."""
    weight = context.tensor(weight)
    *leading, features = x.shape or (1,)
    context.check_width(x, features, weight.shape[1], "features", weight)
    out_shape = (*leading, weight.shape[0])
    several = torch.Size(leading).numel() > 1
    offset = None if bias is None else context.tensor(bias).expand(out_shape)
    return x.then((Repeated if several else Dense)(weight, x.shape, out_shape), offset)


@lowers(nn.Linear, example=Example(lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)), (5,)))
def lower_linear(context: Context, module: nn.Linear, x: Symbol) -> Symbol:
    return _apply(context, x, module.weight, module.bias)


@lowers(F.linear)
def lower_linear_call(context: Context, input: Symbol, weight: Tensor, bias: Tensor | None = None) -> Symbol:
    return _apply(context, input, weight, bias)


@lowers(torch.matmul, operator.matmul, torch.mm, "matmul", "mm")
def lower_matmul(context: Context, input: Any, other: Any) -> Symbol:
    if not isinstance(input, Symbol) or not isinstance(other, Tensor) or other.dim() != 2:
        raise Refusal("not yet", "a matrix product other than activations @ constant matrix")
    return _apply(context, input, other.T, None)


class _Functional(nn.Module):
    """Weights as bare parameters, used by F.linear and in matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(4, 3))
        self.bias, self.third = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.linear(x, self.first, self.bias))
        x = F.relu(x @ self.second) @ self.third + torch.matmul(x, self.second)
        return torch.mm(x, self.third).matmul(self.third) + x.mm(self.third)


lowers(example=Example(_Functional, (5,)))(lower_matmul)
