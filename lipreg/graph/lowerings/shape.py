"""Reshapes that keep the batch axis: flatten, reshape, view, unflatten, squeeze and unsqueeze."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.batch_size import BatchSize
from lipreg.graph.batches import BatchGroups, Stacked
from lipreg.graph.context import Context
from lipreg.graph.lowerings.arrangement import permuted, sliced
from lipreg.graph.lowerings.steps import as_whole, in_steps
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol


def _flatten(context: Context, x: Symbol | BatchGroups, start: int, end: int) -> Symbol | BatchGroups:
    whole = as_whole(context, x)
    steps, *shape = whole.shape
    start, end = start % (len(shape) + 1), end % (len(shape) + 1)
    if start == 0:
        return in_steps(context, whole.reshape((steps * math.prod(shape[:end]), *shape[end:])))
    joined = (*shape[: start - 1], math.prod(shape[start - 1 : end]), *shape[end:])
    return in_steps(context, whole.reshape((steps, *joined)))


def _reshape(context: Context, x: Symbol | BatchGroups, sizes: Sequence[Any]) -> Symbol | BatchGroups:
    """x in another shape, whose first axis is the batch, or the batch joined with others.

    Raises:
        Refusal: another first axis, or sizes that do not fit.
    """
    whole, batch, rest = as_whole(context, x), sizes[0], [int(size) for size in sizes[1:]]
    size, times = math.prod(whole.shape), batch.times if isinstance(batch, BatchSize) else None
    if times is not None and rest.count(-1) == 1:
        known_size = -math.prod(rest) * times
        rest[rest.index(-1)] = size // known_size if known_size and size % known_size == 0 else 0
    row = math.prod(rest)
    fits = row > 0 and size % row == 0 if batch == -1 else times is not None and times * row == size
    if not fits:
        rows = _named(BatchSize(whole.shape[0]))
        raise Refusal(
            "settings",
            f"a reshape of ({', '.join(map(str, (rows, *x.shape)))}) to {[_named(size) for size in sizes]}; the first axis "
            "must stay the batch (x.flatten(1), or x.reshape(x.shape[0], ...))",
        )
    return in_steps(context, whole.reshape((size // row, *rest)))


def _named(size: Any) -> Any:
    """A size as a message gives it."""
    if not isinstance(size, BatchSize):
        return size
    return "batch" if size.times == 1 else f"batch * {size.times}"


@lowers(nn.Flatten, example=Example(lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), (2, 3)), rows="own")
def lower_flatten(context: Context, module: nn.Flatten, x: Symbol | BatchGroups) -> Symbol | BatchGroups:
    """The dimensions from ``start_dim`` to ``end_dim`` joined; see ``lower_flatten_call``."""
    return _flatten(context, x, module.start_dim, module.end_dim)


@lowers(torch.flatten, "flatten", rows="own")
def lower_flatten_call(
    context: Context, input: Symbol | BatchGroups, start_dim: int = 0, end_dim: int = -1
) -> Symbol | BatchGroups:
    """The dimensions from ``start_dim`` to ``end_dim`` joined; with the batch axis, rows of it (``BatchGroups``)."""
    return _flatten(context, input, start_dim, end_dim)


def _unflatten(context: Context, x: Symbol | BatchGroups, dim: Any, given: Any) -> Symbol | BatchGroups:
    if not isinstance(dim, int):
        raise Refusal("settings", f"Unflatten of dimension {dim!r}; a number is covered")
    at = dim % (len(x.shape) + 1) - 1
    if at < 0:
        return _reshape(context, x, [*given, *x.shape])
    sizes = [int(s) for s in given]
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[at] // -math.prod(sizes)
    rows = BatchSize(len(x) if isinstance(x, BatchGroups) else 1)
    return _reshape(context, x, [rows, *x.shape[:at], *sizes, *x.shape[at + 1 :]])


@lowers(
    nn.Unflatten, example=Example(lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 2)), (6,)), rows="own"
)
def lower_unflatten(context: Context, module: nn.Unflatten, x: Symbol | BatchGroups) -> Symbol | BatchGroups:
    """A dimension split into several; see ``lower_unflatten_call``."""
    return _unflatten(context, x, module.dim, module.unflattened_size)


@lowers(torch.unflatten, "unflatten", rows="own")
def lower_unflatten_call(context: Context, input: Symbol | BatchGroups, dim: Any, sizes: Any) -> Symbol | BatchGroups:
    """A dimension split into several.

    Raises:
        Refusal: it is given by a name, or the sizes do not fit.
    """
    return _unflatten(context, input, dim, sizes)


@lowers(torch.reshape, "reshape", "view", rows="own")
def lower_reshape(context: Context, input: Symbol | BatchGroups, *shape: Any, **kwargs: Any) -> Symbol | BatchGroups:
    """The same entries in another shape, whose first axis is the batch, or the batch joined with others (``BatchGroups``).

    Raises:
        Refusal: another first axis, or sizes that do not fit.
    """
    given = kwargs.get("shape", shape)
    return _reshape(context, input, given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given)


@lowers(torch.squeeze, "squeeze")
def lower_squeeze(context: Context, input: Symbol, dim: int | None = None) -> Symbol:
    """A dimension of size 1 left out, or all of them; the batch axis stays.

    Raises:
        Refusal: it is the batch axis.
    """
    if dim is None:  # of a batch of one point the module would drop the batch axis too: it is kept
        return input.reshape(tuple(size for size in input.shape if size != 1))
    at = dim % input.ndim - 1
    if at < 0:
        raise Refusal("settings", "squeeze of the batch axis")
    if input.shape[at] != 1:
        return input
    return input.reshape((*input.shape[:at], *input.shape[at + 1 :]))


@lowers(torch.unsqueeze, "unsqueeze")
def lower_unsqueeze(context: Context, input: Symbol, dim: int) -> Symbol:
    """A new dimension of size 1.

    Raises:
        Refusal: it would stand in front of the batch axis.
    """
    at = dim % (input.ndim + 1) - 1
    if at < 0:
        raise Refusal("settings", "unsqueeze before the batch axis")
    return input.reshape((*input.shape[:at], 1, *input.shape[at:]))


@lowers(builtins.getattr, rows="own")
def lower_getattr(context: Context, input: Any, name: str) -> Any:
    """The attributes shape, ndim, mT and mH of activations, and the fields of several results.

    Raises:
        Refusal: another attribute.
    """
    rows = len(input) if isinstance(input, BatchGroups) else 1
    if isinstance(input, tuple) and not isinstance(input, BatchGroups):  # of torch.max and torch.sort along a dimension
        return getattr(input, name)
    if name == "shape":
        return (BatchSize(rows), *input.shape)
    if name == "ndim":
        return len(input.shape) + 1
    if name in ("mT", "mH") and isinstance(input, Symbol) and len(input.shape) > 1:
        return permuted(context, input, [*range(len(input.shape) - 2), len(input.shape) - 1, len(input.shape) - 2])
    raise Refusal("not yet", f"the attribute .{name} of activations")


@lowers(builtins.len, rows="own")
def lower_length(context: Context, input: Symbol | BatchGroups) -> BatchSize:
    """The number of points, or of rows."""
    return BatchSize(len(input) if isinstance(input, BatchGroups) else 1)


@lowers(operator.getitem)
def lower_getitem(context: Context, input: Any, index: Any) -> Any:
    """A part of activations (``arrangement.sliced``), a size of a shape, or one of several results."""
    if isinstance(input, Stacked) and isinstance(index, slice):
        return Stacked(input[index])
    return sliced(context, input, index) if isinstance(input, Symbol) else input[index]


@lowers("view_as", "reshape_as", rows="own")
def lower_reshape_as(context: Context, input: Symbol | BatchGroups, other: Any) -> Symbol | BatchGroups:
    """The same entries in the shape of other activations.

    Raises:
        Refusal: the shape of a constant.
    """
    if not isinstance(other, Symbol | BatchGroups):
        raise Refusal("settings", "a reshape to the shape of a constant")
    rows = BatchSize(len(other) if isinstance(other, BatchGroups) else 1)
    return _reshape(context, input, [rows, *other.shape])


@lowers("contiguous", "clone", "detach", torch.detach, torch.nan_to_num, "nan_to_num")
def lower_same(context: Context, input: Symbol, *args: Any, **kwargs: Any) -> Symbol:
    """The activations themselves; detached ones too, for a bound is about the function and not about what trains."""
    return input


class _Reshapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x.view(x.size(0), -1)).reshape(x.shape[0], 2, 4).contiguous()
        x = torch.flatten(torch.squeeze(torch.unsqueeze(x.unsqueeze(1).squeeze(1), 2)), x.dim() - 2)
        x = torch.reshape(torch.relu(x), (-1, 2, 4)).clone()[:, :, : x.ndim].contiguous()
        x = torch.unflatten(x.unflatten(-1, (2, -1)), 1, (2, 1)).flatten(1)
        x = x + (x.detach() - torch.detach(x))  # whose slope torch does not see: 0 as well
        return self.b(torch.relu(x.reshape(-1, 2, 2).view((-1, 4)).flatten(1)).reshape_as(x).view_as(x))


lowers(example=Example(_Reshapes, (2, 3)))(lower_reshape)
