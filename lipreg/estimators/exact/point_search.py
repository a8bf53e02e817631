"""What the exact estimators share: points one after another under a budget, and the state of one point's search."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.bounds import Analysis, without_pools
from lipreg.budget import Budget, OutOfBudget
from lipreg.estimators.base import Watch, Work, repeated
from lipreg.estimators.exact.rays import off_ray, onto_ray, over_rays
from lipreg.estimators.exact.starting import start
from lipreg.estimators.relaxations.lp import ProgramEstimator
from lipreg.estimators.settings import Settings
from lipreg.estimators.unreached import unreached
from lipreg.estimators.witnesses.sampling import RandomPoints, Sampling
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.milp import Functionals, Outcome, Program, families, get_solver
from lipreg.problem import LocalLipschitz
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status, Witness

START_TURNS = 2
"""Of the hunt that gives a search its first witness, where sampling has not run before."""
START_SHARE = 0.25
"""Of a point's time, for that start at most."""
UNFOLDED = "There was no time to fold the network"
"""For what ended a search before its first program or node."""
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
        asked_about = network if network.placed.region.bounded else over_rays(network, budget.share(0.5))
        local = without_pools(asked_about, budget.share(0.5))
        asked = families(local)[1]
        with torch.no_grad():
            begun = start(network, asked_about, local, budget)
        uppers, proof = begun.uppers, begun.proof
        left_out = ". ".join(words for words in (network.left_out, begun.left_out) if words)
        before = known.families
        if len(before) == len(uppers) and (np.asarray(before) < uppers).any():
            uppers, proof = np.minimum(uppers, before), known.proof or proof
        claims = np.full(len(uppers), np.inf)
        return cls(
            network, local, budget, settings, known, progress, known.witness, asked, uppers, claims, proof, left_out
        )

    @property
    def by_rays(self) -> bool:
        """Whether what is searched are the rays that stand for all of R^n."""
        return not self.network.placed.region.bounded

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
        self.witness = best_witness(self.network, 0, x, known=self.lower) or self.witness

    def give_up(self, over: Status, words: str) -> None:
        """Ends a search that had no time for something that it cannot do without."""
        self.status, self.left_out = over, ". ".join(part for part in (words, self.left_out) if part)

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
            detail=f"{self.programs} programs, {self.nodes} nodes. {self.detail} {self.left_out}".strip(),
            subject=self.network.subject(0),
            families=tuple(self.uppers.tolist()),
        )
        if self.status is Status.PROVED and result.certificate is not Certificate.EXACT:
            asked = result.gap <= self.budget.gap + EXACT_TOLERANCE
            return replace(result, status=Status.GAP_LIMIT if asked else unclosed)
        return result


class ExactEstimator(ProgramEstimator):
    """A search point by point; what one point leaves of the time goes to those after it.

    When the time has ended no further point is begun: what is said of it is known already, or costs next to nothing.
    """

    certificate = Certificate.BRACKET

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis, budget, settings = work.analysis, work.budget, work.settings
        results: list[CertifiedInterval] = []
        same = analysis.placed.same()
        for i, first in enumerate(same):
            known = work.known[i] if work.known else None
            if first < i:
                found = repeated(analysis, results[first], i, first)
                results.append(found if known is None else known.intersect(found))
                continue
            local, own = analysis[i : i + 1], budget.share(1 / sum(asked >= i for asked in set(same)))
            over = own.ended()
            if over is not None:
                known = known or RandomPoints().intervals(local, own, settings)[0]
                results.append(unreached(local, over, known))
                continue
            known = known or self.start(local, own.share(START_SHARE), settings)
            search = PointSearch.begin(local, own, settings, known, work.progress)
            try:
                results.append(self.search(search))
            except OutOfBudget as ended:
                search.give_up(ended.status, UNFOLDED)
                results.append(search.conclude(ended.status))
        return results

    def start(self, local: Analysis, budget: Budget, settings: Settings) -> CertifiedInterval:
        """The lower end from which the search of a single point starts where nothing is known."""
        return Sampling(START_TURNS).intervals(local, budget, settings)[0]

    def condition(self, problem: LocalLipschitz) -> str:
        """Under which condition on the network the constant itself is reached, in words; empty where there is none."""
        return ""

    @abstractmethod
    def search(self, search: PointSearch) -> CertifiedInterval:
        """The interval of one point; ends at the search's deadline or when it is stopped.

        Raises:
            OutOfBudget: there was no time to fold the network; what is entered into the search holds.
        """
