"""Witnesses: what a point of the region proves about the constant, evaluated on the network in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.linalg import vector_norm
from lipreg.results import Witness

KINK = 1e-9
"""A pre-activation this close to 0, relative to the node's largest, counts as on the kink: rounding could flip it."""


def attained(analysis: Analysis, x: Tensor) -> Tensor:
    """What each point of X attains, ``(batch, k)``; -inf where it proves nothing.

    Regional: the norm of the Jacobian at x, if x is differentiable: every unit that can move is off its kink.
    Pointed: the largest quotient |c . (f(x) - f(x0))| / |x - x0|_p over the rows, if x differs from x0.

    Args:
        x: points ``(batch, k, *shape)`` in the regions.
    """
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype).unsqueeze(1)  # (batch, 1, rows, outputs)
    values = graph.values(x)
    inside = analysis.placed.region.contains(x, tolerance=1e-12)
    if placed.problem.scope == "pointed":
        center = placed.region.center.unsqueeze(1)
        change = ((values[-1] - graph(center)).unsqueeze(-2) * rows).sum(-1)  # (batch, k, rows)
        if placed.problem.output.joint and placed.problem.q is not None:
            rise = vector_norm(change, placed.problem.q)
        else:
            rise = change.abs().amax(-1)
        run = vector_norm((x - center).flatten(2), placed.problem.p)
        # quotients over tiny steps are rounding; those over half a millionth of the reach are not
        enough = run > 5e-7 * placed.region.distance(placed.problem.p).unsqueeze(1)
        quotient = rise / torch.where(enough, run, torch.ones_like(run))
        return torch.where(enough & inside, quotient, -torch.inf)
    smooth = torch.ones_like(inside)
    for _, node in graph.relus():
        z = values[node.source].flatten(2)
        moves = analysis.reach[node.source].moves.flatten(1).unsqueeze(1)
        scale = z.abs().amax(-1, keepdim=True)
        smooth &= ((z.abs() > KINK * scale) | ~moves).all(-1)
    slopes = {i: s.unsqueeze(2) for i, s in graph.patterns(values).items()}
    gradients = graph.gradients(slopes, rows.expand(-1, x.shape[1], -1, -1))
    return torch.where(smooth & inside, placed.combine(gradients), -torch.inf)


def best_witness(analysis: Analysis, index: int, x: Tensor) -> Witness | None:
    """The best of the points x ``(k, *shape)`` for reference point ``index``, or None if none proves anything."""
    values = attained(analysis[index : index + 1], x.unsqueeze(0))[0]
    best = int(values.argmax())
    if not values[best] > 0:
        return None
    return Witness(tuple(x[best].flatten().tolist()), float(values[best]))
