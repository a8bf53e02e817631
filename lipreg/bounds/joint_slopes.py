"""How far apart the slopes of two units can be that are a pair: the scope, for differences of networks.

With D and D' the slopes of a pair and G, G' the gradients with respect to its outputs, what comes before it has the gradient

    G D V + G' D' V' = (G + G') D V + G' (D' - D) V + G' D' (V' - V)

along V and V', so that of two networks that nearly agree only G' (D' - D) remains, where units are switched apart.

Regional: D - D' = 1 needs a point where z > 0 > z', so z - z' > 0 there. Units of which one always lies above the other are
apart in one direction only, those that are equal in none. Two units whose kinks are a hair apart ARE apart on the slab
between these: relu(x) - relu(x + 1e-6) has the regional constant 1.

Pointed: the secant s(y, z) of relu grows with y and with z. Between reference values y' and y <= y' + a, and between z' and
z <= z' + b, a, b >= 0, it grows by at most

    a / (y' + a) + b / (y' + b)  for y' > 0,        (a + b) / (b - y' - a)  for y' < -a,

and by at most 1: nothing, where units stay as they are, and little, away from the kink.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import Ends
from lipreg.bounds.pairs import LayerPair, pair_differences
from lipreg.graph import Relu
from lipreg.linalg.floats import EPS, SPARE


def slopes_apart(analysis: Analysis, pair: LayerPair) -> Ends:
    """Bounds on D - D' of a pair, in the question's scope, ``(batch, *shape)`` each; 0 lies wherever both are the same."""
    first, second = analysis.slopes[pair.first], analysis.slopes[pair.second]
    lower, upper = first.lower - second.upper, first.upper - second.lower
    node, other = analysis.graph.nodes[pair.first], analysis.graph.nodes[pair.second]
    assert isinstance(node, Relu) and isinstance(other, Relu)
    z, others, difference = (
        analysis.value_bounds[node.source],
        analysis.value_bounds[other.source],
        pair_differences(analysis)[pair.first],
    )
    if analysis.placed.problem.scope == "regional":
        zero = torch.zeros_like(lower)
        high = torch.where(difference.upper <= 0, zero, upper)
        low = torch.where(difference.lower >= 0, zero, lower)
    else:
        share = 1.0 - node.slope
        high = share * _growth(others.at, difference.most, difference.upper)
        low = -share * _growth(z.at, -difference.least, -difference.lower)
    # a unit that cannot move has slope 0 by definition, whatever its kink
    both = z.movable & others.movable
    high, low = (
        torch.where(both, torch.minimum(upper, high), upper),
        torch.where(both, torch.maximum(lower, low), lower),
    )
    # where both ends are one kink's the slopes are what they are
    crossed = low > high
    return torch.where(crossed, lower, low), torch.where(crossed, upper, high)


def _growth(y: Ends, further: Tensor, higher: Tensor) -> Tensor:
    """How much a secant of relu can grow from a reference value in y, which grows by ``further`` and z by ``higher``."""
    least, most = y
    a, b = further.clamp(min=0.0), higher.clamp(min=0.0)
    one, tiny = torch.ones_like(a), torch.finfo(a.dtype).tiny
    above = a / (least + a).clamp(min=tiny) + b / (least + b).clamp(min=tiny)
    below = (a + b) / (b - most - a).clamp(min=tiny)
    growth = torch.where(least > 0, above, torch.where(most < -a, below, one))
    return torch.minimum(growth * (1.0 + SPARE * EPS), one)
