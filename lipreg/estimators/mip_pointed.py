"""The exact pointed constant, by Dinkelbach's method over forward-only MIPs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipreg.bounds import Analysis, analyse, interval_jacobian
from lipreg.errors import UnsupportedRequest
from lipreg.estimators.base import ROUNDING, register
from lipreg.estimators.point_search import ExactEstimator, PointSearch
from lipreg.problem import APART_OUTPUTS, PlacedProblem
from lipreg.regions import PlacedRegion
from lipreg.results import CertifiedInterval, Status

if TYPE_CHECKING:
    from lipreg.milp import Encoding
    from lipreg.milp.folding import Units

TOLERANCE = 1e-6
"""Relative widening of the final bound, for the solver's closing gap."""
FEASIBILITY = 1e-10
"""Tolerance of the solver's rows and integers: what it lets through is divided by the inner radius."""
RADII = 40
"""How many inner radii are tried, spaced geometrically from the whole reach down to 1e-8 of it."""


@register("mip_pointed")
class PointedMixedInteger(ExactEstimator):
    r"""sup over x in X of |c . (f(x) - f(x0))| / |x - x0|_p, for p in {inf, 1}: exact, or what the budget proves.

    With r(x) = s c . (f(x) - f(x0)), s = 1 or -1, let F(t) = max over X of r(x) - t |x - x0|_p, a MIP with forward rows
    only. If x attains F(t) > 0, its quotient is above t and becomes the next t (Dinkelbach 1967; superlinear). At the end
    F(t) is 0 up to the solver's tolerances, and those divide by the distance: so the proof splits X at an inner radius,

        quotient <= t + F(t) / radius       for |x - x0|_p >= radius,
        quotient <= near(radius)            for |x - x0|_p <= radius,

    near being the interval Jacobian over the inner box, over the directions that X leaves open. Where f - f(x0) is
    positively homogeneous in the inner box (every kink in it goes through x0), quotients do not change along rays, so the
    first line covers the inner part too. The radius is chosen to give the smallest bound.

    Source: the constant that Avant & Morgansen 2020, 2023 bound.
    """

    scopes = ("pointed",)
    source = "Dinkelbach 1967 over the forward half of LipMIP"

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "dual_bound": TOLERANCE, "feasibility": FEASIBILITY}

    def search(self, search: PointSearch) -> CertifiedInterval:
        from lipreg.milp import encode_rise

        if search.families[0].signs:
            raise UnsupportedRequest(
                f"the norm into l1 of {search.local.placed.rows.shape[1]} outputs",
                where=f"estimator {self.name!r}",
                accepted=f"up to {APART_OUTPUTS} outputs: each combination of their signs is a functional of its own",
                todo="Ask for q = inf, AllLogits() or AllPairs()",
            )
        inner = _inner(search.apart)
        for row in search.open_families():
            if search.closed(row):
                continue  # a witness found meanwhile beats what this functional can reach
            if search.ended():
                break
            rise = encode_rise(search.apart, row)
            search.tighten(row, max(_dinkelbach(search, row, sign, rise, inner) for sign in (0, 1)))
        # where all programs are closed, what is left of a gap is the allowance for the solver's tolerances
        return search.conclude("MIP dual bound (Dinkelbach)", Status.BOUNDED)


@dataclass(frozen=True)
class _Inner:
    """near(radius) for every functional: ``bounds[sign]`` is ``(radii, rows)``, sign 0 for +, 1 for -."""

    radii: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray]


def _dinkelbach(search: PointSearch, row: int, sign: int, rise: Encoding, inner: _Inner) -> float:
    """An upper bound on the quotients of one functional with one sign; raises the search's witness on the way."""
    from lipreg.milp import get_solver

    feasibility = max(FEASIBILITY, get_solver(search.effort.solver).finest)
    local, program, factor = search.local, rise.program, 1.0 - 2.0 * sign
    region = local.placed.region
    unit_slack, distance_slack = _slack(search.apart, rise.units, row, feasibility)
    best = math.inf
    while not search.ended():
        price = search.lower
        cost = factor * program.cost
        cost[program.columns["distance"]] = -price
        priced = replace(program, cost=cost, offset=factor * program.offset)
        outcome = search.solve(priced, feasibility=feasibility)
        if outcome.infeasible:  # the reference point is feasible, so the solver is wrong
            search.status = Status.FAILED
            break
        gain = max(outcome.dual_bound, 0.0) + unit_slack + price * distance_slack
        far = (price + gain / inner.radii) * (1 + TOLERANCE)
        best = min(best, float(np.maximum(inner.bounds[sign][:, row], far).min()))
        if outcome.point is not None:
            x = region.center + torch.from_numpy(outcome.point[program.columns["d"]]).reshape(region.center.shape)
            search.offer(region.project(x.unsqueeze(1))[0])
        if outcome.status is not Status.PROVED or best * (1 - search.effort.gap) <= search.lower:
            break
        if search.lower <= price * (1 + 1e-9):
            break  # no better quotient than the price: the maximum was 0 within the tolerances
    return best


def _inner(local: Analysis) -> _Inner:
    """Interval Jacobians over shrinking boxes about the reference point, all in one batch."""
    placed, region = local.placed, local.placed.region
    reach = float(region.distance(placed.problem.p)[0])
    radii = reach * np.geomspace(1.0, 1e-8, RADII)
    width = torch.from_numpy(radii).reshape(-1, *(1,) * len(region.shape))
    center = region.center.expand(RADII, *region.shape)
    lower, upper = torch.maximum(region.lower, center - width), torch.minimum(region.upper, center + width)
    boxes = PlacedRegion(center, lower, upper, math.inf, math.inf)
    rows = placed.rows.expand(RADII, *placed.rows.shape[1:])
    inside = analyse(local.graph, PlacedProblem(placed.problem, boxes, rows, placed.functionals * RADII))
    low, high = (end.flatten(2) for end in interval_jacobian(inside)[0])
    up = (region.upper > region.center).flatten(1).unsqueeze(1)
    down = (region.lower < region.center).flatten(1).unsqueeze(1)
    rise = torch.maximum(high.clamp(min=0) * up, (-low).clamp(min=0) * down)
    fall = torch.maximum((-low).clamp(min=0) * up, high.clamp(min=0) * down)
    # along a direction each coordinate moves one way: its best slope, summed for p = inf, the largest for p = 1
    totals = [e.sum(-1) if placed.problem.p == math.inf else e.amax(-1) for e in (rise, fall)]
    along_rays = _homogeneous(inside, region, radii)[:, None]
    first, second = (np.where(along_rays, 0.0, t.numpy() * (1 + ROUNDING)) for t in totals)
    return _Inner(radii, (first, second))


def _homogeneous(inside: Analysis, region: PlacedRegion, radii: np.ndarray) -> np.ndarray:
    """For which radii every ray's part in the inner box has one quotient, found again at the radius itself, in X."""
    through_center = torch.ones(RADII, dtype=torch.bool)
    for _, node in inside.graph.relus():
        reach = inside.reach[node.source]
        through_center &= (~reach.unstable | (reach.value == 0)).flatten(1).all(-1)
    return through_center.numpy() & (radii <= float(region.cone_radius(inside.placed.problem.p)[0]))


def _slack(local: Analysis, units: Units, row: int, feasibility: float) -> tuple[float, float]:
    """What rows that are broken by the solver's tolerance can add: to the rise, and to the distance per unit of price.

    The solver sees rows scaled to size 1, so a row may be off by the tolerance times its largest term. A unit's output then
    is off by as much, and changes the rise by at most the gradient bound of that unit.
    """
    from lipreg.milp.folding import forward_forms

    region = local.placed.region
    room = torch.maximum(region.upper - region.center, region.center - region.lower)[0].flatten().numpy()
    reach = float(region.distance(local.placed.problem.p)[0])
    distance = reach if local.placed.problem.p == math.inf else reach + float(room.sum())
    if not len(units):
        return 0.0, feasibility * distance
    sizes = np.maximum(-units.lower, units.upper)
    terms = np.abs(forward_forms(local, units).matrix) * np.concatenate([room, sizes])
    rows = np.maximum(terms.max(1), sizes)
    gradients = np.zeros(len(units))
    for index, (low, high) in interval_jacobian(local).items():
        at = units.of(index)
        largest = torch.maximum(low.abs(), high.abs())[0, row].flatten().numpy()
        gradients[at] = largest[units.position[at]]
    return feasibility * float(rows @ gradients), feasibility * distance
