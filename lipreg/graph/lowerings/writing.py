"""Writes to parts of a tensor, ``y[:, :2] = value``: each entry is an old one, or one of the value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.inplace import put
from lipreg.graph.lowerings.arithmetic import broadcasted
from lipreg.graph.lowerings.arrangement import lower_concatenation
from lipreg.graph.lowerings.masking import choice
from lipreg.graph.lowerings.padding import moved
from lipreg.graph.registry import JUMPS, Example, Refusal, lowers
from lipreg.graph.symbols import Mask, Symbol

POINTS = 2
"""Points with which an index is tried: it has to write to the same entries of all."""


@lowers(put)
def lower_put(context: Context, input: Any, index: Any, value: Any) -> Symbol:
    """The tensor after ``input[index] = value``.

    Raises:
        Refusal: a write to some points alone, at places that depend on activations, or into a constant.
    """
    if isinstance(index, Mask):
        return choice(context, index, value, input)
    if not isinstance(input, Symbol):
        raise Refusal(
            "settings", "writing activations into a constant that has no axis of points; clone it for each point"
        )
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Symbol | Mask) for part in index):
        raise Refusal("never", "writing at places that depend on activations, which jump")
    count = torch.Size(input.shape).numel()
    places = torch.arange(count).reshape(input.shape).expand(POINTS, *input.shape).clone()
    held, given = _flat(context, value)
    places[tuple(part.cpu() if isinstance(part, Tensor) else part for part in index)] = count + given
    if bool((places[0] != places[1]).any()) or held.shape == (0,):
        raise Refusal("settings", "writing to some points of a batch alone; y[:, ...] = ... writes to all of them")
    both = lower_concatenation(context, [input.reshape((count,)), held], 1)
    return moved(context, both, places[0])


@lowers("zero_", torch.zero_)
def lower_zero(context: Context, input: Symbol) -> Symbol:
    """0 everywhere, in the shape of the activations; ``put`` makes a whole of a part, y[:, :2].zero_()."""
    return Symbol({}, torch.zeros_like(input.bias))


@lowers("fill_", torch.fill_)
def lower_fill(context: Context, input: Symbol, value: Any) -> Symbol:
    """One number everywhere, in the shape of the activations."""
    return lower_copy(context, input, value)


@lowers("copy_")
def lower_copy(context: Context, input: Symbol, src: Any, non_blocking: bool = False) -> Symbol:
    """The value ``src``, repeated to the shape of the activations that it is written over.

    Raises:
        Refusal: a comparison, or a shape that does not fit.
    """
    if isinstance(src, Mask):
        raise Refusal("never", JUMPS)
    if not isinstance(src, Symbol):
        return Symbol({}, context.constant(src, input.shape).expand(input.shape))
    return broadcasted(context, src, Symbol({}, torch.zeros_like(input.bias)))


def _flat(context: Context, value: Any) -> tuple[Symbol, Tensor]:
    """A value's entries in a row, and their places in the shape that an assignment takes."""
    if isinstance(value, Symbol):
        places = torch.arange(torch.Size(value.shape).numel()).reshape(value.shape)
        return value.reshape((places.numel(),)), places.expand(POINTS, *value.shape)
    own = context.tensor(value)
    return Symbol({}, own.flatten()), torch.arange(own.numel()).reshape(own.shape)


class _Slices(nn.Module):
    """Each way in which parts are written to."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.shift = nn.Linear(3, 6), nn.Linear(6, 2), nn.Parameter(torch.randn(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        y = torch.zeros_like(h)
        y[:, :2] = h[:, :2].relu()
        y[:, 2:] = h[:, 2:]
        y[:, 1] = 0.5
        h = h.clone()
        h[:, :3] *= 2
        h[:, 1:3] += self.shift
        h[..., -1] = h[:, 0]
        h[:, 3:5].sub_(0.2)
        h[h < 0] = 0.0
        h[:, 3:4].zero_()
        h[:, 2].fill_(0.5)
        h[:, 4:].copy_(y[:, :1])
        h[:, 0].copy_(self.shift[0])
        torch.zero_(y[:, 5:])
        torch.fill_(y[:, 4:5], 0.3)
        wide = x.new_zeros(x.shape[0], 2, 4)
        wide[:, 1, 1:] = x
        wide[:, 0][:, [0, 2]] = y[:, 3:5]
        return self.b(y + h) + wide[:, :, 1]


lowers(example=Example(_Slices, (3,)))(lower_put)
for _lowering in (lower_zero, lower_fill, lower_copy):
    lowers(example=Example(_Slices, (3,)))(_lowering)
