"""The state of one point's search, which the exact estimators share."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from lipreg.milp import FunctionalFamily, Program, SolverOutcome, families, get_solver
from lipreg.records.endings import NOT_BEGUN
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status, Witness
from lipreg.words import counted, sentences

SETTLED = 3e-6
"""A family this close above the witness is settled: the bound of one that was solved is widened by about as much."""
SHOWN = 1e-11
"""The least relative distance of a reported upper end above its witness: far within what counts as exact, and enough for
another proof in float64 with other roundings, as that of ``lipreg check --rounded``."""


@dataclass
class PointSearch:
    """The proved state of one point's search: a witness, and an upper bound for each family of functionals.

    Attributes:
        network: the analysis of the point, as in the question; witnesses are evaluated on its graph.
        bounded_analysis: the analysis of the question in a bounded region: that of the network, or that over rays.
        local: the analysis that is searched: of the same function without max pools, its bounds tightened on the way; with
            max pools where there is no time to search it.
        budget: the budget of the point, started; its nodes are those of the whole search.
        settings: which engines serve.
        prior: the prior interval, by earlier estimators or a hunt.
        progress: a function that is called with the progress of the search; None for none.
        witness: the best witness so far; None without one.
        families: the families of functionals whose largest constant is sought; their rows are those of ``apart``.
        uppers: upper bounds of the families, ``(families,)``, all proved here; at first the least of closed forms.
        claims: upper bounds that a solver claims of them, inf without one. Never an upper end.
        proof: the name of what proves the uppers.
        left_out: the steps for which there was no time before the search could begin, in words.
        forms_left_out: the same of closed forms.
        granted_seconds: the time that closed forms had.
        status: PROVED until something ends the search early.
        detail: the engine's version and its word for what ended the search, or for the last program.
        nodes: the branch and bound nodes of all programs and searches.
        programs: the number of programs solved.
        closed_form: the name of what proved the uppers before the search.
    """

    network: Analysis
    bounded_analysis: Analysis
    local: Analysis
    budget: Budget
    settings: Settings
    prior: CertifiedInterval
    progress: Watch | None
    witness: Witness | None
    families: list[FunctionalFamily]
    uppers: np.ndarray
    claims: np.ndarray
    proof: str
    left_out: str = ""
    forms_left_out: str = ""
    granted_seconds: float = 0.0
    status: Status = Status.PROVED
    detail: str = ""
    nodes: int = 0
    programs: int = 0
    closed_form: str = ""

    def __post_init__(self) -> None:
        self.closed_form = self.proof

    @classmethod
    def begin(
        cls,
        network: Analysis,
        budget: Budget,
        settings: Settings,
        prior: CertifiedInterval,
        progress: Watch | None = None,
    ) -> PointSearch:
        """The search at its start: from the prior interval and from bounds in closed form.

        Args:
            network: the analysis of the single point.
            budget: the budget of the point.
            settings: which engines serve.
            prior: the prior interval of the point.
            progress: a function that is called with the progress of the search.
        """
        budget = budget.started()
        bounded = network if network.placed.region.bounded else over_rays(network, budget)
        local = without_pools(bounded, budget) if _folds(bounded, budget) else bounded
        sought = families(local)[1]
        with torch.no_grad():
            begun = start(network, bounded, local, budget)
        uppers, proof = begun.uppers, begun.proof
        prior_bounds = prior.families
        if len(prior_bounds) == len(uppers) and (np.asarray(prior_bounds) < uppers).any():
            uppers, proof = np.minimum(uppers, prior_bounds), prior.proof or proof
        claims = np.full(len(uppers), np.inf)
        state = (prior, progress, prior.witness, sought, uppers, claims, proof, network.left_out, begun.left_out)
        return cls(network, bounded, local, begun.budget, settings, *state, begun.granted_seconds)

    @property
    def _by_rays(self) -> bool:
        """Whether the search is over rays, which stand for all of R^n."""
        return not self.network.placed.region.bounded

    @property
    def apart(self) -> Analysis:
        """The searched analysis with the rows of the families."""
        return families(self.local)[0]

    @property
    def lower(self) -> float:
        """The value of the best witness; 0 without one."""
        return 0.0 if self.witness is None else self.witness.attained

    @property
    def witness_point(self) -> Tensor | None:
        """The witness as a point of the searched analysis, ``(1, *shape)``; None without one."""
        shape = self.network.placed.region.shape
        if self.witness is None:
            return None
        point = torch.tensor(self.witness.point, dtype=torch.float64)
        return onto_ray(self.network, point) if self._by_rays else point.reshape(1, *shape)

    @property
    def remaining(self) -> Budget:
        """The rest of the budget."""
        return self.budget.after(self.nodes)

    @property
    def _spent(self) -> str:
        nodes = counted(self.nodes, "node")
        # lipreg's own search solves no programs of a solver, and counts its own
        return f"{counted(self.programs, 'program')}, {nodes}" if self.programs or not self.nodes else nodes

    @property
    def _unbegun(self) -> str:
        """That the search did nothing, in words: it ended early, with the bound of a closed form."""
        began = self.nodes > 0 or self.programs > 0 or self.proof not in (self.closed_form, self.prior.proof)
        said = NOT_BEGUN in self.left_out
        return "" if began or said or not self.status.cut else f"{NOT_BEGUN}: it ended before its first node"

    def closed(self, family: int) -> bool:
        """Whether the family cannot beat the witness by more than the tolerance, or the gap of the budget."""
        return bool(self.uppers[family] * (1 - self.budget.gap) <= self.lower * (1 + SETTLED))

    def open_families(self) -> list[int]:
        """The families that may still beat the witness, those with the largest bounds first."""
        order = np.argsort(-self.uppers, kind="stable")
        return [int(i) for i in order if not self.closed(i)]

    def solve(self, program: Program, budget: Budget, **options: Any) -> SolverOutcome:
        """Solves a program by the solver of the settings and enters how it ended.

        Args:
            program: the program, which is maximised.
            budget: its share of the remaining budget.
            **options: further arguments of ``Solver.solve``.
        """
        outcome = get_solver(self.settings.solver).solve(program, budget, threads=self.settings.threads, **options)
        self.programs += 1
        self.nodes += outcome.nodes
        self.note(outcome)
        return outcome

    def note(self, outcome: SolverOutcome) -> None:
        """Keeps status and detail of a solver's outcome; those of a program that ended early stay."""
        if outcome.status is not Status.PROVED:
            self.status, self.detail = outcome.status, outcome.detail
        elif self.status is Status.PROVED:
            self.detail = outcome.detail

    def tighten(self, upper: np.ndarray | float, proof: str, family: int | slice = slice(None)) -> None:
        """Enters proved upper bounds.

        Args:
            upper: one bound, or one for each family of several.
            proof: the name of what proves them.
            family: the family or families that they bound; all of them by default.
        """
        if (upper < self.uppers[family]).any():
            self.uppers[family], self.proof = np.minimum(self.uppers[family], upper), proof

    def offer(self, x: Tensor) -> None:
        """Takes the best of the points x ``(k, *shape)`` of the searched analysis as the witness, if it attains more."""
        if self._by_rays:
            x = off_ray(self.network, x)
            if not len(x):
                return
        self.witness = best_witness(self.network, 0, x, self.lower, self.budget) or self.witness

    def require_folding(self) -> None:
        """Ends a search whose network cannot be folded, and a node bounded, in the remaining time.

        Raises:
            OutOfBudget: the time is too short.
        """
        apart, _ = families(self.bounded_analysis)
        for work in (least_work, search_work):
            self.remaining.require(work(apart))

    def require_pieces(self) -> None:
        """Ends a search whose network was not even written out without max pools.

        Raises:
            OutOfBudget: the time is too short.
        """
        if self.local.graph.pools():
            self.require_folding()

    def give_up(self, over: Status, words: str) -> None:
        """Ends a search that had no time for a necessary step; ``words`` say which."""
        self.status, self.left_out = over, sentences(words, self.left_out)

    def is_over(self) -> bool:
        """Whether the search must stop here; if so, the status is the reason."""
        self.status = self.remaining.stop_reason() or self.status
        return self.status in (Status.INTERRUPTED, Status.TIME_LIMIT, Status.NODE_LIMIT)

    def conclude(self, unclosed: Status) -> CertifiedInterval:
        """The interval that is proved.

        Args:
            unclosed: the status where every program was solved and the two ends still do not meet.
        """
        upper, proof, prior = float(self.uppers.max()), self.proof, self.prior
        if prior.upper < upper:
            upper, proof = prior.upper, prior.proof
        if self.status is Status.PROVED and upper >= self.lower:  # an end below it is a contradiction, and stays one
            upper = max(upper, self.lower * (1 + SHOWN))
        placed = self.network.placed
        result = CertifiedInterval(
            placed.problem,
            placed.functional_names[0],
            lower=self.lower,
            upper=upper,
            status=self.status,
            proof=proof,
            witness=self.witness,
            detail=sentences(self._spent, self._unbegun, self.detail, self.left_out, self.forms_left_out),
            subject=self.network.subject(0),
            families=tuple(self.uppers.tolist()),
        )
        if self.status is Status.PROVED and result.certificate is not Certificate.EXACT:
            at_gap = result.gap <= self.budget.gap + EXACT_TOLERANCE
            return replace(result, status=Status.GAP_LIMIT if at_gap else unclosed)
        return result


def _folds(bounded: Analysis, budget: Budget) -> bool:
    """Whether a network might be folded in all of the remaining time; else it is not even written out without pools."""
    if not bounded.graph.pools():
        return True
    apart, _ = families(bounded)
    return all(budget.affords(work(apart)) for work in (least_work, search_work))
