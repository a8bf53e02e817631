"""Whether the ends of an estimator's intervals are true: below and above the exact constant, and attained."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.errors import CrossingBounds, UnsupportedRequest
from lipreg.estimators import ESTIMATORS
from lipreg.graph import capture
from lipreg.outputs import AllLogits, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.testing import networks
from lipreg.testing.domains import Array, Domain, domain_of, rise_norm, slope_norm
from lipreg.testing.failures import expect, expect_near, refused
from lipreg.testing.judged import ABSOLUTE, TOLERANCE, EstimatorUnderTest
from lipreg.testing.pieces import evaluate, jacobian
from lipreg.testing.questions import NORMS, POINTS, SCOPES, Question
from lipreg.testing.quotients import quotients

FEW_BOXES = Budget(30.0, nodes=400, gap=0.05)
"""Of searches in smooth networks, which no budget ends but one of gaps or boxes."""


def truth(judged: EstimatorUnderTest) -> None:
    """Both ends against the enumeration; bounds for every network, scope and norm, searches for a draw of these."""
    for question in questions_of(judged):
        if judged.bound:
            check_ends(judged, question, judged.answer(question))
            continue
        smooth = question.net in networks.SMOOTH
        budget = FEW_BOXES if smooth else judged.budget
        results = judged.certify(question.graph, question.problem, question.x, budget=budget)
        check_ends(judged, question, results)
        if judged.method.certificate is Certificate.BRACKET and not smooth:
            check_exact(judged, question, results)
        _check_against_bounds(judged, question, results)


def questions_of(judged: EstimatorUnderTest) -> Iterator[Question]:
    """The questions that are drawn for an estimator and that it takes.

    Of a search one for each network and scope and norm in turn: the one whose region and output came up least so far.
    """
    if judged.bound:
        for net in judged.nets:
            for scope, p in judged.declared_scopes_and_norms:
                yield from filter(judged.covers, judged.questions.about(net, scope, p))
        return
    counts: Counter[tuple[str, str]] = Counter()
    for scope, p, net in judged.each(judged.nets):
        taken = judged.covered_questions(net, scope, p)
        if net in networks.SMOOTH and not taken:
            continue
        expect(taken, f"{judged.name} takes no question of {net} in {scope} scope with p={p:g}")
        question = min(taken, key=lambda q: counts["region", q.region] + counts["output", q.output])
        counts.update((("region", question.region), ("output", question.output)))
        yield question


def check_ends(judged: EstimatorUnderTest, question: Question, results: list[CertifiedInterval]) -> None:
    """Each end of each interval against the truth, and what its certificate promises.

    Args:
        judged: the estimator.
        question: the question.
        results: its intervals, one for each of the ``POINTS`` reference points.
    """
    expect(len(results) == POINTS, f"{judged.name}: {question}: {len(results)} intervals for {POINTS} points")
    for point, result in enumerate(results):
        low, high = question.truth(point)
        place = f"{judged.name}: {question} at x={question.x[point].tolist()}"
        here = f"{place}: [{result.lower}, {result.upper}] where the constant is in [{low}, {high}]"
        expect(result.upper >= low * (1 - TOLERANCE) - ABSOLUTE, f"{here}: the upper end is below the constant")
        expect(result.lower <= high * (1 + TOLERANCE) + ABSOLUTE, f"{here}: the lower end is above the constant")
        match judged.method.certificate:
            case Certificate.UPPER:
                expect(result.upper < math.inf and result.lower == 0.0, f"{here}: it says that it gives an upper end")
            case Certificate.LOWER:
                expect(result.upper == math.inf, f"{here}: it says that it gives a lower end")
            case Certificate.ESTIMATE:
                number = result.estimate
                message = f"{place}: it says that it gives an estimate, not {number}"
                expect(number is not None and math.isfinite(number), message)
        expect(result.subject, f"{here}: it names no subject, so that it may be compared with any other")
        # an estimate may say that what it is made of has failed
        failed = result.status is Status.FAILED and judged.method.certificate is not Certificate.ESTIMATE
        expect(not failed, f"{here}: {judged.name} says that it failed")
        met = result.status is not Status.PROVED or result.certificate is Certificate.EXACT
        expect(met, f"{here}: called proved, and its ends do not meet")
        if result.certificate is Certificate.EXACT and low == high:
            expect_near(result.upper, high, f"{here}: called exact", 2e-5, 1e-9)
        if result.witness is not None:
            check_witness(question, point, result, place)


def check_witness(question: Question, point: int, result: CertifiedInterval, place: str) -> None:
    """The witness lies in the region and attains what it claims, by autograd on the module itself.

    Args:
        question: the question.
        point: index of the reference point.
        result: the interval with the witness.
        place: estimator, question and point, as messages begin.
    """
    assert result.witness is not None
    x0, where, x = question.x[point].numpy(), question.domain(point), np.array(result.witness.point)
    a, b = where.facets()
    inside = ((x >= where.lower - 1e-9) & (x <= where.upper + 1e-9)).all()
    inside &= np.linalg.norm(x - x0, where.norm) <= where.radius + 1e-9 and (a @ (x - x0)[where.free] <= b + 1e-9).all()
    expect(inside, f"{place}: the witness {x.tolist()} is outside of the region")
    rows, p, q = question.rows(point), question.p, question.problem.q
    if question.scope == "pointed":
        attained = float(quotients(question.module, where, x[None], rows, p, q, question.units)[0])
    else:
        attained = slope_norm(jacobian(question.module, x)[:, where.free] * question.weights, rows, p, q)
    # near x0 the rounding of f is a rise of its own
    size, apart = np.abs(evaluate(question.module, x[None])).max(), np.linalg.norm((x - x0) / question.units, p)
    noise = 1e-15 * float(size / apart) if question.scope == "pointed" else 0.0
    message = f"{place}: what the witness {x.tolist()} attains"
    expect_near(result.witness.attained, attained, message, absolute=1e-12 + 16.0 * noise)
    expect(result.lower <= result.witness.attained, f"{place}: the lower end {result.lower} is not attained")


def check_exact(judged: EstimatorUnderTest, question: Question, results: list[CertifiedInterval]) -> None:
    """Networks this small are searched to the end; max pools may tie on an open set, so that no point attains the end.

    The pointed constant of a whole output in l2 is a convex maximum on every piece, and may be bounded from two sides only.

    Args:
        judged: the estimator, whose budget is ample.
        question: the question.
        results: its intervals, one for each reference point.
    """
    if question.scope == "pointed" and question.problem.q == 2.0:
        return
    for point, result in enumerate(results):
        low, high = question.truth(point)
        tied = result.status is Status.UNCONFIRMED and question.net.startswith("pooled")
        message = (
            f"{judged.name}: {question}: {result} where the constant is in [{low}, {high}]: not searched to the end, "
            f"as BRACKET promises of networks this small"
        )
        expect(result.certificate is Certificate.EXACT or (tied and result.lower >= low * (1 - 1e-5)), message)


def _check_against_bounds(judged: EstimatorUnderTest, question: Question, results: list[CertifiedInterval]) -> None:
    """No proved bound of lipreg's own contradicts a search, however slightly; somebody's may be half written."""
    for name, other in ESTIMATORS.own().items():
        judges = EstimatorUnderTest(name, other, judged.questions, judged.budget)
        if judges.bound is None or not judges.covers(question):
            continue
        for result, proved in zip(results, judged.answer(question, name), strict=True):
            try:
                result.intersect(proved)
            except CrossingBounds as error:
                expect(False, f"{judged.name}: {question}: contradicts {name}: {error}")


FINE = 1e-6
"""A radius at which distances are the plain ones; at a larger one they are in units, where these are covered."""


def one_piece(judged: EstimatorUnderTest) -> None:
    """Over a region within one linear piece the constant is the Jacobian's own norm, and a search has nothing to search."""
    nets = [net for net in ("line", "deep", "residual") if net in judged.nets]
    regions = (LinfBall(FINE), LinfBall(1e-3), L1Ball(FINE), L1Ball(1e-3))
    for scope, p, (net, region) in judged.each(itertools.product(nets, regions), 1):
        module = networks.network(net)
        x = torch.full((1, networks.input_size(module)), 0.21, dtype=torch.float64)
        slope = jacobian(module, x[0].numpy())
        weighed = judged.method.weighted and region.radius > FINE
        units = np.linspace(2.0, 3.0, x.shape[1]) if weighed else np.ones(x.shape[1])
        exact = slope_norm(slope * units, np.eye(len(slope)), p, None)
        problem = LocalLipschitz(region, AllLogits(), scope, p, scale=units.tolist() if weighed else None)  # type: ignore[arg-type]
        (result,) = judged.certify(module, problem, x)
        distances = f", scale={problem.scale}" if weighed else ""
        here = f"{judged.name}: {net} within one piece, {scope}, p={p:g}, {region}{distances}: {result}"
        expect(result.upper >= exact * (1 - TOLERANCE), f"{here}: the upper end is below the slope {exact}")
        expect(result.lower <= exact * (1 + TOLERANCE), f"{here}: the lower end is above the slope {exact}")
        if judged.method.certificate is Certificate.BRACKET:
            expect(result.certificate is Certificate.EXACT, f"{here}: not exact")


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 9), nn.Linear(9, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.c(h + torch.relu(self.b(h)))


LARGER: dict[str, Callable[[], nn.Module]] = {
    "a chain of 5, 12, 12 and 4": lambda: networks.mlp(5, 12, 12, 4),
    "a chain of 5, 9, 9 and 4 with branches": _Branches,
    "a convolution with batch norm and max pools": lambda: nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(12, 4)),
    ),
    "a leaky convolution": lambda: nn.Sequential(
        *(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 3, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(18, 3)),
    ),
}
"""Networks beyond enumeration."""
SEARCHED = 1.0
"""Seconds of a search at a network beyond enumeration."""


def larger_networks(judged: EstimatorUnderTest) -> None:
    """No upper end below a slope that the network itself has between two points of the region."""
    if judged.method.certificate in (Certificate.LOWER, Certificate.ESTIMATE):
        return
    for turn, (scope, p, (place, label)) in enumerate(judged.each(enumerate(LARGER))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(judged.questions.seed + place)
            net = LARGER[label]().double().eval()
        x = torch.linspace(-0.4, 0.5, networks.input_size(net), dtype=torch.float64).unsqueeze(0)
        if not judged.takes_network((captured := capture(net, x)).frozen()):
            continue
        region = (LinfBall(0.4, low=-0.6), L2Ball(0.7), L1Ball(0.9))[(turn + place) % 3]
        kind = Vector() if judged.method.vector and turn % 2 else AllLogits()
        q = None if not kind.joint else p if p in judged.method.output_norms else judged.method.output_norms[-1]
        try:
            problem = LocalLipschitz(region, kind, scope, p, q)  # type: ignore[arg-type]
            judged.method.check(problem)
        except UnsupportedRequest:
            continue
        where = domain_of(region, x[0].numpy())
        d = _displacements(where, 1000, np.random.default_rng(turn))
        start = np.zeros_like(d) if scope == "pointed" else d[::-1] if turn % 2 else d * 0.999
        change = evaluate(net, where.points(d)) - evaluate(net, where.points(start))
        apart = np.linalg.norm(d - start, p, axis=1)
        rise = rise_norm(change, None if kind.joint else np.eye(change.shape[1]), problem.q)
        met = float((rise[apart > 1e-6] / apart[apart > 1e-6]).max())
        (result,) = judged.certify(captured, problem, x, budget=Budget(SEARCHED))
        message = f"{judged.name}: {problem.sentence()} of {label}: {result.upper}, and two points have slope {met}"
        expect(result.upper >= met * (1 - 1e-7), message)


def _displacements(where: Domain, count: int, rng: np.random.Generator) -> Array:
    """Displacements ``(count, inputs)`` within a ball that a box cuts, many of them on its border."""
    d = rng.normal(size=(count, len(where.center)))
    d[::2] = np.sign(d[::2])
    slack = np.where(d > 0, where.upper - where.center, where.center - where.lower)
    far = np.minimum((slack / np.abs(d)).min(1), where.radius / np.linalg.norm(d, where.norm, axis=1))
    return d * (far * np.maximum(rng.uniform(size=count), rng.uniform(size=count)))[:, None]


def refusals(judged: EstimatorUnderTest) -> None:
    """Questions and networks that it does not declare are refused before any work, and others are named."""
    shallow, x = networks.network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    for scope in SCOPES:
        for p in NORMS.values():
            for kind in (Logit(0), Vector()):
                problem = LocalLipschitz(LinfBall(0.5), kind, scope, p, math.inf if kind.joint else None)  # type: ignore[arg-type]
                here = f"{judged.name}: {problem.sentence()}"
                covered = judged.declares(scope, p) and (judged.method.vector or not kind.joint)
                if covered and (problem.q is None or problem.q in judged.method.output_norms):
                    judged.method.check(problem)
                    continue
                with refused(UnsupportedRequest, here, judged.name):
                    judged.certify(shallow, problem, x)
    for net in networks.EVERY:
        if net in judged.nets:
            continue
        module, (scope, p) = networks.network(net), judged.declared_scopes_and_norms[0]
        x = torch.full((1, networks.input_size(module)), 0.1, dtype=torch.float64)
        with refused(UnsupportedRequest, f"{judged.name}: {net}, which it does not declare", judged.name):
            judged.certify(module, LocalLipschitz(LinfBall(0.5), Logit(0), scope, p), x)  # type: ignore[arg-type]
