"""The state of one point's search, which the exact estimators share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget
from lipreg.estimators.base import Watch
from lipreg.estimators.exact.rays import off_ray, onto_ray, over_rays
from lipreg.estimators.exact.starting import start
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.folding import least_work, search_work
from lipreg.milp import Functionals, Outcome, Program, families, get_solver
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status, Witness
from lipreg.words import counted, sentences

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
        uppers: of the families, ``(families,)``, all proved here; start as the least of closed forms.
        claims: what a solver says of them, inf where it says nothing. Never an upper end.
        proof: what proves the uppers so far.
        left_out: what there was no time for before the search could begin.
        short: what closed forms had no time for.
        given: seconds that they were given.
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
    proof: str
    left_out: str = ""
    short: str = ""
    given: float = 0.0
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
        """Starts from what is known and from what closed forms prove."""
        budget = budget.started()
        part = partial(budget.share, 0.5)
        asked_about = network if network.placed.region.bounded else over_rays(network, part)
        local = without_pools(asked_about, part)
        asked = families(local)[1]
        with torch.no_grad():
            begun = start(network, asked_about, local, budget)
        uppers, proof = begun.uppers, begun.proof
        before = known.families
        if len(before) == len(uppers) and (np.asarray(before) < uppers).any():
            uppers, proof = np.minimum(uppers, before), known.proof or proof
        claims = np.full(len(uppers), np.inf)
        state = (known, progress, known.witness, asked, uppers, claims, proof, network.left_out, begun.left_out)
        return cls(network, local, begun.budget, settings, *state, begun.given)

    @property
    def by_rays(self) -> bool:
        """Whether what is searched are the rays that stand for all of R^n."""
        return not self.network.placed.region.bounded

    @property
    def asked_about(self) -> Analysis:
        """The point's analysis as it was asked about, in a bounded region."""
        return over_rays(self.network) if self.by_rays else self.network

    @property
    def apart(self) -> Analysis:
        """The point's analysis with the rows that the families are made of."""
        return families(self.local)[0]

    @property
    def lower(self) -> float:
        return 0.0 if self.witness is None else self.witness.attained

    @property
    def witness_point(self) -> Tensor | None:
        """Where the witness is in what is searched, ``(1, *shape)``."""
        shape = self.network.placed.region.shape
        if self.witness is None:
            return None
        point = torch.tensor(self.witness.point, dtype=torch.float64)
        return onto_ray(self.network, point) if self.by_rays else point.reshape(1, *shape)

    @property
    def left(self) -> Budget:
        """What is left of the budget."""
        return self.budget.after(self.nodes)

    @property
    def _spent(self) -> str:
        nodes = counted(self.nodes, "node")
        # a search of our own solves none, and says what it does solve
        return f"{counted(self.programs, 'program')}, {nodes}" if self.programs or not self.nodes else nodes

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

    def tighten(self, upper: np.ndarray | float, proof: str, family: int | slice = slice(None)) -> None:
        """Enters proved upper bounds, of one family or of all, and what proves them."""
        if (upper < self.uppers[family]).any():
            self.uppers[family], self.proof = np.minimum(self.uppers[family], upper), proof

    def offer(self, x: Tensor) -> None:
        """Takes the best of the points x ``(k, *shape)`` of what is searched as its witness, if that attains more than is
        known."""
        if self.by_rays:
            x = off_ray(self.network, x)
            if not len(x):
                return
        self.witness = best_witness(self.network, 0, x, self.lower, self.budget) or self.witness

    def require_folding(self) -> None:
        """Ends a search whose network is too large to be folded, and a node bounded, in the time that is left, before more
        is asked of it.

        Raises:
            OutOfBudget: that is so.
        """
        apart, _ = families(self.asked_about)
        for work in (least_work, search_work):
            self.left.require(work(apart))

    def give_up(self, over: Status, words: str) -> None:
        """Ends a search that had no time for something that it cannot do without."""
        self.status, self.left_out = over, sentences(words, self.left_out)

    def ended(self) -> bool:
        """Whether the search must stop here; says why in the status."""
        self.status = self.left.ended() or self.status
        return self.status in (Status.INTERRUPTED, Status.TIME_LIMIT, Status.NODE_LIMIT)

    def conclude(self, unclosed: Status) -> CertifiedInterval:
        """The interval proved.

        Args:
            unclosed: the status when every program was solved and the two ends still do not meet.
        """
        upper, proof, before = float(self.uppers.max()), self.proof, self.known
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
            detail=sentences(self._spent, self.detail, self.left_out, self.short),
            subject=self.network.subject(0),
            families=tuple(self.uppers.tolist()),
        )
        if self.status is Status.PROVED and result.certificate is not Certificate.EXACT:
            asked = result.gap <= self.budget.gap + EXACT_TOLERANCE
            return replace(result, status=Status.GAP_LIMIT if asked else unclosed)
        return result
