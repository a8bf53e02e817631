"""The phases that a node's bounds on both sides of its units leave it: where one side is below the cutoff, the other."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.search.nodes import Nodes


def fix_phases(nodes: Nodes, cutoff: float) -> tuple[Tensor, float]:
    """Fixes, in place, the phases of units of which one side's bound is at most the cutoff.

    Args:
        nodes: whose ``sides`` bound what each unit's sides hold.
        cutoff: what is bounded by it is closed.

    Returns:
        Which nodes are still open, ``(N,)``: not those with a unit neither side of which exceeds the cutoff; and the largest
        bound of a side that was closed, 0 without one.
    """
    closed = (nodes.sides <= cutoff) & nodes.unstable.unsqueeze(1)
    if not closed.any():
        return torch.ones(len(nodes), dtype=torch.bool, device=nodes.row.device), 0.0
    side = closed[:, 1].to(nodes.phase.dtype) - closed[:, 0].to(nodes.phase.dtype)
    nodes.phase = torch.where(nodes.unstable, side, nodes.phase)
    return ~closed.all(1).any(-1), float(nodes.sides[closed].max())
