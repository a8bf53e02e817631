"""Max pooling in every bound: its Lipschitz factor, which members can be the largest, and linear relaxations.

max z - max y = w . (z - y) with weights w >= 0 that add up to 1 over the members which can be the largest somewhere
between y and z; the derivative is of the same form. So a pool needs no scope of its own: over X both constants see
weights on the members that can be the largest over X.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lipreg.bounds.lines import Lines, chord
from lipreg.graph import MaxPool
from lipreg.linalg.floats import EPS


def pool_factor(node: MaxPool, p: float) -> float:
    """Lipschitz factor of max pooling in l_p: n^(1/p), n the most windows that one input can enter."""
    if p == math.inf:
        return 1.0
    # a window filled up by repeating a member still counts that member once
    members = node.windows[_first(node.windows)]
    overlap = float(members.bincount().max())
    return overlap ** (1.0 / p)


@dataclass(frozen=True)
class Shares:
    """lower <= weight <= upper for each member of each window, ``(batch, outputs, window)``; each end made when it is read.

    Members that cannot move pass nothing on: their weights are 0.

    Attributes:
        able: which members can be the largest, moving or not.
        moves: which members can move.
        dtype: of the weights.
    """

    able: Tensor
    moves: Tensor
    dtype: torch.dtype

    @cached_property
    def lower(self) -> Tensor:
        alone = self.able & (self.able.sum(-1, keepdim=True) == 1)
        return (alone & self.moves).to(self.dtype)

    @cached_property
    def upper(self) -> Tensor:
        return (self.able & self.moves).to(self.dtype)


@dataclass(frozen=True)
class Passing:
    """Lines above a form of what a window passes on: sum of f_i s_i g, over all shares s of its members and l <= g <= h.

    One member passes g, so that lies below max(g max f, g min f), f over the members that can pass it and 0 where it may be
    passed to one that cannot move: convex in g, so below its chord where g has either sign.

    Attributes:
        low, high: of g, ``(batch, rows, outputs)``.
        shares: of the node.
    """

    low: Tensor
    high: Tensor
    shares: Shares

    def above(self, form: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and offsets ``(batch, rows, k, outputs)`` from forms ``(batch, rows, k, outputs, window)``."""
        able, moves = (part.unsqueeze(1).unsqueeze(1) for part in (self.shares.able, self.shares.moves))
        passed, free = able & moves, ~(able & ~moves).any(-1)  # free: every member that can pass it on moves
        most = form.masked_fill(~passed, -torch.inf).amax(-1)
        least = form.masked_fill(~passed, torch.inf).amin(-1)
        most = torch.where(free | (most > 0), most, torch.zeros_like(most))
        least = torch.where(free | (least < 0), least, torch.zeros_like(least))
        return chord(self.low.unsqueeze(2), self.high.unsqueeze(2), least, most)


def pool_shares(node: MaxPool, lower: Tensor, upper: Tensor, moves: Tensor) -> Shares:
    """The weights that the members of each window can take, from what is known of the pool's input."""
    low, high = node.members(lower), node.members(upper)
    able = (high >= low.amax(-1, keepdim=True)) & _first(node.windows)
    return Shares(able, node.members(moves), lower.dtype)


def relax_pool(node: MaxPool, lower: Tensor, upper: Tensor) -> Lines:
    """Linear bounds of each window's maximum over l <= z <= u: slopes ``(batch, outputs, window)``, one offset a window.

    Below: the member whose interval has the largest middle. Above, with m = max l: max z <= m + sum relu(z_i - m), and
    each relu lies under its chord over [l_i, u_i]; or the constant max u, where that is lower in the middle of the box. A
    window with one candidate is exact.
    """
    first = _first(node.windows)
    low, high = node.members(lower), node.members(upper)
    threshold = low.amax(-1, keepdim=True)
    middle = ((low + high) / 2).masked_fill(~first, -torch.inf)
    below = torch.zeros_like(low).scatter_(-1, middle.argmax(-1, keepdim=True), 1.0)
    rise = (high - threshold).clamp(min=0.0) * first
    width = high - low
    # a member that does not move is exact with weight 1 at the threshold, and out of reach below it
    moves = width > 0
    chord = torch.where(moves, rise / torch.where(moves, width, torch.ones_like(width)), torch.zeros_like(width))
    chord = chord.clamp(max=1.0)
    offset = (threshold - (chord * low).sum(-1, keepdim=True)).squeeze(-1)
    constant = (threshold + rise.sum(-1, keepdim=True) / 2).squeeze(-1) > high.amax(-1)
    weights = torch.where(constant.unsqueeze(-1), torch.zeros_like(chord), chord)
    offset = torch.where(constant, high.amax(-1), offset)
    rounding = (low.shape[-1] + 8) * EPS * torch.maximum(-low, high).amax(-1)
    return Lines(below, weights, (offset + rounding).unsqueeze(-1))


def _first(windows: Tensor) -> Tensor:
    """Whether each member is the first of its kind in its window; short windows repeat one."""
    earlier = windows.unsqueeze(-1) == windows.unsqueeze(-2)
    return ~earlier.tril(-1).any(-1)
