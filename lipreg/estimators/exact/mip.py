"""LipMIP: the exact regional constant by mixed-integer programming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lipreg.bounds import Analysis, find_degeneracies
from lipreg.budget import Budget
from lipreg.estimators.base import register
from lipreg.estimators.exact.confirmation import CLOSED, confirm, for_solver, on_claims
from lipreg.estimators.exact.exact_estimator import ExactEstimator
from lipreg.estimators.exact.point_search import SETTLED, PointSearch
from lipreg.estimators.relaxations.lp import relaxation
from lipreg.estimators.rounding import ROUNDING
from lipreg.folding import UnstableUnits
from lipreg.milp import Encoding, FunctionalFamily, encode, interior_point, tighten
from lipreg.results import CertifiedInterval, Status, Witness
from lipreg.words import sentences

MARGIN = 2e-6
"""The relative distance of the cutoff of other functionals below a witness: the one that attains it stays feasible."""
TIGHTEN_FROM = 12
"""Unstable units from which tighter pre-activation bounds are worth their time; with fewer the MIP is as fast."""
SEPARATE_UP_TO = 200
"""Functionals that are solved one after another; more of them go into one program with selection binaries."""
TIGHTEN_SHARE = 0.2
"""Share of a point's time that tightening may take."""


@register("mip")
class MixedInteger(ExactEstimator):
    """The exact constant, or the interval proved when the budget ends.

    One program per functional. A functional whose proved bound (the Jacobian's linear relaxation, then LP duals evaluated
    here) is below the best witness is never solved; the others must beat that witness, or the solver claims that they
    cannot. The lower end is a point inside the maximising activation cell, re-evaluated on the network. A solver's claim is
    no proof: that nothing exceeds the witness is proved here, by lipreg's branch and bound, which starts from it, or by a
    tree of LPs; both together have half of the time (``confirmation``). A claim that is not proved stays out of the
    interval; the detail quotes it. Around an l2 ball the programs have tangents, more of them where the solver's point
    leaves it.

    Exact for networks whose kinks are in general position (Jordan & Dimakis 2020, Theorem 3), which holds with
    probability 1; otherwise the maximising pattern may have no interior, and the status is UNCONFIRMED.

    Source: Jordan & Dimakis 2020 (LipMIP).
    """

    source = "Jordan & Dimakis 2020 (LipMIP)"

    def tolerances(self) -> dict[str, float]:
        return {**super().tolerances(), "closed": CLOSED}

    def search_point(self, search: PointSearch) -> CertifiedInterval:
        encodings = _relax(search)
        if search.open_families() and int(search.local.unstable_units()) >= TIGHTEN_FROM and not search.is_over():
            search.local = tighten(search.local, search.remaining.share(TIGHTEN_SHARE))
            encodings = _relax(search)
        solving = for_solver(search)
        families = search.open_families()
        if len(families) > SEPARATE_UP_TO and not search.is_over():
            _solve(search, families, _joined(search, families), solving)
        for family in families:
            if search.closed(family) or search.claims[family] <= search.lower:
                continue  # a newer witness beats the bound of this functional
            if search.is_over() or solving.stop_reason() is not None:
                break
            encodings[family] = _solve(search, [family], encodings[family], solving)
        confirm(search, encodings)
        search.detail = sentences(search.detail, on_claims(search))
        result = search.conclude(Status.UNCONFIRMED)
        if result.status is Status.UNCONFIRMED:
            return replace(result, detail=sentences(result.detail, find_degeneracies(search.local).sentence()))
        return result


def _relax(search: PointSearch) -> dict[int, Encoding]:
    """The encodings of the families that may beat the witness, each with its LP bound entered into the search."""
    encodings: dict[int, Encoding] = {}
    for family in search.open_families():
        if search.is_over():
            break
        functionals = search.families[family]
        encodings[family], outcome = relaxation(search.apart, functionals, search.remaining, search.settings)
        search.tighten(outcome.dual_bound * (1 + ROUNDING), "LP dual bound", family)
        search.detail = outcome.detail
        if outcome.claims_infeasible:  # the reference point is feasible, so the solver is wrong
            search.status = Status.FAILED
    return encodings


def _joined(search: PointSearch, indices: list[int]) -> Encoding:
    """One program for the functionals of several families, cut by the proved bound of each."""
    rows = tuple(row for i in indices for row in search.families[i].rows)
    return encode(search.apart, FunctionalFamily(rows), proved_bounds=search.uppers[indices], budget=search.remaining)


def _solve(search: PointSearch, indices: list[int], encoding: Encoding, solving: Budget) -> Encoding:
    """Solves one program for some families, again with tighter rows for as long as its point leaves an l2 ball.

    Returns:
        The encoding with the tightest rows.
    """
    while True:
        tighter = encoding.without(_solve_once(search, indices, encoding, solving))
        if tighter is None:
            return encoding
        encoding = tighter
        settled = all(search.closed(i) or search.claims[i] <= search.lower * (1 + SETTLED) for i in indices)
        if settled or search.is_over() or solving.stop_reason() is not None:
            return encoding


def _solve_once(search: PointSearch, indices: list[int], encoding: Encoding, solving: Budget) -> np.ndarray | None:
    """Solves one program: its point is offered as a witness, its bound on the families is noted as a claim."""
    local, program, start, cutoff = search.local, encoding.program, None, None
    if search.witness is not None:
        start = encoding.start(_pattern(local, encoding.units, search.witness))
        if len(search.families) > len(indices):
            # A functional that cannot beat the witness is dismissed soon; for a single one the start does as much, without
            # a row that makes every LP degenerate.
            cutoff = search.lower * (1 - MARGIN)
            program = program.at_least(cutoff)
    outcome = search.solve(program, for_solver(search, solving.deadline), start=start, gap=search.budget.gap)
    if outcome.claims_infeasible and cutoff is None:
        search.status, search.detail = Status.FAILED, f"infeasible without a cutoff. {outcome.detail}"
        return None
    # infeasible: the solver claims that nothing reaches the cutoff
    claimed = cutoff if outcome.claims_infeasible and cutoff is not None else outcome.claimed
    search.claims[indices] = np.minimum(search.claims[indices], claimed)
    if outcome.point is not None:
        activations = program.columns.get("a", slice(0, 0))  # without unstable units the region is one cell
        x = interior_point(local, encoding.units, outcome.point[activations], search.remaining)
        if x is not None:
            point = torch.from_numpy(x).reshape(1, *local.placed.region.shape)
            search.offer(point)
    return outcome.point


def _pattern(local: Analysis, units: UnstableUnits, witness: Witness) -> np.ndarray:
    """The activation pattern of the unstable units at the witness."""
    x = torch.tensor(witness.point, dtype=torch.float64).reshape(1, *local.placed.region.shape)
    values = local.graph.values(x)
    active = np.zeros(len(units))
    for index, node in local.graph.relus():
        at = units.of(index)
        active[at] = (values[node.source][0].flatten().numpy() > 0)[units.position[at]]
    return active
