"""The search over parts of the region: the one with the largest bound first, many at once, each divided in two.

A part is a box of inputs with phases of ReLUs. It is halved along one input, or at one ReLU: whichever adds more to what is
open.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import HELD, Budget
from lipreg.graph import node_size
from lipreg.results import EXACT_TOLERANCE, Status
from lipreg.search.curved.bounds import Bounding
from lipreg.search.curved.enclosure import Enclosing, carried
from lipreg.search.curved.frame import ROUNDED, Frame

MOST = 1024
"""Boxes that are bounded at once."""
BETTER = 1e-7
"""Relative growth that makes a middle worth a proof."""


@dataclass(frozen=True)
class Found:
    """What a search proves.

    Attributes:
        upper: on the constant.
        boxes: how many were bounded, with phases or without.
        status: why it ended; None where every box is closed.
    """

    upper: float
    boxes: int
    status: Status | None


@dataclass(frozen=True)
class _Open:
    """Parts that are not closed: boxes ``(count, inputs)``, phases of ReLUs ``(count, units)`` int8, their bounds, and which
    input, or beyond them which ReLU, is worth halving, flat."""

    lower: Tensor
    upper: Tensor
    phase: Tensor
    bound: Tensor
    along: Tensor

    def __getitem__(self, index: Tensor) -> _Open:
        return _Open(self.lower[index], self.upper[index], self.phase[index], self.bound[index], self.along[index])

    def __add__(self, other: _Open) -> _Open:
        pairs = (
            (self.lower, other.lower),
            (self.upper, other.upper),
            (self.phase, other.phase),
            (self.bound, other.bound),
            (self.along, other.along),
        )
        return _Open(*(torch.cat(pair) for pair in pairs))

    @property
    def numbers(self) -> int:
        return 2 * self.lower.numel() + self.phase.numel() // 8 + 2 * len(self.bound)


def split_inputs(
    local: Analysis, known: float, offer: Callable[[Tensor], float], lower: float, budget: Budget
) -> Found:
    """An upper bound on the regional constant of a single point's question, by boxes that cover its region.

    A box is closed when its bound is not above what is attained, by more than the gap that is asked for, or when it holds no
    point of the region.

    Args:
        local: without max pools.
        known: an upper end that is proved already.
        offer: given points ``(k, *shape)`` that look good, proves what they attain, and returns the best that is proved.
        lower: what is attained already.
        budget: started; its nodes are boxes, its memory what those that are open take.
    """
    region, frame = local.placed.region, chosen_frame(local)
    bounding = Bounding(local.graph, local.placed, frame)
    batch = _at_once(local, budget)
    tolerance = max(budget.gap, 0.5 * EXACT_TOLERANCE)
    low, high = frame.around(region)
    first = bounding(low, high)
    boxes, closed = 1, 0.0
    phase = torch.zeros(1, len(bounding.units), dtype=torch.int8)
    # not cut off at what is known: parts would be alike then, and the search would not know where to go on
    open_ = _Open(low, high, phase, first.upper, first.worth.argmax(1))
    status: Status | None = None
    while len(open_.bound):
        kept = open_.bound * (1.0 - tolerance) > lower
        if not bool(kept.all()):
            closed = max(closed, float(open_.bound[~kept].max()))
            open_ = open_[kept.nonzero().flatten()]
            continue
        status = budget.after(boxes).ended()
        if status is not None:
            break
        # the largest bounds first; where memory is short the smallest, which are closed the soonest
        largest = open_.numbers * 8 <= budget.memory
        chosen = open_.bound.topk(min(batch, len(open_.bound)), largest=largest).indices
        halves, rest = _halved(open_[chosen]), torch.ones_like(open_.bound, dtype=torch.bool)
        rest[chosen] = False
        open_, halves = open_[rest], halves[_meets(local, frame, halves)]
        if not len(halves.bound):
            continue
        found = bounding(halves.lower, halves.upper, halves.phase)
        boxes += len(halves.bound)
        middles = frame.points((halves.lower + halves.upper) / 2)
        shown = torch.where(region.contains(middles.unsqueeze(0))[0], found.shown, 0.0)
        if float(shown.max()) > lower * (1.0 + BETTER):
            lower = max(lower, offer(middles[shown.argmax().reshape(1)]))
        bound = torch.minimum(found.upper, halves.bound)
        fresh = _Open(*found.ends, halves.phase, bound, found.worth.argmax(1))
        open_ = open_ + fresh
    left = float(open_.bound.max()) if len(open_.bound) else 0.0
    return Found(min(known, max(closed, left)), boxes, status)


def splittable(local: Analysis, budget: Budget) -> bool:
    """Whether a box can be bounded in the budget's memory: derivatives of every node along every input are written down."""
    inputs = math.prod(local.placed.region.shape)
    return _numbers(local) * HELD <= budget.memory and inputs * inputs * local.placed.count * HELD <= budget.memory


def _numbers(local: Analysis) -> int:
    inputs, rows = math.prod(local.placed.region.shape), local.placed.count
    along = (inputs + rows) * sum(map(node_size, local.graph.nodes))
    # with kinks derivatives along inputs are written down at slopes in the middle too
    return (2 if local.graph.relus() else 1) * along + rows * inputs * inputs


def _at_once(local: Analysis, budget: Budget) -> int:
    return max(1, min(MOST, budget.rows(_numbers(local))) // 2)


def _halved(open_: _Open) -> _Open:
    """Both halves of each."""
    inputs, at = open_.lower.shape[1], open_.along.unsqueeze(1)
    low, high, phase = open_.lower, open_.upper, open_.phase
    if not phase.shape[1]:
        middle = (low.gather(1, at) + high.gather(1, at)) / 2
        lower, upper = torch.cat([low, low.scatter(1, at, middle)]), torch.cat([high.scatter(1, at, middle), high])
        return _Open(lower, upper, phase.repeat(2, 1), open_.bound.repeat(2), open_.along.repeat(2))
    of_input = at < inputs
    first = at.clamp(max=inputs - 1)
    ends = low.gather(1, first), high.gather(1, first)
    middle = (ends[0] + ends[1]) / 2
    lower = torch.cat([low, low.scatter(1, first, torch.where(of_input, middle, ends[0]))])
    upper = torch.cat([high.scatter(1, first, torch.where(of_input, middle, ends[1])), high])
    unit = (at - inputs).clamp(min=0)
    before = phase.gather(1, unit)
    on, off = (phase.scatter(1, unit, torch.where(of_input, before, side)) for side in before.new_tensor([[1], [-1]]))
    return _Open(lower, upper, torch.cat([on, off]), open_.bound.repeat(2), open_.along.repeat(2))


def _meets(local: Analysis, frame: Frame, open_: _Open) -> Tensor:
    """Whether a box may hold points of the region; only those are left out that hold none, however they are rounded."""
    region, boxes = local.placed.region, frame.boxes(open_.lower, open_.upper)
    middle, spread = boxes.middle.flatten(1), boxes.spread.flatten(1)
    lower, upper = middle - spread * (1.0 + ROUNDED), middle + spread * (1.0 + ROUNDED)
    inside = ((lower <= region.upper.flatten(1)) & (upper >= region.lower.flatten(1))).all(1)
    if region.radius < math.inf:
        center = region.center.flatten(1)
        near = torch.maximum(torch.maximum(lower - center, center - upper), torch.zeros_like(lower))
        size = near.abs().sum(1) if region.norm == 1.0 else near.square().sum(1).sqrt()
        inside = inside & (size * (1.0 - ROUNDED) <= region.radius)
    if region.halfspaces is not None:
        rows, origin = region.halfspaces.matrix, region.halfspaces.origin
        up, down = rows.clamp(min=0.0).T, rows.clamp(max=0.0).T
        low, high = lower - origin, upper - origin
        least, size = low @ up + high @ down, (low.abs() + high.abs()) @ rows.abs().T
        inside = inside & (least - ROUNDED * size <= region.halfspaces.levels).all(1)
    return inside


def chosen_frame(local: Analysis) -> Frame:
    """For p = 2, where all inputs have room and count 1, the directions in which the network bends in the middle.

    They are the eigenvectors of the sum over units u of |G_u| J_u J_u^T, G_u the gradients at its output, J_u that of its z.
    """
    placed, region = local.placed, local.placed.region
    plain = Frame(torch.zeros_like(region.center[0]))
    if placed.problem.p != 2.0 or placed.problem.q not in (None, 2.0) or not bool((placed.weights == 1.0).all()):
        return plain
    low, high = plain.around(region)
    middle = (low + high) / 2
    held = Enclosing(plain.boxes(middle, middle))
    local.graph.forward({0: held.start()}, held, until=len(local.graph.nodes) - 2)
    _, gradients = carried(local.graph, placed.rows.to(local.graph.dtype), held.own)
    total = torch.zeros(middle.shape[1], middle.shape[1], dtype=middle.dtype)
    for index, found in gradients.items():
        along = held.read[index].along.center.flatten(2)[0]
        total = total + (along * found.center.abs().sum(1).flatten()) @ along.T
    return Frame(middle[0].unflatten(0, region.shape), torch.linalg.eigh(total).eigenvectors)
