"""The arithmetic that multiplies layers out: float64 where that is accurate enough, else digits without a rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from lipreg.bounds import Analysis, form_rounding, gradient_rounding
from lipreg.budget import Budget
from lipreg.graph import node_size
from lipreg.graph.accurate import limb_bits
from lipreg.linalg import Limbs, Numbers, Plain
from lipreg.linalg.floats import EPS

ENOUGH = 1e-7
"""What float64 may lose of a gradient at the reference point before digits are taken."""
BLURRED = 1e-4
"""The same of a unit's range: it moves a kink, not the gradients beside it."""
COLUMN_BYTES = 16
"""Bytes that a pass takes for each number of a column: the number, and another one while the next node is computed."""
MOST = 2100.0
"""Bits between the largest float64 and the smallest."""
RESULT_BITS = 120
"""Bits of a result that digits keep."""
DIGIT_FACTORS = (1, 2, 4, 8, 16)
"""Multiples of the usual number of digits, tried in order until every number of a result is accurate to its last place."""


def needs_digits(analysis: Analysis) -> bool:
    """Whether the layers of a single-point analysis have to be multiplied out in digits."""
    of_gradient, of_range = analysis.memoised(_shares_lost)
    return of_gradient > ENOUGH or of_range > BLURRED


def column_maker(analysis: Analysis, more: int = 1) -> Callable[[Tensor], Numbers]:
    """A function from float64 tensors to columns in the arithmetic that a single-point analysis needs.

    The rounding of plain ones is bounded as a whole (``bounds/rounding.py``), not here.

    Args:
        analysis: of a single point.
        more: how many times the usual number of digits, where digits are taken.
    """
    if not needs_digits(analysis):
        return Plain
    bits, limbs = limb_bits(analysis.graph), more * digit_count(analysis)
    return lambda tensor: Limbs.of(tensor, bits, limbs)


def column_blocks(analysis: Analysis, width: int, budget: Budget) -> Iterator[slice]:
    """The columns in blocks that are multiplied out together, each as large as the budget's memory holds at all nodes.

    Args:
        analysis: of a single point.
        width: how many columns there are.
        budget: whose memory counts.
    """
    numbers = sum(map(node_size, analysis.graph.nodes))
    count = max(1, budget.memory // (COLUMN_BYTES * digit_count(analysis) * numbers))
    return (slice(first, min(width, first + count)) for first in range(0, width, count))


def digit_count(analysis: Analysis) -> int:
    """The usual number of digits of a single-point analysis; 1 where float64 is accurate enough."""
    if not needs_digits(analysis):
        return 1
    return math.ceil((_bits_lost(analysis) + RESULT_BITS) / limb_bits(analysis.graph))


def _bits_lost(analysis: Analysis) -> float:
    """How many bits float64 may lose of the gradient at the reference point, or of the range of an unstable unit."""
    share = max(EPS, *analysis.memoised(_shares_lost))
    # a share of a number below the normal ones may overflow; so many bits are no less than those of any quotient of floats
    return min(math.log2(share), MOST) - math.log2(EPS)


def _shares_lost(analysis: Analysis) -> tuple[float, float]:
    """The shares that float64 may lose of the gradient at the reference point, and at most of an unstable unit's range."""
    graph, placed = analysis.graph, analysis.placed
    slopes = graph.patterns([bounds.value for bounds in analysis.value_bounds])
    size = placed.row_norms(_gradients(analysis, {i: s.unsqueeze(1) for i, s in slopes.items()})).amax()
    of_gradient, of_range = _share(placed.row_norms(gradient_rounding(analysis)[0]).amax(), size), 0.0
    errors = form_rounding(analysis)
    for _, node in graph.relus():
        bounds = analysis.value_bounds[node.source]
        width = bounds.upper - bounds.lower
        # of a tie that rounding alone leaves unstable the gradient is as small beside others as its range
        wide = bounds.unstable & (width > ENOUGH * width.where(width.isfinite(), 0.0).amax())
        if bool(wide.any()):
            of_range = max(of_range, float((errors[node.source][wide] / width[wide]).amax()))
    return of_gradient, of_range


def _gradients(analysis: Analysis, slopes: Mapping[int, Tensor]) -> Tensor:
    """The gradient of each row under slopes, ``(batch, rows, *input_shape)``: of many rows, sums of those of the outputs."""
    graph, rows = analysis.graph, analysis.placed.rows.to(analysis.graph.dtype)
    outputs = rows.shape[2]
    if rows.shape[1] <= outputs:
        return graph.gradients(slopes, rows)
    jacobian = graph.gradients(slopes, torch.eye(outputs, dtype=rows.dtype).expand(len(rows), -1, -1))
    return (rows @ jacobian.flatten(2)).unflatten(2, graph.input_shape)


def _share(loss: Tensor, size: Tensor) -> float:
    """loss / size, where a loss of a size that is 0 counts as the whole of it."""
    return float(loss / size) if size > 0 else float(loss > 0)


def is_accurate(value: Tensor, error: Tensor) -> bool:
    """Whether numbers are accurate to a few units in their last place."""
    return bool((error <= 4 * EPS * value.abs()).all())
