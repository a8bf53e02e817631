"""The door to ranges of derivatives: from a module, a question and points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.derivatives.answers import DerivativeRanges
from lipreg.derivatives.asked import (
    WHERE,
    asked_question,
    functional_of,
    name_of,
    question_of,
    with_inputs,
)
from lipreg.derivatives.closed_forms import Closed, closed_forms
from lipreg.derivatives.entries import LARGEST, LEAST, Entries
from lipreg.derivatives.narrowing import PROGRAM, SEARCH, Asking, narrow_all
from lipreg.errors import InvalidInput
from lipreg.estimators import get_estimator
from lipreg.estimators.base import Watch
from lipreg.estimators.evaluate import Network, frozen_analysis
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.graph import beside_inputs
from lipreg.outputs import Output
from lipreg.problem import LocalLipschitz
from lipreg.ranges import DerivativeRange

Until = Literal["range", "sign"]
ENGINES = (SEARCH, PROGRAM, "jacobian_crown")
"""What goes on where closed forms leave an end open; the last one is closed forms alone."""
POINTS = 64
"""Random points of each region at which all entries are evaluated."""
CLOSED_SHARE = 0.25
"""Share of the time that is left for linear bounds on all entries of a batch."""


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
    signs; what they leave open a search narrows, entry by entry. All in float64 on the CPU, of the function that the float64
    copy of the weights defines in real arithmetic.

    Args:
        network: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        problem: the region, and the units of the inputs (``scale``); norms are of no account.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``, where the output functional needs them.
        output: the position of an output, or a functional; None takes that of the problem. Of one with several rows
            (``AllLogits``, ``AllMargins``, ``Vector``) each has its own range.
        input: a flat position or several; None takes the problem's ``measured`` ones, else every input that has room.
        until: "range" to go on until both ends are known; "sign" to stop as soon as the derivative is proved to be nowhere
            below or nowhere above 0, or is seen on both sides: far cheaper, the ends are then as wide as they were.
        estimator: "branch_and_bound" (None), "mip", or "jacobian_crown" for closed forms and random points alone, which
            is all that there is for networks with curves (tanh, GELU and others that are not piecewise linear).
        budget: what the whole batch may take, a ``Budget`` or a number of seconds; default 60 seconds. Its ``gap`` is
            relative to the larger magnitude of the derivative, its ``nodes`` are those of all searches at a point.
        settings: which engines serve, and the seed.
        progress: told where a search stands, in terms of the derivative plus what makes it a magnitude.

    Returns:
        A range for each point, output and input, in this order; inputs without room at a point are left out there.

    Raises:
        InvalidInput: an argument of the wrong kind, or no chosen input has room at a point.
        UnsupportedRequest: a problem of pointed scope, or one that the engine does not cover.
    """
    own, chosen = Budget.of(budget, WHERE).started(), DEFAULTS if settings is None else settings
    if not isinstance(chosen, Settings):
        raise InvalidInput(f"settings={settings!r}", where=WHERE, accepted="Settings(...)")
    if until not in get_args(Until):
        raise InvalidInput(f"until={until!r}", where=WHERE, accepted=" or ".join(map(repr, get_args(Until))))
    engine = SEARCH if estimator is None else estimator
    if engine not in ENGINES:
        raise InvalidInput(f"estimator={estimator!r}", where=WHERE, accepted=", ".join(map(repr, ENGINES)))
    asked = asked_question(problem, output, input)
    if engine == PROGRAM:
        get_estimator(PROGRAM).check(asked)
    asking = Asking(until == "sign", engine, chosen, progress)
    analysis = _beside(frozen_analysis(network, asked, x, y, where=WHERE, budget=own), asking.sign, own)
    with torch.no_grad():
        closed = closed_forms(analysis, own.share(CLOSED_SHARE), asking.sign)
    same, found = analysis.placed.same(), []
    for i, first in enumerate(same):
        if first < i:
            found.append(found[first])
            continue
        left = len({k for k in same if k >= i})
        found.append(_narrowed(analysis[i : i + 1], closed, i, asking, own.share(1 / left)))
    return DerivativeRanges(
        tuple(each for i, entries in enumerate(found) for each in _ranges(analysis, entries, asked, i))
    )


def _beside(analysis: Analysis, sign: bool, budget: Budget) -> Analysis:
    """The same question to the network with its inputs beside its outputs."""
    placed, graph = analysis.placed, beside_inputs(analysis.graph)
    rows = with_inputs(placed.rows, math.prod(graph.input_shape))
    # for p = inf linear bounds are of entries of open sign alone
    problem = replace(placed.problem, p=math.inf) if sign else placed.problem
    return analyse(graph, replace(placed, problem=problem, given=rows), budget=partial(budget.share, 0.5))


def _narrowed(local: Analysis, closed: Closed, index: int, asking: Asking, budget: Budget) -> Entries:
    """What is known of one point's entries in the end."""
    entries = Entries(local, closed.low[index].clone(), closed.high[index].clone(), closed.proof, closed.left_out)
    region = local.placed.region
    points = [region.center.unsqueeze(1)]
    if budget.ended() is None:
        points.append(region.sample(POINTS - 1, region.generators(asking.settings.seed)))
    with torch.no_grad():
        entries.offer(torch.cat(points, 1)[0], budget)
    # both engines are of linear pieces
    if asking.engine in (SEARCH, PROGRAM) and not local.graph.curves():
        wanted = [(row, column) for row in range(local.placed.rows.shape[1]) for column in _inputs(local)]
        narrow_all(entries, wanted, asking, budget)
    return entries


def _inputs(local: Analysis) -> list[int]:
    """The flat positions of the inputs that are asked about and have room."""
    return local.placed.weights[0].flatten().nonzero().flatten().tolist()


def _ranges(analysis: Analysis, entries: Entries, asked: LocalLipschitz, index: int) -> list[DerivativeRange]:
    """The ranges of one point."""
    local, units = analysis[index : index + 1], analysis.placed.counts.flatten()
    outputs = local.placed.rows.shape[2] - math.prod(analysis.graph.input_shape)
    found = []
    for row, coefficients in enumerate(local.placed.rows[0, :, :outputs]):
        functional = functional_of(coefficients)
        for column in _inputs(local):
            unit = float(units[column])
            found.append(
                DerivativeRange(
                    question_of(asked, functional, column, unit),
                    index,
                    name_of(functional, coefficients),
                    column,
                    entries.end((row, column), LEAST),
                    entries.end((row, column), LARGEST),
                    unit,
                    analysis.subject(index),
                )
            )
    return found
