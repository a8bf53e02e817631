"""Entries in another order or place: permutations, slices and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol


def permuted(context: Context, x: Symbol, order: Sequence[int]) -> Symbol:
    """The activations with their own dimensions (without the batch axis) in another order."""
    return moved(context, x, positions(x).permute(tuple(order)))


def sliced(context: Context, x: Symbol, index: Any) -> Symbol:
    """x[index] for an index that keeps the whole batch axis: slices, whole numbers, ``...``."""
    index = index if isinstance(index, tuple) else (index,)
    if any(not isinstance(i, int | slice | None) and i is not Ellipsis for i in index):
        raise Refusal("not yet", "indexing activations by anything but numbers, slices, None and ...")
    batch, rest = (index[0], index[1:]) if index and index[0] is not Ellipsis else (slice(None), index)
    if batch != slice(None):
        raise Refusal("settings", "indexing the batch axis; x[:, ...] keeps it")
    return moved(context, x, positions(x)[rest])


@lowers(torch.permute, "permute")
def lower_permute(context: Context, input: Symbol, *dims: Any, **kwargs: Any) -> Symbol:
    given = kwargs.get("dims", dims)
    order = [int(d) % input.ndim for d in (given[0] if len(given) == 1 and not isinstance(given[0], int) else given)]
    if order[0] != 0:
        raise Refusal("settings", "a permutation that moves the batch axis")
    return permuted(context, input, [d - 1 for d in order[1:]])


@lowers(torch.transpose, torch.swapaxes, "transpose", "swapaxes")
def lower_transpose(context: Context, input: Symbol, dim0: int, dim1: int) -> Symbol:
    order = list(range(input.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return lower_permute(context, input, order)


@lowers(torch.cat, torch.concat)
def lower_concatenation(context: Context, tensors: Sequence[Any], dim: int = 0) -> Symbol:
    symbols = [part for part in tensors if isinstance(part, Symbol)]
    if len(symbols) != len(tensors):
        raise Refusal("not yet", "concatenating activations with constants")
    axis = dim % symbols[0].ndim - 1
    if axis < 0:
        raise Refusal("settings", "concatenation along the batch axis")
    sizes = [part.shape[axis] for part in symbols]
    total: Symbol | None = None
    for i, part in enumerate(symbols):
        before, after = list(part.shape), list(part.shape)
        before[axis], after[axis] = sum(sizes[:i]), sum(sizes[i + 1 :])
        empty = [torch.full(size, -1, dtype=torch.int64) for size in (before, after)]
        placed = moved(context, part, torch.cat([empty[0], positions(part), empty[1]], axis))
        if total is not None and total.shape != placed.shape:
            raise Refusal("settings", f"concatenating activations of shapes {[s.shape for s in symbols]} along {dim}")
        total = placed if total is None else total.plus(placed)
    assert total is not None
    return total


class _Arrangement(nn.Module):
    """A dense block, and entries in other orders."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 2, 1), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, torch.relu(self.a(x))], 1)
        x = torch.cat((self.b(x), x[:, 1:3]), dim=-3).permute(0, 2, 3, 1)
        x = torch.relu(x[:, :, :2, ...].transpose(1, -1))
        x = torch.concat([torch.permute(x, (0, 2, 1, 3)), torch.swapaxes(x, 1, 2)], 1)[:, :2]
        return self.c(torch.transpose(x.swapaxes(2, 3), 2, 3).flatten(1))


lowers(example=Example(_Arrangement, (2, 3, 4)))(lower_concatenation)
