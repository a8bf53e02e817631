"""What is asked: a network twice, in torch and as the oracles' program, and questions in lipreg's terms and in theirs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from lipreg import (
    AllLogits,
    AllMargins,
    AllPairs,
    Box,
    Combination,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Margin,
    Polytope,
    Vector,
    WholeSpace,
)
from lipreg.outputs import Output
from lipreg.regions import Region
from tests.attacks.oracle import PLAIN, Functional, Measure, Oracle, Where, functional
from tests.attacks.programs import Affine, Program, Relu
from tests.attacks.truths import Constant

NORMS = (1.0, 2.0, math.inf)
SCOPES = ("regional", "pointed")
FUNCTIONALS = (
    "logit",
    "margin",
    "all_logits",
    "all_margins",
    "all_pairs",
    "combination",
    "vector 1",
    "vector 2",
    "vector inf",
)


class Knows(Protocol):
    """Who knows the truth at a point."""

    @property
    def outputs(self) -> int: ...

    def regional(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant: ...

    def pointed(self, functional: Functional, p: float, measure: Measure = PLAIN) -> Constant: ...

    def holds(self, point: Sequence[float]) -> bool: ...


@dataclass(frozen=True, eq=False)
class Case:
    """A network twice, as a torch module and as the oracles' program, with reference points and a region.

    Attributes:
        points: ``(points, *shape)`` in float64.
        questions: how many the closed forms are asked.
        searches: how many the searches are asked, at the first point alone.
        scopes: that the oracles know.
        oracles: what knows the truth at each point; by default all linear pieces.
        measures: how distances are measured; each question takes one of them.
    """

    module: nn.Module
    program: Program
    points: np.ndarray
    where: Where
    questions: int = 3
    searches: int = 2
    scopes: tuple[str, ...] = SCOPES
    oracles: tuple[Knows, ...] = ()
    measures: tuple[Measure, ...] = (PLAIN,)

    def __post_init__(self) -> None:
        if not self.oracles:
            points = (tuple(point.ravel().tolist()) for point in self.points)
            found = tuple(Oracle(self.program, point, self.where) for point in points)
            object.__setattr__(self, "oracles", found)

    @property
    def units(self) -> int:
        """How many ReLUs there are."""
        widths = [len(step.offset) if isinstance(step, Affine) else 0 for step in self.program]
        return sum(w for w, after in zip(widths, self.program[1:], strict=False) if isinstance(after, Relu))


@dataclass(frozen=True)
class Question:
    """What is asked of a case, in lipreg's terms and in the oracle's."""

    scope: str
    p: float
    name: str
    label: int
    outputs: int
    measure: Measure = PLAIN

    def problem(self, case: Case) -> LocalLipschitz:
        units, shape = self.measure.units, case.points[0].shape
        return LocalLipschitz(
            region(case.where, shape),
            output(self.name, self.outputs, self.label),
            self.scope,  # type: ignore[arg-type]
            self.p,
            functional(self.name, self.outputs).q,
            scale=None if units is None else units[0] if len(set(units)) == 1 else np.reshape(units, shape).tolist(),
            measured=self.measure.among,
        )

    def truth(self, oracle: Knows) -> Constant:
        told = functional(self.name, self.outputs, self.label)
        return (oracle.regional if self.scope == "regional" else oracle.pointed)(told, self.p, self.measure)


def questions(
    outputs: int, scopes: Sequence[str], rng: np.random.Generator, measures: Sequence[Measure] = (PLAIN,)
) -> Iterator[Question]:
    """The grid of questions in random order."""
    grid = list(itertools.product(scopes, NORMS, FUNCTIONALS))
    for at in rng.permutation(len(grid)):
        scope, p, name = grid[at]
        margins = name in ("margin", "all_margins", "all_pairs")
        if margins and outputs < 2:
            continue
        measure = measures[at % len(measures)]
        if scope == "pointed":  # there distances are between all inputs
            measure = replace(measure, among=None)
        yield Question(scope, p, name, int(rng.integers(outputs)), outputs, measure)


def region(where: Where, shape: tuple[int, ...]) -> Region:
    """The region as lipreg has it."""
    if where.endless:
        return WholeSpace()
    if where.kind == "box":
        return Box(*(torch.tensor(end, dtype=torch.float64).reshape(shape) for end in (where.lower, where.upper)))
    if where.kind == "polytope":
        rows = np.array(where.rows)
        return Polytope(rows[:, :-1].tolist(), rows[:, -1].tolist(), low=where.low, high=where.high)
    ball = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}[where.kind]
    low, high = (None if math.isinf(end) else end for end in (where.low, where.high))
    return ball(where.radius, low=low, high=high)


def output(name: str, outputs: int, label: int) -> Output:
    """The output functional as lipreg has it."""
    match name.partition(" ")[0]:
        case "logit":
            return Logit(0)
        case "margin":
            return Margin(label, next(j for j in range(outputs) if j != label))
        case "all_logits":
            return AllLogits()
        case "all_margins":
            return AllMargins(label)
        case "all_pairs":
            return AllPairs()
        case "combination":
            return Combination((0.7, -1.3, 0.4, 1.1)[:outputs])
    return Vector()
