"""Linear bounds on the norms of a Jacobian's rows, in parts: there may be more rows than memory and time are for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.jacobian_relaxation import linear_jacobian
from lipreg.bounds.pass_cost import blink, pass_work, rows_at_once
from lipreg.budget import Budget
from lipreg.words import counted, sentences

LINEAR_PASSES = 8
"""Passes that linear bounds take for each row whatever the time: intervals and their rounding, and the form of its norm."""
HOPELESS = 1.5
"""How many times the remaining time the rest of the rows may take, by the last part, before they are given up: a part of
its own share takes that, and the first one, of a row or two, is slower for each than those after it."""


def row_parts(analysis: Analysis, budget: Budget, at_once: int) -> Iterator[tuple[Analysis, Budget]]:
    """The same points with some of their rows, one part after the other, each with its share of the rest of the time.

    Args:
        analysis: the question with all rows, whose pre-activations are bounded once for all.
        budget: started.
        at_once: how many rows a part has; one with all of them is the analysis itself.
    """
    count = analysis.placed.count
    for first in range(0, count, at_once):
        part = _part(analysis, slice(first, first + at_once))
        yield part, budget.share(part.placed.count / (count - first))


def linear_row_norms(analysis: Analysis, budget: Budget) -> tuple[Tensor, str]:
    """Upper bounds on |c_k^T J|_{p*} of each row by linear bounds on the Jacobian, and what there was no time for, in words.

    As many rows are bounded together as there is memory for, and as need no look at the clock between. What is left of them
    once the time is over, or would be before all are done, has no bound.

    Args:
        analysis: the question, whose rows are functionals by themselves.
        budget: started.

    Returns:
        ``(batch, rows)``, infinite for rows without a bound; the words, empty where nothing was left out.
    """
    graph, placed = analysis.graph, analysis.placed
    most, count = rows_at_once(graph, placed, budget.memory), placed.count
    work = LINEAR_PASSES * placed.batch * max(1, pass_work(graph.nodes))
    norms, words, done = torch.full((placed.batch, count), math.inf, dtype=graph.dtype), list[str](), 0
    each = work / budget.pace  # seconds
    while done < count:
        part = _part(analysis, slice(done, done + max(1, int(min(most, blink(budget) / each)))))
        began, some = budget.clock(), slice(done, done + part.placed.count)
        jacobian = linear_jacobian(part, budget.share(part.placed.count / (count - done)))
        norms[:, some], done = jacobian.row_norms(), some.stop
        words.append(jacobian.left_out)
        each = max((budget.clock() - began) / part.placed.count, work / budget.pace / count)
        if done < count and (budget.stop_reason() or each * (count - done) > HOPELESS * budget.seconds_left):
            words.append(
                f"There was no time for linear bounds on the Jacobian of {count - done} of {counted(count, 'row')}"
            )
            break
    return norms, sentences(*words)


def _part(analysis: Analysis, some: slice) -> Analysis:
    """The same points with some of the rows; the analysis itself where these are all."""
    placed = analysis.placed
    if some.start == 0 and some.stop >= placed.count:
        return analysis
    with torch.no_grad():
        analysis.find()  # once for all parts
    return analysis.for_question(replace(placed, coefficients=placed.rows[:, some]))
