"""Reshapes that keep the batch axis: flatten, reshape, view, unflatten, squeeze and unsqueeze."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.lowerings.arrangement import sliced
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import BatchSize, Context, Stacked, Symbol
from lipreg.linalg import Shape


def _flatten(x: Symbol, start: int, end: int) -> Symbol:
    start, end = start % x.ndim, end % x.ndim
    shape = x.shape
    if start == 0 and math.prod(shape[:end]) == 1:  # one number a point
        return x.reshape(shape[end:])
    if start == 0:
        raise Refusal("settings", "flatten over the batch axis; start_dim=1 keeps it")
    return x.reshape((*shape[: start - 1], math.prod(shape[start - 1 : end]), *shape[end:]))


def _complete(shape: list[Any], x: Symbol) -> Shape:
    """The shape after a reshape, without the batch axis, which must stay first and whole."""
    size = math.prod(x.shape)
    batch, rest = shape[0], [int(s) for s in shape[1:]]
    if rest.count(-1) == 1:
        known = -math.prod(rest)
        rest[rest.index(-1)] = size // known if known and size % known == 0 else 0
    keeps_batch = isinstance(batch, BatchSize) or batch == -1
    if not keeps_batch or math.prod(rest) != size:
        raise Refusal(
            "settings",
            f"a reshape of (batch, {', '.join(map(str, x.shape))}) to "
            f"{[s if isinstance(s, int) else 'batch' for s in shape]}; the first axis must stay the batch "
            "(x.flatten(1), or x.reshape(x.shape[0], ...))",
        )
    return tuple(rest)


@lowers(nn.Flatten, example=Example(lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), (2, 3)))
def lower_flatten(context: Context, module: nn.Flatten, x: Symbol) -> Symbol:
    return _flatten(x, module.start_dim, module.end_dim)


@lowers(torch.flatten, "flatten")
def lower_flatten_call(context: Context, input: Symbol, start_dim: int = 0, end_dim: int = -1) -> Symbol:
    return _flatten(input, start_dim, end_dim)


def _unflatten(x: Symbol, dim: Any, given: Any) -> Symbol:
    if not isinstance(dim, int) or dim % x.ndim == 0:
        raise Refusal("settings", f"Unflatten of dimension {dim!r}; a number other than 0 is covered")
    at = dim % x.ndim - 1
    sizes = [int(s) for s in given]
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[at] // -math.prod(sizes)
    return x.reshape((*x.shape[:at], *sizes, *x.shape[at + 1 :]))


@lowers(nn.Unflatten, example=Example(lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 2)), (6,)))
def lower_unflatten(context: Context, module: nn.Unflatten, x: Symbol) -> Symbol:
    return _unflatten(x, module.dim, module.unflattened_size)


@lowers(torch.unflatten, "unflatten")
def lower_unflatten_call(context: Context, input: Symbol, dim: Any, sizes: Any) -> Symbol:
    return _unflatten(input, dim, sizes)


@lowers(torch.reshape, "reshape", "view")
def lower_reshape(context: Context, input: Symbol, *shape: Any, **kwargs: Any) -> Symbol:
    given = kwargs.get("shape", shape)
    sizes = list(given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given)
    return input.reshape(_complete(sizes, input))


@lowers(torch.squeeze, "squeeze")
def lower_squeeze(context: Context, input: Symbol, dim: int | None = None) -> Symbol:
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
    at = dim % (input.ndim + 1) - 1
    if at < 0:
        raise Refusal("settings", "unsqueeze before the batch axis")
    return input.reshape((*input.shape[:at], 1, *input.shape[at:]))


@lowers(builtins.getattr)
def lower_getattr(context: Context, input: Any, name: str) -> Any:
    if isinstance(input, tuple):  # of torch.max and torch.sort along a dimension
        return getattr(input, name)
    if name == "shape":
        return (BatchSize(), *input.shape)
    if name == "ndim":
        return input.ndim
    raise Refusal("not yet", f"the attribute .{name} of activations")


@lowers(builtins.len)
def lower_length(context: Context, input: Symbol) -> BatchSize:
    return BatchSize()


@lowers(operator.getitem)
def lower_getitem(context: Context, input: Any, index: Any) -> Any:
    # else x.shape, or several results
    if isinstance(input, Stacked) and isinstance(index, slice):
        return Stacked(input[index])
    return sliced(context, input, index) if isinstance(input, Symbol) else input[index]


@lowers("view_as", "reshape_as")
def lower_reshape_as(context: Context, input: Symbol, other: Any) -> Symbol:
    if not isinstance(other, Symbol):
        raise Refusal("settings", "a reshape to the shape of a constant")
    return input.reshape(_complete([-1, *other.shape], input))


@lowers("contiguous", "clone", torch.nan_to_num, "nan_to_num")
def lower_copy(context: Context, input: Symbol, *args: Any, **kwargs: Any) -> Symbol:
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
        return self.b(torch.relu(x.reshape(-1, 2, 2).view((-1, 4)).flatten(1)).reshape_as(x).view_as(x))


lowers(example=Example(_Reshapes, (2, 3)))(lower_reshape)
