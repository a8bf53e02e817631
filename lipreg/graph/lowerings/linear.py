"""Linear layers and matrix products with constants."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.arithmetic import OF_PRODUCTS, lower_add, lower_mul
from lipreg.graph.lowerings.arrangement import permuted
from lipreg.graph.lowerings.constants import constant_of
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
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


@lowers(
    nn.Linear,
    example=Example(lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)), (5,)),
    rows="together",
)
def lower_linear(context: Context, module: nn.Linear, x: Symbol) -> Symbol:
    """x W^T + b over the last axis, by the weights of the layer."""
    return _apply(context, x, module.weight, module.bias)


@lowers(F.linear, rows="together")
def lower_linear_call(context: Context, input: Symbol, weight: Tensor, bias: Tensor | None = None) -> Symbol:
    """input W^T + b over the last axis."""
    return _apply(context, input, weight, bias)


@lowers(torch.matmul, operator.matmul, torch.mm, "matmul", "mm")
def lower_matmul(context: Context, input: Any, other: Any) -> Symbol:
    """The matrix product of activations and a constant, on either side.

    Raises:
        Refusal: a product of two activations, or a constant that differs from point to point.
    """
    input, other = (_without_ones(constant_of(factor)) for factor in (input, other))
    if isinstance(input, Symbol) and isinstance(other, Symbol):
        raise Refusal("never", OF_PRODUCTS)
    if not isinstance(input, Symbol):
        if input.dim() == 2 and len(other.shape) == 2:
            # a graph's neighbours, say: rows are mixed, each with all of its features
            return permuted(context, _apply(context, permuted(context, other, (1, 0)), input, None), (1, 0))
        return _multiplied(context, other, lambda points: torch.matmul(_for_each(input, other), points))
    if other.dim() > 2:
        return _multiplied(context, input, lambda points: torch.matmul(points, _for_each(other, input)))
    if other.dim() == 1:
        return _apply(context, input, other.unsqueeze(0), None).reshape(input.shape[:-1])
    return _apply(context, input, other.T, None)


def _without_ones(factor: Any) -> Any:
    """A constant factor without leading dimensions of size 1, in which it is the same for all: a matrix at least."""
    while isinstance(factor, Tensor) and factor.dim() > 2 and factor.shape[0] == 1:
        factor = factor[0]
    return factor


def _for_each(factor: Tensor, x: Symbol) -> Tensor:
    """A factor that has no dimension where the activations have their batch."""
    if factor.dim() >= x.ndim:
        raise Refusal(
            "settings", f"a constant of shape {tuple(factor.shape)} for each point, where it must be one for all"
        )
    return factor


def _multiplied(context: Context, x: Symbol, product: Callable[[Tensor], Tensor]) -> Symbol:
    """A product with constants as a matrix: each column is the product of one entry of 1."""
    size = torch.Size(x.shape).numel()
    ones = torch.eye(size, dtype=context.like.dtype, device=context.like.device)
    columns = product(ones.reshape(size, *x.shape))
    return x.then(Dense(columns.reshape(size, -1).T, x.shape, tuple(columns.shape[1:])))


@lowers(torch.bmm, "bmm")
def lower_bmm(context: Context, input: Any, mat2: Any) -> Symbol:
    """The matrix product for each point; see ``lower_matmul``."""
    return lower_matmul(context, input, mat2)


@lowers(torch.baddbmm, "baddbmm")
def lower_baddbmm(
    context: Context, input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1
) -> Symbol:
    """beta input + alpha batch1 batch2 for each point; see ``lower_matmul``."""
    return lower_addmm(context, input, batch1, batch2, beta=beta, alpha=alpha)


@lowers(torch.mv, "mv")
def lower_mv(context: Context, input: Any, vec: Any) -> Symbol:
    """The product of each point's matrix and a vector; see ``lower_matmul``."""
    return lower_matmul(context, input, vec)


@lowers(torch.tensordot)
def lower_tensordot(context: Context, a: Any, b: Any, dims: Any = 2, out: None = None) -> Symbol:
    """The sum of products of activations, which stand first, and a constant over some dimensions of both.

    Raises:
        Refusal: a product of two activations, or one in which the batch axis does not stay first.
    """
    if isinstance(a, Symbol) and isinstance(b, Symbol):
        raise Refusal("never", OF_PRODUCTS)
    if isinstance(dims, int):
        dims = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    axes: Any = dims
    if not isinstance(a, Symbol) or any(int(d) % a.ndim == 0 for d in axes[0]):
        raise Refusal("settings", "tensordot in which the batch axis does not stay first")
    own = context.tensor(constant_of(b))
    return _multiplied(context, a, lambda points: torch.tensordot(points, own, dims=axes))


@lowers(torch.inner)
def lower_inner(context: Context, input: Any, other: Any) -> Symbol:
    """The inner products of activations and constants along the last dimensions of both."""
    return lower_matmul(context, input, other.T if isinstance(other, Tensor) and other.dim() == 2 else other)


@lowers(torch.cumsum, "cumsum")
def lower_cumsum(context: Context, input: Symbol, dim: int) -> Symbol:
    """The sums of the first entries along ``dim``, of one, of two, and so on."""
    return _along(context, input, dim, lambda n: torch.ones(n, n).tril())


@lowers(torch.diff, "diff")
def lower_diff(context: Context, input: Symbol, n: int = 1, dim: int = -1) -> Symbol:
    """The differences of neighbouring entries along ``dim``, taken n times."""
    return _along(context, input, dim, lambda size: torch.eye(size).diff(n, 0))


def _along(context: Context, x: Symbol, dim: int, matrix: Callable[[int], Tensor]) -> Symbol:
    """A matrix, made for the number of entries, on the entries along a dimension.

    Raises:
        Refusal: it is the batch axis.
    """
    axis = dim % x.ndim - 1
    if axis < 0:
        raise Refusal("settings", "along the batch axis")
    others = [i for i in range(len(x.shape)) if i != axis]
    back = sorted(range(len(x.shape)), key=[*others, axis].__getitem__)
    last = permuted(context, x, [*others, axis])
    return permuted(context, _apply(context, last, matrix(x.shape[axis]), None), back)


@lowers(torch.addmm)
def lower_addmm(context: Context, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Symbol:
    """beta input + alpha mat1 mat2; see ``lower_matmul``."""
    product = lower_matmul(context, mat1, mat2)
    product = product if alpha == 1 else lower_mul(context, product, alpha)
    return lower_add(context, product, input, alpha=beta)


@lowers(torch.einsum)
def lower_einsum(context: Context, equation: str, *operands: Any) -> Symbol:
    """A sum of products of activations with constants, as the matrix of the constants' outer product.

    Covered are equations in which the batch's letter comes first in the activations and in the result, and nowhere else.

    Raises:
        Refusal: another equation, or a product of two activations.
    """
    operands = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    if sum(isinstance(o, Symbol) for o in operands) > 1:
        raise Refusal("never", OF_PRODUCTS)
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
    """The letters that do not occur in an equation."""
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


class _Products(nn.Module):
    """Products of matrices with constants on either side, one for all points."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(2, 2)), nn.Parameter(torch.randn(2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y, one, b = x.relu(), self.b[:1], x.shape[0]
        z = torch.matmul(self.a.unsqueeze(0), y) + torch.bmm(y, one.expand(b, 3, 3)) - y.bmm(one.repeat(b, 1, 1))
        z = z + torch.baddbmm(one[:, :2].expand(b, 2, 3), y, one.expand(b, 3, 3), alpha=0.5) + y.mT.mT
        z = z + y.baddbmm(y, one.expand(b, 3, 3), beta=2.0) + (y.unsqueeze(1) @ self.b).sum(1)
        along: Any = [2], [1]
        z = z + torch.tensordot(y, self.b[1], dims=along) + torch.tensordot(y, self.b[0], 1)
        return z[:, :, 0] + torch.mv(y[:, 0], self.b[0, 0]).unsqueeze(1) + y[:, 1].mv(self.b[0, 1]).unsqueeze(1)


lowers(example=Example(_Products, (2, 3)))(lower_bmm)
