"""Open nodes carried over to a network that folds more units away, after the region's bounds were tightened."""

from __future__ import annotations

import numpy as np
import torch

from lipreg.bounds import Analysis
from lipreg.folding import FoldedNetwork
from lipreg.search.nodes import Nodes


def carry_over(nodes: Nodes, old: FoldedNetwork, new: FoldedNetwork, local: Analysis) -> Nodes:
    """The nodes over the new network's units; those that want a stable unit on its other side are empty and left out.

    Args:
        nodes: over the old network's units.
        old: the network that the nodes are of.
        new: of the same question, folded from ``local``; its units are some of the old network's.
        local: the tightened analysis.
    """
    before = list(zip(old.units.node.tolist(), old.units.position.tolist(), strict=True))
    after = set(zip(new.units.node.tolist(), new.units.position.tolist(), strict=True))
    kept = np.array([unit in after for unit in before], dtype=bool)
    device = nodes.row.device
    sides = torch.zeros(len(before), dtype=torch.int8, device=device)  # of the units that are decided now
    for at in np.flatnonzero(~kept):
        index, position = before[at]
        source = dict(local.graph.relus())[index].source
        sides[at] = 1 if float(local.value_bounds[source].upper[0].flatten()[position]) > 0 else -1
    possible = ~((sides != 0) & (nodes.phase == -sides)).any(-1)
    nodes, columns = nodes[possible], torch.from_numpy(kept).to(device)
    return Nodes(
        phase=nodes.phase[:, columns],
        row=nodes.row,
        upper=nodes.upper,
        depth=nodes.depth,
        z_lower=torch.maximum(nodes.z_lower[:, columns], new.z_lower),
        z_upper=torch.minimum(nodes.z_upper[:, columns], new.z_upper),
        d_lower=nodes.d_lower,
        d_upper=nodes.d_upper,
        vectors=torch.cat([nodes.vectors[:, : len(before)][:, columns], nodes.vectors[:, len(before) :]], 1),
        unit_gaps=nodes.unit_gaps[:, columns],
        strain=nodes.strain[:, columns],
        sides=nodes.sides[:, :, columns],
        exclusive=torch.zeros(len(nodes), new.exclusive.shape[1], device=device),
    )
