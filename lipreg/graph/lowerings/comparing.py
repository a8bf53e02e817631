"""Magnitudes, and the larger and the smaller of two or of many, as max pools.

|z| is the largest of z and -z, and min(a, b) = -max(-a, -b). The pools read [z, -z], as ``MaxPool.mirrored`` says: two
outputs max(a, b) and max(-a, -b) are then known to be two numbers in order, and to have the same norm as a and b.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.arithmetic import broadcasted
from lipreg.graph.lowerings.arrangement import lower_concatenation
from lipreg.graph.lowerings.clamping import clamped
from lipreg.graph.lowerings.constants import constant_of
from lipreg.graph.lowerings.gates import MAGNITUDE, decay_of, noted
from lipreg.graph.lowerings.padding import mirrored, moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Indices, Part, Symbol, is_zero


class ValuesAndIndices(NamedTuple):
    """The result of ``torch.max(x, dim)``, ``torch.min`` and ``torch.sort``.

    Attributes:
        values: the activations.
        indices: where they come from.
    """

    values: Symbol
    indices: Indices


def joined(context: Context, x: Symbol, other: Symbol) -> Symbol:
    """[x, other] of two activations of one shape, ``(2, n)`` with n the entries of each.

    Args:
        context: of the lowering.
        x: the activations.
        other: activations of the same shape.
    """
    flat = [part.reshape((1, math.prod(x.shape))) for part in (x, other)]
    return lower_concatenation(context, flat, 1)


def larger_multiple(context: Context, x: Symbol, factor: Tensor) -> Symbol:
    """max(x, factor x), entry by entry.

    Args:
        context: of the lowering.
        x: the activations.
        factor: a constant that broadcasts to x.
    """
    count = math.prod(x.shape)
    both = joined(context, x, x.scaled(factor))
    windows = torch.arange(2 * count).reshape(2, count).T
    return context.max_pool(both, _there(context, windows), x.shape)


def magnitude(context: Context, x: Symbol) -> Symbol:
    """|x|, entry by entry."""
    count = math.prod(x.shape)
    windows = positions(x).flatten().unsqueeze(1) + torch.tensor([0, count])
    return context.max_pool(mirrored(context, x), _there(context, windows), x.shape, mirrored=True)


def _there(context: Context, windows: Tensor) -> Tensor:
    return windows.to(context.like.device)


def in_order(context: Context, x: Symbol, first: Tensor, second: Tensor) -> tuple[Symbol, Symbol]:
    """The smaller and the larger of entries at two flat positions each, in the shape of the positions.

    Both are read from one pool, so that a network that takes both has them in one layer.

    Args:
        context: of the lowering.
        x: the activations.
        first: flat positions in x, of any shape.
        second: flat positions, of the same shape.
    """
    count, shape = math.prod(x.shape), tuple(first.shape)
    pairs = torch.stack([first.flatten(), second.flatten()], 1)
    windows = torch.cat([pairs + count, pairs])
    both = context.max_pool(mirrored(context, x), _there(context, windows), (2, *shape), mirrored=True)
    smaller, larger = (moved(context, both, part) for part in positions(both))
    return smaller.scaled(context.tensor(-1.0)), larger


def extreme(context: Context, x: Symbol, axes: Sequence[int], keepdim: bool, largest: bool) -> Symbol:
    """The largest or the smallest entries along some axes.

    Args:
        context: of the lowering.
        x: the activations.
        axes: those, counted without the batch axis.
        keepdim: whether they stay as axes of size 1.
        largest: whether the largest are wanted.
    """
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    order = positions(x).permute(*kept, *axes)
    windows = order.reshape(math.prod(x.shape[axis] for axis in kept), -1)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keepdim or axis not in axes]
    if windows.shape[1] == 2:
        pair = context.memoised((x,), tuple(axes), lambda: in_order(context, x, windows[:, 0], windows[:, 1]))
        return pair[largest].reshape(tuple(shape))
    sign = context.tensor(1.0 if largest else -1.0)
    pooled = context.max_pool(x if largest else x.scaled(sign), _there(context, windows), tuple(shape))
    return pooled if largest else pooled.scaled(sign)


@lowers(operator.abs, torch.abs, torch.absolute, "abs", "abs_", "absolute")
def lower_abs(context: Context, input: Symbol) -> Symbol:
    """|input|, entry by entry."""
    return noted(magnitude(context, input), MAGNITUDE, input)


def _pair(context: Context, x: Symbol, other: Symbol) -> tuple[Symbol, Symbol]:
    """The smaller and the larger of two, entry by entry; of one twice, which would tie everywhere, the one itself."""
    if x is other:
        return x, x
    x, other = broadcasted(context, x, other), broadcasted(context, other, x)
    first, second = torch.arange(2 * math.prod(x.shape)).reshape(2, *x.shape)
    return in_order(context, joined(context, x, other), first, second)


def _of_two(context: Context, input: Any, other: Any, largest: bool) -> Symbol:
    input, other = constant_of(input), constant_of(other)
    for part, end in ((input, other), (other, input)):
        if isinstance(part, Part):
            end = 0 if is_zero(end) else end
            return decay_of(context, part, *((end, None) if largest else (None, end)))
    if isinstance(input, Symbol) and isinstance(other, Symbol):
        return context.memoised((input, other), "in order", lambda: _pair(context, input, other))[largest]
    symbol, end = (input, other) if isinstance(input, Symbol) else (other, input)
    return clamped(context, symbol, end) if largest else clamped(context, symbol, None, end)


@lowers(torch.maximum, "maximum", torch.fmax, "fmax", parts=True)
def lower_maximum(context: Context, input: Any, other: Any) -> Symbol:
    """max(input, other), entry by entry, of activations and constants."""
    return _of_two(context, input, other, True)


@lowers(torch.minimum, "minimum", torch.fmin, "fmin", parts=True)
def lower_minimum(context: Context, input: Any, other: Any) -> Symbol:
    """min(input, other), entry by entry, of activations and constants."""
    return _of_two(context, input, other, False)


def own_axes(x: Symbol, dim: Any) -> list[int]:
    """Dimensions as the module counts them, as axes without the batch axis.

    Raises:
        Refusal: there are none, or the batch axis is among them.
    """
    dims = [int(d) % x.ndim for d in (dim if isinstance(dim, tuple | list) else [dim])]
    if not dims or 0 in dims:
        raise Refusal("settings", "the largest or smallest over the batch axis; dim=1 and higher are covered")
    return [d - 1 for d in dims]


@lowers(torch.amax, "amax")
def lower_amax(context: Context, input: Symbol, dim: Any = (), keepdim: bool = False) -> Symbol:
    """The largest entries along the dimensions ``dim``.

    Raises:
        Refusal: the batch axis is among them.
    """
    return extreme(context, input, own_axes(input, dim), keepdim, True)


@lowers(torch.amin, "amin")
def lower_amin(context: Context, input: Symbol, dim: Any = (), keepdim: bool = False) -> Symbol:
    """The smallest entries along the dimensions ``dim``.

    Raises:
        Refusal: the batch axis is among them.
    """
    return extreme(context, input, own_axes(input, dim), keepdim, False)


def _max_or_min(context: Context, largest: bool, input: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The forms of torch.max and torch.min: of two tensors, and along a dimension, where they return indices too."""
    names = ("dim", "keepdim")
    given = named | dict(zip(names, arguments, strict=False))
    other = given.get("other", given.get("dim"))
    if isinstance(other, Symbol | Tensor) or not isinstance(input, Symbol):
        return _of_two(context, input, other, largest)
    axes = own_axes(input, given.get("dim", ()))
    return ValuesAndIndices(extreme(context, input, axes, bool(given.get("keepdim", False)), largest), Indices())


@lowers(torch.max, "max")
def lower_max(context: Context, input: Any, *arguments: Any, **named: Any) -> Any:
    """The larger of two, or the largest entries along a dimension with their indices."""
    return _max_or_min(context, True, input, arguments, named)


@lowers(torch.min, "min")
def lower_min(context: Context, input: Any, *arguments: Any, **named: Any) -> Any:
    """The smaller of two, or the smallest entries along a dimension with their indices."""
    return _max_or_min(context, False, input, arguments, named)


class _Pairs(nn.Module):
    """The forms entry by entry, with constants."""

    limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.register_buffer("limit", torch.linspace(-0.3, 0.4, 3))

    def forward(self, x: Tensor) -> Tensor:
        x, y = self.a(x), self.b(x)
        z = torch.abs(x) - y.abs() + abs(2 * x) + torch.absolute(x - 1) + (x + 1).absolute() + (x + 2).abs_()
        z = z + torch.maximum(x, y) + x.maximum(self.limit) - torch.fmax(x, y) + x.fmax(self.limit)
        z = z + torch.minimum(x, y) - x.minimum(self.limit) + torch.fmin(self.limit, x) + y.fmin(x)
        return self.c(z + torch.max(x, y) + torch.min(x, y) + x.max(self.limit) + x.min(other=y))


class _Along(nn.Module):
    """The forms along dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).reshape(-1, 2, 3)
        z = torch.amax(x, 1, keepdim=True) - x.amax((1, 2), True) + torch.amin(x, -1, True) - x.amin(2, keepdim=True)
        z = z + torch.max(x, 1, True)[0] + x.max(dim=2, keepdim=True).values
        z = z - torch.min(x, dim=2, keepdim=True)[0] + x.min(1, True)[0]
        return self.c(z.flatten(1))


lowers(example=Example(_Pairs, (3,)))(lower_maximum)
lowers(example=Example(_Along, (4,)))(lower_max)
