"""The pointed constant of a whole output measured in l1 or l2, from two sides.

|f(x) - f(x0)|_q <= |K|_q |x - x0|_p with K the outputs' own constants, which are exact; and no quotient is above the largest
operator norm of a Jacobian, the regional constant. The outputs need not be steepest at one point, so these are upper ends
alone. The maximum of a convex function over linear pieces, the constant, is not searched for.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.linalg import vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.outputs import AllLogits
from lipreg.results import Status
from lipreg.search import SearchOutcome, branch_and_bound

WHY = "The least of the outputs' own constants, in the norm of the output, and of the regional constant"
REGIONAL = 0.5
"""Share of the time for the regional constant."""


def by_outputs(search: PointSearch, budget: Budget) -> int:
    """Searches for the pointed constant of every output; enters the bounds and witnesses into the search of the whole.

    It reports no progress, which would be that of other questions.

    Args:
        search: the search of the whole, begun.
        budget: of all of them together, started.

    Returns:
        The number of linear pieces that were settled by programs.
    """
    local, placed, before = search.local, search.local.placed, search.nodes
    rows, q = placed.rows.shape[1], placed.problem.q
    assert q is not None
    start = min(float(search.uppers.max()), search.prior.upper)
    regional = local.for_question(replace(placed, problem=replace(placed.problem, scope="regional")))
    # it ends where the regional constant is seen to lie above what is proved already, and proves no more
    over_region = _searched(search, regional, start, budget.share(REGIONAL))
    search.tighten(over_region.upper, "branch and bound for the regional constant")
    scalar, ends, cells = replace(placed.problem, output=AllLogits(), q=None), [], 0
    for row in range(rows):
        question = local.for_question(replace(placed, problem=scalar, coefficients=placed.rows[:, row : row + 1]))
        outcome = _searched(search, question, start, budget.after(search.nodes - before).share(1 / (rows - row)))
        if outcome.status is not Status.PROVED:
            search.give_up(outcome.status, outcome.left_out)
        cells += outcome.cells
        ends.append(outcome.upper)
    share = EPS * (rows + SPARE)
    search.tighten(float(vector_norm(torch.tensor(ends, dtype=torch.float64), q)) * (1 + share), "branch and bound")
    return cells


def _searched(search: PointSearch, analysis: Analysis, upper: float, budget: Budget) -> SearchOutcome:
    """The search of another question at the same point; the points that it evaluates are offered to the first one too."""
    best = 0.0

    def attain(points: Tensor) -> float:
        nonlocal best
        witness = best_witness(analysis, 0, points, lower=best)
        best = best if witness is None else witness.attained
        search.offer(points)
        return best

    with torch.no_grad():
        outcome = branch_and_bound(analysis, torch.tensor([upper], dtype=torch.float64), 0.0, attain, budget)
    search.nodes += outcome.nodes
    return outcome
