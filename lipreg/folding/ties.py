"""Units that switch together: unless they are tied, programs allow patterns that occur on their common kink alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, shared_kinks
from lipreg.folding.unit_pairs import unit_pairs
from lipreg.folding.units import UnstableUnits


def tied_units(analysis: Analysis, units: UnstableUnits) -> tuple[Tensor, Tensor]:
    """Pairs of units with z_i = ratio z_first in exact arithmetic, so that their phases decide each other.

    They are pairs of units of layers that read the same nodes, and of layers that are a pair, as in two networks that share
    weights.

    No differentiable point is lost by it. Where z_first = 0 on an open set, its gradient is 0 there, so the input gradient
    is the same for every choice of phases.

    Returns:
        (first, i) as indices of units, ``(2, pairs)``, and the sign of each ratio: 1 they are active together, -1 in turn.
    """
    pairs, signs, group_of = [], [], dict[int, int]()
    positions = {int(node): units.position[units.of(node)] for node in np.unique(units.node)}
    column = {(int(node), int(at)): i for i, (node, at) in enumerate(zip(units.node, units.position, strict=True))}
    for number, group in enumerate(shared_kinks(analysis, positions)):
        first, *others = (column[unit] for unit in group.units)
        for other, sign, exact in zip(others, group.signs[1:], group.exact[1:], strict=True):
            if exact:
                pairs.append((first, other))
                signs.append(sign)
                group_of[first] = group_of[other] = number
    between, same = unit_pairs(analysis, units)
    for first, second in zip(between.first[same].tolist(), between.second[same].tolist(), strict=True):
        if first not in group_of or group_of[first] != group_of.get(second):
            pairs.append((first, second))
            signs.append(1)
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T, torch.tensor(signs, dtype=torch.int8)
