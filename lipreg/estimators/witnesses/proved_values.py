"""What points prove: the value of one in as many digits as it takes, or those of many reference points' points at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import UNLIMITED, Budget
from lipreg.estimators.witnesses.jacobians import jacobians
from lipreg.estimators.witnesses.pattern import pattern
from lipreg.estimators.witnesses.proved_norm import LEAST, operator_norms, vector_ends
from lipreg.graph.accurate import first_digits, precisions
from lipreg.linalg import Numbers, Running
from lipreg.linalg.floats import EPS, two_sum
from lipreg.problem import PlacedProblem

AGREEMENT = 1e-9
"""Relative difference up to which two numbers are the same for the choice of a witness."""
SHARP = AGREEMENT / 2
"""Relative width to which the value of a witness is computed: two machines that prove it agree."""


def is_sharp(low: float, high: float) -> bool:
    """Whether more digits would say nothing about a value between these ends that matters."""
    return low >= high * (1.0 - SHARP) or high < LEAST


def proved_value(analysis: Analysis, x: Tensor, budget: Budget = UNLIMITED) -> float:
    """A lower bound on the constant about a single reference point, proved by one point; 0 if none is.

    It is the value of the point up to a relative ``SHARP``, or less where there is no time for more digits.

    Args:
        analysis: the analysis of the single reference point.
        x: the point, ``(*shape)``.
        budget: started.
    """
    if not bool(analysis.placed.region.contains(x.reshape(1, 1, *x.shape))):
        return 0.0
    value_at = _quotient if analysis.placed.problem.scope == "pointed" else _slope
    return value_at(analysis, x, budget)


def _slope(analysis: Analysis, x: Tensor, budget: Budget) -> float:
    """The norm of the Jacobian at x, rounded down; 0 where x is not proved to be differentiable."""
    placed, best = analysis.placed, 0.0
    rows = placed.rows.to(analysis.graph.dtype).unsqueeze(1)
    for _, jacobian in jacobians(analysis, x.reshape(1, 1, *x.shape), rows, budget):
        gradient, error = (placed.weighted(end)[:, 0] for end in jacobian.rounded())
        ((low, high),) = operator_norms(placed.problem, gradient, error)
        best = max(best, low)
        if is_sharp(low, high):
            break
    return best


def values_at_once(analysis: Analysis, x: Tensor, digits: bool = False) -> list[tuple[float, float]]:
    """The ends of the value of one point of each reference point; (0, inf) where the point proves nothing.

    Args:
        analysis: the analysis of the reference points.
        x: a point of each, ``(batch, *shape)``.
        digits: whether in the first digits, rather than in float64.
    """
    start = partial(first_digits, analysis.graph) if digits else Running.of
    inside = analysis.placed.region.contains(x.unsqueeze(1)).flatten().tolist()
    ends = (_quotients if analysis.placed.problem.scope == "pointed" else _slopes)(analysis, x, start)
    return [each if within else (0.0, math.inf) for within, each in zip(inside, ends, strict=True)]


def _slopes(analysis: Analysis, x: Tensor, start: Callable[[Tensor], Numbers]) -> list[tuple[float, float]]:
    """``_slope`` of one point ``(batch, *shape)`` of each reference point, in one arithmetic."""
    graph, placed = analysis.graph, analysis.placed
    seen = pattern(analysis, graph.evaluate(start(x.unsqueeze(1))))
    rows = start(placed.rows.to(graph.dtype).unsqueeze(1))
    value, error = (placed.weighted(end)[:, 0] for end in graph.differentiate(seen.slopes, rows).rounded())
    ends = zip(seen.smooth.flatten().tolist(), operator_norms(placed.problem, value, error), strict=True)
    return [each if smooth else (0.0, math.inf) for smooth, each in ends]


def _quotient(analysis: Analysis, x: Tensor, budget: Budget) -> float:
    """|c . (f(x) - f(x0))|_q / |x - x0|_p in the question's units, rounded down."""
    pair = torch.stack([x, analysis.placed.region.center[0]]).unsqueeze(0)
    (distance,), best = _distances(analysis.placed, pair[:, 0], pair[:, 1]), 0.0
    if not 0 < distance < math.inf:
        return 0.0
    for start in precisions(analysis.graph, pair, budget):
        ((low, high),) = _rises(analysis, start)
        best = max(best, low / distance * (1.0 - 4 * EPS))
        if is_sharp(low, high):
            break
    return best


def _quotients(analysis: Analysis, x: Tensor, start: Callable[[Tensor], Numbers]) -> list[tuple[float, float]]:
    """``_quotient`` of one point ``(batch, *shape)`` of each reference point, in one arithmetic."""
    centers = analysis.placed.region.center
    rises = _rises(analysis, start(torch.stack([x, centers], 1)))
    return [
        (low / distance * (1.0 - 4 * EPS), high / distance) if 0 < distance < math.inf else (0.0, math.inf)
        for (low, high), distance in zip(rises, _distances(analysis.placed, x, centers), strict=True)
    ]


def _distances(placed: PlacedProblem, x: Tensor, center: Tensor) -> list[float]:
    """|x - x0|_p in the question's units, rounded up, of pairs of points ``(batch, *shape)``."""
    step, step_error = two_sum(x, -center)
    units = placed.counts[:1].to(step)  # a division rounds once more, which the ends allow for
    ends = vector_ends((step / units).flatten(1), (step_error.abs() / units).flatten(1), placed.problem.p)
    return [high for _, high in ends]


def _rises(analysis: Analysis, pairs: Numbers) -> list[tuple[float, float]]:
    """The ends of |c . (f(x) - f(x0))|_q for pairs (x, x0), ``(batch, 2, *shape)``, one of each reference point."""
    graph, problem = analysis.graph, analysis.placed.problem
    output, rows = graph.evaluate(pairs)[-1], analysis.placed.rows.to(graph.dtype)
    change = output.reindexed(lambda t: t[..., 0, :]) + -output.reindexed(lambda t: t[..., 1, :])
    product = change.reindexed(lambda t: t.unsqueeze(-2)).times(rows)
    value, error = product.reindexed(lambda t: t.sum(-1), copies=rows.shape[-1]).rounded()
    norm = math.inf if problem.q is None else problem.q
    return vector_ends(value, error, norm)
