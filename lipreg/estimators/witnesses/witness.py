"""Witnesses: points of the region, and the lower ends that they prove.

Many points are ranked together in float64. The value of the best is then proved for it alone: with
running bounds on all rounding, and where those are too wide, behind many layers or where large weights cancel, in as many
digits as needed. A lower end is such a number: a bound on the constant of the function that the float64 weights define
in real arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.bounds.pass_cost import blink, pass_work, signs_work
from lipreg.budget import RATE, UNLIMITED, Budget
from lipreg.estimators.witnesses.pattern import pattern
from lipreg.estimators.witnesses.proved_values import AGREEMENT, is_sharp, proved_value, values_at_once
from lipreg.graph import node_size
from lipreg.graph.accurate import has_time
from lipreg.linalg import Running, vector_norm
from lipreg.linalg.floats import TINY
from lipreg.regions.beside import brought_in
from lipreg.results import Witness

BATCH_NUMBERS = 2**20
"""Numbers of all nodes' values, and of gradients at the largest node, of the points that are ranked together, within the
budget's memory."""
FIRST = 1.0
"""Seconds for the digits of first witnesses even once the budget has ended, of all reference points together: behind many
layers float64 proves nothing, and without a witness the lower end is 0."""
SURE = 2.0
"""Judged seconds of digits that are computed in any case, whatever the clock, for as many points as that allows."""
TERM, UNIT, PASS = 1e-3, 1e-4, 30.0
"""The cost of a pass in digits: seconds for each map, and for each unit of a curve at each point, whose value and slope are
in decimals; and the factor to the multiplications of a pass in float64."""
TOGETHER = 2**14
"""Numbers of the largest node, of points whose digits are computed together: up to so many, calls dominate the cost."""
TRIED = 4
"""Candidates that are proved one after another, where the first one does not attain its promised value."""


# ---------------------------------------------------------------- many points, in float64


def attained(analysis: Analysis, x: Tensor) -> Tensor:
    """The value of each point of X as computed in float64, ``(batch, k)``; -inf where float64 does not show that it has one.

    Regional: the norm of the Jacobian at x, if x is differentiable: every unit that can move is off its kink, and the
    largest member of every pooling window is alone, or all that tie are constant near x.
    Pointed: the largest quotient |c . (f(x) - f(x0))| / |x - x0|_p over the rows, in the question's units, if x differs
    from x0.

    Args:
        analysis: the analysis of the reference points.
        x: points ``(batch, k, *shape)`` in the regions.
    """
    shown, promised = _seen(analysis, x)
    return torch.where(shown, promised, -torch.inf)


def ranked(analysis: Analysis, x: Tensor, budget: Budget | None = None) -> Tensor:
    """The value of each point of X; where float64 shows none about a reference point, the values that they may have.

    Args:
        analysis, x: as for ``attained``.
        budget: started; None for no limit.

    Returns:
        ``(batch, k)``, or fewer columns, at least one: of the points that were evaluated by the end of the budget.
    """
    budget, _ = budget or UNLIMITED, analysis.value_bounds  # computed before, at no point's cost
    signs = max(
        1, len(x) * signs_work(analysis.placed)
    )  # which may take longer than may pass between two looks at the clock
    at_once = max(1, int(min(x.shape[1], most_points(analysis, budget) // len(x), budget.pace * blink(budget) / signs)))
    parts = [_seen(analysis, some) for some in budget.paced(x.split(at_once, dim=1), least=1)]
    shown, promised = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    none = ~(shown & (promised > 0)).any(1, keepdim=True)
    return torch.where(shown | none, promised, -torch.inf)


def most_points(analysis: Analysis, budget: Budget) -> int:
    """The number of points that are evaluated together in the budget's memory, at least 1."""
    sizes = [node_size(node) for node in analysis.graph.nodes]
    return max(1, min(BATCH_NUMBERS, budget.rows(1)) // (sum(sizes) + analysis.placed.rows.shape[1] * max(sizes)))


def _seen(analysis: Analysis, x: Tensor) -> tuple[Tensor, Tensor]:
    """Whether float64 shows that a point has a value, and the value, ``(batch, k)`` each; -inf outside of X."""
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype).unsqueeze(1)  # (batch, 1, rows, outputs)
    inside = placed.region.contains(x)
    values = graph.evaluate(Running.of(x))
    if placed.problem.scope == "pointed":
        center = placed.region.center.unsqueeze(1)
        change, error = (values[-1] + -graph.evaluate(Running.of(center))[-1]).rounded()
        norm = placed.problem.q if placed.problem.q is not None else math.inf
        rise = vector_norm((change.unsqueeze(-2) * rows).sum(-1), norm)
        # a difference within the bound on its rounding proves nothing
        sure = rise - vector_norm((error.unsqueeze(-2) * rows.abs()).sum(-1), norm)
        distance = placed.lengths(x - center)
        # quotients over tiny steps are rounding; those over half a millionth of the farthest distance are not
        region = placed.region
        farthest = placed.farthest if region.bounded else region.center.flatten(1).abs().amax(1) + 1.0
        far = inside & (distance > 5e-7 * farthest.unsqueeze(1))
        shown = sure > 0
        promised = torch.where(shown, sure, rise) / torch.where(far, distance, torch.ones_like(distance))
        return shown, torch.where(far, promised, -torch.inf)
    seen = pattern(analysis, values)
    promised = placed.combine(graph.gradients(seen.slopes, rows.expand(-1, x.shape[1], -1, -1)))
    return seen.smooth, torch.where(inside, promised, -torch.inf)


# ---------------------------------------------------------------- one point, proved


def best_witness(
    analysis: Analysis, index: int, x: Tensor, lower: float = 0.0, budget: Budget | None = None
) -> Witness | None:
    """The best of some points for one reference point; None if none proves more than ``lower``.

    Args:
        analysis: the analysis of the reference points.
        index: the place of the reference point in the batch.
        x: points ``(k, *shape)``.
        lower: a proved lower end.
        budget: started; None for no limit.
    """
    return witnesses(analysis[index : index + 1], x.unsqueeze(0), lower, budget)[0]


def witnesses(
    analysis: Analysis, x: Tensor, lower: float = 0.0, budget: Budget | None = None, first: float = FIRST
) -> list[Witness | None]:
    """The best of some points for each reference point; None where none proves more than ``lower``.

    Once the budget has ended, only the points that were evaluated by then count, and one of them is proved. A point that
    rounding has put beside the region gives way to the point of the region beside it.

    Args:
        analysis: the analysis of the reference points.
        x: points ``(batch, k, *shape)``.
        lower: a proved lower end of all.
        budget: started; None for no limit.
        first: seconds from now for digits in any case where ``lower`` is 0, of all these points together.
    """
    _ = analysis.value_bounds  # computed before, at no proof's cost
    with torch.no_grad():
        x = brought_in(analysis.placed.region, x)
        single = x.shape[1] == 1  # there is nothing to rank
        promised = torch.full(x.shape[:2], torch.inf) if single else ranked(analysis, x, budget and budget.share(0.5))
        limit = budget or UNLIMITED
        later = replace(limit, deadline=max(limit.deadline or math.inf, limit.clock() + (first if lower <= 0 else 0.0)))
        # of several points those that need digits are proved together, which takes hardly more than one
        if len(x) > 1 or (lower <= 0 and analysis.graph.curves() and analysis.placed.problem.scope == "regional"):
            return _together(analysis, x, promised, lower, limit, later)
        return [_best(analysis, x[0], promised[0], lower, limit, later)]


def _together(
    analysis: Analysis, x: Tensor, promised: Tensor, lower: float, limit: Budget, later: Budget
) -> list[Witness | None]:
    """The best of some points for each reference point: all in float64, and one by one where that leaves more to prove.

    Once the budget has ended what float64 has proved stands.

    Args:
        analysis, x, lower: as for ``witnesses``.
        promised: what the points promise, ``(batch, k or fewer)``.
        limit: the budget.
        later: the budget of the digits of first witnesses.
    """
    best = x[torch.arange(len(x)), promised.argmax(1)]
    at_once, parts = most_points(analysis, limit), list[list[tuple[float, float]]]()
    for first in range(0, len(x), at_once):
        parts.append(values_at_once(analysis[first : first + at_once], best[first : first + at_once]))
    results: list[Witness | None] = []
    for i, (low, high) in enumerate(end for part in parts for end in part):
        one = Witness(tuple(best[i].flatten().tolist()), low) if low > lower else None
        if one is not None and not _nothing_left(low, high, promised[i]) and limit.stop_reason() is None:
            one = _best(analysis[i : i + 1], x[i], promised[i], lower, limit, limit) or one
        results.append(one)
    missing = [i for i, one in enumerate(results) if one is None and bool((promised[i] > -math.inf).any())]
    if lower <= 0:
        for i, value in _in_digits(analysis, best, missing, later):
            results[i] = Witness(tuple(best[i].flatten().tolist()), value)
    if len(x) == 1 and results[0] is None and x.shape[1] > 1:
        results[0] = _best(analysis, x[0], promised[0], lower, limit, later)
    return results


def _nothing_left(low: float, high: float, promised: Tensor) -> bool:
    """Whether the best point's value is known well enough, and no other point promises more."""
    second = promised.topk(2).values[-1] if len(promised) > 1 else -math.inf
    return is_sharp(low, high) and float(second) <= low * (1.0 + AGREEMENT)


def _in_digits(analysis: Analysis, x: Tensor, missing: list[int], budget: Budget) -> Iterator[tuple[int, float]]:
    """The values that digits prove at the points x ``(batch, *shape)`` of these places, many together.

    As many as are judged to take ``SURE`` seconds in any case, the others while there is time.
    """
    graph = analysis.graph
    nodes = graph.nodes
    every = TERM * sum(len(node.maps) for _, node in graph.affines())
    each = UNIT * sum(node_size(node) for _, node in graph.curves()) + PASS * pass_work(nodes) / RATE
    at_once = max(1, min(TOGETHER // max(map(node_size, nodes)), int((SURE - every) / max(each, TINY))))
    parts = [missing[start : start + at_once] for start in range(0, len(missing), at_once)]
    least = 1 if PASS * pass_work(nodes) / RATE <= SURE or has_time(budget, every + each) else 0
    for part in budget.paced(parts, len, least):
        span = slice(part[0], part[-1] + 1)
        values = values_at_once(analysis[span], x[span], digits=True)
        yield from ((i, values[i - part[0]][0]) for i in part if values[i - part[0]][0] > 0)


def _best(
    analysis: Analysis, x: Tensor, promised: Tensor, lower: float, budget: Budget, proof: Budget
) -> Witness | None:
    best = None
    for at in budget.paced(promised.argsort(descending=True)[:TRIED].tolist(), least=1):
        hope = float(promised[at])
        if hope == -math.inf or (lower > 0 and hope <= lower * (1.0 + AGREEMENT)):
            break
        if best is not None and hope <= best.attained * (1.0 + AGREEMENT):
            break
        value = proved_value(analysis, x[at], proof)
        if value > max(lower, 0.0 if best is None else best.attained):
            proof, best = budget, Witness(tuple(x[at].flatten().tolist()), value)
    return best
