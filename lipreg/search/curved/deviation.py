"""The Jacobian over parts with kinks inside: at slopes in the middle, and what any others add.

With s the slopes of all units, within delta of m, a product of layers telescopes:

    N(s) = N(m) + sum over units u of  G_u(s) (s_u - m_u) J_u(m)^T,

G_u the gradients at a unit's output, J_u the derivatives of what it reads. The first are bounded by intervals; the others,
at slopes that are numbers, are numbers. So what is decided cancels on the way from the input on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.graph import Affine, Forward, Graph, UnitsAlike, WithoutPools
from lipreg.linalg import vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.search.curved.enclosure import Ball, EnclosurePass


@dataclass(frozen=True)
class BoxDeviation:
    """What is proved of J, and about what it is from.

    Attributes:
        jacobian: bounds on its entries, ``(batch, rows, inputs)``; their center is the Jacobian at slopes in the middle.
        parts: what each unit adds at most, about, by Relu and Curved, ``(batch, *shape)``: no proof.
    """

    jacobian: Ball
    parts: dict[int, Tensor]


class _Along(UnitsAlike[Ball], WithoutPools, Forward[Ball]):
    """Derivatives along the axes ``(batch, inputs, *shape)`` at fixed slopes; ``read`` by every Relu and Curved."""

    def __init__(self, slopes: Mapping[int, Tensor], start: Ball) -> None:
        self.slopes, self.start = slopes, start
        self.read: dict[int, Ball] = {}

    def affine(self, index: int, node: Affine, values: Mapping[int, Ball]) -> Ball:
        total: Ball | None = None
        for source, map in node.terms():
            part = values[source].through(map)
            total = part if total is None else total + part
        if total is None:
            zero = self.start.center.new_zeros(*self.start.center.shape[:2], *node.shape)
            return Ball(zero, zero)
        return total

    def unit(self, index: int, value: Ball) -> Ball:
        self.read[index] = value
        slope = self.slopes[index].unsqueeze(1)
        center = slope * value.center
        return Ball(center, slope.abs() * value.radius * (1.0 + 4 * EPS) + EPS * center.abs())


def box_deviation(graph: Graph, rows: Tensor, enclosures: EnclosurePass, gradients: Mapping[int, Ball]) -> BoxDeviation:
    """The Jacobian of rows over the parts that a pass has gone through.

    Args:
        graph: without max pools.
        rows: ``(batch, rows, outputs)``.
        enclosures: the pass over the parts.
        gradients: over them, at every unit's output.
    """
    ends, axes = enclosures.slopes, enclosures.start().along
    middles = {i: (least + most) / 2 for i, (least, most) in ends.items()}
    rules = _Along(middles, axes)
    last = len(graph.nodes) - 1
    at_output = graph.forward({0: axes}, rules)[last]
    center, spread = _of_rows(rows, at_output)
    radius, parts = spread, {}
    for index, gradient in gradients.items():
        least, most = ends[index]
        delta = ((most - least) / 2 + EPS * torch.maximum(most.abs(), least.abs())).flatten(1)
        size, along = gradient.size.flatten(2) * delta.unsqueeze(1), rules.read[index].size.flatten(2)
        radius = radius + (size @ along.mT) * (1.0 + (size.shape[2] + SPARE) * EPS)
        part = vector_norm(size.mT, 2.0) * vector_norm(along.mT, 2.0)
        parts[index] = part.unflatten(1, middles[index].shape[1:])
    return BoxDeviation(Ball(center, radius * (1.0 + (len(gradients) + SPARE) * EPS)), parts)


def _of_rows(rows: Tensor, along: Ball) -> tuple[Tensor, Tensor]:
    """Rows of the derivatives of outputs ``(batch, inputs, *shape)``, and what they are off by."""
    center, size = along.center.flatten(2).mT, along.size.flatten(2).mT
    share = (rows.shape[-1] + SPARE) * EPS
    return rows @ center, (rows.abs() @ (along.radius.flatten(2).mT + share * size)) * (1.0 + share)
