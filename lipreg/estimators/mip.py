"""LipMIP: the exact regional constant by mixed-integer programming."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipreg.bounds import Analysis, find_degeneracies
from lipreg.estimators.base import ROUNDING, register
from lipreg.estimators.lp import relaxation
from lipreg.estimators.point_search import ExactEstimator, PointSearch
from lipreg.results import CertifiedInterval, Status, Witness

if TYPE_CHECKING:
    from lipreg.milp import Allowance, Encoding
    from lipreg.milp.folding import Units

TOLERANCE = 1e-6
"""Relative widening of the solver's dual bound, for its closing gap (1e-7) and its tolerances of rows and integers (1e-8 or
finer, on programs scaled to size 1); wider where big-M rows leak more than that (``milp.soundness``)."""
TIGHTEN_FROM = 12
"""Undecided units from which tighter pre-activation bounds pay for themselves; below, the MIP is as fast."""
SEPARATE_UP_TO = 200
"""Functionals that are solved one after another; more of them go into one program with selection binaries."""
TIGHTEN_SHARE = 0.2
"""Share of a point's time that tightening may take."""


@register("mip")
class MixedInteger(ExactEstimator):
    """The exact constant, or the interval proved when the budget ends.

    One program per functional. A functional whose cheap bound (the Jacobian's linear relaxation, then LP) is below the best
    witness is never solved; the others must beat that witness or prove that they cannot. The upper end is the solver's dual
    bound, widened by TOLERANCE; the incumbent never serves as a bound. Where big-M rows are so large that the solver's
    tolerance could move the value by more than that, the tolerance is tightened first, and what is left widens the bound.
    The lower end is a point inside the maximising activation cell, re-evaluated on the network.

    Exact for networks whose kinks are in general position (Jordan & Dimakis 2020, Theorem 3), which holds with
    probability 1; otherwise the maximising pattern may have no interior, and the status is UNCONFIRMED.

    Source: Jordan & Dimakis 2020 (LipMIP).
    """

    source = "Jordan & Dimakis 2020 (LipMIP)"

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "dual_bound": TOLERANCE}

    def search(self, search: PointSearch) -> CertifiedInterval:
        from lipreg.milp import tighten

        encodings = _relax(search)
        if search.open_families() and int(search.local.unstable_units()) >= TIGHTEN_FROM and not search.ended():
            seconds, effort = TIGHTEN_SHARE * search.seconds_left, search.effort
            search.local = tighten(search.local, seconds, effort.stop, effort.solver)
            encodings = _relax(search)
        allowances: list[Allowance] = []
        left = search.open_families()
        if len(left) > SEPARATE_UP_TO and not search.ended():
            allowances.append(_solve(search, left, _joined(search, left)))
        for family in left:
            if search.closed(family):
                continue  # a witness found meanwhile beats what this functional can reach
            if search.ended():
                break
            allowances.append(_solve(search, [family], encodings[family]))
        return _concluded(search, allowances)


def _concluded(search: PointSearch, allowances: list[Allowance]) -> CertifiedInterval:
    """The interval proved, with what its detail says of tolerances and of degenerate units."""
    if allowances:
        worst = min(allowances, key=lambda a: (a.moderate, a.tolerance))
        search.detail = f"{search.detail} {worst.sentence()}".strip()
    # where all programs are closed, a gap is a pattern without interior, or the allowance for large big-M rows
    unclosed = Status.UNCONFIRMED if all(a.moderate for a in allowances) else Status.BOUNDED
    result = search.conclude("MIP dual bound" if search.programs else "LP dual bound", unclosed)
    if result.status is Status.UNCONFIRMED:
        return replace(result, detail=f"{result.detail} {find_degeneracies(search.local).sentence()}")
    return result


def _relax(search: PointSearch) -> dict[int, Encoding]:
    """The encodings of the families that may beat the witness, each with its LP bound entered into the search."""
    encodings: dict[int, Encoding] = {}
    for family in search.open_families():
        if search.ended():
            break
        asked = search.families[family]
        encodings[family], outcome = relaxation(search.apart, asked, search.seconds_left, search.effort)
        if outcome.infeasible:  # the reference point is feasible, so the solver is wrong
            search.status, search.detail = Status.FAILED, outcome.detail
        else:
            search.detail = outcome.detail
            search.tighten(family, outcome.dual_bound * (1 + ROUNDING))
    return encodings


def _joined(search: PointSearch, chosen: list[int]) -> Encoding:
    """One program for the functionals of several families, cut by what is known of each."""
    from lipreg.milp import Functionals, encode

    rows = tuple(row for i in chosen for row in search.families[i].rows)
    return encode(search.apart, Functionals(rows), known=search.uppers[chosen])


def _solve(search: PointSearch, chosen: list[int], encoding: Encoding) -> Allowance:
    """Solves one program for some families, or proves that none of them can beat the witness; updates the search."""
    from lipreg.milp import allowance, get_solver, interior_point

    local, program, start, cutoff = search.local, encoding.program, None, None
    value, finest = search.lower or float(search.uppers[chosen].max()), get_solver(search.effort.solver).finest
    allowed = allowance(search.apart, encoding, value, finest)
    if search.witness is not None:
        start = encoding.start(_pattern(local, encoding.units, search.witness))
        if len(search.families) > len(chosen):
            # It proves that a functional has nothing to offer; for a single one the start says as much, without a row
            # that makes every LP degenerate. Below the witness's own value, so that the functional which attains it
            # stays feasible: if its dual bound is lower all the same, the two contradict each other, and that is raised.
            cutoff = search.lower * (1 - 2 * TOLERANCE) - 2 * allowed.widening
            program = program.at_least(cutoff)
    outcome = search.solve(program, start=start, gap=search.effort.gap, feasibility=allowed.tolerance)
    if outcome.infeasible and cutoff is None:
        search.status, search.detail = Status.FAILED, f"infeasible without a cutoff. {outcome.detail}"
        return allowed
    # infeasible: nothing reaches the cutoff
    bound = cutoff if outcome.infeasible and cutoff is not None else outcome.dual_bound
    for family in chosen:
        search.tighten(family, bound * (1 + TOLERANCE) + allowed.widening)
    if outcome.point is not None:
        activations = program.columns.get("a", slice(0, 0))  # without unstable units the region is one cell
        x = interior_point(local, encoding.units, outcome.point[activations])
        if x is not None:
            point = torch.from_numpy(x).reshape(1, *local.placed.region.shape)
            search.offer(point)
    return allowed


def _pattern(local: Analysis, units: Units, witness: Witness) -> np.ndarray:
    """The activation pattern of the unstable units at the witness."""
    x = torch.tensor(witness.point, dtype=torch.float64).reshape(1, *local.placed.region.shape)
    values = local.graph.values(x)
    active = np.zeros(len(units))
    for index, node in local.graph.relus():
        at = units.of(index)
        active[at] = (values[node.source][0].flatten().numpy() > 0)[units.position[at]]
    return active
