"""The exact pointed constant, by Dinkelbach's method over forward-only MIPs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, analyse, interval_jacobian
from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators.base import register
from lipreg.estimators.exact.by_pieces import SMALL
from lipreg.estimators.exact.confirmation import for_solver
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.rounding import ROUNDING
from lipreg.graph.accurate import zeros
from lipreg.linalg.floats import EPS
from lipreg.milp import Encoding, Program, encode_rise, prove
from lipreg.problem import APART_OUTPUTS, LocalLipschitz, PlacedProblem
from lipreg.regions import PlacedRegion
from lipreg.results import CertifiedInterval, Status
from lipreg.words import sentences

TOLERANCE = 1e-6
"""Relative gap to which the bound is proved."""
FEASIBILITY = 1e-10
"""Tolerance of the solver's rows and integers, fine because the quotient of a sloppy point is a bad one."""
QUOTIENT = 1e-9
"""Relative growth of the best quotient that is worth another round."""
OUTSIDE = 1e-9
"""The relative distance outside of an l2 ball at which a point needs no more tangents: gains divide by small distances."""
INNER_SHARE = 0.25
"""Share of the remaining time for CROWN in the inner boxes."""
RADII = 40
"""The number of inner radii, spaced geometrically from the largest distance in the region down to 1e-8 of it."""


@register("mip_pointed")
class PointedMixedInteger(ExactEstimator):
    r"""sup over x in X of |c . (f(x) - f(x0))| / |x - x0|_p, for p in {inf, 1}: exact, or what the budget proves.

    Distances are in the question's units throughout, so that radii are too.
    With r(x) = s c . (f(x) - f(x0)), s = 1 or -1, let F(t) = max over X of r(x) - t |x - x0|_p, a MIP with forward rows
    only. If x attains F(t) > 0, its quotient is above t and becomes the next t (Dinkelbach 1967; superlinear). At the end
    a tree of linear programs, bounded by weak duality evaluated here, proves F(t) <= gain, with a gain near 0; no solver is
    trusted. A gain divides by the distance, so the proof splits X at an inner radius:

        quotient <= t + gain / radius       for |x - x0|_p >= radius,
        quotient <= near(radius)            for |x - x0|_p <= radius,

    near being the interval Jacobian over the inner box, over the directions that X allows. Where f - f(x0) is
    positively homogeneous in the inner box (every kink in it goes through x0), quotients do not change along rays, so the
    first line covers the inner part too. The radius is chosen to give the smallest bound. Around an l2 ball the
    programs have tangents, more of them wherever a point leaves it.

    Source: the constant that Avant & Morgansen 2020, 2023 bound.
    """

    scopes = ("pointed",)
    source = "Dinkelbach 1967 over the forward half of LipMIP"

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "closed": TOLERANCE, "feasibility": FEASIBILITY}

    def condition(self, problem: LocalLipschitz) -> str:
        return f"up to {APART_OUTPUTS} outputs, an interval beyond" if problem.q == 1.0 else ""

    def search_point(self, search: PointSearch) -> CertifiedInterval:
        if search.families[0].signs:
            raise UnsupportedRequest(
                f"the norm into l1 of {search.local.placed.rows.shape[1]} outputs",
                where=f"estimator {self.name!r}",
                accepted=f"up to {APART_OUTPUTS} outputs: each combination of their signs is a functional of its own",
                todo="Ask for q = inf, AllLogits() or AllPairs()",
            )
        inner = _inner(search.apart, search.remaining.share(INNER_SHARE))
        for row in search.open_families():
            if search.closed(row):
                continue  # a newer witness beats the bound of this functional
            if search.is_over():
                break
            rise = encode_rise(search.apart, row, search.remaining)
            upper = max(_dinkelbach(search, row, sign, rise, inner) for sign in (0, 1))
            search.tighten(upper, "tree of LP dual bounds (Dinkelbach)", row)
        # where all programs are closed, a remaining gap is rounding, divided by the inner radius
        result = search.conclude(Status.UNCONFIRMED)
        return (
            replace(result, detail=sentences(result.detail, SMALL)) if result.status is Status.UNCONFIRMED else result
        )


@dataclass(frozen=True)
class _Inner:
    """near(radius) for every functional: ``bounds[sign]`` is ``(radii, rows)``, sign 0 for +, 1 for -."""

    radii: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray]


def _dinkelbach(search: PointSearch, row: int, sign: int, rise: Encoding, inner: _Inner) -> float:
    """A proved upper bound on the quotients of one functional with one sign; raises the search's witness on the way."""
    best = math.inf
    while not search.is_over():
        price = search.lower
        outcome = search.solve(_priced(rise.program, sign, price), for_solver(search), feasibility=FEASIBILITY)
        if outcome.claims_infeasible:  # the reference point is feasible, so the solver is wrong
            search.status = Status.FAILED
            break
        if outcome.point is not None:
            search.offer(rise.points(outcome.point))
        tighter = rise.without(outcome.point, OUTSIDE)
        rise = tighter or rise
        if (tighter or search.lower > price * (1 + QUOTIENT)) and outcome.status is Status.PROVED:
            continue
        bound, tighter = _proved(search, row, sign, rise, inner)
        best, rise = min(best, bound), tighter or rise
        if search.status is not Status.PROVED or not (tighter or search.lower > price * (1 + QUOTIENT)):
            break  # no better quotient than the price: the maximum is 0
    return best


def _proved(search: PointSearch, row: int, sign: int, rise: Encoding, inner: _Inner) -> tuple[float, Encoding | None]:
    """The upper end at the present price, from a tree within the remaining budget; and rows that may lower it."""
    price = search.lower
    radii, near = inner.radii, inner.bounds[sign][:, row]
    aim = price * max(1 + TOLERANCE, 1 / (1 - search.budget.gap))
    # the gain that the aim allows at the largest radius within which the intervals already prove it
    within = radii[near <= aim]
    target = (aim - price) * float(within.max() if len(within) else radii.min()) / 2

    def better(point: np.ndarray) -> bool:
        search.offer(rise.points(point))
        return search.lower > price * (1 + QUOTIENT) or rise.without(point, OUTSIDE) is not None

    proof = prove(_priced(rise.program, sign, price), target, search.remaining, better)
    search.nodes += proof.nodes
    if proof.status not in (Status.PROVED, Status.BOUNDED):
        search.status = proof.status
    gain = max(proof.bound, 0.0) + rise.loss
    upper = float(np.maximum(near, price + gain / radii).min()) * (1 + ROUNDING)
    return upper, rise.without(proof.point, OUTSIDE) if proof.bound > target else None


def _priced(program: Program, sign: int, price: float) -> Program:
    """max s c . (f(x) - f(x0)) - price |x - x0|_p."""
    factor = 1.0 - 2.0 * sign
    cost = factor * program.cost
    cost[program.columns["distance"]] = -price
    return replace(program, cost=cost, offset=factor * program.offset)


def _inner(local: Analysis, budget: Budget) -> _Inner:
    """Interval Jacobians over shrinking boxes about the reference point, all in one batch."""
    placed, region = local.placed, local.placed.region
    radii = float(placed.farthest[0]) * np.geomspace(1.0, 1e-8, RADII)
    width = torch.from_numpy(radii).reshape(-1, *(1,) * len(region.shape)) * placed.counts
    if not placed.problem.plain:
        width = width * (1.0 + 2 * EPS)  # against rounding
    center = region.center.expand(RADII, *region.shape)
    down, up = torch.maximum(region.down, -width), torch.minimum(region.up, width)
    boxes = PlacedRegion.around(center, down, up, region.lower, region.upper)
    rows = placed.rows.expand(RADII, *placed.rows.shape[1:])
    inside = analyse(
        local.graph, PlacedProblem(placed.problem, boxes, rows, placed.functional_names * RADII), budget=budget
    )
    low, high = ((end * placed.counts).flatten(2) for end in interval_jacobian(inside)[0])
    down, up = (end.unsqueeze(1) for end in (region.displacement_ends[0] < 0, region.displacement_ends[1] > 0))
    rise = torch.maximum(high.clamp(min=0) * up, (-low).clamp(min=0) * down)
    fall = torch.maximum((-low).clamp(min=0) * up, high.clamp(min=0) * down)
    # along a direction each coordinate moves one way: its best slope, summed for p = inf, the largest for p = 1
    totals = [e.sum(-1) if placed.problem.p == math.inf else e.amax(-1) for e in (rise, fall)]
    along_rays = _homogeneous(inside, region, radii)[:, None]
    first, second = (np.where(along_rays, 0.0, t.numpy() * (1 + ROUNDING)) for t in totals)
    return _Inner(radii, (first, second))


def _homogeneous(inside: Analysis, region: PlacedRegion, radii: np.ndarray) -> np.ndarray:
    """For which radii every ray's part in the inner box has one quotient, that at the radius itself, in X."""
    units = None if inside.placed.problem.plain else inside.placed.counts
    cone = radii <= float(region.cone_radius(inside.placed.problem.p, units)[0])
    sources = [node.source for _, node in inside.graph.relus()]
    possible = {i: (inside.value_bounds[i].at[0] <= 0) & (inside.value_bounds[i].at[1] >= 0) for i in sources}
    if not (_all_at_kinks(inside, possible) & cone).any():
        return np.zeros(RADII, dtype=bool)
    certain = zeros(inside.graph, region.center)  # a value that is 0 in float64 need not be
    return _all_at_kinks(inside, {i: certain[i] for i in sources}) & cone


def _all_at_kinks(inside: Analysis, at_kink: dict[int, torch.Tensor]) -> np.ndarray:
    """For which radii the reference point is at the kinks of all unstable units."""
    through_center = torch.ones(RADII, dtype=torch.bool)
    for source, kinks in at_kink.items():
        through_center &= (~inside.value_bounds[source].unstable | kinks).flatten(1).all(-1)
    return through_center.numpy()
