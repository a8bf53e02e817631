"""Witnesses: what a point of the region proves about the constant, evaluated on the network in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Graph, MaxPool, Relu
from lipreg.linalg import vector_norm
from lipreg.results import Witness

KINK = 1e-9
"""A pre-activation this close to 0, relative to the sum of the magnitudes that make it up, counts as on the kink."""


def attained(analysis: Analysis, x: Tensor) -> Tensor:
    """What each point of X attains, ``(batch, k)``; -inf where it proves nothing.

    Regional: the norm of the Jacobian at x, if x is differentiable: every unit that can move is off its kink, and the
    largest member of every pooling window is alone, or all that tie are constant near x.
    Pointed: the largest quotient |c . (f(x) - f(x0))| / |x - x0|_p over the rows, if x differs from x0.

    Args:
        x: points ``(batch, k, *shape)`` in the regions.
    """
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype).unsqueeze(1)  # (batch, 1, rows, outputs)
    values = graph.values(x)
    inside = analysis.placed.region.contains(x)
    if placed.problem.scope == "pointed":
        center = placed.region.center.unsqueeze(1)
        change = ((values[-1] - graph(center)).unsqueeze(-2) * rows).sum(-1)  # (batch, k, rows)
        # what rounding alone may have added to the difference proves nothing
        error = rounding(graph, values)[-1] + rounding(graph, graph.values(center))[-1]
        error = (error.unsqueeze(-2) * rows.abs()).sum(-1)
        norm = placed.problem.q if placed.problem.q is not None else math.inf
        rise = (vector_norm(change, norm) - vector_norm(error, norm)).clamp(min=0.0)
        run = vector_norm((x - center).flatten(2), placed.problem.p)
        # quotients over tiny steps are rounding; those over half a millionth of the reach are not
        enough = run > 5e-7 * placed.region.distance(placed.problem.p).unsqueeze(1)
        quotient = rise / torch.where(enough, run, torch.ones_like(run))
        return torch.where(enough & inside, quotient, -torch.inf)
    smooth = torch.ones_like(inside)
    errors = rounding(graph, values)
    for _, node in graph.relus():
        z, affine = values[node.source], graph.nodes[node.source]
        assert isinstance(affine, Affine)
        threshold = KINK * _magnitude(affine, values) + 8 * errors[node.source]
        off = (z.abs() > threshold) | ~analysis.reach[node.source].moves.unsqueeze(1)
        smooth &= off.flatten(2).all(-1)
    smooth &= _windows_settled(analysis, values, errors)
    slopes = {i: s.unsqueeze(2) for i, s in graph.patterns(values).items()}
    gradients = graph.gradients(slopes, rows.expand(-1, x.shape[1], -1, -1))
    return torch.where(smooth & inside, placed.combine(gradients), -torch.inf)


def _windows_settled(analysis: Analysis, values: list[Tensor], errors: list[Tensor]) -> Tensor | bool:
    """Whether no pooling window has a tie that matters, ``(batch, k)``."""
    graph = analysis.graph
    if not any(isinstance(node, MaxPool) for node in graph.nodes):
        return True
    settled: Tensor | bool = True
    alive: list[Tensor] = []  # what changes near x at all; a unit that is off does not, whatever its input does
    for index, (node, value) in enumerate(zip(graph.nodes, values, strict=True)):
        match node:
            case Affine():
                flow = sum((map.abs()(alive[i].to(value.dtype)) for i, map in node.terms()), torch.zeros_like(value))
                alive.append(flow > 0)
            case Relu(source=source, slope=slope):
                alive.append(alive[source] & ((values[source] > 0) | (slope > 0)))
            case MaxPool(source=source):
                affine = graph.nodes[source]
                assert isinstance(affine, Affine)
                margin = node.members(KINK * _magnitude(affine, values) + 8 * errors[source])
                members, changes = node.members(values[source]), node.members(alive[source])
                best = members.argmax(-1, keepdim=True)
                same = node.windows == node.windows.expand(members.shape).gather(-1, best)
                apart = members.gather(-1, best) - members > margin + margin.gather(-1, best)
                still = ~changes & ~changes.gather(-1, best)
                settled = settled & (apart | still | same).flatten(2).all(-1)
                alive.append(node(alive[source].to(value.dtype)) > 0)
            case _:
                alive.append(analysis.reach[index].moves.unsqueeze(1).expand_as(value))
    return settled


def rounding(graph: Graph, values: list[Tensor]) -> list[Tensor]:
    """A bound on the rounding error of every node's value, carried forward: E_out = |A| E_in + n eps (|A| |v| + |b|).

    n is the number of terms of a sum, with some to spare; a ReLU and a max pass errors on without adding to them.
    """
    eps = torch.finfo(graph.dtype).eps
    errors: list[Tensor] = []
    for node, value in zip(graph.nodes, values, strict=True):
        match node:
            case Affine():
                carried = sum((map.abs()(errors[i]) for i, map in node.terms()), start=torch.zeros_like(value))
                terms = sum(torch.Size(map.in_shape).numel() + 4 for map in node.maps)
                errors.append(carried + terms * eps * _magnitude(node, values))
            case Relu(source=source):
                errors.append(errors[source])
            case MaxPool(source=source):
                errors.append(node(errors[source]))
            case _:
                errors.append(torch.zeros_like(value))
    return errors


def _magnitude(node: Affine, values: list[Tensor]) -> Tensor:
    """|A| |v| + |b|: the sum of the magnitudes that make up an Affine node's value."""
    return sum((map.abs()(values[i].abs()) for i, map in node.terms()), start=node.bias.abs())


def best_witness(analysis: Analysis, index: int, x: Tensor) -> Witness | None:
    """The best of the points x ``(k, *shape)`` for reference point ``index``, or None if none proves anything."""
    values = attained(analysis[index : index + 1], x.unsqueeze(0))[0]
    best = int(values.argmax())
    if not values[best] > 0:
        return None
    return Witness(tuple(x[best].flatten().tolist()), float(values[best]))
