"""Every cell of the table of what can be answered: pairs of norms by regions and scopes, each with small networks."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lipreg import Certificate, certify
from lipreg.estimators import ESTIMATORS, answered
from tests.attacks.asked import EVERYWHERE, endless, measures
from tests.attacks.asking import BUDGET, enter, faults
from tests.attacks.cases import NORMS, SCOPES, Case, Question
from tests.attacks.kinds import Generator, attacks, case, dense, sizes
from tests.attacks.oracle import PLAIN, TooMany, Where
from tests.attacks.places import about, polytope
from tests.attacks.tally import Tally

REGIONS = ("linf", "l2", "l1", "box", "polytope", "everywhere")
SCALAR = ("logit", "margin", "all_logits", "all_margins", "all_pairs", "combination")
CELLS: tuple[tuple[float, float | None, str, str], ...] = tuple(
    itertools.product(NORMS, (None, *NORMS), REGIONS, SCOPES)
)
"""(p, q, region, scope); q is None for scalar functionals."""


@attacks
def cells(rng: Generator, tally: Tally) -> None:
    """One of the cells."""
    ask(CELLS[rng.integers(len(CELLS))], rng, tally)


def ask(cell: tuple[float, float | None, str, str], rng: Generator, tally: Tally) -> None:
    """Asks what ``certify`` does by itself, and every estimator that takes the question.

    "promised" counts questions of which the table says exact, "kept" those of them that its method closed.
    """
    p, q, where, scope = cell
    drawn = small(rng, where)
    oracle = drawn.oracles[0]
    measure = drawn.measures[rng.integers(len(drawn.measures))]
    if scope == "pointed":
        measure = replace(measure, among=None)
    name = f"vector {q:g}" if q else str(rng.choice(SCALAR if oracle.outputs > 1 else ("logit", "all_logits")))
    question = Question(scope, p, name, int(rng.integers(oracle.outputs)), oracle.outputs, measure)
    problem, truth = question.problem(drawn), question.truth(oracle)
    x, label = torch.from_numpy(drawn.points), torch.full((1,), question.label)
    tally.counts["questions"] += 1
    answer = answered(problem)
    promised = answer.kind == "exact"
    tally.counts["promised"] += promised
    names = [None, *(name for name in ESTIMATORS if ESTIMATORS.find(name).uncovered(problem) is None)]
    for estimator in names:
        what: dict[str, Any] = {"estimator": estimator or "usual", "question": problem.sentence()}
        with faults(tally, **what):
            found = certify(drawn.module, problem, x, label, estimator=estimator, budget=BUDGET)
            enter(found, [truth], [oracle], tally, what)
            if promised and estimator == answer.by[0]:
                tally.counts["kept"] += found[0].certificate is Certificate.EXACT


def small(rng: Generator, where: str) -> Case:
    """A network of one or two inputs, sometimes three, around one point, with a measure that is plain half of the time."""
    inputs = int(rng.choice([1, 2, 2, 2, 3]))
    points, radius = about(rng, inputs, 1), float(10 ** rng.uniform(-1.5, 0.5))
    if where == "everywhere":
        layers, region = endless(rng, inputs), EVERYWHERE
    else:
        layers, region = dense(rng, sizes(rng, inputs, deepest=2, widest=5)), placed(rng, where, points, radius)
    drawn = case(layers, points, region)
    some = measures(rng, inputs, drawn.oracles[0].free)  # type: ignore[attr-defined]
    return replace(drawn, measures=(*some, *[PLAIN] * len(some)))


def placed(rng: Generator, where: str, points: np.ndarray, radius: float) -> Where:
    """A region with ends, cut to a range half of the time where it is a ball."""
    if where == "polytope":
        return polytope(rng, points)
    if where == "box":
        lower, upper = ((points + s * radius * rng.uniform(0, 1, points.shape))[0].tolist() for s in (-1, 1))
        return Where("box", lower=tuple(lower), upper=tuple(upper))
    if rng.random() < 0.5:
        return Where(where, radius)
    return Where(where, radius, float(points.min()) - 0.3 * radius, float(points.max()) + 0.6 * radius)


def run(count: int, seed: int) -> list[tuple[str, str, Tally]]:
    """So many questions, the cells in turn: region, scope, and what came of all questions there."""
    found: dict[tuple[str, str], Tally] = {}
    for index in range(count):
        cell = CELLS[index % len(CELLS)]
        tally, attempt = Tally(), 0
        while not tally.counts["questions"]:  # else it has too many pieces: another network
            with suppress(TooMany):
                ask(cell, np.random.default_rng([seed, index, attempt]), tally)
            attempt += 1
        for fault in tally.faults:
            fault.update(cell=[str(part) for part in cell], seed=seed, index=index, attempt=attempt - 1)
        found.setdefault(cell[2:], Tally()).add(tally)
    return [(*place, tally) for place, tally in sorted(found.items())]
