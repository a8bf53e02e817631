"""The certified radius: the distance that a reference point can move, in any direction, before its class can change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.budget import UNLIMITED, Budget, Stop
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators.base import ESTIMATORS, Estimator
from lipreg.estimators.evaluate import Network, frozen_analysis, frozen_graph, structure_of
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.graph import Graph
from lipreg.graph.accurate import margins
from lipreg.labels import classes
from lipreg.linalg import parse_norm
from lipreg.linalg.floats import EPS
from lipreg.options import check_number
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.records.endings import ENDED
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.results import Status
from lipreg.words import plain, sentences

BOUNDS = ("affine_relu", "fastlip", "jacobian_crown")
"""The default estimators, whose smallest bound counts, the cheapest first; they cover every network that is read."""
BALLS = {1.0: L1Ball, 2.0: L2Ball, math.inf: LinfBall}
"""The balls by their norms."""
TOLERANCE = 1e-5
"""Relative width at which the search for the largest radius ends."""
TOGETHER = 16
"""Points whose outputs are in memory at once."""
TRIALS = 60
"""The most radii that the search for the largest one tries at a point."""
ANALYSIS = 0.5
"""Share of the remaining time for the pre-activation bounds of a radius."""
SMALLEST = 1e-9
"""The smallest radius that is tried, beside the largest entry of the reference point."""


@dataclass(frozen=True)
class CertifiedRadius:
    """No point of the data range nearer than ``radius`` in l_p to the reference point has another class.

    Attributes:
        radius: 0 for a misclassified point.
        p: the norm of distances.
        label: the class.
        rival: the class that the proof would fail against first beyond ``radius``; None for a misclassified point.
        margin: f_label - f_rival at the reference point, in real arithmetic and rounded down.
        constant: the upper bound on the pointed Lipschitz constant of that margin over the ball of this radius.
        evaluations: the number of radii tried.
        detail: how the norms behind the bound were certified, and what was left out.
        status: what ended the search, where a limit did: a larger radius may hold; BOUNDED where it was done.
    """

    radius: float
    p: float
    label: int
    rival: int | None
    margin: float
    constant: float
    evaluations: int
    detail: str = ""
    status: Status = Status.BOUNDED


def certified_radii(
    network: Network,
    x: Tensor,
    y: Tensor | None = None,
    *,
    p: float | str = 2.0,
    bounds: Sequence[str] | str | None = None,
    preactivations: Sequence[str] | None = None,
    low: float | None = None,
    high: float | None = None,
    largest: float = 1e6,
    budget: Budget | float | None = None,
    on_radius: Callable[[CertifiedRadius], object] | None = None,
    stop: Stop | None = None,
) -> list[CertifiedRadius]:
    """The largest radius eps seen with eps L_j(eps) < margin_j for every rival class j, at each reference point.

    L_j(eps) is a bound on the pointed constant of f_y - f_j over the ball of radius eps: from x0, the margin falls by at
    most eps L_j(eps) inside the ball. Each radius that is returned was tested itself; that eps L_j(eps) grows with eps only
    guides the search. In float64 on the CPU.

    Args:
        network: a module, a ``capture(module, x)``, or its ``frozen()`` graph.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``; default: the network's own classes.
        p: norm of distances, 1, 2 or "inf".
        bounds: names of estimators with upper bounds, or one; the smallest counts for each rival, and those after the first
            are evaluated, in this order, for the rivals alone that limit the radius. None takes ``BOUNDS``: ``affine_relu``,
            ``fastlip`` and ``jacobian_crown``, as far as they cover network and question.
        preactivations: any of "ball", "interval", "crown", "alpha", intersected; default the first three, as far as they
            fit the network's size.
        low, high: the data range, which cuts the ball.
        largest: where the search stops.
        budget: for all points, a ``Budget`` or a number of seconds, of which each has its share; None for no limit of time.
            A search that it ends has the largest radius that it has proved, 0 where it has tried none.
        on_radius: a function that is called with each radius; all points are checked before the first radius is sought.
        stop: an event that ends the work after the point in hand; the radii so far are returned.

    Raises:
        UnsupportedRequest: an estimator that proves no upper bound in closed form, or does not cover norm and network.
        InvalidInput: labels that are no classes of the network, or a network with one output, which has none.

    Source: Avant & Morgansen 2023 for the pointed constant; here each margin is folded into the last layer.
    """
    norm = parse_norm(p, "certified_radii.p")
    limit = UNLIMITED if budget is None else Budget.of(budget, "certified_radii")
    limit = replace(limit, nodes=None).started()
    check_number(largest, "largest", "certified_radii", above=0.0)
    if bounds is None or isinstance(bounds, str):
        bounds = BOUNDS if bounds is None else (bounds,)
    if not isinstance(bounds, Sequence):
        got, accepted = (
            f"bounds={plain(repr(bounds), 80)}",
            "a name of an estimator with upper bounds, or several in a list",
        )
        raise InvalidInput(got, where="certified_radii", accepted=accepted)
    if y is not None and not isinstance(y, Tensor):
        raise InvalidInput(
            f"y of type {type(y).__name__}", where="certified_radii", accepted="a tensor of class labels"
        )
    estimators = [_closed(name) for name in bounds]
    if not estimators:
        raise InvalidInput("no bounds", where="certified_radii", accepted="names of estimators with upper bounds")
    region = BALLS[norm](min(1.0, largest), low=low, high=high)
    start = LocalLipschitz(region, AllMargins(0), scope="pointed", p=norm)
    subject = structure_of(network, x, y, "certified_radii")
    region.place(x.detach().to("cpu", torch.float64))
    if y is not None:
        outputs = math.prod(frozen_graph(subject).output.shape)
        if outputs > 1:  # one has no margins: ``AllMargins`` refuses it
            classes(y.to("cpu"), len(x), outputs, "certified_radii")
    radii: list[CertifiedRadius] = []
    for first in range(0, len(x), TOGETHER):
        part = x[first : first + TOGETHER]
        analysis = frozen_analysis(
            subject, start, part, None, ("interval",), "certified_radii", estimators=lambda _: estimators
        )
        # a point that rounding has put outside of the data range stands for the nearest one inside
        graph, part, subject = analysis.graph, analysis.placed.region.center, analysis.graph
        with torch.no_grad():
            class_of = _own_classes(graph, part) if y is None else y[first : first + TOGETHER].to("cpu")
            labels = classes(class_of, len(part), analysis.value_bounds[-1].value.shape[1], "certified_radii")
            ahead = margins(graph, part, labels, limit)
        for i in range(len(part)):
            if stop is not None and stop.is_set():
                return radii
            question = part[i : i + 1], labels[i : i + 1], ahead[i], norm, low, high, largest
            share = limit.share(1 / (len(x) - first - i))
            with torch.no_grad():
                radii.append(_search(graph, *question, estimators, preactivations, share))
            if on_radius is not None:
                on_radius(radii[-1])
    return radii


def _own_classes(graph: Graph, x: Tensor) -> Tensor:
    """The largest output at each point, in real arithmetic; the first of those that are equal."""
    largest = graph(x).argmax(1)
    ahead = margins(graph, x, largest)
    return torch.where((ahead < 0).any(1), ahead.argmin(1), largest)


def _fits(name: str) -> bool:
    estimator = get_estimator(name)
    return estimator.proves_at_once and "pointed" in estimator.scopes


def _closed(name: str) -> Estimator:
    estimator = get_estimator(name)
    if not _fits(name):
        raise UnsupportedRequest(
            f"estimator {name!r}",
            where="certified_radii",
            accepted=f"closed-form upper bounds in pointed scope: {', '.join(filter(_fits, ESTIMATORS.offered()))}",
        )
    return estimator


def _search(
    graph: Graph,
    x: Tensor,
    label: Tensor,
    ahead: Tensor,
    p: float,
    low: float | None,
    high: float | None,
    largest: float,
    estimators: Sequence[Estimator],
    preactivations: Sequence[str] | None,
    budget: Budget,
) -> CertifiedRadius:
    """Brackets the largest radius: from one that holds or fails the growth of L shows where the next one lies."""
    own_class = int(label)
    rivals = [j for j in range(len(ahead)) if j != own_class]
    ahead = ahead[rivals]
    worst = int(ahead.argmin())
    failed = CertifiedRadius(0.0, p, own_class, None, float(ahead[worst]), math.inf, 0)
    if not ahead[worst] > 0:
        return failed
    best = replace(failed, rival=rivals[worst])
    scale = max(1.0, float(x.abs().max()))
    radius, holds, ceiling, tested = min(largest, 1e-3 * scale), 0.0, math.inf, 0
    over = None
    while holds < largest and ceiling > holds * (1 + TOLERANCE) and tested < TRIALS and radius > SMALLEST * scale:
        if (over := budget.stop_reason()) is not None:
            break
        tested += 1
        problem = LocalLipschitz(BALLS[p](radius, low=low, high=high), AllMargins(), scope="pointed", p=p)
        analysis = analyse(
            graph, problem.place(x, graph(x), label), preactivations, budget=partial(budget.share, ANALYSIS)
        )
        constants = _constants(analysis, estimators, ahead, budget)
        distances = ahead / constants * (1 - 4 * EPS)
        rival, beyond = int(distances.argmin()), float(distances.min())
        if radius < beyond:  # proved; and because L grows, nothing beyond margin / L can be
            holds, ceiling = radius, min(ceiling, beyond)
            ends = float(ahead[rival]), float(constants[rival])
            best = CertifiedRadius(radius, p, own_class, rivals[rival], *ends, tested, analysis.certificate())
            radius = min(largest, math.sqrt(holds * min(ceiling, 16 * holds)))
        else:  # not proved; L is smaller in the smaller ball of radius margin / L
            ceiling = min(ceiling, radius)
            radius = beyond * (1 - 1e-9) if beyond * (1 - 1e-9) > holds else math.sqrt(holds * ceiling)
    if over is None:
        return replace(best, evaluations=tested)
    words = f"{ENDED[over]} after {tested} {'radius was' if tested == 1 else 'radii were'} tried"
    return replace(best, evaluations=tested, detail=sentences(words, best.detail), status=over)


def _constants(analysis: Analysis, estimators: Sequence[Estimator], ahead: Tensor, budget: Budget) -> Tensor:
    """Bounds on the constant of each margin on its own, ``(rivals,)``: the smallest of all for the rival that limits the
    radius, of the others as many as show that they do not."""
    placed = analysis.placed
    analysis.find()  # once for all rivals
    alone = [
        analysis.for_question(replace(placed, coefficients=placed.rows[:, row : row + 1])) for row in range(len(ahead))
    ]

    def bound(row: int, method: Estimator) -> float:
        return max(1e-300, method.intervals(alone[row], budget)[0].upper)

    constants = torch.tensor([bound(row, estimators[0]) for row in range(len(ahead))], dtype=torch.float64)
    evaluated = [1] * len(ahead)
    while evaluated[worst := int((ahead / constants).argmin())] < len(estimators):
        constants[worst] = min(float(constants[worst]), bound(worst, estimators[evaluated[worst]]))
        evaluated[worst] += 1
    return constants
