"""Entries in another order or place: permutations, slices and concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.batches import Stacked
from lipreg.graph.context import Context
from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol


def permuted(context: Context, x: Symbol, order: Sequence[int]) -> Symbol:
    """The activations with their own dimensions, without the batch axis, in another order.

    Args:
        context: of the lowering.
        x: the activations.
        order: the old dimension at each place of the new order.
    """
    return moved(context, x, positions(x).permute(tuple(order)))


def sliced(context: Context, x: Symbol, index: Any) -> Symbol:
    """x[index] for an index that keeps the whole batch axis.

    Args:
        context: of the lowering.
        x: the activations.
        index: slices, whole numbers, None, ``...`` and at most one list of numbers.

    Raises:
        Refusal: another index.
    """
    index = index if isinstance(index, tuple) else (index,)
    batch, rest = (index[0], index[1:]) if index and index[0] is not Ellipsis else (slice(None), index)
    if isinstance(batch, str):
        raise Refusal(
            "settings", f"its forward reads {batch!r} of its input; give lipreg.Select(network, input={batch!r})"
        )
    if not isinstance(batch, slice) or batch != slice(None):
        raise Refusal("settings", "indexing the batch axis; x[:, ...] keeps it")
    several = [i for i in rest if isinstance(i, list | Tensor)]
    if any(not isinstance(i, int | slice | None | list | Tensor) and i is not Ellipsis for i in rest):
        raise Refusal(
            "not yet", "indexing activations by anything but numbers, slices, None, ... and one list of numbers"
        )
    if several and (len(several) > 1 or any(isinstance(i, int) for i in rest)):
        raise Refusal("not yet", "indexing activations by a list beside another list or number")
    return moved(context, x, positions(x)[tuple(i.cpu() if isinstance(i, Tensor) else i for i in rest)])


def _axis(x: Symbol, dim: int, what: str) -> int:
    """A dimension of the module's as one of the activations' own, without the batch axis.

    Raises:
        Refusal: there is no such dimension, or it is the batch axis.
    """
    if not -x.ndim <= dim < x.ndim:
        raise Refusal("settings", f"{what} along dimension {dim} of activations {x.shape}")
    if dim % x.ndim == 0:
        raise Refusal("settings", f"{what} along the batch axis")
    return dim % x.ndim - 1


@lowers(torch.permute, "permute")
def lower_permute(context: Context, input: Symbol, *dims: Any, **kwargs: Any) -> Symbol:
    """The dimensions in the order ``dims``.

    Raises:
        Refusal: the batch axis does not stay first.
    """
    given = kwargs.get("dims", dims)
    order = [int(d) % input.ndim for d in (given[0] if len(given) == 1 and not isinstance(given[0], int) else given)]
    if order[0] != 0:
        raise Refusal("settings", "a permutation that moves the batch axis")
    return permuted(context, input, [d - 1 for d in order[1:]])


@lowers(torch.transpose, torch.swapaxes, "transpose", "swapaxes")
def lower_transpose(context: Context, input: Symbol, dim0: int, dim1: int) -> Symbol:
    """Two dimensions exchanged; see ``lower_permute``."""
    order = list(range(input.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return lower_permute(context, input, order)


@lowers(torch.cat, torch.concat, torch.concatenate)
def lower_concatenation(context: Context, tensors: Sequence[Any], dim: int = 0) -> Symbol:
    """The activations behind one another along ``dim``.

    Raises:
        Refusal: constants among them, other shapes, or the batch axis.
    """
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


@lowers(torch.hstack)
def lower_hstack(context: Context, tensors: Sequence[Any]) -> Symbol:
    """The activations behind one another along their first own dimension."""
    return lower_concatenation(context, [t.reshape((1,)) if t.shape == () else t for t in tensors], 1)


@lowers(torch.stack)
def lower_stack(context: Context, tensors: Sequence[Any], dim: int = 0) -> Symbol | Stacked:
    """The activations along a new dimension ``dim``; along one in front of the batch axis they stay apart (``Stacked``).

    Raises:
        Refusal: constants among them.
    """
    if not all(isinstance(part, Symbol) for part in tensors):
        raise Refusal("not yet", "stacking activations with constants")
    at = dim % (tensors[0].ndim + 1) - 1
    if at < 0:
        return Stacked(tensors)
    rows = [part.reshape((*part.shape[:at], 1, *part.shape[at:])) for part in tensors]
    return lower_concatenation(context, rows, at + 1)


@lowers(torch.flip, "flip")
def lower_flip(context: Context, input: Symbol, *dims: Any, **kwargs: Any) -> Symbol:
    """The entries in reverse order along ``dims``."""
    given = kwargs.get("dims", dims)
    given = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
    return moved(context, input, positions(input).flip([_axis(input, d, "a flip") for d in given]))


@lowers(torch.roll, "roll")
def lower_roll(context: Context, input: Symbol, shifts: Any, dims: Any = None) -> Symbol:
    """The entries moved along ``dims`` by ``shifts`` places, the last ones to the front.

    Raises:
        Refusal: no dimensions are named, which mixes points.
    """
    if dims is None:
        raise Refusal("settings", "a roll of all entries of the batch; name the dimensions")
    axes = [_axis(input, d, "a roll") for d in ((dims,) if isinstance(dims, int) else dims)]
    return moved(context, input, positions(input).roll((shifts,) if isinstance(shifts, int) else tuple(shifts), axes))


@lowers(torch.index_select, "index_select")
def lower_index_select(context: Context, input: Symbol, dim: int, index: Tensor) -> Symbol:
    """The entries at the places ``index`` along ``dim``."""
    return moved(context, input, positions(input).index_select(_axis(input, dim, "a selection"), index.cpu()))


@lowers(torch.chunk, "chunk")
def lower_chunk(context: Context, input: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    """The activations cut along ``dim`` into ``chunks`` parts, the last one perhaps smaller."""
    parts = positions(input).chunk(chunks, _axis(input, dim, "chunks"))
    return tuple(moved(context, input, part) for part in parts)


@lowers(torch.split, "split")
def lower_split(context: Context, tensor: Symbol, split_size_or_sections: Any, dim: int = 0) -> tuple[Symbol, ...]:
    """The activations cut along ``dim`` into parts of one size, or of given sizes."""
    parts = positions(tensor).split(split_size_or_sections, _axis(tensor, dim, "a split"))
    return tuple(moved(context, tensor, part) for part in parts)


@lowers(torch.unbind, "unbind")
def lower_unbind(context: Context, input: Symbol, dim: int = 0) -> tuple[Symbol, ...]:
    """The activations cut along ``dim`` into single entries, without that dimension."""
    return tuple(moved(context, input, part) for part in positions(input).unbind(_axis(input, dim, "unbind")))


@lowers(torch.narrow, "narrow")
def lower_narrow(context: Context, input: Symbol, dim: int, start: int, length: int) -> Symbol:
    """The ``length`` entries from ``start`` on along ``dim``."""
    return moved(context, input, positions(input).narrow(_axis(input, dim, "narrow"), start, length))


@lowers(torch.select, "select")
def lower_select(context: Context, input: Symbol, dim: int, index: int) -> Symbol:
    """The entry ``index`` along ``dim``, without that dimension."""
    return moved(context, input, positions(input).select(_axis(input, dim, "select"), index))


class _Parts(nn.Module):
    """Parts of activations, one by one, and put together again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.order = nn.Linear(4, 4), nn.Buffer(torch.tensor([2, 0, 3, 1]))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x).chunk(2, dim=-1)
        c, d = torch.chunk(torch.relu(x), 2, 1)
        e, f = torch.split(torch.hstack((a, d)), [1, 3], 1)
        (g, h), (i, j) = f[:, :2].split(1, -1), torch.unbind(torch.stack([b, c], 2), 1)
        y = torch.cat((torch.stack((e, g, h), dim=-1).flatten(1), i, j - j.flip(1)), 1).relu()
        y = torch.roll(torch.flip(y, (1,)).roll(2, 1), (1,), (-1,))[:, [1, 0, 2, 4, 6]]
        y = torch.narrow(y, 1, 1, 4).narrow(-1, 0, 4).index_select(1, self.order) + y[:, self.order]
        k, m, *_ = torch.index_select(y, 1, self.order).unbind(-1)
        return torch.stack((k, m + torch.select(y, 1, 0), y.select(-1, 3)), 1)


class _Arrangement(nn.Module):
    """A dense block, and entries in other orders."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 2, 1), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.concatenate([x, torch.relu(self.a(x))], 1)
        x = torch.cat((self.b(x), x[:, 1:3]), dim=-3).permute(0, 2, 3, 1)
        x = torch.relu(x[:, :, :2, ...].transpose(1, -1))
        x = torch.concat([torch.permute(x, (0, 2, 1, 3)), torch.swapaxes(x, 1, 2)], 1)[:, :2]
        return self.c(torch.transpose(x.swapaxes(2, 3), 2, 3).flatten(1))


lowers(example=Example(_Arrangement, (2, 3, 4)))(lower_concatenation)
lowers(example=Example(_Parts, (4,)))(lower_stack)
