"""Further calls that only move entries: torch's own call, run on positions as entries, shows where each goes.

The positions are those of a few points at once, so that a call that moves the batch axis, or mixes points, is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol

POINTS = 3
"""Of the positions that a call is run on."""
_MIXES = "it moves the batch axis, or mixes the points of a batch"


def rearranged(context: Context, x: Symbol, call: Callable[[Tensor], Any]) -> Any:
    """The result of a call that moves entries, and may fill in zeros.

    Args:
        context: of the lowering.
        x: the activations.
        call: takes a tensor ``(batch, *x.shape)``, and returns one with the same batch axis, or several.

    Raises:
        Refusal: torch refuses the call, or a result's entry is none of the same point.
    """
    own = (positions(x) + 1).double()  # 0 is left for zeros
    ahead = own.numel() * torch.arange(POINTS, dtype=own.dtype).reshape(POINTS, *(1,) * own.dim())
    try:
        result = call(own + ahead)
    except (RuntimeError, IndexError, ValueError) as error:
        raise Refusal("settings", str(error)) from error
    if isinstance(result, Tensor):
        return _one(context, x, result)
    return tuple(_one(context, x, part) for part in result)


def _one(context: Context, x: Symbol, result: Tensor) -> Symbol:
    if result.dim() == 0 or len(result) != POINTS:
        raise Refusal("settings", _MIXES)
    count, first = positions(x).numel(), result[0]
    ahead = count * torch.arange(POINTS, dtype=result.dtype).reshape(POINTS, *(1,) * first.dim())
    if not bool(((first <= count) & (result == torch.where(first > 0, first + ahead, 0.0))).all()):
        raise Refusal("settings", _MIXES)
    return moved(context, x, first.long() - 1)


def _by_positions(call: Callable[..., Any]) -> Callable[..., Any]:
    """The lowering of a function that moves entries; see ``rearranged``."""

    def lower(context: Context, input: Symbol, *args: Any, **kwargs: Any) -> Any:
        return rearranged(context, input, lambda x: call(x, *args, **kwargs))

    return lower


@lowers(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold)
def lower_shuffle(context: Context, module: nn.Module, x: Symbol) -> Symbol:
    """The entries where the layer puts them."""
    return rearranged(context, x, module.forward)


@lowers(torch.tril, "tril")
def lower_tril(context: Context, input: Symbol, diagonal: int = 0) -> Symbol:
    """The lower triangle of the last two dimensions, 0 above the diagonal."""
    return _triangle(context, input, lambda x: x.tril(diagonal))


@lowers(torch.triu, "triu")
def lower_triu(context: Context, input: Symbol, diagonal: int = 0) -> Symbol:
    """The upper triangle of the last two dimensions, 0 below the diagonal."""
    return _triangle(context, input, lambda x: x.triu(diagonal))


def _triangle(context: Context, x: Symbol, call: Callable[[Tensor], Tensor]) -> Symbol:
    if x.ndim < 3:  # what a point keeps would depend on its place in the batch
        raise Refusal("settings", "a triangle of the batch axis and another one")
    return rearranged(context, x, call)


for _targets in (
    (torch.movedim, "movedim"),
    (torch.moveaxis, "moveaxis"),
    (torch.rot90, "rot90"),
    (torch.fliplr, "fliplr"),
    (torch.diagonal, "diagonal"),
    (torch.tensor_split, "tensor_split"),
    (torch.hsplit, "hsplit"),
    (torch.dsplit, "dsplit"),
    (torch.repeat_interleave, "repeat_interleave"),
    (F.unfold,),
    (F.pixel_shuffle,),
    (F.pixel_unshuffle,),
    (F.channel_shuffle,),
):
    lowers(*_targets)(_by_positions(_targets[0]))
lowers("unfold")(_by_positions(Tensor.unfold))


class _Images(nn.Module):
    """Images cut, turned and put together again."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.put, self.mix = nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.ChannelShuffle(2)
        self.patches, self.conv, self.last = nn.Unfold(2, padding=1, stride=2), nn.Conv2d(4, 4, 1), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.put(self.mix(self.conv(self.cut(x))).relu())
        x = x + F.pixel_shuffle(F.channel_shuffle(F.pixel_unshuffle(x, 2), 4), 2)
        patches = self.patches(x) - F.unfold(x.rot90(1, (2, 3)), 2, padding=1, stride=2)
        (above, below), (first, _) = torch.dsplit(x, 2), x.dsplit(2)
        halves = torch.rot90(torch.cat([below, above, first], 3), 2, (2, 3))
        windows = torch.moveaxis(halves.unfold(2, 2, 2), 3, 1).movedim(2, 3)
        return self.last(patches.relu()).sum(1) + torch.movedim(windows, 1, 2).moveaxis(1, 4).sum((1, 2, 3))[:, :2]


class _Rows(nn.Module):
    """Vectors and matrices cut, turned and repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 12), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        first, second = torch.hsplit(x, 2)
        third, fourth = x.tensor_split([6], dim=1)
        x = first + second.fliplr() - third.hsplit(2)[0].repeat_interleave(2, 1) + torch.fliplr(fourth)
        x = x - torch.cat(torch.tensor_split(torch.repeat_interleave(x[:, ::2], 2, dim=1), 2, dim=1)[::-1], 1)
        square = (x.unsqueeze(2) + x.unsqueeze(1)).relu()
        upper, lower = torch.triu(square, 1) - square.triu(-1), torch.tril(square) + square.tril(2)
        return self.b((upper - lower).sum(2) + square.diagonal(1, 1, 2).sum(1, True) - torch.diagonal(square, 0, 1, 2))


lowers(example=Example(_Images, (1, 4, 4)))(lower_shuffle)
lowers(example=Example(_Rows, (4,)))(lower_tril)
