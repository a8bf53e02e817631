"""In which arithmetic layers are multiplied out: float64 where that is accurate enough, else digits without a rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from torch import Tensor

from lipreg.bounds import Analysis, form_rounding, gradient_rounding
from lipreg.budget import Budget
from lipreg.graph import node_size
from lipreg.graph.accurate import limb_bits
from lipreg.linalg import Limbs, Numbers, Plain
from lipreg.linalg.floats import EPS

ENOUGH = 1e-8
"""What float64 may lose of a gradient at the reference point before digits are taken."""
BLURRED = 1e-6
"""The same of a unit's range: it moves a kink, not the gradients beside it."""
HELD = 16
"""Bytes that a pass holds for each number of a column: the number, and another one on the way to the next."""
MOST = 2100.0
"""Bits between the largest float64 and the smallest."""
KEPT = 120
"""Bits of a result that digits keep."""
MORE = (1, 2, 4, 8, 16)
"""Times the usual number of digits, until every number of a result is known to its last place."""


def exactly(analysis: Analysis) -> bool:
    """Whether the layers of a single-point analysis have to be multiplied out in digits."""
    of_gradient, of_range = analysis.derived(_shares_lost)
    return of_gradient > ENOUGH or of_range > BLURRED


def columns(analysis: Analysis, more: int = 1) -> Callable[[Tensor], Numbers]:
    """What makes columns of float64 tensors, in the arithmetic that a single-point analysis needs.

    What rounding does to plain ones is bounded as a whole (``bounds/rounding.py``), not here.

    Args:
        more: how many times the usual number of digits, where digits are taken.
    """
    if not exactly(analysis):
        return Plain
    bits, limbs = limb_bits(analysis.graph), more * digits(analysis)
    return lambda tensor: Limbs.of(tensor, bits, limbs)


def blocks(analysis: Analysis, width: int, budget: Budget) -> Iterator[slice]:
    """Columns of so many that are multiplied out at a time: as many as the budget's memory holds at all nodes."""
    numbers = sum(map(node_size, analysis.graph.nodes))
    some = max(1, budget.memory // (HELD * digits(analysis) * numbers))
    return (slice(first, min(width, first + some)) for first in range(0, width, some))


def digits(analysis: Analysis) -> int:
    """The usual number of digits of a single-point analysis; 1 where float64 does."""
    if not exactly(analysis):
        return 1
    return math.ceil((_bits_lost(analysis) + KEPT) / limb_bits(analysis.graph))


def _bits_lost(analysis: Analysis) -> float:
    """How many bits float64 may lose of the gradient at the reference point, or of the range of an unstable unit."""
    share = max(EPS, *analysis.derived(_shares_lost))
    # a share of a number below the normal ones may overflow; so many bits are no less than those of any quotient of floats
    return min(math.log2(share), MOST) - math.log2(EPS)


def _shares_lost(analysis: Analysis) -> tuple[float, float]:
    """Of the gradient at the reference point, and the largest of an unstable unit's range."""
    graph, placed = analysis.graph, analysis.placed
    slopes = graph.patterns([reach.value for reach in analysis.reach])
    rows = placed.rows.to(graph.dtype)
    size = placed.row_norms(graph.gradients({i: s.unsqueeze(1) for i, s in slopes.items()}, rows)).amax()
    of_gradient, of_range = _share(placed.row_norms(gradient_rounding(analysis)[0]).amax(), size), 0.0
    errors = form_rounding(analysis)
    for _, node in graph.relus():
        reach = analysis.reach[node.source]
        lost = errors[node.source][reach.unstable]
        if len(lost):
            of_range = max(of_range, float((lost / (reach.upper - reach.lower)[reach.unstable]).amax()))
    return of_gradient, of_range


def _share(loss: Tensor, size: Tensor) -> float:
    """Of a gradient that is 0 at the reference point nothing is known: as if all were lost."""
    return float(loss / size) if size > 0 else float(loss > 0)


def sharp(value: Tensor, error: Tensor) -> bool:
    """Whether numbers are known to a few units in their last place."""
    return bool((error <= 4 * EPS * value.abs()).all())
