"""Asks lipreg what an oracle knows, and compares: no upper end below the truth, no lower end above it.

A refusal, a lipreg error that says what is wrong with the question, is no comparison and no fault; any other exception is
a fault.
"""

from __future__ import annotations

import itertools
import math
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from lipreg import (
    AllLogits,
    AllMargins,
    AllPairs,
    Bound,
    Box,
    CertifiedInterval,
    Combination,
    L1Ball,
    L2Ball,
    LinfBall,
    LocalLipschitz,
    Logit,
    Margin,
    Vector,
    capture,
    certify,
)
from lipreg.errors import CrossingBounds, LipregError
from lipreg.estimators import ESTIMATORS, Effort, frozen_analysis
from lipreg.graph import Graph
from lipreg.outputs import Output
from lipreg.regions import Region
from tests.attacks.inner import compare_inner
from tests.attacks.oracle import Functional, Oracle, Where, functional
from tests.attacks.programs import Affine, Program, Relu
from tests.attacks.tally import Tally
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
METHODS = (("interval",), ("ball",), ("crown",), ("ball", "interval"), None)
"""Pre-activation methods behind the closed forms."""
CLOSED = (
    "spectral",
    "frobenius",
    "affine_relu",
    "abs_chain",
    "fastlip",
    "jacobian_crown",
    "deviation",
    "mixing",
    "random_points",
)
"""What takes all reference points at once, in milliseconds."""
SEARCHES = (
    "lp",
    "lp_no_triangle",
    "mip",
    "branch_and_bound",
    "mip_pointed",
    "lipmip",
    "lipsdp",
    "lipsdp_global",
    "seqlip",
    "sampling",
)
UNITS = 24
"""Above, semidefinite programs and phases one by one are left out."""
EFFORT = Effort(seconds=600.0, nodes=300)
"""Ends by nodes and not by the clock, so that a run can be repeated."""


class Knows(Protocol):
    """Who knows the truth at a point."""

    @property
    def outputs(self) -> int: ...

    def regional(self, functional: Functional, p: float) -> Constant: ...

    def pointed(self, functional: Functional, p: float) -> Constant: ...

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
    """

    module: nn.Module
    program: Program
    points: np.ndarray
    where: Where
    questions: int = 4
    searches: int = 3
    scopes: tuple[str, ...] = SCOPES
    oracles: tuple[Knows, ...] = ()

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

    def problem(self, case: Case) -> LocalLipschitz:
        return LocalLipschitz(
            region(case.where, case.points[0].shape),
            output(self.name, self.outputs, self.label),
            self.scope,  # type: ignore[arg-type]
            self.p,
            functional(self.name, self.outputs).q,
        )

    def truth(self, oracle: Knows) -> Constant:
        told = functional(self.name, self.outputs, self.label)
        return oracle.regional(told, self.p) if self.scope == "regional" else oracle.pointed(told, self.p)


def attack(case: Case, rng: np.random.Generator, tally: Tally) -> None:
    """Asks the estimators about a case and enters what they said."""
    oracles = case.oracles
    asked = questions(oracles[0].outputs, case.scopes, rng)
    x = torch.from_numpy(case.points)
    with faults(tally, what="capture"):
        graph = capture(case.module, x).frozen()
        for question in itertools.islice(asked, case.questions):
            truths = [question.truth(oracle) for oracle in oracles]
            tally.counts["questions"] += len(oracles)
            _closed_forms(case, graph, question, x, truths, oracles, rng, tally)
        for question in itertools.islice(asked, case.searches):
            truth = question.truth(oracles[0])
            tally.counts["questions"] += 1
            _search(case, question, x[:1], truth, oracles[0], rng, tally)
        exact = [oracle for oracle in oracles if isinstance(oracle, Oracle)]
        if len(exact) == len(oracles):
            compare_inner(graph, region(case.where, case.points[0].shape), x, exact, tally)


def questions(outputs: int, scopes: Sequence[str], rng: np.random.Generator) -> Iterator[Question]:
    """The grid of questions in random order."""
    grid = list(itertools.product(scopes, NORMS, FUNCTIONALS))
    for at in rng.permutation(len(grid)):
        scope, p, name = grid[at]
        margins = name in ("margin", "all_margins", "all_pairs")
        if (p, name) != (math.inf, "vector 2") and not (margins and outputs < 2):
            yield Question(scope, p, name, int(rng.integers(outputs)), outputs)


@contextmanager
def faults(tally: Tally, **what: Any) -> Iterator[None]:
    """Counts what lipreg raises: refusals, ends that cross, and all else."""
    try:
        yield
    except CrossingBounds as error:
        tally.fault("crossing", said=str(error)[:300], **what)
    except LipregError as error:
        tally.counts["refused"] += 1
        tally.counts[f"refused: {type(error).__name__}"] += 1
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "lipreg" in f.filename]
        if not frames:
            raise
        where = f"{frames[-1].filename.rpartition('lipreg/')[2]}, {frames[-1].name}"
        tally.fault("crashed", said=f"{type(error).__name__}: {error} ({where})"[:300], **what)


def _closed_forms(
    case: Case,
    graph: Graph,
    question: Question,
    x: torch.Tensor,
    truths: Sequence[Constant],
    oracles: Sequence[Knows],
    rng: np.random.Generator,
    tally: Tally,
) -> None:
    problem, labels = question.problem(case), torch.full((len(x),), question.label)
    for at in rng.permutation(len(METHODS))[:3]:
        methods = METHODS[at]
        with faults(tally, what=f"analysis by {methods}", question=problem.sentence()):
            analysis = frozen_analysis(graph, problem, x, labels, methods)
            for name in CLOSED:
                method = ESTIMATORS.find(name)
                if method.uncovered(problem) is None:
                    what = {"estimator": name, "methods": methods, "question": problem.sentence()}
                    with faults(tally, **what):
                        enter(method.intervals(analysis, EFFORT), truths, oracles, tally, what)


def _search(
    case: Case,
    question: Question,
    x: torch.Tensor,
    truth: Constant,
    oracle: Knows,
    rng: np.random.Generator,
    tally: Tally,
) -> None:
    problem, label = question.problem(case), torch.full((1,), question.label)
    able = [name for name in SEARCHES if ESTIMATORS.find(name).uncovered(problem) is None]
    if case.units > UNITS:
        able = [name for name in able if name not in ("lipsdp", "lipsdp_global", "seqlip")]
    for name in rng.permutation(able)[:2].tolist():
        what = {"estimator": name, "question": problem.sentence()}
        with faults(tally, **what):
            found = certify(case.module, problem, x, label, estimator=Bound(name), effort=EFFORT)
            enter(found, [truth], [oracle], tally, what)


def enter(
    found: Sequence[CertifiedInterval],
    truths: Sequence[Constant],
    oracles: Sequence[Knows],
    tally: Tally,
    what: dict[str, Any],
) -> None:
    """Compares intervals at all points; witnesses must be points of the region."""
    for i, (interval, truth, oracle) in enumerate(zip(found, truths, oracles, strict=True)):
        tally.compare(interval, truth, point=i, **what)
        if interval.witness is not None:
            tally.counts["witness"] += 1
            tally.counts["witness outside"] += not oracle.holds(interval.witness.point)


def region(where: Where, shape: tuple[int, ...]) -> Region:
    """The region as lipreg has it."""
    if where.kind == "box":
        return Box(*(torch.tensor(end, dtype=torch.float64).reshape(shape) for end in (where.lower, where.upper)))
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
