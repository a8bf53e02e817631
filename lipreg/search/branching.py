"""Full strong branching: every child of every candidate is bounded in one batched call, and the best pair is taken."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lipreg.budget import Budget
from lipreg.folding import FoldedNetwork
from lipreg.search.gradients import interval_bound
from lipreg.search.nodes import Nodes
from lipreg.search.reach import contradictory, tighten

BOX_INPUTS = 5
"""Up to this many inputs a node may also be split along an input. Measured: with 2 and 4 inputs that halves the time, with 8
it doubles it."""
LEAST = 1e-6
"""Least improvement of a child that counts, relative to the node's bound, so that a product of two has no zero factor."""


def descend(network: FoldedNetwork, nodes: Nodes, cutoff: float, least: int, budget: Budget) -> tuple[Nodes, float]:
    """Branches until ``least`` children are open, or nothing is undecided: a round costs a few nodes as much as many.

    When the budget's time has ended what is not branched yet stays open as it is.

    Returns:
        The open children, and the largest bound of those that the cutoff closed, 0 without one.
    """
    done, closed = nodes[:0], 0.0
    while len(nodes) and budget.ended() is None:
        children = branch(network, nodes)
        kept = children.upper > cutoff
        if not kept.all():
            closed = max(closed, float(children.upper[~kept].max()))
        children = children[kept]
        split = children.undecided.any(-1)
        done, nodes = Nodes.join([done, children[~split]]), children[split]
        if len(done) + len(nodes) >= least:
            break
    return Nodes.join([done, nodes]), closed


def branch(network: FoldedNetwork, nodes: Nodes) -> Nodes:
    """The children of nodes with undecided units: two each, at the unit or input whose children gain most together.

    The score of a split is the product of its children's improvements of the interval bound (Achterberg 2007, section 5.4).
    Children that are empty by their bounds are left out. Each child carries the better of its own bound and the node's.
    """
    now = interval_bound(network, nodes.phase, nodes.row)
    unit, unit_score = _best_unit(network, nodes, now)
    children = _split_at_units(nodes, unit)
    if network.inputs > BOX_INPUTS:
        return _bounded(network, Nodes.join(children))
    halves, half_score = _best_halves(network, nodes, now)
    by_input = half_score > unit_score
    parts = [child[~by_input] for child in children] + [half[by_input] for half in halves]
    return _bounded(network, Nodes.join(parts))


def _bounded(network: FoldedNetwork, children: Nodes) -> Nodes:
    children = children[~contradictory(children)]
    bound = interval_bound(network, children.phase, children.row)
    return replace(children, upper=torch.minimum(children.upper, bound), depth=children.depth + 1)


def _best_unit(network: FoldedNetwork, nodes: Nodes, now: Tensor) -> tuple[Tensor, Tensor]:
    """The undecided unit to split at, and its score; ``(N,)`` each."""
    at, unit = nodes.undecided.nonzero(as_tuple=True)
    phase = nodes.phase[at].repeat(2, 1)
    index = torch.arange(len(at), device=at.device)
    phase[index, unit], phase[len(at) + index, unit] = 1, -1
    bounds = interval_bound(network, phase, nodes.row[at].repeat(2)).reshape(2, -1)
    table = torch.full(nodes.phase.shape, -1.0, dtype=now.dtype, device=now.device)
    table[at, unit] = _score(now[at], bounds)
    score, best = table.max(-1)
    return best, score


def _split_at_units(nodes: Nodes, unit: Tensor) -> list[Nodes]:
    index = torch.arange(len(nodes), device=unit.device)
    children = []
    for sign in (1, -1):
        phase = nodes.phase.clone()
        phase[index, unit] = sign
        children.append(replace(nodes, phase=phase))
    return children


def _best_halves(network: FoldedNetwork, nodes: Nodes, now: Tensor) -> tuple[list[Nodes], Tensor]:
    """The two halves of each node along its best input, with their bounds re-tightened, and the split's score ``(N,)``."""
    count, m = len(nodes), network.inputs
    at = torch.arange(count, device=now.device).repeat_interleave(m)
    every = nodes[at.repeat(2)]
    axis = torch.arange(m, device=now.device).repeat(count)
    index = torch.arange(count * m, device=now.device)
    middle = ((nodes.d_lower + nodes.d_upper) / 2).flatten()
    every.d_upper[index, axis] = middle
    every.d_lower[count * m + index, axis] = middle
    tighten(network, every)
    bounds = interval_bound(network, every.phase, every.row)
    bounds = torch.where(contradictory(every), torch.zeros_like(bounds), bounds).reshape(2, count, m)
    score, best = _score(now.unsqueeze(-1), bounds).max(-1)
    chosen = torch.arange(count, device=now.device) * m + best
    return [every[chosen], every[chosen + count * m]], score


def _score(now: Tensor, children: Tensor) -> Tensor:
    """Product of the improvements of two children, stacked first."""
    gain = torch.maximum(now - children, LEAST * now)
    return gain[0] * gain[1]
