"""Asks lipreg what an oracle knows, and compares: no upper end below the truth, no lower end above it.

A refusal, a lipreg error that says what is wrong with the question, is no comparison and no fault; any other exception is
a fault.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lipreg import CertifiedInterval, capture, certify
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds, LipregError
from lipreg.estimators import ESTIMATORS, frozen_analysis, get_estimator
from lipreg.graph import Graph
from tests.attacks.cases import Case, Knows, Question, questions, region
from tests.attacks.inner import compare_inner
from tests.attacks.oracle import Oracle
from tests.attacks.tally import Tally
from tests.attacks.truths import Constant

METHODS = (("interval",), ("ball",), ("crown",), ("ball", "interval"), None)
"""Pre-activation methods behind the closed forms."""
LOCAL = ("affine_relu", "abs_chain", "fastlip", "jacobian_crown", "deviation", "mixing")
"""What takes all reference points at once, in milliseconds, from the pre-activations of any methods."""
ONCE = ("spectral", "frobenius", "random_points")
"""What does not depend on them, and is asked once."""
SEARCHES = (
    "usual",
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
"""What is asked at one point alone; "usual" is what ``certify`` does where no estimator is named."""
RARE = ("lipmip", "sampling")
"""Slow ones, left out of most draws."""
CONVERTED = ("frobenius@l2", "lipsdp@l2", "mixing@linf", "affine_relu@l1", "mip@l1", "branch_and_bound@l2")
"""Asked now and then where the question has another norm."""
UNITS = 24
"""Above, semidefinite programs and phases one by one are left out."""
BUDGET = Budget(600.0, nodes=300)
"""Ends by nodes and not by the clock, so that a run can be repeated."""


def attack(case: Case, rng: np.random.Generator, tally: Tally) -> None:
    """Asks the estimators about a case and enters what they said."""
    oracles = case.oracles
    asked = questions(oracles[0].outputs, case.scopes, rng, case.measures)
    x = torch.from_numpy(case.points)
    with faults(tally, what="capture"):
        graph = capture(case.module, x).frozen()
        for question in itertools.islice(asked, case.questions):
            truths = [question.truth(oracle) for oracle in oracles]
            tally.counts["questions"] += len(oracles)
            _closed_forms(case, graph, question, x, truths, oracles, tally)
        for question in itertools.islice(asked, case.searches):
            truth = question.truth(oracles[0])
            tally.counts["questions"] += 1
            _search(case, graph, question, x[:1], truth, oracles[0], rng, tally)
        exact = [oracle for oracle in oracles if isinstance(oracle, Oracle)]
        if len(exact) == len(oracles):
            compare_inner(graph, region(case.where, case.points[0].shape), x, exact, tally)


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
    tally: Tally,
) -> None:
    problem, labels = question.problem(case), torch.full((len(x),), question.label)
    proved: list[CertifiedInterval] = []
    for methods in METHODS:
        with faults(tally, what=f"analysis by {methods}", question=problem.sentence()):
            analysis = frozen_analysis(graph, problem, x, labels, methods)
            for name in (*LOCAL, *ONCE) if methods is None else LOCAL:
                method = ESTIMATORS.find(name)
                if method.uncovered(problem, graph) is None:
                    what = {"estimator": name, "methods": methods, "question": problem.sentence()}
                    with faults(tally, **what):
                        found = method.intervals(analysis, BUDGET)
                        enter(found, truths, oracles, tally, what)
                        # what an audit does with them; it raises where two contradict each other
                        proved = [a.intersect(b) for a, b in zip(proved or found, found, strict=True)]


def _search(
    case: Case,
    graph: Graph,
    question: Question,
    x: torch.Tensor,
    truth: Constant,
    oracle: Knows,
    rng: np.random.Generator,
    tally: Tally,
) -> None:
    problem, label = question.problem(case), torch.full((1,), question.label)
    able = [
        name
        for name in (*SEARCHES, *CONVERTED)
        if name == "usual" or get_estimator(name).uncovered(problem, graph) is None
    ]
    if rng.random() < 0.7:
        able = [name for name in able if name not in RARE]
    if case.units > UNITS:
        able = [name for name in able if not name.startswith(("lipsdp", "seqlip"))]
    for name in rng.permutation(able)[:2].tolist():
        what = {"estimator": name, "question": problem.sentence()}
        with faults(tally, **what):
            estimator = None if name == "usual" else name
            found = certify(case.module, problem, x, label, estimator=estimator, budget=BUDGET)
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
