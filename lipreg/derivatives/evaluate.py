"""Ranges of derivatives from a module, a question and points: the entrance for users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from lipreg.arguments import check_functions
from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.derivatives.answers import DerivativeRanges
from lipreg.derivatives.closed_forms import ClosedFormBounds, closed_forms
from lipreg.derivatives.entries import LARGEST, LEAST, EntryBounds
from lipreg.derivatives.questions import (
    WHERE,
    derivative_question,
    functional_of,
    name_of,
    question_data,
    with_inputs,
)
from lipreg.derivatives.range_search import PROGRAM, SEARCH, RangeOptions, narrow_all
from lipreg.errors import InvalidInput
from lipreg.estimators import get_estimator
from lipreg.estimators.asked import check_settings
from lipreg.estimators.base import Watch
from lipreg.estimators.evaluate import Network, frozen_analysis
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.graph import beside_inputs
from lipreg.outputs import Output
from lipreg.problem import LocalLipschitz
from lipreg.ranges import DerivativeRange

Until = Literal["range", "sign"]
ENGINES = (SEARCH, PROGRAM, "jacobian_crown")
"""The engines that narrow the ends which closed forms do not decide; the last one is closed forms alone."""
POINTS = 64
"""Random points of each region at which all entries are evaluated."""
CLOSED_SHARE = 0.25
"""Share of the remaining time for linear bounds on all entries of a batch."""


def derivative_range(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    output: int | Output | None = None,
    input: int | Sequence[int] | None = None,
    until: Until = "range",
    estimator: str | None = None,
    budget: Budget | float | None = None,
    settings: Settings | None = None,
    progress: Watch | None = None,
) -> DerivativeRanges:
    """The least and the largest value of d (c . f) / d x_j over the region of each reference point, with certificates.

        ranges = lipreg.derivative_range(net, LocalLipschitz(LinfBall(0.1), Logit(0)), x)
        ranges[0].increasing      # proved: the output nowhere falls along this input
        print(ranges.table())

    The proved sides hold at every point of the region at which the network is differentiable, and with them for slopes
    between any two points that differ in x_j alone. Closed forms bound all entries of a batch at once and decide most
    signs; a search narrows the others, entry by entry. All of it is computed in float64 on the CPU, of the function that the
    float64 copy of the weights defines in real arithmetic.

    Args:
        network: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        problem: the region, and the units of the inputs (``scale``); norms are of no account.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``, where the output functional needs them.
        output: the position of an output, or a functional; None takes that of the problem. Of one with several rows
            (``AllLogits``, ``AllMargins``, ``Vector``) each has its own range.
        input: a flat position or several; None takes the problem's ``measured`` ones, else every input that can move.
        until: "range" to go on until both ends are exact; "sign" to stop as soon as the derivative is proved to be nowhere
            below or nowhere above 0, or is seen on both sides: far cheaper, the ends are then as wide as they were.
        estimator: "branch_and_bound" (None), "mip", or "jacobian_crown" for closed forms and random points alone, which
            is all that there is for networks with curves (tanh, GELU and others that are not piecewise linear).
        budget: what the whole batch may take, a ``Budget`` or a number of seconds; default 60 seconds. Its ``gap`` is
            relative to the larger magnitude of the derivative, its ``nodes`` are those of all searches at a point.
        settings: which engines serve, and the seed.
        progress: called with the bounds of a search, which are of the derivative plus what makes it a magnitude.

    Returns:
        A range for each point, output and input, in this order; inputs that cannot move at a point are left out there.

    Raises:
        InvalidInput: an argument of the wrong kind, or none of the inputs can move at a point.
        UnsupportedRequest: a problem of pointed scope, or one that the engine does not cover.
    """
    call_budget, selected_settings = Budget.of(budget, WHERE).started(), DEFAULTS if settings is None else settings
    check_settings(selected_settings, WHERE)
    check_functions(WHERE, progress=progress)
    if until not in get_args(Until):
        raise InvalidInput(f"until={until!r}", where=WHERE, accepted=" or ".join(map(repr, get_args(Until))))
    engine = SEARCH if estimator is None else estimator
    if engine not in ENGINES:
        raise InvalidInput(f"estimator={estimator!r}", where=WHERE, accepted=", ".join(map(repr, ENGINES)))
    question = derivative_question(problem, output, input)
    if engine == PROGRAM:
        get_estimator(PROGRAM).check(question)
    options = RangeOptions(until == "sign", engine, selected_settings, progress)
    analysis = _beside(
        frozen_analysis(network, question, x, y, where=WHERE, budget=call_budget), options.sign, call_budget
    )
    with torch.no_grad():
        closed = closed_forms(analysis, call_budget.share(CLOSED_SHARE), options.sign)
    same, entries_of_points = analysis.placed.representatives(), []
    for i, first in enumerate(same):
        if first < i:
            entries_of_points.append(entries_of_points[first])
            continue
        remaining = len({k for k in same if k >= i})
        entries_of_points.append(_narrowed(analysis[i : i + 1], closed, i, options, call_budget.share(1 / remaining)))
    return DerivativeRanges(
        tuple(each for i, entries in enumerate(entries_of_points) for each in _ranges(analysis, entries, question, i))
    )


def _beside(analysis: Analysis, sign: bool, budget: Budget) -> Analysis:
    """The analysis of the question for the network with its inputs beside its outputs."""
    placed, graph = analysis.placed, beside_inputs(analysis.graph)
    rows = with_inputs(placed.rows, math.prod(graph.input_shape))
    # for p = inf linear bounds are of entries of undecided sign alone
    problem = replace(placed.problem, p=math.inf) if sign else placed.problem
    return analyse(graph, replace(placed, problem=problem, coefficients=rows), budget=partial(budget.share, 0.5))


def _narrowed(
    local: Analysis, closed: ClosedFormBounds, index: int, options: RangeOptions, budget: Budget
) -> EntryBounds:
    """The entries of one point, narrowed within a budget."""
    entries = EntryBounds(local, closed.low[index].clone(), closed.high[index].clone(), closed.proof, closed.left_out)
    region = local.placed.region
    points = [region.center.unsqueeze(1)]
    if budget.stop_reason() is None:
        points.append(region.sample(POINTS - 1, region.generators(options.settings.seed)))
    with torch.no_grad():
        entries.evaluate_at(torch.cat(points, 1)[0], budget)
    # both engines maximise over linear pieces, and curves have none
    if options.engine in (SEARCH, PROGRAM) and not local.graph.curves():
        wanted = [(row, column) for row in range(local.placed.rows.shape[1]) for column in _inputs(local)]
        narrow_all(entries, wanted, options, budget)
    return entries


def _inputs(local: Analysis) -> list[int]:
    """The flat positions of the inputs that are in question and can move."""
    return local.placed.weights[0].flatten().nonzero().flatten().tolist()


def _ranges(analysis: Analysis, entries: EntryBounds, problem: LocalLipschitz, index: int) -> list[DerivativeRange]:
    """The ranges of one point."""
    local, units = analysis[index : index + 1], analysis.placed.counts.flatten()
    outputs = local.placed.rows.shape[2] - math.prod(analysis.graph.input_shape)
    ranges = []
    for row, coefficients in enumerate(local.placed.rows[0, :, :outputs]):
        functional = functional_of(coefficients)
        for column in _inputs(local):
            unit = float(units[column])
            ranges.append(
                DerivativeRange(
                    question_data(problem, functional, column, unit),
                    index,
                    name_of(functional, coefficients),
                    column,
                    entries.end((row, column), LEAST),
                    entries.end((row, column), LARGEST),
                    unit,
                    analysis.subject(index),
                )
            )
    return ranges
