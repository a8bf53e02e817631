"""Constants with one copy for each point: zeros and ones in the shape of a batch, and constants that are expanded to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.batch_size import BatchSize
from lipreg.graph.context import Context
from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.registry import ALONE, Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import Shape

DISCRETE = (
    "it looks up discrete inputs, between which no distance is small; ask about the network behind it, with the vectors "
    f"that it looks up as points {ALONE}, or hold them fixed beside another input "
    "(lipreg.Select(network, input='x', fixed={'codes': ...}))"
)
"""Why an embedding of the input is refused."""


def _sizes(given: tuple[Any, ...], named: Any = None) -> tuple[Any, ...]:
    """Sizes as torch takes them: one after the other, as one list, or by name."""
    given = given if named is None else tuple(named)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given


def _without_batch(sizes: tuple[Any, ...]) -> Shape:
    """The shape of a constant for one point, of sizes whose first is the number of points."""
    batch, *rest = sizes or (None,)
    if not isinstance(batch, BatchSize) or any(isinstance(size, BatchSize) for size in rest):
        raise Refusal("settings", "a constant whose number of points stands anywhere but first")
    return tuple(int(size) for size in rest)


def _full(context: Context, sizes: tuple[Any, ...], value: float | Tensor) -> Symbol | Tensor:
    """A constant for each point, or one for all where no size is the number of points."""
    if any(isinstance(size, BatchSize) for size in sizes):
        return _constant(context, _without_batch(sizes), value)
    return context.tensor(value).expand(tuple(map(int, sizes)))


def _filled(value: float) -> Callable[..., Symbol | Tensor]:
    def lower(context: Context, *sizes: Any, size: Any = None, **kwargs: Any) -> Symbol | Tensor:
        return _full(context, _sizes(sizes, size), value)

    return lower


def _constant(context: Context, shape: Shape, value: float | Tensor) -> Symbol:
    whole = isinstance(value, Tensor) and not value.is_floating_point()  # an index, which stays one
    own: Any = value if whole else context.tensor(value)
    return Symbol({}, own.expand(shape))


lower_zeros, lower_ones = lowers(torch.zeros)(_filled(0.0)), lowers(torch.ones)(_filled(1.0))


@lowers(torch.full)
def lower_full(context: Context, size: Any, fill_value: Any, **kwargs: Any) -> Symbol | Tensor:
    """A constant of ``fill_value``, for each point where the first size is the number of points."""
    return _full(context, tuple(size), fill_value)


def _new_filled(value: float) -> Callable[..., Symbol | Tensor]:
    def lower(context: Context, input: Any, *sizes: Any, size: Any = None, **kwargs: Any) -> Symbol | Tensor:
        return _full(context, _sizes(sizes, size), value)

    return lower


def _filled_alike(value: float) -> Callable[..., Symbol]:
    def lower(context: Context, input: Symbol, **kwargs: Any) -> Symbol:
        return _constant(context, input.shape, value)

    return lower


lower_new_zeros, lower_new_ones = lowers("new_zeros")(_new_filled(0.0)), lowers("new_ones")(_new_filled(1.0))
lower_zeros_like = lowers(torch.zeros_like)(_filled_alike(0.0))
lower_ones_like = lowers(torch.ones_like)(_filled_alike(1.0))


@lowers("new_tensor")
def lower_new_tensor(context: Context, input: Symbol, data: Any, **kwargs: Any) -> Tensor:
    """A constant of the given numbers, one for all points.

    Raises:
        Refusal: the number of points itself, which no network may depend on.
    """
    if isinstance(data, BatchSize):
        raise Refusal("settings", "a constant of the number of points, which no network may depend on")
    return context.tensor(data if isinstance(data, Tensor) else torch.tensor(data, dtype=context.like.dtype))


@lowers("new_full")
def lower_new_full(context: Context, input: Any, size: Any, fill_value: Any, **kwargs: Any) -> Symbol | Tensor:
    """A constant of ``fill_value``; see ``lower_full``."""
    return _full(context, tuple(size), fill_value)


@lowers(torch.full_like)
def lower_full_like(context: Context, input: Symbol, fill_value: Any, **kwargs: Any) -> Symbol:
    """A constant of ``fill_value`` for each point, in the shape of the activations."""
    return _constant(context, input.shape, fill_value)


@lowers("expand")
def lower_expand(context: Context, input: Any, *sizes: Any) -> Symbol:
    """Activations, or a constant, repeated to sizes of which the first is the number of points.

    Raises:
        Refusal: sizes that do not fit.
    """
    return _expanded(context, input, _sizes(sizes))


@lowers("expand_as")
def lower_expand_as(context: Context, input: Any, other: Symbol) -> Symbol:
    """Activations, or a constant, repeated to the shape of other activations."""
    return _expanded(context, input, (BatchSize(), *other.shape))


def _expanded(context: Context, x: Any, sizes: tuple[Any, ...]) -> Symbol:
    """Activations, or a constant, repeated along dimensions of size one and along new ones, as for each point."""
    keeps_batch = isinstance(x, Symbol) and sizes and sizes[0] == -1 and len(sizes) == x.ndim
    wanted = _without_batch((BatchSize(), *sizes[1:]) if keeps_batch else sizes)
    if isinstance(x, Symbol):
        if len(wanted) != len(x.shape):
            raise Refusal(
                "settings", "expanding activations by a dimension before the batch axis; unsqueeze them first"
            )
        own: Shape = x.shape
    else:
        x = x[0] if x.dim() == len(sizes) and x.shape[0] == 1 else x
        if x.dim() > len(wanted):
            raise Refusal(
                "settings", f"a constant of shape {tuple(x.shape)} for each point, where it must be one for all"
            )
        own = (1,) * (len(wanted) - x.dim()) + tuple(x.shape)
    shape = tuple(have if want == -1 else want for want, have in zip(wanted, own, strict=True))
    if any(have not in (1, want) for want, have in zip(shape, own, strict=True)):
        raise Refusal("settings", f"expanding {own} to {shape}")
    return moved(context, x, positions(x).expand(shape)) if isinstance(x, Symbol) else _constant(context, shape, x)


@lowers(torch.tile, "repeat", "tile")
def lower_repeat(context: Context, input: Any, *counts: Any, **kwargs: Any) -> Symbol:
    """Activations repeated along their own dimensions; constants along the batch axis too.

    Raises:
        Refusal: activations repeated along the batch axis, or a constant that differs from point to point.
    """
    given = _sizes(counts, kwargs.get("dims", kwargs.get("repeats")))
    if isinstance(input, Symbol):
        if len(given) != input.ndim or isinstance(given[0], BatchSize) or given[0] != 1:
            raise Refusal("settings", "repeating activations along the batch axis; the first count is 1")
        return moved(context, input, positions(input).repeat(given[1:]))
    rest = _without_batch(given)
    if input.dim() == len(given) and input.shape[0] != 1:
        raise Refusal(
            "settings", f"a constant of shape {tuple(input.shape)} for each point, where it must be one for all"
        )
    return _constant(context, tuple((one := input.reshape(input.shape[-len(rest) :]).repeat(rest)).shape), one)


@lowers(nn.Embedding)
def lower_embedding(context: Context, module: nn.Embedding, input: Any) -> Any:
    """Rows of a table, at places that depend on no input.

    Args:
        context: of the lowering.
        module: the table.
        input: the places, a constant.

    Raises:
        Refusal: places that depend on the input, or a table that changes its own weights.
    """
    if isinstance(input, Symbol) and input.terms:
        raise Refusal("never", DISCRETE)
    if module.max_norm is not None:
        raise Refusal("settings", "an embedding with max_norm, which changes its own weights")
    if isinstance(input, Symbol):
        return _constant(context, (*input.shape, module.embedding_dim), module.weight[input.bias.long()])
    return module.weight[input]


def constant_of(x: Any) -> Any:
    """The numbers of a value that depends on no input, with a batch axis of size one; any other value as it is."""
    return x.bias.unsqueeze(0) if isinstance(x, Symbol) and not x.terms else x


class _Constants(nn.Module):
    """A token beside the features, masks, and biases for each point, in every way in which they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.a, self.b = nn.Parameter(torch.randn(1, 2)), nn.Linear(7, 3), nn.Linear(3, 4)
        self.grid, self.places = nn.Buffer(torch.rand(3)), nn.Embedding(4, 3)
        self.label = nn.Buffer(torch.tensor([2]))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = torch.cat([x, self.token.expand(b, -1), torch.zeros(b, 1), torch.full((b, 1), 0.5)], 1).relu()
        h = self.a(x) * self.grid.repeat(len(x), 1) + torch.ones((b, 3)) - x.new_zeros(b, 3) + x.new_ones(size=(b, 3))
        h = torch.relu(h + self.places(torch.tensor([1])) + self.places(self.label.expand(b)))
        h = h + x.new_full((b, 3), 2.0) * torch.ones_like(h)
        h = h + torch.full_like(h, -0.5) - torch.zeros_like(h)
        y = h.unsqueeze(1).expand(-1, 2, -1)
        y = (y + self.grid.expand_as(y)).repeat(1, 1, 2).tile(1, 2, 1)
        return self.b(torch.tile(y, (1, 1, 1)).flatten(1)[:, 3:6])


lowers(example=Example(_Constants, (3,)))(lower_expand)
