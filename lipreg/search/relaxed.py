"""A node's free phases as a small network of switches from the functional to the gradient.

An unstable unit passes w = a g on, a in {0, 1}; units of fixed phase are multiplied out. So g and the gradient are linear
in w and in the functional c: for a row c is a number, for an operator all directions at once. What comes out is bounded with
every switch the same for all c (``lipreg.bounds.lifted_bound``); bounds of the rows one by one lose that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Exclusive, MixingVectors, Switches, lifted_bound
from lipreg.budget import BYTES_PER_NUMBER, UNLIMITED, Budget
from lipreg.folding import FoldedNetwork
from lipreg.linalg import has_formula, operator_norm
from lipreg.search.gradients import entry_ranges
from lipreg.search.nodes import Nodes

CLOSE = 3e-4
"""How close to the relaxation, relatively, a root's bound comes."""
ROUNDING = 1e-9
"""Relative widening of a norm of a computed matrix."""


def node_switches(network: FoldedNetwork, nodes: Nodes) -> tuple[Switches, Tensor]:
    """The switches of nodes, one for each unstable unit, and which units these are, ``(N, u)``."""
    phase, row = nodes.phase, nodes.row
    free, out = _direct_gradients(network, row)
    count, n, k = len(phase), network.count, free.shape[-1]
    active, unstable = ((phase == on).to(free).unsqueeze(-1) for on in (1, 0))
    eye = torch.eye(n, dtype=free.dtype, device=free.device)
    on_unit, on_free = free.new_zeros(count, n, n), free.new_zeros(count, n, k)  # w over the unstable w and c
    unit_unit, unit_free = torch.zeros_like(on_unit), torch.zeros_like(on_free)
    for level in reversed(network.levels):
        unit_unit[:, level] = network.g_unit[level] @ on_unit
        unit_free[:, level] = free[:, level] + network.g_unit[level] @ on_free
        on_unit[:, level] = active[:, level] * unit_unit[:, level] + unstable[:, level] * eye[level]
        on_free[:, level] = active[:, level] * unit_free[:, level]
    unit = network.j_unit if network.q is None or network.p != 1.0 else network.j_unit[row].unsqueeze(1)
    if network.q is None and network.p == math.inf:
        unit, out = _by_sign(network, nodes, out)
    real = unstable.squeeze(-1)
    most = int(real.sum(1).max()) if len(real) else 0
    real, place = real.topk(most, dim=1)
    columns = place.unsqueeze(1)
    own = unit_unit.gather(1, place.unsqueeze(-1).expand(-1, -1, n)).gather(2, columns.expand(-1, most, -1))
    into = (unit @ on_unit).gather(2, columns.expand(-1, out.shape[1], -1))
    switches = Switches(
        own * real.unsqueeze(-1) * real.unsqueeze(1),
        unit_free.gather(1, place.unsqueeze(-1).expand(-1, -1, k)) * real.unsqueeze(-1),
        into * real.unsqueeze(1),
        out + unit @ on_free,
        max(1, len(network.levels)),
        _exclusive(network, phase, place),
    )
    return switches, place


def _exclusive(network: FoldedNetwork, phase: Tensor, place: Tensor) -> Exclusive | None:
    """The sides that are exclusive of units that are both unstable: the others' phases imply it already."""
    if not network.exclusive.shape[1]:
        return None
    count, n = phase.shape
    most = place.shape[1]
    at = torch.arange(most, device=place.device).expand(count, -1)
    position = torch.zeros(count, n, dtype=torch.long, device=place.device).scatter(1, place, at)
    unit, off = network.exclusive % n, (network.exclusive >= n).long() * most
    first, second = (position[:, unit[k]] + off[k] for k in (0, 1))
    both = (phase[:, unit[0]] == 0) & (phase[:, unit[1]] == 0)
    zero = torch.zeros_like(first)
    return Exclusive(torch.where(both, first, zero), torch.where(both, second, zero), both) if most else None


def _by_sign(network: FoldedNetwork, nodes: Nodes, out: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of the gradient, ``(N, o, n)`` and ``(N, o, 1)``, those of fixed sign as one: their sum has their l1 norm.

    A sign is fixed where an entry's interval is farther from 0 than rounding may have moved it.
    """
    lower, upper = entry_ranges(network, nodes.phase, nodes.row)
    lost = network.row_rounding[nodes.row].unsqueeze(1)
    sign = (lower > lost).to(out) - (upper < -lost).to(out)
    most = int((sign == 0).sum(1).max())
    unknown, place = (sign == 0).to(torch.int8).topk(most, dim=1)
    rest = network.j_unit[place] * unknown.unsqueeze(-1)
    unit = torch.cat([(sign @ network.j_unit).unsqueeze(1), rest], 1)
    own = out.squeeze(-1)
    values = torch.cat([(sign * own).sum(1, keepdim=True), own.gather(1, place) * unknown], 1)
    return unit, values.unsqueeze(-1)


def _direct_gradients(network: FoldedNetwork, row: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of c alone, with respect to units ``(N, n, k)`` and to inputs ``(N, m, k)``."""
    count = len(row)
    if network.q is None:
        return network.g_offset[row].unsqueeze(-1), network.j_offset[row].unsqueeze(-1)
    units = network.g_offset.mT.expand(count, -1, -1)
    if network.p == 1.0:
        return units, network.j_offset.mT[row].unsqueeze(1)
    return units, network.j_offset.mT.expand(count, -1, -1)


def relaxed_bound(network: FoldedNetwork, nodes: Nodes, cutoff: float, budget: Budget = UNLIMITED) -> Tensor:
    """Upper bounds on each node's norm from its switches, ``(N,)``, without the network's rounding.

    Exact, up to rounding, where nothing is unstable and the norm has a formula. It starts from the nodes' vectors and
    brings them up to date, in place, and enters how much each switch changes between its ends, and bounds on both its sides.

    Args:
        network: the folded network.
        nodes: whose vectors, multipliers, gaps and sides are updated.
        cutoff: nodes whose bound is at most this are closed, so that no more is done about them.
        budget: started, in which the iteration ends; its memory is that of the switches of nodes that are taken together.
    """
    numbers = network.count * (
        network.count + nodes.vectors.shape[1] + network.inputs
    )  # none where no unit is unstable
    at_once = max(1, budget.memory // (BYTES_PER_NUMBER * max(1, numbers)))
    if len(nodes) <= at_once:
        return _together(network, nodes, cutoff, budget)
    bounds, parts = list[Tensor](), list[Nodes]()
    for first in range(0, len(nodes), at_once):
        parts.append(nodes[first : first + at_once])
        share = budget.share(len(parts[-1]) / (len(nodes) - first))
        bounds.append(_together(network, parts[-1], cutoff, share))
    whole = Nodes.join(parts)
    nodes.vectors, nodes.exclusive, nodes.unit_gaps = whole.vectors, whole.exclusive, whole.unit_gaps
    nodes.sides = whole.sides
    return torch.cat(bounds)


def _together(network: FoldedNetwork, nodes: Nodes, cutoff: float, budget: Budget) -> Tensor:
    """The same of nodes whose switches are in memory together."""
    switches, place = node_switches(network, nodes)
    units, columns = network.count, switches.out_free.shape[-1]
    index = place.unsqueeze(-1).expand(-1, -1, nodes.vectors.shape[-1])
    exclusive = None if switches.exclusive is None else nodes.exclusive * switches.exclusive.valid
    vectors = MixingVectors(
        nodes.vectors.gather(1, index), nodes.vectors[:, units : units + columns].clone(), exclusive
    )
    switched = network.p == math.inf, network.q == 1.0
    relaxation = lifted_bound(switches, vectors, *switched, cutoff, nodes.depth == 0, budget, CLOSE)
    bound = relaxation.bound
    nodes.vectors.scatter_(1, index, vectors.directions)
    nodes.vectors[:, units : units + columns] = vectors.input_vectors
    if vectors.exclusive is not None:
        nodes.exclusive = vectors.exclusive
    nodes.unit_gaps = torch.zeros_like(nodes.unit_gaps).scatter(
        1, place, relaxation.branching_scores.to(nodes.unit_gaps)
    )
    fresh = relaxation.sides + network.rounding[nodes.row].reshape(-1, 1, 1)
    nodes.sides = nodes.sides.scatter_reduce(2, place.unsqueeze(1).expand(-1, 2, -1), fresh, "amin")
    leaf = ~nodes.unstable.any(-1)
    if network.q is not None and leaf.any():
        matrix = switches.out_free[leaf].mT
        if has_formula(network.p, network.q, matrix.shape[1:]):
            exact = operator_norm(matrix, network.p, network.q) * (1.0 + ROUNDING)
            bound = bound.masked_scatter(leaf, torch.minimum(bound[leaf], exact))
    return bound
