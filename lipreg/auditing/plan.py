"""AuditPlan: what an audit runs, checked before any work starts."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.estimators import Bound, Effort, Estimator, get_estimator, usual_estimators
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval


@dataclass(frozen=True)
class AuditPlan:
    """What an audit runs.

    Args:
        problem: the question.
        estimators: recipes, or registered names for the recipes with their defaults; they are kept as recipes with proved
            norms, each once. Closed-form bounds and sampling run before searches, whatever their order here. None takes
            the usual ones that cover the question: ``lipreg.estimators.usual_estimators``.
        budget: seconds of wall-clock time for the searches of one audit, shared out over the points; see
            ``lipreg.auditing.rounds``.
        seed: of every random choice.
        solver: of the searches' programs: "highs", or another of ``lipreg.milp.installed_solvers()``.
        gap: (upper - lower) / upper at which a search may end; 0 to go on until the ends meet.
        nodes: limit on the branch and bound nodes of each search at each point; None for no limit.
        sdp_solver: of semidefinite programs (``lipsdp``), by cvxpy's name for it: "SCS", "CLARABEL", ...

    Raises:
        InvalidInput: no or unknown estimators, no budget, an unknown solver, or a limit out of range.
        MissingExtra: the solver is not installed.
        UnsupportedRequest: an estimator does not cover the question; raised here, before any training.
    """

    problem: LocalLipschitz
    estimators: Sequence[str | Bound] = None  # type: ignore[assignment]  # never None once it is made
    budget: float = 60.0
    seed: int = 0
    solver: str = "highs"
    gap: float = 0.0
    nodes: int | None = None
    sdp_solver: str = "SCS"

    def __post_init__(self) -> None:
        if self.estimators is None and isinstance(self.problem, LocalLipschitz):
            object.__setattr__(self, "estimators", usual_estimators(self.problem))
        if isinstance(self.estimators, str | Bound) or not self.estimators:
            accepted = "a list of estimator names or of Bounds"
            raise InvalidInput(f"estimators={self.estimators!r}", where="audit", accepted=accepted)
        asked = dict.fromkeys(Bound.of(estimator, "estimators").certified for estimator in self.estimators)
        object.__setattr__(self, "estimators", tuple(asked))
        if not isinstance(self.budget, int | float) or not 0 < self.budget < math.inf:  # it is shared out
            raise InvalidInput(f"budget={self.budget!r}", where="audit", accepted="seconds above 0, a finite number")
        # refuses what is unknown, missing or out of range
        Effort(solver=self.solver, gap=self.gap, nodes=self.nodes, sdp_solver=self.sdp_solver)
        for label in self.recipes:
            self.method(label).check(self.problem)

    @property
    def recipes(self) -> dict[str, Bound]:
        """What is asked, by label."""
        return {recipe.label: recipe for recipe in self.estimators if isinstance(recipe, Bound)}

    def method(self, label: str) -> Estimator:
        """The estimator that a recipe names."""
        return get_estimator(self.recipes[label].estimator)

    def methods(self) -> dict[str, Estimator]:
        """All of them by label: cheap methods first, in the given order; then searches, which profit from what is known."""
        chosen = {label: self.method(label) for label in self.recipes}
        return dict(sorted(chosen.items(), key=lambda e: (e[1].searches, e[1].certificate is Certificate.BRACKET)))

    def effort(self, seconds: float, stop: threading.Event, known: tuple[CertifiedInterval, ...] = ()) -> Effort:
        """What one estimator may spend on one task."""
        return Effort(
            seconds, self.gap, self.nodes, self.solver, self.sdp_solver, seed=self.seed, known=known, stop=stop
        )

    def limits(self) -> dict[str, Any]:
        """When the searches end, for records: a later audit with wider limits goes on from there."""
        return {"budget": self.budget, "gap": self.gap, "nodes": self.nodes}

    def settings(self, estimator: str) -> dict[str, Any]:
        """What decides the answer of an estimator besides the question and the limits: for records and for resuming."""
        settings = {"seed": self.seed, "preactivations": self.recipes[estimator].describe()["preactivations"]}
        option = self.method(estimator).solver_option
        return settings | ({option: self.solver_of(estimator)} if self.method(estimator).searches else {})

    def solver_of(self, estimator: str) -> str:
        """The engine that an estimator's programs go to."""
        return getattr(self, self.method(estimator).solver_option)
