"""Phases of ReLUs within a part of the region: a box, and the sides that are imposed on some units.

With the phases of a part imposed a network g is f with these units linear. On the points of the box where every such unit
is on its side f = g, layer by layer, so f's derivatives there are g's, which is what is bounded over the whole box: it has
no kink at these units, whether the middle of the box is on their sides or not. And such points have

    0 <= s (z(c) + A (x - c))   for some A within the bounds of z's derivatives,   s the side,

which cuts the box, or proves that there are none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.graph import Graph, node_size
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.search.curved.enclosure import Enclosure, EnclosurePass


class ReluUnits:
    """The ReLUs of a graph in one row: 1 active, -1 not, 0 unstable.

    Args:
        graph: without max pools.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.relus()
        self.sizes = [node_size(node) for _, node in self.nodes]

    def __len__(self) -> int:
        return sum(self.sizes)

    def by_node(self, phase: Tensor) -> dict[int, Tensor]:
        """Phases ``(batch, units)`` at each node, ``(batch, *shape)``."""
        parts = phase.split(self.sizes, 1) if self.sizes else ()
        return {i: part.unflatten(1, node.shape) for (i, node), part in zip(self.nodes, parts, strict=True)}

    def row(self, at_nodes: dict[int, Tensor], batch: int) -> Tensor:
        """Numbers at each node ``(batch, *shape)`` as ``(batch, units)``; 0 at nodes that have none."""
        parts = [
            at_nodes[i].flatten(1) if i in at_nodes else torch.zeros(batch, size, dtype=torch.float64)
            for (i, _), size in zip(self.nodes, self.sizes, strict=True)
        ]
        return torch.cat(parts, 1)


def cut(enclosures: EnclosurePass, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes, cut by the sides that are imposed, ``(batch, inputs)`` each; crossed ends are of a part without points.

    Args:
        enclosures: the pass over these boxes.
        lower, upper: their ends.
    """
    radius = enclosures.boxes.radius
    middle = (lower + upper) / 2
    # rounding of the frame's coordinates is in the radius, more than once
    slack = 2.0 * (radius - (upper - lower) / 2).clamp(min=0.0) + 64 * EPS * (lower.abs() + upper.abs()) + TINY
    for index, side in enclosures.sides.items():
        low, high = _within(enclosures.read[index], side, radius)
        lower = torch.maximum(lower, middle + low - slack)
        upper = torch.minimum(upper, middle + high + slack)
    return lower, upper


def _within(value: Enclosure, side: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Between which steps from the middle along each axis every unit may be on its side, ``(batch, inputs)`` each."""
    sign = side.flatten(1).to(radius).unsqueeze(1)
    along, off = value.along.center.flatten(2) * sign, value.along.radius.flatten(2)
    low, high = along - off, along + off
    most = torch.maximum(low.abs(), high.abs()) * radius.unsqueeze(2)
    at = (value.at.center.flatten(1).unsqueeze(1) * sign) + value.at.radius.flatten(1).unsqueeze(1)
    total = most.sum(1, keepdim=True)
    lost = (radius.shape[1] + SPARE) * 4 * EPS * (total + at.abs()) + TINY
    # A_j d_j >= -rest for the best of all other steps
    rest = total - most + at + lost
    infinite = torch.full_like(rest, torch.inf)
    used = (sign != 0).expand_as(rest)
    floor = torch.where(rest >= 0, low, high)  # the derivative that allows the longest step
    up = -rest / torch.where(used & (low > 0), floor, torch.ones_like(floor))
    ceiling = torch.where(rest >= 0, high, low)
    down = -rest / torch.where(used & (high < 0), ceiling, torch.ones_like(ceiling))
    lost_in_quotient = 4 * EPS
    up = up - lost_in_quotient * up.abs()
    down = down + lost_in_quotient * down.abs()
    return (
        torch.where(used & (low > 0), up, -infinite).amax(2),
        torch.where(used & (high < 0), down, infinite).amin(2),
    )
