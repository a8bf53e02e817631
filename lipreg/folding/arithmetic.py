"""In which arithmetic layers are multiplied out: float64 where that is accurate enough, else digits without a rounding."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from lipreg.bounds import Analysis, form_rounding, gradient_rounding
from lipreg.graph.accurate import limb_bits
from lipreg.linalg import Limbs, Numbers, Plain
from lipreg.linalg.floats import EPS

ENOUGH = 1e-8
"""What float64 may lose of a gradient at the reference point, or of a unit's range, before digits are taken."""
KEPT = 120
"""Bits of a result that digits keep."""
MORE = (1, 2, 4, 8, 16)
"""Times the usual number of digits, until every number of a result is known to its last place."""


def exactly(analysis: Analysis) -> bool:
    """Whether the layers of a single-point analysis have to be multiplied out in digits."""
    return _bits_lost(analysis) > math.log2(ENOUGH / EPS)


def columns(analysis: Analysis, more: int = 1) -> Callable[[Tensor], Numbers]:
    """What makes columns of float64 tensors, in the arithmetic that a single-point analysis needs.

    What rounding does to plain ones is bounded as a whole (``bounds/rounding.py``), not here.

    Args:
        more: how many times the usual number of digits, where digits are taken.
    """
    if not exactly(analysis):
        return Plain
    bits = limb_bits(analysis.graph)
    limbs = more * math.ceil((_bits_lost(analysis) + KEPT) / bits)
    return lambda tensor: Limbs.of(tensor, bits, limbs)


def _bits_lost(analysis: Analysis) -> float:
    """How many bits float64 may lose of the gradient at the reference point, or of the range of an unstable unit."""
    return math.log2(max(EPS, analysis.derived(_share_lost)) / EPS)


def _share_lost(analysis: Analysis) -> float:
    graph, placed = analysis.graph, analysis.placed
    slopes = graph.patterns([reach.value for reach in analysis.reach])
    rows = placed.rows.to(graph.dtype)
    size = placed.row_norms(graph.gradients({i: s.unsqueeze(1) for i, s in slopes.items()}, rows)).amax()
    worst = _share(placed.row_norms(gradient_rounding(analysis)[0]).amax(), size)
    errors = form_rounding(analysis)
    for _, node in graph.relus():
        reach = analysis.reach[node.source]
        lost = errors[node.source][reach.unstable]
        if len(lost):
            worst = max(worst, float((lost / (reach.upper - reach.lower)[reach.unstable]).amax()))
    return worst


def _share(loss: Tensor, size: Tensor) -> float:
    """Of a gradient that is 0 at the reference point nothing is known: as if all were lost."""
    return float(loss / size) if size > 0 else float(loss > 0)


def sharp(value: Tensor, error: Tensor) -> bool:
    """Whether numbers are known to a few units in their last place."""
    return bool((error <= 4 * EPS * value.abs()).all())
