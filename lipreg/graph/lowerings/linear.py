"""Linear layers and matrix products with constants."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.lowerings.arithmetic import PRODUCT, lower_add, lower_mul
from lipreg.graph.lowerings.arrangement import permuted
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
    if isinstance(input, Symbol) and isinstance(other, Symbol):
        raise Refusal("never", PRODUCT)
    if isinstance(input, Tensor) and isinstance(other, Symbol) and input.dim() == 2 and len(other.shape) == 2:
        # a graph's neighbours, say: rows are mixed, each with all of its features
        return permuted(context, _apply(context, permuted(context, other, (1, 0)), input, None), (1, 0))
    if not isinstance(input, Symbol) or not isinstance(other, Tensor) or other.dim() not in (1, 2):
        todo = "; torch.einsum takes constants of other shapes"
        raise Refusal("not yet", "a matrix product other than activations with a constant matrix or vector" + todo)
    if other.dim() == 1:
        return _apply(context, input, other.unsqueeze(0), None).reshape(input.shape[:-1])
    return _apply(context, input, other.T, None)


@lowers(torch.inner)
def lower_inner(context: Context, input: Any, other: Any) -> Symbol:
    """Along the last dimensions of both."""
    return lower_matmul(context, input, other.T if isinstance(other, Tensor) and other.dim() == 2 else other)


@lowers(torch.cumsum, "cumsum")
def lower_cumsum(context: Context, input: Symbol, dim: int) -> Symbol:
    return _along(context, input, dim, lambda n: torch.ones(n, n).tril())


@lowers(torch.diff, "diff")
def lower_diff(context: Context, input: Symbol, n: int = 1, dim: int = -1) -> Symbol:
    return _along(context, input, dim, lambda size: torch.eye(size).diff(n, 0))


def _along(context: Context, x: Symbol, dim: int, matrix: Callable[[int], Tensor]) -> Symbol:
    """A matrix for the entries along a dimension."""
    axis = dim % x.ndim - 1
    if axis < 0:
        raise Refusal("settings", "along the batch axis")
    others = [i for i in range(len(x.shape)) if i != axis]
    back = sorted(range(len(x.shape)), key=[*others, axis].__getitem__)
    last = permuted(context, x, [*others, axis])
    return permuted(context, _apply(context, last, matrix(x.shape[axis]), None), back)


@lowers(torch.addmm)
def lower_addmm(context: Context, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Symbol:
    product = lower_matmul(context, mat1, mat2)
    product = product if alpha == 1 else lower_mul(context, product, alpha)
    return lower_add(context, product, input, alpha=beta)


@lowers(torch.einsum)
def lower_einsum(context: Context, equation: str, *operands: Any) -> Symbol:
    """Of activations with constants: the constants' outer product as a matrix, from the dimensions that are summed away.

    Supported where the batch's letter comes first in the activations and in the result, and stands nowhere else.
    """
    operands = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    if sum(isinstance(o, Symbol) for o in operands) > 1:
        raise Refusal("never", PRODUCT)
    terms, _, out = equation.replace(" ", "").partition("->")
    letters = terms.split(",")
    at = next(i for i, operand in enumerate(operands) if isinstance(operand, Symbol))
    x, own = operands[at], letters[at]
    constants = [context.tensor(o) for i, o in enumerate(operands) if i != at]
    others = [part for i, part in enumerate(letters) if i != at]
    plain = "." not in equation and "->" in equation and len(set(own)) == len(own) == x.ndim
    if not plain or own[0] != out[:1] or any(own[0] in part for part in (own[1:], out[1:], *others)):
        raise Refusal(
            "not yet", f"einsum {equation!r}; the activations' first letter must stay first, e.g. 'bi,oi->bo'"
        )
    sizes = dict(zip(own[1:], x.shape, strict=True))
    for part, constant in zip(others, constants, strict=True):
        sizes |= dict(zip(part, constant.shape, strict=True))
    ones = [context.like.new_ones(n) for n in x.shape]  # letters that no constant has
    # fresh letters for the result's places, so that what is kept on both sides is diagonal in the matrix
    fresh = dict(zip(out[1:], _letters(equation), strict=False))
    kept = [letter for letter in out[1:] if letter in own]
    eyes = [torch.eye(sizes[letter], dtype=context.like.dtype, device=context.like.device) for letter in kept]
    places = "".join(fresh[letter] if letter in kept else letter for letter in out[1:])
    given = ",".join([*others, *own[1:], *(letter + fresh[letter] for letter in kept)])
    table = torch.einsum(f"{given}->{places}{own[1:]}", *constants, *ones, *eyes)
    shape = tuple(sizes[letter] for letter in out[1:])
    return x.then(Dense(table.reshape(-1, torch.Size(x.shape).numel()), x.shape, shape))


def _letters(equation: str) -> list[str]:
    return [letter for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]


class _Functional(nn.Module):
    """Weights as bare parameters, used by F.linear and in matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(4, 3))
        self.bias, self.third = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.linear(x, self.first, self.bias))
        x = F.relu(x @ self.second) @ self.third + torch.matmul(x, self.second)
        x = torch.addmm(self.bias[:3], x, self.third, beta=0.5, alpha=2.0) + x.matmul(self.bias[1:]).unsqueeze(-1)
        x = torch.einsum("bi,oi->bo", x, self.third) + torch.einsum("j,bj->bj", self.bias[:3], x)
        x = torch.mm(x, self.third).matmul(self.third) + x.mm(self.third) + torch.inner(x, self.third)
        x = x + torch.cumsum(x, 1) - torch.diff(x.unsqueeze(1).repeat(1, 3, 1).cumsum(dim=1), dim=1).sum(1)
        x = x + F.pad(x.diff(2), (1, 1)) * x.new_tensor([[1.0, 2.0, 3.0]])
        return torch.nan_to_num(x).nan_to_num()


lowers(example=Example(_Functional, (5,)))(lower_matmul)
