"""Full strong branching: every child of every candidate is bounded in one batched call, and the best pair is taken."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.budget import Budget
from lipreg.folding import FoldedNetwork
from lipreg.search.forward_bounds import contradictory, tighten
from lipreg.search.gradients import interval_bound
from lipreg.search.implied import implied
from lipreg.search.nodes import Nodes

BITS_PER_UNIT = 0.8
"""Where geometry leaves fewer bits than this of each unstable unit's phase, units are taken level by level. Measured: below
0.67 that is 2 to 100 times as fast; up to 0.8 it is as fast, but finds steep cells of tiny volume; at 0.85 it takes twice as
long."""
CELLS = 15.0
"""Most cells into which the first level may cut the region for that, in bits. Measured: 4-30-30-3 (31,931 cells at most)
gains by it; 5-24-24-3 (55,455) takes a third of the time in the other order."""
SETTLED = 0.8
"""Share of the patterns of a cone's node, over all sections together, below which it is divided into them. Measured: with 3
to 5 inputs it is 0.4 to 0.8 and dividing wins by far; with 12 and 48 units it is 0.96, and divided the search does not
end."""
FLOOR, STRAIN = 1e-4, 0.02
"""What a side counts for at least in a product of two, as a part of the way to the cutoff, and what a unit's strain does."""
FAR = 0.1
"""How far a node may be above the cutoff, relatively, for that. Measured: where bounds are four times what witnesses attain,
interval bounds of children lead to 1,406 in 36 seconds, and bounds of both sides to 1,586."""
TRIED = 16
"""Units that are tried, those whose switches change the relaxed gradient most. Measured: 8 leave twice the nodes, 32 cost
more time than they save."""
LEAST = 1e-6
"""Least improvement of a child that counts, relative to the node's bound, so that a product of two has no zero factor."""


def descend(
    network: FoldedNetwork, nodes: Nodes, cutoff: float, least: int, budget: Budget
) -> tuple[Nodes, list[float]]:
    """Branches until ``least`` children are open, or nothing is unstable: a round costs a few nodes as much as many.

    When the budget's time is over, what is not branched yet stays open as it is.

    Args:
        network: the folded network.
        nodes: of which each has an unstable unit.
        cutoff: children whose bound is at most this are closed.
        least: the open children that are enough.
        budget: started.

    Returns:
        The open children, and the bounds of those that the cutoff closed.
    """
    done, closed = nodes[:0], list[float]()
    while len(nodes) and budget.stop_reason() is None:
        children = branch(network, nodes, cutoff)
        kept = children.upper > cutoff
        closed += children.upper[~kept].tolist()
        children = children[kept]
        split = children.unstable.any(-1)
        done, nodes = Nodes.join([done, children[~split]]), children[split]
        if len(done) + len(nodes) >= least:
            break
    return Nodes.join([done, nodes]), closed


def branch(network: FoldedNetwork, nodes: Nodes, cutoff: float = 0.0) -> Nodes:
    """The children of nodes with unstable units: two each, at the unit whose children gain most together.

    The score of a split is the product of its children's improvements (Achterberg 2007, section 5.4): by the relaxation's
    bounds on both sides of each unit where these are known, else of the interval bound. Children that are empty by their
    bounds are left out. Each child carries the better of its own bound and the node's.

    Args:
        network: the folded network.
        nodes: of which each has an unstable unit.
        cutoff: the proved lower end, below which a node is closed.
    """
    return _in_sections(
        network, _bounded(network, Nodes.join(_split_at_units(network, nodes, _best_unit(network, nodes, cutoff))))
    )


def by_levels(network: FoldedNetwork) -> bool:
    """Whether units are split level by level, because the region has far fewer cells than its units have patterns.

    A unit's cut is its hyperplane where all units before it are decided, and a relaxation elsewhere. In this order every cut
    is exact, so no node is kept that holds no point, and n hyperplanes leave at most sum_{i <= m} C(n, i) cells of m inputs
    (Zaslavsky 1975). It only pays where those of the first level can be gone through: in this order bounds decide late.
    """
    counted = torch.ones(network.count, dtype=torch.bool, device=network.tied.device)
    counted[network.tied[1]] = False  # these lie on the hyperplanes of others
    every, first = int(counted.sum()), int(counted[network.levels[0]].sum())
    if every >= 5 and 2 * network.inputs >= every:  # at least half of the patterns may be cells: every - 1 bits
        return False
    return _bits(every, network.inputs) < BITS_PER_UNIT * every and _bits(first, network.inputs) <= CELLS


def _bits(hyperplanes: int, inputs: int) -> float:
    """The logarithm, to base 2, of the most cells into which hyperplanes may cut a region."""
    i = torch.arange(min(hyperplanes, inputs) + 1, dtype=torch.float64)
    choices = math.lgamma(hyperplanes + 1) - torch.lgamma(i + 1) - torch.lgamma(hyperplanes - i + 1)
    return float(choices.logsumexp(0)) / math.log(2)


def _in_sections(network: FoldedNetwork, children: Nodes) -> Nodes:
    """Of a cone, children are divided into its sections where those settle some of the unstable units; others stay whole.

    Undivided a node is bounded once and not once a section, but that it is empty is hardly seen, for the origin never is.
    Tried after every so many decisions as there are inputs: fewer half-spaces never contradict each other.
    """
    if network.domain.sections is None:
        return children
    lower, upper = network.domain.sections
    thin = (children.d_upper - children.d_lower).amin(-1) <= 2.0 * (upper - lower).amin()
    due = (~thin & (children.depth % network.inputs == 0) & children.unstable.any(-1)).nonzero().flatten()
    if not len(due):
        return children
    source = due.repeat_interleave(len(lower))
    parts = children[source]
    parts.d_lower = torch.maximum(parts.d_lower, lower.repeat(len(due), 1))
    parts.d_upper = torch.minimum(parts.d_upper, upper.repeat(len(due), 1))
    nonempty = ~contradictory(parts)
    parts, source = parts[nonempty], source[nonempty]
    tighten(network, parts)
    nonempty = ~contradictory(parts)
    parts, source = parts[nonempty], source[nonempty]
    settled = children.unstable.sum(-1)[source] - parts.unstable.sum(-1)
    share = torch.zeros_like(children.upper).index_add(0, source, 0.5 ** settled.to(children.upper))
    divided = torch.zeros_like(thin)
    divided[due] = share[due] < SETTLED * len(lower)
    return Nodes.join([children[~divided], parts[divided[source]]])


def contradicting(inputs: int, times: int) -> int:
    """From how many random half-spaces through the origin on no more than one in ``times`` of their choices has a point.

    k of them have points in common with probability 2^(1 - k) sum_{i < inputs} C(k - 1, i) (Wendel 1962).
    """
    k = inputs
    while times * sum(math.comb(k - 1, i) for i in range(inputs)) > 2 ** (k - 1):
        k += 1
    return k


def _bounded(network: FoldedNetwork, children: Nodes) -> Nodes:
    children = children[~contradictory(children)]
    bound = interval_bound(network, children.phase, children.row)
    return replace(children, upper=torch.minimum(children.upper, bound), depth=children.depth + 1)


def _best_unit(network: FoldedNetwork, nodes: Nodes, cutoff: float) -> Tensor:
    """The unstable unit to split each node at, ``(N,)``."""
    levels = by_levels(network)
    if levels:
        return _by_intervals(network, nodes, levels)
    upper = nodes.upper.reshape(-1, 1, 1)
    gain = ((upper - nodes.sides) / (upper - cutoff).clamp(min=1e-300)).nan_to_num(0.0, posinf=0.0).clamp(0.0, 1.0)
    less, more = gain.amin(1), gain.amax(1)
    score = torch.where(nodes.unstable, (less + STRAIN * nodes.strain + FLOOR) * (more + FLOOR), -1.0)
    unit = score.argmax(-1)
    unknown = torch.where(nodes.unstable, more, 0.0).amax(-1) <= 0.0
    unknown |= nodes.upper - cutoff > FAR * nodes.upper
    if unknown.any():
        unit[unknown] = _by_intervals(network, nodes[unknown], levels)
    return unit


def _by_intervals(network: FoldedNetwork, nodes: Nodes, levels: bool) -> Tensor:
    """The same by the interval bounds of children; of the first level that has one where units go by ``levels``."""
    now = interval_bound(network, nodes.phase, nodes.row)
    candidates = nodes.unstable
    if levels:
        for level in reversed(network.levels):
            of_level = torch.zeros_like(candidates)
            of_level[:, level] = nodes.unstable[:, level]
            candidates = torch.where(of_level.any(-1, keepdim=True), of_level, candidates)
    elif network.count > TRIED:
        gaps = torch.where(candidates, nodes.unit_gaps, -1.0)
        least = gaps.topk(TRIED, dim=1).values[:, -1:]
        candidates = candidates & (gaps >= least)
    at, unit = candidates.nonzero(as_tuple=True)
    phase = nodes.phase[at].repeat(2, 1)
    index = torch.arange(len(at), device=at.device)
    phase[index, unit], phase[len(at) + index, unit] = 1, -1
    phase, empty = implied(network.exclusive, phase)
    bounds = interval_bound(network, phase, nodes.row[at].repeat(2))
    bounds = torch.where(empty, 0.0, bounds).reshape(2, -1)
    gain = torch.maximum(now[at] - bounds, LEAST * now[at])
    table = torch.full(nodes.phase.shape, -1.0, dtype=now.dtype, device=now.device)
    table[at, unit] = gain[0] * gain[1]
    return table.argmax(-1)


def _split_at_units(network: FoldedNetwork, nodes: Nodes, unit: Tensor) -> list[Nodes]:
    index = torch.arange(len(nodes), device=unit.device)
    children = []
    for side, sign in enumerate((1, -1)):
        phase = nodes.phase.clone()
        phase[index, unit] = sign
        phase, empty = implied(network.exclusive, phase)
        upper = torch.minimum(nodes.upper, nodes.sides[index, side, unit])
        children.append(replace(nodes, phase=phase, upper=upper)[~empty])
    return children
