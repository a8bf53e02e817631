"""Linear programs of nodes: which nodes hold no point, and points where their units are on the sides that are steep.

In a relaxation of a node's gradient most units come to stand on one side, and the bound would lose by the other. Where no
point has all of these phases it stays above what any point attains, however tight it is; trees grow of patterns without a
point, which first-order steps see late. So for each node the program

    the least sum of losses_i * (how far unit i is from its likely side), over the network's relaxation with fixed phases

is solved, by dual simplex steps from the last node's basis: some milliseconds, where rows are as sparse as those of
convolutions. Its multipliers prove nodes empty, its point may be a witness, and units that it has far from their likely
sides are those to branch at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lipreg.budget import Budget
from lipreg.folding import FoldedNetwork
from lipreg.milp import ProgramRelaxation, encode_forward
from lipreg.search.multipliers import SIMPLEX_INPUTS
from lipreg.search.nodes import Nodes

SHARE = 0.1
"""Most of the remaining time that the programs of one round may take."""


@dataclass(frozen=True)
class NodePoints:
    """What linear programs say of N nodes.

    Attributes:
        empty: which are proved to hold no point, ``(N,)``.
        points: a displacement each, of the program's best point where it has one, ``(N, m)``.
        strain: how far that point has each unit from its likely side, 0 to 1, ``(N, n)``.
    """

    empty: Tensor
    points: Tensor
    strain: Tensor


class NodePrograms:
    """The program of a search's network, solved for one node after another.

    Args:
        network: the folded network.
        budget: started, of the search.

    Attributes:
        MOST: nodes of a round beyond which it has none: bounds of many nodes are one batch, and programs are solved one by
            one.
    """

    MOST: ClassVar[int] = 32

    def __init__(self, network: FoldedNetwork, budget: Budget) -> None:
        self.network, self.budget = network, budget
        self._program = encode_forward(network.to("cpu"))
        self._relaxation = ProgramRelaxation(self._program, budget)

    @staticmethod
    def useful(network: FoldedNetwork) -> bool:
        """Whether nodes of a network have them: not where simplex steps settle all cuts, nor over cones."""
        return network.inputs > SIMPLEX_INPUTS and network.domain.sections is None

    def solve(self, nodes: Nodes) -> NodePoints:
        """What the programs of some nodes say; nothing of those for which there is no time."""
        upper = nodes.upper.reshape(-1, 1, 1)
        lost = (upper - nodes.sides).clamp(min=0.0)
        likely = torch.where(lost[:, 0] <= lost[:, 1], 1, -1).cpu().numpy()
        loss = torch.nan_to_num((lost[:, 0] - lost[:, 1]).abs() * nodes.unstable).cpu().numpy()
        ends, phase = (nodes.d_lower.cpu().numpy(), nodes.d_upper.cpu().numpy()), nodes.phase.cpu().numpy()
        empty, points, strain = np.zeros(len(nodes), dtype=bool), (ends[0] + ends[1]) / 2, np.zeros(phase.shape)
        self._relaxation.budget = self.budget.share(SHARE)
        at, displacement = self._program.columns["a"], self._program.columns["d"]
        cost = np.zeros_like(self._program.cost)
        for i in range(len(nodes)):
            lower, upper_ends = self._program.lower.copy(), self._program.upper.copy()
            lower[displacement], upper_ends[displacement] = ends[0][i], ends[1][i]
            lower[at] = phase[i] == 1
            upper_ends[at] = phase[i] != -1
            cost[at] = loss[i] * likely[i]
            bound, point = self._relaxation.within(lower, upper_ends, cost)
            empty[i] = bound == -np.inf
            if point is not None:
                points[i] = point[displacement]
                strain[i] = np.where(likely[i] == 1, 1.0 - point[at], point[at]) * (phase[i] == 0)
        parts = (torch.from_numpy(part).to(nodes.row.device) for part in (empty, points, strain))
        return NodePoints(*parts)
