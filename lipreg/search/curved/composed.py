"""A network that ends in curves as its part before them and any slopes that these may have.

A row of J = C D J_h is the gradient of h along c D, whose entries lie between ends. Norms are convex, so the largest is at a
vertex of these ends: rows of another question, about h, of which no curve is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.graph import Curved, Graph
from lipreg.problem import PlacedProblem
from lipreg.search.curved.enclosure import Ball

READ = 3
"""Curves that a row may read: a margin reads two."""
ROWS = 256
"""Most vertices of all rows together."""


def composed(local: Analysis, budget: Budget | None = None) -> Analysis | None:
    """The analysis of a question about a network of linear pieces whose regional constant is not below.

    Args:
        local: of a single point, in regional scope, without max pools.
        budget: of its pre-activation bounds.

    Returns:
        None where curves are elsewhere than at the end, rows read many of them, or the whole output is asked for in another
        norm than l_inf.
    """
    graph, placed, index = local.graph, local.placed, len(local.graph.nodes) - 2
    node = graph.nodes[index]
    alone = [i for i, _ in graph.curves()] == [index] and graph.output.sources == (index,)
    if not alone or not isinstance(node, Curved) or not graph.relus() or placed.problem.q not in (None, math.inf):
        return None
    bounds, rows = local.value_bounds[node.source], placed.rows.to(graph.dtype)
    along = Ball(rows, torch.zeros_like(rows)).through(graph.output.maps[0], back=True)
    read = (along.size > 0)[0].flatten(1).sum(1)
    if int(read.max()) > READ or int((2**read).sum()) > ROWS:
        return None
    low, high = along.times(*(end.unsqueeze(1) for end in node.curve.slopes(bounds.lower, bounds.upper))).ends
    vertices = torch.cat([_vertices(*ends) for ends in zip(low[0].flatten(1), high[0].flatten(1), strict=True)])
    before = Graph(graph.nodes[: node.source + 1], graph.name)
    question = PlacedProblem(
        placed.problem, placed.region, vertices.unsqueeze(0), placed.functional_names, placed.outside
    )
    return analyse(before, question, budget=budget)


def _vertices(low: Tensor, high: Tensor) -> Tensor:
    """All vertices of a box with so many ends apart, ``(vertices, entries)``."""
    vertices = low.unsqueeze(0)
    for at in (low < high).nonzero().flatten().tolist():
        other = vertices.clone()
        other[:, at] = high[at]
        vertices = torch.cat([vertices, other])
    return vertices
