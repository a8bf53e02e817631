"""Sorting, as max pools: rounds of comparators, each of which puts two entries in order (``comparing.in_order``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.comparing import ValuesAndIndices, own_axes
from lipreg.graph.lowerings.padding import mirrored, moved, positions
from lipreg.graph.registry import Example, lowers
from lipreg.graph.symbols import Indices, Symbol


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
    """The entries along an axis in rising or falling order, by rounds of comparators.

    Args:
        context: of the lowering.
        x: the activations.
        axis: counted without the batch axis.
        descending: whether the largest come first.
    """
    size = x.shape[axis]
    for pairs in comparators(size):
        x = _compared(context, x, axis, pairs)
    return moved(context, x, positions(x).flip(axis)) if descending else x


def _compared(context: Context, x: Symbol, axis: int, pairs: Sequence[tuple[int, int]]) -> Symbol:
    """One round of comparators: the smaller of each pair at its first place, the larger at its second."""
    count, where = math.prod(x.shape), positions(x).movedim(axis, 0)
    windows = torch.stack([where, where], -1)
    signs = context.like.new_ones(x.shape[axis])
    for i, j in pairs:
        both = torch.stack([where[i], where[j]], -1)
        windows[i], windows[j], signs[i] = both + count, both, -1.0
    flat = windows.movedim(0, axis).reshape(count, 2)
    pooled = context.max_pool(mirrored(context, x), flat.to(context.like.device), x.shape, mirrored=True)
    return pooled.scaled(signs.reshape(-1, *(1,) * (len(x.shape) - 1 - axis)))


@lowers(torch.sort, "sort")
def lower_sort(
    context: Context, input: Symbol, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> ValuesAndIndices:
    """The entries along ``dim`` in order, with their indices.

    Raises:
        Refusal: it is the batch axis.
    """
    (axis,) = own_axes(input, dim)
    return ValuesAndIndices(ordered(context, input, axis, descending), Indices())


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
