"""The search over parts of the region: the one with the largest bound first, many at once, each divided in two.

A part is a box of inputs with phases of ReLUs. It is halved along one input, or at one ReLU: whichever adds more to the
bound's gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import BYTES_PER_NUMBER, Budget
from lipreg.graph import node_size
from lipreg.results import EXACT_TOLERANCE, Status
from lipreg.search.curved.bounds import BoxBounder
from lipreg.search.curved.enclosure import EnclosurePass, row_gradients
from lipreg.search.curved.frame import ROUNDED, Frame

MOST = 1024
"""Boxes that are bounded at once."""
BETTER = 1e-7
"""Relative growth that makes a middle worth a proof."""


@dataclass(frozen=True)
class SplitOutcome:
    """The result of a search over boxes.

    Attributes:
        upper: on the constant.
        boxes: how many were bounded, with phases or without.
        status: why it ended; None where every box is closed.
    """

    upper: float
    boxes: int
    status: Status | None


@dataclass(frozen=True)
class _OpenParts:
    """Parts that are not closed: boxes ``(count, inputs)``, phases of ReLUs ``(count, units)`` int8, their bounds, and which
    input, or beyond them which ReLU, is worth halving, flat."""

    lower: Tensor
    upper: Tensor
    phase: Tensor
    bound: Tensor
    along: Tensor

    def __getitem__(self, index: Tensor) -> _OpenParts:
        return _OpenParts(self.lower[index], self.upper[index], self.phase[index], self.bound[index], self.along[index])

    def __add__(self, other: _OpenParts) -> _OpenParts:
        pairs = (
            (self.lower, other.lower),
            (self.upper, other.upper),
            (self.phase, other.phase),
            (self.bound, other.bound),
            (self.along, other.along),
        )
        return _OpenParts(*(torch.cat(pair) for pair in pairs))

    @property
    def numbers(self) -> int:
        return 2 * self.lower.numel() + self.phase.numel() // 8 + 2 * len(self.bound)


def split_inputs(
    local: Analysis, upper: float, offer: Callable[[Tensor], float], lower: float, budget: Budget
) -> SplitOutcome:
    """An upper bound on the regional constant of a single point's question, by boxes that cover its region.

    A box is closed when its bound is not above what is attained, by more than the gap that is asked for, or when it holds no
    point of the region.

    Args:
        local: without max pools.
        upper: an upper end that is proved already.
        offer: proves what promising points ``(k, *shape)`` attain, and returns the best that is proved.
        lower: what is attained already.
        budget: started; its nodes are boxes, its memory what those that are open take.
    """
    region, frame = local.placed.region, bending_frame(local)
    bounding = BoxBounder(local.graph, local.placed, frame)
    batch = _at_once(local, budget)
    tolerance = max(budget.gap, 0.5 * EXACT_TOLERANCE)
    low, high = frame.around(region)
    first = bounding(low, high)
    boxes, closed = 1, 0.0
    phase = torch.zeros(1, len(bounding.units), dtype=torch.int8)
    # not cut off at the proved upper end: parts would be alike then, and none would be the one to go on with
    parts = _OpenParts(low, high, phase, first.upper, first.worth.argmax(1))
    status: Status | None = None
    while len(parts.bound):
        kept = parts.bound * (1.0 - tolerance) > lower
        if not bool(kept.all()):
            closed = max(closed, float(parts.bound[~kept].max()))
            parts = parts[kept.nonzero().flatten()]
            continue
        status = budget.after(boxes).stop_reason()
        if status is not None:
            break
        # the largest bounds first; where memory is short the smallest, which are closed the soonest
        largest = parts.numbers * 8 <= budget.memory
        index = parts.bound.topk(min(batch, len(parts.bound)), largest=largest).indices
        halves, rest = _halved(parts[index]), torch.ones_like(parts.bound, dtype=torch.bool)
        rest[index] = False
        parts, halves = parts[rest], halves[_meets(local, frame, halves)]
        if not len(halves.bound):
            continue
        bounds = bounding(halves.lower, halves.upper, halves.phase)
        boxes += len(halves.bound)
        middles = frame.points((halves.lower + halves.upper) / 2)
        shown = torch.where(region.contains(middles.unsqueeze(0))[0], bounds.shown, 0.0)
        if float(shown.max()) > lower * (1.0 + BETTER):
            lower = max(lower, offer(middles[shown.argmax().reshape(1)]))
        bound = torch.minimum(bounds.upper, halves.bound)
        fresh = _OpenParts(*bounds.ends, halves.phase, bound, bounds.worth.argmax(1))
        parts = parts + fresh
    largest_open = float(parts.bound.max()) if len(parts.bound) else 0.0
    return SplitOutcome(min(upper, max(closed, largest_open)), boxes, status)


def splittable(local: Analysis, budget: Budget) -> bool:
    """Whether a box can be bounded in the budget's memory: derivatives of every node along every input are written down."""
    inputs = math.prod(local.placed.region.shape)
    return (
        _numbers(local) * BYTES_PER_NUMBER <= budget.memory
        and inputs * inputs * local.placed.count * BYTES_PER_NUMBER <= budget.memory
    )


def _numbers(local: Analysis) -> int:
    inputs, rows = math.prod(local.placed.region.shape), local.placed.count
    along = (inputs + rows) * sum(map(node_size, local.graph.nodes))
    # with kinks derivatives along inputs are written down at slopes in the middle too
    return (2 if local.graph.relus() else 1) * along + rows * inputs * inputs


def _at_once(local: Analysis, budget: Budget) -> int:
    return max(1, min(MOST, budget.rows(_numbers(local))) // 2)


def _halved(parts: _OpenParts) -> _OpenParts:
    """Both halves of each."""
    inputs, at = parts.lower.shape[1], parts.along.unsqueeze(1)
    low, high, phase = parts.lower, parts.upper, parts.phase
    if not phase.shape[1]:
        middle = (low.gather(1, at) + high.gather(1, at)) / 2
        lower, upper = torch.cat([low, low.scatter(1, at, middle)]), torch.cat([high.scatter(1, at, middle), high])
        return _OpenParts(lower, upper, phase.repeat(2, 1), parts.bound.repeat(2), parts.along.repeat(2))
    of_input = at < inputs
    first = at.clamp(max=inputs - 1)
    ends = low.gather(1, first), high.gather(1, first)
    middle = (ends[0] + ends[1]) / 2
    lower = torch.cat([low, low.scatter(1, first, torch.where(of_input, middle, ends[0]))])
    upper = torch.cat([high.scatter(1, first, torch.where(of_input, middle, ends[1])), high])
    unit = (at - inputs).clamp(min=0)
    before = phase.gather(1, unit)
    on, off = (phase.scatter(1, unit, torch.where(of_input, before, side)) for side in before.new_tensor([[1], [-1]]))
    return _OpenParts(lower, upper, torch.cat([on, off]), parts.bound.repeat(2), parts.along.repeat(2))


def _meets(local: Analysis, frame: Frame, parts: _OpenParts) -> Tensor:
    """Whether a box may hold points of the region; only those are left out that hold none, however they are rounded."""
    region, boxes = local.placed.region, frame.boxes(parts.lower, parts.upper)
    middle, spread = boxes.middle.flatten(1), boxes.input_radius.flatten(1)
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


def bending_frame(local: Analysis) -> Frame:
    """For p = 2, where all inputs are movable and count 1, the directions in which the network bends in the middle.

    They are the eigenvectors of the sum over units u of |G_u| J_u J_u^T, G_u the gradients at its output, J_u that of its z.
    """
    placed, region = local.placed, local.placed.region
    plain = Frame(torch.zeros_like(region.center[0]))
    if placed.problem.p != 2.0 or placed.problem.q not in (None, 2.0) or not bool((placed.weights == 1.0).all()):
        return plain
    low, high = plain.around(region)
    middle = (low + high) / 2
    enclosures = EnclosurePass(plain.boxes(middle, middle))
    local.graph.forward({0: enclosures.start()}, enclosures, until=len(local.graph.nodes) - 2)
    _, gradients = row_gradients(local.graph, placed.rows.to(local.graph.dtype), enclosures.own)
    total = torch.zeros(middle.shape[1], middle.shape[1], dtype=middle.dtype)
    for index, gradient in gradients.items():
        along = enclosures.read[index].along.center.flatten(2)[0]
        total = total + (along * gradient.center.abs().sum(1).flatten()) @ along.T
    return Frame(middle[0].unflatten(0, region.shape), torch.linalg.eigh(total).eigenvectors)
