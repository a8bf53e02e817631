"""Magnitudes, the larger and the smaller of two or of many, and sorting, as max pools.

|z| is the largest of z and -z, min(a, b) = -max(-a, -b), and a sort is rounds of comparators, each of which puts two entries
in order. The pools read [z, -z], which ``MaxPool.mirrored`` says: of two outputs max(a, b) and max(-a, -b) bounds then know
that they are two numbers in order, which moves no norm.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lipreg.graph.lowerings.arithmetic import broadcasted
from lipreg.graph.lowerings.arrangement import lower_concatenation
from lipreg.graph.lowerings.clamping import clamped
from lipreg.graph.lowerings.constants import constant_of
from lipreg.graph.lowerings.gates import MAGNITUDE, decay_of, noted
from lipreg.graph.lowerings.padding import mirrored, moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Part, Places, Symbol, is_zero


class Found(NamedTuple):
    """What ``torch.max(x, dim)``, ``torch.min`` and ``torch.sort`` return."""

    values: Symbol
    indices: Places


def joined(context: Context, x: Symbol, other: Symbol) -> Symbol:
    """[x, other] of two of one shape: ``(2, n)``."""
    flat = [part.reshape((1, math.prod(x.shape))) for part in (x, other)]
    return lower_concatenation(context, flat, 1)


def larger_multiple(context: Context, x: Symbol, factor: Tensor) -> Symbol:
    """max(x, factor x), entry by entry, for a factor that broadcasts to ``x``."""
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

    Both are read from one pool, whichever is asked for, so that a network that takes both has them in one layer.
    """
    count, shape = math.prod(x.shape), tuple(first.shape)
    pairs = torch.stack([first.flatten(), second.flatten()], 1)
    windows = torch.cat([pairs + count, pairs])
    both = context.max_pool(mirrored(context, x), _there(context, windows), (2, *shape), mirrored=True)
    smaller, larger = (moved(context, both, part) for part in positions(both))
    return smaller.scaled(context.tensor(-1.0)), larger


def extreme(context: Context, x: Symbol, axes: Sequence[int], keepdim: bool, largest: bool) -> Symbol:
    """The largest or the smallest entries along some axes, counted without the batch's."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    order = positions(x).permute(*kept, *axes)
    windows = order.reshape(math.prod(x.shape[axis] for axis in kept), -1)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keepdim or axis not in axes]
    if windows.shape[1] == 2:
        pair = context.once((x,), tuple(axes), lambda: in_order(context, x, windows[:, 0], windows[:, 1]))
        return pair[largest].reshape(tuple(shape))
    sign = context.tensor(1.0 if largest else -1.0)
    pooled = context.max_pool(x if largest else x.scaled(sign), _there(context, windows), tuple(shape))
    return pooled if largest else pooled.scaled(sign)


def comparators(count: int) -> list[list[tuple[int, int]]]:
    """Rounds of disjoint pairs (i, j), i < j, that put count entries in rising order: the smaller to i, the larger to j.

    Source: Batcher 1968, the odd-even merge sort; Knuth 1998, section 5.2.2, algorithm M, for any count.
    """
    rounds = []
    step = start = 1 << max(0, (count - 1).bit_length() - 1)
    while step > 0:
        q, r, d = start, 0, step
        while True:
            rounds.append([(i, i + d) for i in range(count - d) if i & step == r])
            if q == step:
                break
            d, q, r = q - step, q >> 1, step
        step >>= 1
    return [pairs for pairs in rounds if pairs]


def ordered(context: Context, x: Symbol, axis: int, descending: bool) -> Symbol:
    """The entries along an axis, counted without the batch's, in rising or falling order."""
    size = x.shape[axis]
    for pairs in comparators(size):
        x = _compared(context, x, axis, pairs)
    return moved(context, x, positions(x).flip(axis)) if descending else x


def _compared(context: Context, x: Symbol, axis: int, pairs: Sequence[tuple[int, int]]) -> Symbol:
    """One round: the smaller of each pair at its first place, the larger at its second."""
    count, where = math.prod(x.shape), positions(x).movedim(axis, 0)
    windows = torch.stack([where, where], -1)
    signs = context.like.new_ones(x.shape[axis])
    for i, j in pairs:
        both = torch.stack([where[i], where[j]], -1)
        windows[i], windows[j], signs[i] = both + count, both, -1.0
    flat = windows.movedim(0, axis).reshape(count, 2)
    pooled = context.max_pool(mirrored(context, x), _there(context, flat), x.shape, mirrored=True)
    return pooled.scaled(signs.reshape(-1, *(1,) * (len(x.shape) - 1 - axis)))


@lowers(operator.abs, torch.abs, torch.absolute, "abs", "abs_", "absolute")
def lower_abs(context: Context, input: Symbol) -> Symbol:
    return noted(magnitude(context, input), MAGNITUDE, input)


def _pair(context: Context, x: Symbol, other: Symbol) -> tuple[Symbol, Symbol]:
    """The smaller and the larger of two, entry by entry; of one and the same, which would tie everywhere, that."""
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
        return context.once((input, other), "in order", lambda: _pair(context, input, other))[largest]
    symbol, end = (input, other) if isinstance(input, Symbol) else (other, input)
    return clamped(context, symbol, end) if largest else clamped(context, symbol, None, end)


@lowers(torch.maximum, "maximum", torch.fmax, "fmax")
def lower_maximum(context: Context, input: Any, other: Any) -> Symbol:
    return _of_two(context, input, other, True)


@lowers(torch.minimum, "minimum", torch.fmin, "fmin")
def lower_minimum(context: Context, input: Any, other: Any) -> Symbol:
    return _of_two(context, input, other, False)


def _axes(x: Symbol, dim: Any) -> list[int]:
    """Dimensions as the module counts them as axes without the batch's."""
    dims = [int(d) % x.ndim for d in (dim if isinstance(dim, tuple | list) else [dim])]
    if not dims or 0 in dims:
        raise Refusal("settings", "the largest or smallest over the batch axis; dim=1 and higher are covered")
    return [d - 1 for d in dims]


@lowers(torch.amax, "amax")
def lower_amax(context: Context, input: Symbol, dim: Any = (), keepdim: bool = False) -> Symbol:
    return extreme(context, input, _axes(input, dim), keepdim, True)


@lowers(torch.amin, "amin")
def lower_amin(context: Context, input: Symbol, dim: Any = (), keepdim: bool = False) -> Symbol:
    return extreme(context, input, _axes(input, dim), keepdim, False)


def _max_or_min(context: Context, largest: bool, input: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """torch.max's and torch.min's forms: of two tensors, and along a dimension, which tells the places too."""
    names = ("dim", "keepdim")
    given = named | dict(zip(names, arguments, strict=False))
    other = given.get("other", given.get("dim"))
    if isinstance(other, Symbol | Tensor) or not isinstance(input, Symbol):
        return _of_two(context, input, other, largest)
    axes = _axes(input, given.get("dim", ()))
    return Found(extreme(context, input, axes, bool(given.get("keepdim", False)), largest), Places())


@lowers(torch.max, "max")
def lower_max(context: Context, input: Any, *arguments: Any, **named: Any) -> Any:
    return _max_or_min(context, True, input, arguments, named)


@lowers(torch.min, "min")
def lower_min(context: Context, input: Any, *arguments: Any, **named: Any) -> Any:
    return _max_or_min(context, False, input, arguments, named)


@lowers(torch.sort, "sort")
def lower_sort(
    context: Context, input: Symbol, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Found:
    (axis,) = _axes(input, dim)
    return Found(ordered(context, input, axis, descending), Places())


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


class _Sorts(nn.Module):
    """GroupSort of several group sizes, along the last and along another axis."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 12), nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sort(self.a(x).reshape(-1, 6, 2))[0].flatten(1)
        x = torch.sort(self.b(x).reshape(-1, 4, 3), dim=1, descending=True)[0].flatten(1)
        return self.c(self.b(x).reshape(-1, 2, 6).sort(2)[0].flatten(1))


lowers(example=Example(_Sorts, (3,)))(lower_sort)
