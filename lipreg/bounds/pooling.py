"""Max pooling in every bound: its Lipschitz factor, which members can be the largest, and linear relaxations.

max z - max y = w . (z - y) with weights w >= 0 that add up to 1 over the members which can be the largest somewhere
between y and z; the derivative is of the same form. So a pool needs no scope of its own: over X both constants see
weights on the members that can be the largest over X.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lipreg.bounds.lines import Lines, chord
from lipreg.graph import MaxPool
from lipreg.linalg.floats import EPS


def pool_factor(node: MaxPool, p: float) -> float:
    """Lipschitz factor of max pooling in l_p: n^(1/p), n the most windows that one input can enter.

    Of a mirrored pool it is the factor in z, of the source [z, -z]; see ``source_weights``. The two outputs of partners are
    two numbers in order, which move no further in any l_p than the numbers do: they count as one window.
    """
    if p == math.inf:
        return 1.0
    windows = node.windows % (math.prod(node.in_shape) // 2) if node.mirrored else node.windows
    windows = windows[node.partners < torch.arange(len(windows), device=windows.device)]
    # a window filled up by repeating a member still counts that member once
    members = windows[_first(windows)]
    overlap = float(members.bincount().max())
    return overlap ** (1.0 / p)


def source_weights(node: MaxPool, like: Tensor) -> Tensor:
    """Weights of a pool's source in norms of the map before it, ``(1, *in_shape)``: 0 for the mirrored half, else 1."""
    weights = like.new_ones(math.prod(node.in_shape))
    if node.mirrored:
        weights[len(weights) // 2 :] = 0.0
    return weights.reshape(1, *node.in_shape)


@dataclass(frozen=True)
class PoolWeights:
    """lower <= weight <= upper for each member of each window, ``(batch, outputs, window)``; each end is made when read.

    Members that cannot move pass nothing on: their weights are 0.

    Attributes:
        candidates: which members can be the largest, whether they can move or not.
        movable: which members can move.
        dtype: of the weights.
    """

    candidates: Tensor
    movable: Tensor
    dtype: torch.dtype

    @cached_property
    def lower(self) -> Tensor:
        """The lower ends: 1 for a member that is the largest all over X and can move, else 0."""
        alone = self.candidates & (self.candidates.sum(-1, keepdim=True) == 1)
        return (alone & self.movable).to(self.dtype)

    @cached_property
    def upper(self) -> Tensor:
        """The upper ends: 1 for members that can be the largest and can move, else 0."""
        return (self.candidates & self.movable).to(self.dtype)


@dataclass(frozen=True)
class Sorting:
    """How partners of a pool pass gradients on: g and h, of max(z_i, z_j) and max(-z_i, -z_j), give s g - (1 - s) h to z_i.

    The same s serves both, for max + min is the sum: so the two entries have between them what their two outputs have.
    Apart, as s g and (1 - s) h, these would be as many as four.

    Attributes:
        node: the pool of the first partners' windows alone.
        first, second: the partners' windows.
        least, most: of s, each 0 or 1, ``(batch, partners, 2)``.
        movable: which entries can move, likewise.
        alone: 1 for windows without a partner, ``(outputs, 1)``.
    """

    node: MaxPool
    first: Tensor
    second: Tensor
    least: Tensor
    most: Tensor
    movable: Tensor
    alone: Tensor

    def larger(self, part: Tensor) -> Tensor:
        """The entries of ``(..., outputs, 1)`` at the larger of two partners, once for each of the two, ``(..., 2)``."""
        return _twice(part, self.first)

    def smaller(self, part: Tensor) -> Tensor:
        """The entries at the negative of the smaller of two partners, likewise."""
        return _twice(part, self.second)

    def scatter(self, parts: Tensor) -> Tensor:
        """Entries ``(batch, rows, partners, 2)`` added up in the source's shape, ``(batch, rows, *in_shape)``, if movable.

        Digits of numbers, which are whole numbers, may have further dimensions before these.
        """
        return self.node.scatter(parts.masked_fill(~self.movable.unsqueeze(1), 0))


def _twice(part: Tensor, windows: Tensor) -> Tensor:
    picked = part.index_select(-2, windows)
    return picked.expand(*picked.shape[:-1], 2)


def sorting(node: MaxPool, shares: PoolWeights) -> Sorting | None:
    """How the partners of a pool pass gradients on, where it has any; else None."""
    if not node.mirrored:
        return None
    places = torch.arange(len(node.partners), device=node.partners.device)
    first = (node.partners > places).nonzero().squeeze(1)
    if not len(first):
        return None
    contending, movable = (part.index_select(1, first) for part in (shares.candidates, shares.movable))
    dtype, alone = shares.dtype, (node.partners < 0).unsqueeze(1)
    least, most = (contending & ~contending.flip(-1)).to(dtype), contending.to(dtype)
    pairs = replace(node, windows=node.windows[first], shape=(len(first),))
    return Sorting(pairs, first, node.partners[first], least, most, movable, alone.to(dtype))


@dataclass(frozen=True)
class PoolLines:
    """Lines above a form of the gradients that a window passes on: sum of f_i s_i g, over all shares s and l <= g <= h.

    One member passes g, so that lies below max(g max f, g min f), f over the members that can pass it and 0 where it may be
    passed to one that cannot move: convex in g, so below its chord where g has either sign.

    Attributes:
        low, high: of g, ``(batch, rows, outputs)``.
        shares: of the node.
    """

    low: Tensor
    high: Tensor
    shares: PoolWeights

    def above(self, form: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and offsets ``(batch, rows, k, outputs)`` from forms ``(batch, rows, k, outputs, window)``."""
        contending, movable = (part.unsqueeze(1).unsqueeze(1) for part in (self.shares.candidates, self.shares.movable))
        passed = contending & movable
        free = ~(contending & ~movable).any(-1)  # every member that can pass it on can move
        most = form.masked_fill(~passed, -torch.inf).amax(-1)
        least = form.masked_fill(~passed, torch.inf).amin(-1)
        most = torch.where(free | (most > 0), most, torch.zeros_like(most))
        least = torch.where(free | (least < 0), least, torch.zeros_like(least))
        return chord(self.low.unsqueeze(2), self.high.unsqueeze(2), least, most)


def pool_shares(node: MaxPool, lower: Tensor, upper: Tensor, movable: Tensor) -> PoolWeights:
    """The weights that the members of each window can take.

    Args:
        node: the pool.
        lower, upper: bounds on its input, ``(batch, *in_shape)``.
        movable: which entries of that can move, likewise.
    """
    low, high = node.members(lower), node.members(upper)
    contending = (high >= low.amax(-1, keepdim=True)) & _first(node.windows)
    return PoolWeights(contending, node.members(movable), lower.dtype)


def relax_pool(node: MaxPool, lower: Tensor, upper: Tensor) -> Lines:
    """Linear bounds of each window's maximum over l <= z <= u: slopes ``(batch, outputs, window)``, one offset a window.

    Below: the member whose interval has the largest middle. Above, with m = max l: max z <= m + sum relu(z_i - m), and
    each relu lies under its chord over [l_i, u_i]; or the constant max u, where that is lower in the middle of the box. A
    window with one candidate is exact. The upper offset has the rounding of these sums.

    Args:
        node: the pool.
        lower, upper: bounds l and u on its input, ``(batch, *in_shape)``.
    """
    first = _first(node.windows)
    low, high = node.members(lower), node.members(upper)
    threshold = low.amax(-1, keepdim=True)
    middle = ((low + high) / 2).masked_fill(~first, -torch.inf)
    below = torch.zeros_like(low).scatter_(-1, middle.argmax(-1, keepdim=True), 1.0)
    rise = (high - threshold).clamp(min=0.0) * first
    width = high - low
    # a member of width 0 is exact with weight 1 at the threshold, and is never the largest below it
    movable = width > 0
    slopes = torch.where(movable, rise / torch.where(movable, width, torch.ones_like(width)), torch.zeros_like(width))
    slopes = slopes.clamp(max=1.0)
    offset = (threshold - (slopes * low).sum(-1, keepdim=True)).squeeze(-1)
    constant = (threshold + rise.sum(-1, keepdim=True) / 2).squeeze(-1) > high.amax(-1)
    weights = torch.where(constant.unsqueeze(-1), torch.zeros_like(slopes), slopes)
    offset = torch.where(constant, high.amax(-1), offset)
    rounding = (low.shape[-1] + 8) * EPS * torch.maximum(-low, high).amax(-1)
    return Lines(below, weights, (offset + rounding).unsqueeze(-1))


def _first(windows: Tensor) -> Tensor:
    """Whether each member is the first of its kind in its window; short windows repeat one."""
    earlier = windows.unsqueeze(-1) == windows.unsqueeze(-2)
    return ~earlier.tril(-1).any(-1)
