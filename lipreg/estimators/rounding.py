"""Outward rounding: what float64 passes may have lost is added to the bounds that they computed."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.bounds import Analysis, norm_rounding, underflow

ROUNDING = 1e-9
"""Relative widening of bounds computed by float64 passes: far above the rounding of such passes, far below any use."""


def rounded_up(analysis: Analysis, bounds: Tensor | float, of_layers: bool = False) -> list[float]:
    """Bounds ``(batch,)`` of float64 passes widened by rounding and underflow; 0 where the output cannot move.

    Args:
        analysis: of the points.
        bounds: as computed.
        of_layers: whether they are products of ``layer_product``'s factors, which bound what multiplying layers out lost.
    """
    widened = torch.as_tensor(bounds, dtype=torch.float64) * (1.0 + ROUNDING) + underflow(analysis).amax(1)
    if analysis.outward and not of_layers and any(node.rounded for _, node in analysis.graph.affines()):
        # of layers that were multiplied out, what that lost of any Jacobian
        widened = widened + norm_rounding(analysis)
    constant = ~analysis.value_bounds[-1].movable.flatten(1).any(-1)
    return widened.masked_fill(constant, 0.0).tolist()
