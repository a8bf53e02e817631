"""What the exact estimators share: points one after another under a budget, and the state of one point's search."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, linear_jacobian, underflow, without_pools
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators.base import ROUNDING, Known, Settings, Watch, Work, lower_interval
from lipreg.estimators.lp import ProgramEstimator
from lipreg.estimators.sampling import Sampling
from lipreg.estimators.witness import best_witness
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status, Witness

if TYPE_CHECKING:
    from lipreg.milp import Functionals, Outcome, Program

START_STEPS = 8
"""Steps of the ascents that give a search its first witness, where sampling has not run before."""
SETTLED = 3e-6
"""A family this close above the witness is settled: the bound of one that was solved is widened by about as much."""


@dataclass
class PointSearch:
    """What is proved so far at one point: a witness, and an upper bound for each family of functionals.

    Attributes:
        network: the point's analysis as it was asked about; witnesses are evaluated on its graph.
        local: what is searched: the same function over the region without max pools, its bounds tightened on the way.
        budget: started; its nodes are those of the whole search.
        settings: which engines serve.
        known: what earlier estimators proved.
        progress: told where the search stands.
        families: whose largest constant is sought; their rows are those of ``apart``.
        uppers: of the families, ``(families,)``, all proved here; start as those of the Jacobian's linear relaxation.
        claims: what a solver says of them, inf where it says nothing. Never an upper end.
        programs: how many programs were solved.
        nodes: branch and bound nodes in all of them.
        status: PROVED until something ends the search early.
        detail: the engine's version and its word for what ended the search, or for the last program.
    """

    network: Analysis
    local: Analysis
    budget: Budget
    settings: Settings
    known: CertifiedInterval
    progress: Watch | None
    witness: Witness | None
    families: list[Functionals]
    uppers: np.ndarray
    claims: np.ndarray
    status: Status = Status.PROVED
    detail: str = ""
    nodes: int = 0
    programs: int = 0

    @classmethod
    def begin(
        cls,
        network: Analysis,
        budget: Budget,
        settings: Settings,
        known: CertifiedInterval,
        progress: Watch | None = None,
    ) -> PointSearch:
        """Starts from what is known and from the linear bounds on the Jacobian."""
        from lipreg.milp import families

        lower_interval(network, 0, None).check_comparable(known)
        budget = budget.started()
        local = without_pools(network, budget.share(0.5))
        apart, asked = families(local)
        cheap = _by_relaxation(apart, asked[0].signs)
        if local is not network:  # of a max pool the network's own Jacobian says more than the ReLUs in its place
            cheap = np.minimum(cheap, _by_relaxation(families(network)[0], asked[0].signs))
        uppers = cheap * (1 + ROUNDING) + float(underflow(network).max())
        before = known.families
        if len(before) == len(uppers):
            uppers = np.minimum(uppers, before)
        claims = np.full(len(uppers), np.inf)
        return cls(network, local, budget, settings, known, progress, known.witness, asked, uppers, claims)

    @property
    def apart(self) -> Analysis:
        """The point's analysis with the rows that the families are made of."""
        from lipreg.milp import families

        return families(self.local)[0]

    @property
    def lower(self) -> float:
        return 0.0 if self.witness is None else self.witness.attained

    @property
    def witness_point(self) -> Tensor | None:
        """Where the witness is, ``(1, *shape)``."""
        shape = self.network.placed.region.shape
        return (
            None if self.witness is None else torch.tensor(self.witness.point, dtype=torch.float64).reshape(1, *shape)
        )

    @property
    def left(self) -> Budget:
        """What is left of the budget."""
        return self.budget.after(self.nodes)

    def closed(self, family: int) -> bool:
        """Whether the family cannot beat the witness by more than the tolerance, or the gap that is asked for."""
        return bool(self.uppers[family] * (1 - self.budget.gap) <= self.lower * (1 + SETTLED))

    def open_families(self) -> list[int]:
        """Those that may still beat the witness, the most promising first."""
        order = np.argsort(-self.uppers, kind="stable")
        return [int(i) for i in order if not self.closed(i)]

    def solve(self, program: Program, budget: Budget, **options: Any) -> Outcome:
        """Hands a program to the chosen solver and enters how it ended.

        Args:
            program: to maximise.
            budget: part of what is left.
            options: of ``Solver.solve``.
        """
        from lipreg.milp import get_solver

        outcome = get_solver(self.settings.solver).solve(program, budget, threads=self.settings.threads, **options)
        self.programs += 1
        self.nodes += outcome.nodes
        self.note(outcome)
        return outcome

    def note(self, outcome: Outcome) -> None:
        """Keeps the solver's word; that of a program which ended early stays."""
        if outcome.status is not Status.PROVED:
            self.status, self.detail = outcome.status, outcome.detail
        elif self.status is Status.PROVED:
            self.detail = outcome.detail

    def tighten(self, family: int, upper: float) -> None:
        self.uppers[family] = min(self.uppers[family], upper)

    def offer(self, x: Tensor) -> None:
        """Takes the best of the points x ``(k, *shape)`` as its witness, if that attains more than is known."""
        self.witness = best_witness(self.network, 0, x, known=self.lower) or self.witness

    def ended(self) -> bool:
        """Whether the search must stop here; says why in the status."""
        self.status = self.left.ended() or self.status
        return self.status in (Status.INTERRUPTED, Status.TIME_LIMIT, Status.NODE_LIMIT)

    def conclude(self, proof: str, unclosed: Status) -> CertifiedInterval:
        """The interval proved.

        Args:
            proof: what proves the upper end.
            unclosed: the status when every program was solved and the two ends still do not meet.
        """
        upper, before = float(self.uppers.max()), self.known
        if before.upper < upper:
            upper, proof = before.upper, before.proof
        placed = self.network.placed
        result = CertifiedInterval(
            placed.problem,
            placed.functionals[0],
            lower=self.lower,
            upper=upper,
            status=self.status,
            proof=proof,
            witness=self.witness,
            detail=f"{self.programs} programs, {self.nodes} nodes. {self.detail} {self.network.left_out}".strip(),
            subject=self.network.subject(0),
            families=tuple(self.uppers.tolist()),
        )
        if self.status is Status.PROVED and result.certificate is not Certificate.EXACT:
            asked = result.gap <= self.budget.gap + EXACT_TOLERANCE
            return replace(result, status=Status.GAP_LIMIT if asked else unclosed)
        return result


def _by_relaxation(apart: Analysis, signs: bool) -> np.ndarray:
    """The bound on each family by linear bounds on the Jacobian, ``(families,)``."""
    found = linear_jacobian(apart)
    if signs:
        return apart.placed.combine(torch.maximum(found.lower.abs(), found.upper.abs())).numpy()
    return found.row_norms()[0].numpy()


class ExactEstimator(ProgramEstimator):
    """A search point by point; what one point leaves of the time goes to those after it."""

    certificate = Certificate.BRACKET

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis, budget, settings = work.analysis, work.budget, work.settings
        batch, results = analysis.placed.batch, []
        known = work.known or self.start(analysis, budget, settings)
        if len(known) != batch:
            raise InvalidInput(
                f"{len(known)} known intervals for {batch} points", where=self.name, accepted="one a point"
            )
        for i in range(batch):
            own = budget.share(1 / (batch - i))
            results.append(self.search(PointSearch.begin(analysis[i : i + 1], own, settings, known[i], work.progress)))
        return results

    def start(self, analysis: Analysis, budget: Budget, settings: Settings) -> Known:
        """The lower ends from which searches start where nothing is known."""
        return Sampling(START_STEPS).intervals(analysis, budget, settings)

    @abstractmethod
    def search(self, search: PointSearch) -> CertifiedInterval:
        """The interval of one point; ends at the search's deadline or when it is stopped."""
