"""Upper bounds on the norm of the Jacobian over boxes: that of its intervals, and that of its mean value form.

With c the middle of a box of half widths r, and H the second derivatives over it, H in M +- R entry by entry,

    J(x) = J(c) + H(xi) (x - c)   lies in   J(c) + M d +- R r,      |d| <= r.

Norms are convex, so that of J(c) + M d is largest at a vertex of the box, where inputs are few; else row by row

    |v + M d|_1 <= sum of |v_j| + (|M| r)_j where a sign is unknown, else  |v|_1 + |M^T sign(v)| r  over those that are not,
    |v + M d|_2 <= sqrt((|v|_2 + |M^T v| r / |v|_2)^2 + (|M| r)^2).

R is of the size of the box, so that the bound is off by its square: near a maximum few boxes stay open.

Of networks with ReLUs parts of the region are boxes with phases (``phases``); over those with a kink inside the mean value
form does not hold, and the one around slopes does (``deviation``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.graph import Graph
from lipreg.linalg import sign_vectors, vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.problem import PlacedProblem
from lipreg.search.curved.deviation import BoxDeviation, box_deviation
from lipreg.search.curved.enclosure import Ball, EnclosurePass, hessians, row_gradients
from lipreg.search.curved.frame import ROUNDED, Frame
from lipreg.search.curved.phases import ReluUnits, cut

VERTICES = 8
"""Inputs up to which all vertices of a box are tried."""


@dataclass(frozen=True)
class BoxBounds:
    """Bounds of parts of the region.

    Attributes:
        upper: on the norm over each, ``(batch,)``; 0 of one that is seen to be empty.
        shown: the norm in their middles as computed, ``(batch,)``; no proof.
        worth: how much each input, then each ReLU, adds to the bound's gap, ``(batch, inputs + units)``.
        ends: of the boxes, cut by the phases.
    """

    upper: Tensor
    shown: Tensor
    worth: Tensor
    ends: tuple[Tensor, Tensor]


class BoxBounder:
    """Bounds on one point's question.

    Args:
        graph: frozen, without max pools.
        placed: the question, in regional scope, at a single point.
        frame: in whose coordinates boxes are given; other axes than the inputs for p = 2 without weights alone.
    """

    def __init__(self, graph: Graph, placed: PlacedProblem, frame: Frame) -> None:
        self.graph, self.placed, self.frame = graph, placed, frame
        self.rows = placed.rows.to(graph.dtype)
        self.weights = placed.weights[0].flatten().to(graph.dtype)
        self.curves = [(i, node.curve) for i, node in graph.curves()]
        self.units = ReluUnits(graph)
        free = placed.region.movable[0].flatten().nonzero().flatten()
        self.free = free if frame.axes is None else torch.arange(len(self.weights))
        few = 0 < len(self.free) <= VERTICES
        half = sign_vectors(len(self.free), self.weights) if few else None
        self.signs = None if half is None else torch.cat([half, -half])

    def __call__(self, lower: Tensor, upper: Tensor, phase: Tensor | None = None) -> BoxBounds:
        """Bounds over boxes ``(batch, inputs)``, or their parts with the phases ``(batch, units)``, 0 where unstable."""
        boxes = self.frame.boxes(lower, upper)
        enclosures = EnclosurePass(boxes, None if phase is None else self.units.by_node(phase))
        self.graph.forward({0: enclosures.start()}, enclosures, until=len(self.graph.nodes) - 2)
        rows = self.rows.expand(len(lower), -1, -1)
        over, gradients = row_gradients(self.graph, rows, enclosures.slopes)
        at_middle, _ = row_gradients(self.graph, rows, enclosures.own)
        bent = hessians(enclosures, gradients, self.curves)
        radius, shown = boxes.radius, self._norm(at_middle.center)
        if self.frame.axes is not None:
            axes = self.frame.axes
            lost = at_middle.center.abs() @ axes.abs() * ROUNDED + at_middle.radius @ axes.abs() * (1.0 + ROUNDED)
            at_middle = Ball(at_middle.center @ axes, lost)
        by_intervals = self._norm(over.size)
        by_mean_value = self._mean_value(at_middle, bent, radius) * (
            1.0 + (0.0 if self.frame.axes is None else ROUNDED)
        )
        worth = (0.5 * bent.center.abs() + bent.radius).sum(2).amax(1) * radius
        if not len(self.units):
            upper_end = torch.where(enclosures.kinked, by_intervals, torch.minimum(by_intervals, by_mean_value))
            # where a kink is inside only halving helps: along the inputs on which the kinked units depend most
            slack = sum(
                ((value.along.size.flatten(2)).amax(2) for value in enclosures.read.values()),
                start=torch.zeros_like(radius),
            )
            worth = torch.where(enclosures.kinked.unsqueeze(1), slack * radius, worth)
            return BoxBounds(upper_end, shown, worth, (lower, upper))
        off = box_deviation(self.graph, rows, enclosures, gradients)
        by_slopes = (self._norm(off.jacobian.center) + self._norm(off.jacobian.radius)) * (1.0 + ROUNDED)
        smooth = torch.where(enclosures.kinked, torch.inf, by_mean_value)
        upper_end = torch.minimum(torch.minimum(by_intervals, by_slopes), smooth)
        shown = torch.where(enclosures.astray, 0.0, shown)
        ends = cut(enclosures, lower, upper)
        nothing = enclosures.empty | (ends[0] > ends[1]).any(1)
        none = worth.new_zeros(len(worth), len(self.units))
        worth = torch.where(
            enclosures.kinked.unsqueeze(1), self._splitting_worth(enclosures, off), torch.cat([worth, none], 1)
        )
        return BoxBounds(torch.where(nothing, 0.0, upper_end), shown, worth, ends)

    def _splitting_worth(self, enclosures: EnclosurePass, off: BoxDeviation) -> Tensor:
        """How much each input, by the curves that bend along it, and each unstable ReLU add to the bound's gap, about."""
        radius = enclosures.boxes.radius
        inputs = torch.zeros_like(radius)
        for index, _ in self.curves:
            if index not in off.parts:
                continue
            moved = enclosures.read[index].along.size.flatten(2) * radius.unsqueeze(2)
            share = moved / moved.sum(1, keepdim=True).clamp(min=torch.finfo(moved.dtype).tiny)
            inputs = inputs + 0.5 * (share * off.parts[index].flatten(1).unsqueeze(1)).sum(2)
        return torch.cat([inputs, self.units.row(off.parts, len(radius))], 1)

    def _norm(self, matrices: Tensor) -> Tensor:
        """The norm of matrices ``(..., rows, inputs)``, rounded up."""
        weighed = matrices * self.weights
        square = self.placed.problem.q == 2.0 and self.placed.problem.p == 2.0
        norms = _spectral(weighed) if square else self.placed.combine_flat(weighed)
        return norms * (1.0 + (matrices.shape[-1] + matrices.shape[-2] + SPARE) * 64 * EPS)

    def _mean_value(self, own: Ball, bent: Ball, radius: Tensor) -> Tensor:
        count = radius.shape[1]
        moved = (bent.center.abs() * radius[:, None, None, :]).sum(-1)
        rest = (bent.radius * radius[:, None, None, :]).sum(-1) + own.radius
        rest = rest * (1.0 + (count + SPARE) * EPS) + (count + SPARE) * EPS * (own.center.abs() + moved)
        if self.signs is not None:
            steps = self.signs * radius[:, None, self.free]  # (batch, vertices, free)
            turned = (bent.center[..., self.free].flatten(1, 2) @ steps.mT).unflatten(1, own.center.shape[1:])
            largest = self._norm(own.center.unsqueeze(1) + turned.permute(0, 3, 1, 2)).amax(1)
            return (largest + self._norm(rest)) * (1.0 + SPARE * EPS)
        if self.placed.problem.q in (None, math.inf) and self.placed.problem.dual in (1.0, 2.0):
            return self._by_rows(own.center, bent.center, moved, rest, radius)
        return self._norm(own.center.abs() + moved + rest)

    def _by_rows(self, own: Tensor, bent: Tensor, moved: Tensor, rest: Tensor, radius: Tensor) -> Tensor:
        """The mean value form row by row, as in the module's docstring."""
        v, moved, rest = own * self.weights, moved * self.weights, rest * self.weights
        inflated = 1.0 + (v.shape[-1] + SPARE) * 8 * EPS
        if self.placed.problem.dual == 1.0:
            settled = v.abs() >= moved
            sign = torch.where(settled, v.sign(), 0.0) * self.weights
            along = (sign.unsqueeze(2) @ bent).squeeze(2)
            either_sign = torch.where(settled, 0.0, v.abs() + moved).sum(-1)
            total = (
                torch.where(settled, v.abs(), 0.0).sum(-1) + (along.abs() * radius.unsqueeze(1)).sum(-1) + either_sign
            )
            return ((total + rest.sum(-1)) * inflated).amax(-1)
        length = vector_norm(v, 2.0).clamp(min=torch.finfo(v.dtype).tiny)
        along = ((v * self.weights).unsqueeze(2) @ bent).squeeze(2)
        ahead = length + (along.abs() * radius.unsqueeze(1)).sum(-1) / length
        total = (ahead.square() + moved.square().sum(-1)).sqrt() + vector_norm(rest, 2.0)
        return (total * inflated).amax(-1)


def _spectral(matrices: Tensor) -> Tensor:
    """|M|_2 by the eigenvalues of the smaller of M M^T and M^T M, in units of the largest entry: many small ones at once."""
    rows, columns = matrices.shape[-2:]
    matrices = matrices if rows <= columns else matrices.mT
    unit = matrices.abs().amax((-1, -2)).clamp(min=torch.finfo(matrices.dtype).tiny)
    scaled = matrices / unit[..., None, None]
    gram = scaled @ scaled.mT
    if gram.shape[-1] == 1:
        largest = gram[..., 0, 0]
    elif gram.shape[-1] == 2:
        half, apart = (gram[..., 0, 0] + gram[..., 1, 1]) / 2, (gram[..., 0, 0] - gram[..., 1, 1]) / 2
        largest = half + torch.hypot(apart, gram[..., 0, 1])
    else:
        largest = torch.linalg.eigvalsh(gram)[..., -1]
    return largest.clamp(min=0.0).sqrt() * unit
