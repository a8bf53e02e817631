"""What a node's phases leave open, as a small network of switches from the functional to the gradient.

An undecided unit passes w = a g on, a in {0, 1}; units of known phase are multiplied out. So g and the gradient are linear
in w and in the functional c: for a row c is a number, for an operator all directions at once. What comes out is bounded with
every switch the same for all c (``lipreg.bounds.lifted_bound``); bounds of the rows one by one lose that.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipreg.bounds import Switches, Vectors, lifted_bound
from lipreg.folding import FoldedNetwork
from lipreg.linalg import has_formula, operator_norm
from lipreg.search.nodes import Nodes

ROUNDING = 1e-9
"""Relative widening of a norm of a computed matrix."""


def relaxed(network: FoldedNetwork, nodes: Nodes) -> tuple[Switches, Tensor]:
    """The switches of nodes, one for each undecided unit, and which units these are, ``(N, u)``."""
    phase, row = nodes.phase, nodes.row
    free, out = _functionals(network, row)
    count, n, k = len(phase), network.count, free.shape[-1]
    active, undecided = ((phase == on).to(free).unsqueeze(-1) for on in (1, 0))
    eye = torch.eye(n, dtype=free.dtype, device=free.device)
    on_unit, on_free = free.new_zeros(count, n, n), free.new_zeros(count, n, k)  # w over the undecided w and c
    unit_unit, unit_free = torch.zeros_like(on_unit), torch.zeros_like(on_free)
    for level in reversed(network.levels):
        unit_unit[:, level] = network.g_unit[level] @ on_unit
        unit_free[:, level] = free[:, level] + network.g_unit[level] @ on_free
        on_unit[:, level] = active[:, level] * unit_unit[:, level] + undecided[:, level] * eye[level]
        on_free[:, level] = active[:, level] * unit_free[:, level]
    unit = network.j_unit if network.q is None or network.p != 1.0 else network.j_unit[row].unsqueeze(1)
    real = undecided.squeeze(-1)
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
    )
    return switches, place


def _functionals(network: FoldedNetwork, row: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of c alone, with respect to units ``(N, n, k)`` and to inputs ``(N, m, k)``."""
    count = len(row)
    if network.q is None:
        return network.g_offset[row].unsqueeze(-1), network.j_offset[row].unsqueeze(-1)
    units = network.g_offset.mT.expand(count, -1, -1)
    if network.p == 1.0:
        return units, network.j_offset.mT[row].unsqueeze(1)
    return units, network.j_offset.mT.expand(count, -1, -1)


def relaxed_bound(network: FoldedNetwork, nodes: Nodes, cutoff: float) -> Tensor:
    """Upper bounds on each node's norm from its switches, ``(N,)``, without the network's rounding.

    Exact, up to rounding, where nothing is undecided and the norm has a formula. It starts from the nodes' vectors and
    brings them up to date, in place.

    Args:
        cutoff: nodes whose bound is at most this are closed, so that no more is done about them.
    """
    switches, place = relaxed(network, nodes)
    units, columns = network.count, switches.out_free.shape[-1]
    index = place.unsqueeze(-1).expand(-1, -1, nodes.vectors.shape[-1])
    vectors = Vectors(nodes.vectors.gather(1, index), nodes.vectors[:, units : units + columns].clone())
    bound = lifted_bound(switches, vectors, network.p == math.inf, network.q == 1.0, cutoff, nodes.depth == 0)
    nodes.vectors.scatter_(1, index, vectors.along)
    nodes.vectors[:, units : units + columns] = vectors.free
    leaf = ~nodes.undecided.any(-1)
    if network.q is not None and leaf.any():
        matrix = switches.out_free[leaf].mT
        if has_formula(network.p, network.q, matrix.shape[1:]):
            exact = operator_norm(matrix, network.p, network.q) * (1.0 + ROUNDING)
            bound = bound.masked_scatter(leaf, torch.minimum(bound[leaf], exact))
    return bound
