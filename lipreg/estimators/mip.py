"""LipMIP: the exact regional constant by mixed-integer programming."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipreg.bounds import Analysis, interval_jacobian
from lipreg.estimators.base import ROUNDING, Effort, register
from lipreg.estimators.lp import ProgramEstimator, relaxation
from lipreg.estimators.sampling import Sampling
from lipreg.estimators.witness import best_witness
from lipreg.results import Certificate, CertifiedInterval, Status, Witness

if TYPE_CHECKING:
    from lipreg.milp import Encoding
    from lipreg.milp.folding import Units

TOLERANCE = 1e-6
"""Relative widening of the solver's dual bound: its row and integrality tolerances (1e-8) times the big-M values, and its
closing gap (1e-7), stay below it on networks of ordinary scale."""


TIGHTEN_FROM = 12
"""Undecided units from which tighter pre-activation bounds pay for themselves; below, the MIP is as fast."""
TIGHTEN_SHARE = 0.2
"""Share of a point's time that tightening may take."""


@dataclass
class _Search:
    """What is proved so far at one point: a witness, and an upper bound for each functional."""

    witness: Witness | None
    uppers: np.ndarray
    status: Status = Status.PROVED
    detail: str = ""
    nodes: int = 0
    solved: int = 0

    @property
    def lower(self) -> float:
        return 0.0 if self.witness is None else self.witness.attained

    def open_rows(self) -> list[int]:
        """The functionals that may still beat the witness, the most promising first."""
        order = np.argsort(-self.uppers, kind="stable")
        return [int(row) for row in order if self.uppers[row] > self.lower]

    def tighten(self, row: int, upper: float) -> None:
        self.uppers[row] = min(self.uppers[row], upper)

    def offer(self, witness: Witness | None) -> None:
        if witness is not None and witness.attained > self.lower:
            self.witness = witness

    def ended(self, effort: Effort, deadline: float) -> bool:
        """Whether the search must stop here; says why in the status."""
        if effort.stop.is_set():
            self.status = Status.INTERRUPTED
        elif time.monotonic() >= deadline:
            self.status = Status.TIME_LIMIT
        return self.status in (Status.INTERRUPTED, Status.TIME_LIMIT)


@register("mip")
class MixedInteger(ProgramEstimator):
    """The exact constant, or the interval proved when the budget ends.

    One program per functional. A functional whose cheap bound (FastLip, then LP) is below the best witness is never
    solved; the others must beat that witness or prove that they cannot. The upper end is the solver's dual bound, widened
    by TOLERANCE; the incumbent never serves as a bound. The lower end is a point inside the maximising activation cell,
    re-evaluated on the network.

    Exact for networks whose kinks are in general position (Jordan & Dimakis 2020, Theorem 3), which holds with
    probability 1; otherwise the maximising pattern may have no interior, and the status is UNCONFIRMED.

    Source: Jordan & Dimakis 2020 (LipMIP).
    """

    certificate = Certificate.BRACKET
    source = "Jordan & Dimakis 2020 (LipMIP)"

    def intervals(self, analysis: Analysis, effort: Effort) -> list[CertifiedInterval]:
        self.check(analysis.placed.problem)
        deadline = effort.starting_now()
        batch = analysis.placed.batch
        known = effort.known or tuple(Sampling().intervals(analysis, effort))
        results = []
        for i in range(batch):
            seconds = max(0.0, deadline - time.monotonic()) / (batch - i)
            local = analysis[i : i + 1]
            results.append(_solve(local, replace(effort, seconds=seconds, known=(known[i],))))
        return results


def _solve(local: Analysis, effort: Effort) -> CertifiedInterval:
    """The interval of one point."""
    from lipreg.milp import tighten

    deadline = effort.starting_now()
    placed = local.placed
    low, high = interval_jacobian(local)[0]
    cheap = placed.row_norms(torch.maximum(low.abs(), high.abs()))[0].numpy()
    search = _Search(effort.known[0].witness, cheap * (1 + ROUNDING))
    encodings = _relax(local, search, effort, deadline)
    if search.open_rows() and int(local.unstable_units()) >= TIGHTEN_FROM and not search.ended(effort, deadline):
        local = tighten(local, TIGHTEN_SHARE * (deadline - time.monotonic()), effort.stop)
        encodings = _relax(local, search, effort, deadline)
    for row in search.open_rows():
        if search.uppers[row] <= search.lower:
            continue  # a witness found meanwhile beats what this functional can reach
        if search.ended(effort, deadline):
            break
        _solve_row(local, row, encodings[row], search, effort, deadline)
    upper, proof = float(search.uppers.max()), "MIP dual bound" if search.solved else "LP dual bound"
    before = effort.known[0]
    if before.upper < upper:
        upper, proof = before.upper, before.proof
    result = CertifiedInterval(
        placed.problem,
        placed.functionals[0],
        lower=search.lower,
        upper=upper,
        status=search.status,
        proof=proof,
        witness=search.witness,
        detail=f"{search.solved} of {len(search.uppers)} functionals by MIP, {search.nodes} nodes. {search.detail}",
    )
    if search.status is Status.PROVED and result.certificate is not Certificate.EXACT:
        return replace(result, status=Status.UNCONFIRMED)
    return result


def _relax(local: Analysis, search: _Search, effort: Effort, deadline: float) -> dict[int, Encoding]:
    """The encodings of the functionals that may beat the witness, each with its LP bound entered into the search."""
    encodings: dict[int, Encoding] = {}
    for row in search.open_rows():
        if search.ended(effort, deadline):
            break
        encodings[row], outcome = relaxation(local, row, deadline - time.monotonic(), effort)
        search.tighten(row, outcome.dual_bound * (1 + ROUNDING))
    return encodings


def _solve_row(local: Analysis, row: int, encoding: Encoding, search: _Search, effort: Effort, deadline: float) -> None:
    """Solves one functional's program, or proves that it cannot beat the witness; updates the search."""
    from lipreg.milp import Highs, interior_point

    program, start = encoding.program, None
    if search.witness is not None:
        program = program.at_least(search.lower)
        start = encoding.start(_pattern(local, encoding.units, search.witness))
    outcome = Highs().solve(program, seconds=max(0.0, deadline - time.monotonic()), start=start, stop=effort.stop)
    search.nodes += outcome.nodes
    search.solved += 1
    if outcome.status is not Status.PROVED:
        search.status, search.detail = outcome.status, outcome.detail
    # infeasible: nothing reaches the cutoff, which was the witness's value
    bound = search.lower if outcome.infeasible else outcome.dual_bound
    search.tighten(row, bound * (1 + TOLERANCE))
    if outcome.point is not None and "a" in program.columns:
        x = interior_point(local, encoding.units, outcome.point[program.columns["a"]])
        if x is not None:
            point = torch.from_numpy(x).reshape(1, *local.placed.region.shape)
            search.offer(best_witness(local, 0, point))


def _pattern(local: Analysis, units: Units, witness: Witness) -> np.ndarray:
    """The activation pattern of the unstable units at the witness."""
    x = torch.tensor(witness.point, dtype=torch.float64).reshape(1, *local.placed.region.shape)
    values = local.graph.values(x)
    active = np.zeros(len(units))
    for index, node in local.graph.relus():
        at = units.of(index)
        active[at] = (values[node.source][0].flatten().numpy() > 0)[units.position[at]]
    return active
