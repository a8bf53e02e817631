"""Branch and bound: the exact constant, regional or pointed, in all three norms, without a mixed-integer solver."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipreg.bounds import Analysis, find_degeneracies
from lipreg.budget import Budget
from lipreg.estimators.base import EstimatorTask, lower_interval, register
from lipreg.estimators.exact.by_outputs import WHY, by_outputs
from lipreg.estimators.exact.by_pieces import SMALL, UNSEEN, by_search_and_pieces
from lipreg.estimators.exact.confirmation import by_search
from lipreg.estimators.exact.exact_estimator import START_SHARE, ExactEstimator
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.exact.splitting import by_splitting
from lipreg.estimators.exact.starting import late
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.sampling import hunt_on
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.graph import Affine, Curved, Graph, MaxPool, Relu, node_size
from lipreg.linalg import has_formula
from lipreg.linalg.operators import SIGNS, signed_side
from lipreg.problem import APART_OUTPUTS, LocalLipschitz
from lipreg.results import EXACT_TOLERANCE, CertifiedInterval, Status
from lipreg.search import SearchOutcome
from lipreg.search.base import TOLERANCE
from lipreg.search.hunt import WitnessSearch, first_turn
from lipreg.search.incumbent import HUNTED
from lipreg.search.screen import PointEvaluator
from lipreg.words import counted, sentences

WITNESSES = 0.1
"""Share of a point's time for a hunt before anything else, where closed forms come before the search."""
POINTS = 64
"""Random points that a search starts from without a prior interval. It evaluates more as it goes, so few will do."""
FOLDING = 64.0
"""Passes through the network that folding costs for each unstable unit, about; a hunt before it has ``HUNTED`` of them."""


@register("branch_and_bound")
class BranchAndBound(ExactEstimator):
    """The exact constant, or the interval proved when the budget ends.

    One search over the phases of the unstable units for all functionals at once, best bound first, with one incumbent
    between them; see ``lipreg.search``. The upper end is the largest bound of any part of the region, each proved in
    float64 with its rounding; the lower end is a point, re-evaluated on the network.

    In pointed scope nodes lie between two distances from the reference point too, and quotients are bounded in place of
    gradients. For a whole output with q = 2 (and q = 1 beyond ``APART_OUTPUTS`` outputs) the result is an interval, but
    where at most two inputs can move.

    Networks with curves (tanh, GELU and others): the search splits boxes of inputs too, in regional scope and bounded
    regions, and its time grows with their number: with few inputs any gap is reached, with many hardly one. Where ReLUs
    end in curves, outputs that each read one of them, steeper piecewise linear functions take their place first.

    The regional constant of linear pieces is exact for networks whose kinks are in general position (Jordan & Dimakis
    2020, Theorem 3), which holds with probability 1; otherwise the maximising pattern may have no interior, and the
    status is UNCONFIRMED. Where one or two inputs can move, linear pieces are enumerated after a first share of the time,
    whatever position the kinks have, in pointed scope too.
    """

    scopes = ("regional", "pointed")
    kinds = (Affine, Relu, MaxPool, Curved)
    norms = output_norms = (1.0, 2.0, math.inf)
    unbounded_regions = True
    source = "branch and bound on activation phases, with interval, semidefinite and Lagrangian bounds"

    def uncovered(self, problem: LocalLipschitz, graph: Graph | None = None) -> tuple[str, str] | None:
        refusal = super().uncovered(problem, graph)
        if refusal is None and graph is not None and graph.curves():
            if problem.scope == "pointed":
                return "a pointed question about a network of Curved nodes", "regional ones"
            if not problem.region.bounded:
                return "a network of Curved nodes over all of R^n", "bounded regions"
        return refusal

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return by_splitting(work, self.at_point) if work.analysis.graph.curves() else super().answer(work)

    def uncovered_question(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        if problem.scope == "pointed" and not problem.region.bounded:
            return ("a region without ends, all of R^n,", "bounded regions in pointed scope")
        return super().uncovered_question(problem)

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "closed": TOLERANCE}

    def exact(self, problem: LocalLipschitz) -> bool:
        return problem.scope == "regional" or problem.q != 2.0

    def condition(self, problem: LocalLipschitz) -> str:
        if problem.scope == "pointed":
            beyond = f"up to {APART_OUTPUTS} outputs, an interval beyond" if problem.q == 1.0 else ""
            return "of the outputs one by one" if problem.q == 2.0 else beyond
        over_inputs = problem.q is not None and signed_side(problem.p, problem.q) == -1
        return f"up to {SIGNS} measured inputs, an interval beyond" if over_inputs else ""

    def start(self, local: Analysis, budget: Budget, settings: Settings) -> CertifiedInterval:
        if local.placed.problem.scope == "pointed" and local.placed.problem.q == 2.0:
            return super().start(local, budget, settings)  # its search moves the outputs' own witnesses
        region, units = local.placed.region, int(local.unstable_units())
        (generator,) = region.generators(settings.seed)
        points = torch.cat([region.center.unsqueeze(1), region.sample(POINTS - 1, generator)], dim=1)[0]
        size = units + sum(map(node_size, local.graph.nodes))
        paid, share = HUNTED * FOLDING * units * size, budget.share(START_SHARE)
        forms_first = region.bounded and late(local, budget)
        if first_turn(local) <= paid or forms_first:
            hunt, hunted = WitnessSearch(PointEvaluator(local, budget.memory), generator), budget.share(WITNESSES)
            hunt.within(paid, lambda: share.stop_reason() is not None)
            if forms_first:  # closed forms come next, and they may leave no time
                hunt_on(hunt, hunted)
            # the best first, because there may be time for few; with a share of their own, whatever the hunt has taken
            points, share = torch.cat([hunt.best_points(POINTS), points]), budget.share(START_SHARE)
        return lower_interval(local, 0, best_witness(local, 0, points, budget=share))

    def search_point(self, search: PointSearch) -> CertifiedInterval:
        search.require_folding()
        if search.local.placed.problem.scope == "pointed":
            return _pointed(search)
        words = by_search_and_pieces(search, lambda budget: _of_rounding(search, budget))
        relaxed = "" if words == UNSEEN else _relaxed_norm(search.apart)
        result = search.conclude(Status.BOUNDED if relaxed else Status.UNCONFIRMED)
        if result.status not in (Status.UNCONFIRMED, Status.BOUNDED):
            return result
        if not relaxed and words in ("", UNSEEN):
            words = sentences(words, find_degeneracies(search.local).sentence())
        return replace(result, detail=sentences(result.detail, relaxed or words))


def _of_rounding(search: PointSearch, budget: Budget) -> str:
    """Searches, and returns that rounding leaves something open, in words; empty where it does not."""
    rounding = _search_of_phases(search, budget, "cell", "LP").rounding
    if rounding <= EXACT_TOLERANCE * float(search.uppers.max()):
        return ""
    return f"Rounding in float64 may be {rounding:.3g}: weights cancel, or differ by many orders"


def _pointed(search: PointSearch) -> CertifiedInterval:
    """The interval of a pointed search; it needs no general position: quotients are attained at degenerate kinks too."""
    words = by_search_and_pieces(search, lambda budget: _of_distances(search, budget))
    unclosed = Status.UNCONFIRMED if words in (UNSEEN, SMALL) else Status.BOUNDED
    result = search.conclude(unclosed)
    return replace(result, detail=f"{result.detail}. {words}") if result.status is unclosed and words else result


def _of_distances(search: PointSearch, budget: Budget) -> str:
    """Searches, and returns what may leave something open, in words; empty where time does."""
    if search.families[0].signs and search.local.placed.rows.shape[1] > 1:
        cells, words = by_outputs(search, budget), f"{WHY}: an interval"
        search.detail = "" if search.left_out else f"{counted(cells, 'linear piece')} settled by programs"
        return words
    outcome = _search_of_phases(search, budget, "linear piece", "programs")
    return "" if outcome.left_out else SMALL


def _search_of_phases(search: PointSearch, budget: Budget, of: str, by: str) -> SearchOutcome:
    outcome = by_search(search, budget, "branch and bound", search.progress)
    search.detail = "" if outcome.left_out else f"{counted(outcome.cells, of)} settled by {by}"
    return outcome


def _relaxed_norm(analysis: Analysis) -> str:
    """Why the norm of a single Jacobian is itself only bracketed, in words; empty where it has a formula."""
    problem, inputs = analysis.placed.problem, int((analysis.placed.weights[0] > 0).sum())
    if problem.q is None or has_formula(problem.p, problem.q, (analysis.placed.rows.shape[1], inputs)):
        return ""
    return f"From l_inf to l2 the signs of up to {SIGNS} inputs are tried; of {inputs} the upper end is a relaxation"
