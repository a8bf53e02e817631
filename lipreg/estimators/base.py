"""What an estimator is, what it says of itself, and the registry that finds it by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lipreg.bounds import Analysis, underflow
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators.sdp_solvers import check_sdp_solver
from lipreg.linalg import norm_name
from lipreg.options import Registry, check_count, instance
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status, Witness

if TYPE_CHECKING:
    from lipreg.search import Progress

ROUNDING = 1e-9
"""Relative widening of bounds computed by float64 passes: far above the rounding of such passes, far below any use."""

IN_NORM = "@l"
"""Stands between the name of a method and the norm in which it is to be evaluated; see ``norm_equivalence``."""


@dataclass(frozen=True)
class Settings:
    """What decides an estimator's answer beside the question, its recipe and its budget: which engines serve, and the seed.

    Attributes:
        solver: of mixed-integer and linear programs; see ``lipreg.milp.installed_solvers``.
        sdp_solver: of semidefinite programs, by cvxpy's name for it ("SCS", "CLARABEL", ...).
        threads: that each solver may use.
        seed: of every random choice.

    Raises:
        InvalidInput: an unknown solver, no installed one of semidefinite programs, or no number of threads or seed.
        MissingExtra: the solver is not installed.
    """

    solver: str = "highs"
    sdp_solver: str = "SCS"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.threads, "threads", "Settings")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise InvalidInput(f"seed={self.seed!r}", where="Settings", accepted="a whole number")
        if self.solver != "highs":  # always there; methods without a search need not load it
            from lipreg.milp import get_solver

            get_solver(self.solver)
        if self.sdp_solver != "SCS":  # likewise
            check_sdp_solver(self.sdp_solver)


DEFAULTS = Settings()
Known = Sequence[CertifiedInterval]
"""What earlier estimators proved, an interval a point; empty where nothing is known. A search starts from its witness."""
Watch = Callable[["Progress"], None]
"""Told where a search stands, as it goes along; estimators without a search of their own tell it nothing."""


class Estimator(ABC):
    """A method that answers a question at each reference point of a batch.

    Attributes:
        name: what users and records call it; set by ``register``.
        certificate: UPPER, LOWER, BRACKET (both ends, by a search) or ESTIMATE.
        scopes, norms: which scopes and input norms p it covers.
        vector: whether it covers ``Vector`` outputs (the operator norm of the whole Jacobian).
        output_norms: the norms q of ``Vector`` outputs that it covers.
        differentiable: whether ``bound`` can be a penalty.
        searches: whether it works point by point under a budget, rather than on the batch at once.
        preactivations: pre-activation methods that a recipe of this estimator means where it names none, or "all".
        solver_option: for searches, which of ``Settings``'s fields names the engine of their programs.
        source: where the method comes from.
    """

    name: str
    certificate: ClassVar[Certificate]
    scopes: ClassVar[tuple[str, ...]] = ("regional", "pointed")
    norms: ClassVar[tuple[float, ...]] = (1.0, 2.0, float("inf"))
    vector: ClassVar[bool] = True
    output_norms: ClassVar[tuple[float, ...]] = (1.0, 2.0, float("inf"))
    differentiable: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    preactivations: ClassVar[tuple[str, ...] | str] = "all"
    solver_option: ClassVar[str] = "solver"
    source: ClassVar[str] = ""

    def uncovered(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        """What of the question the method does not cover, and what it does; None when it covers the question."""
        if problem.scope not in self.scopes:
            return f"scope {problem.scope!r}", " or ".join(map(repr, self.scopes))
        if problem.p not in self.norms:
            return f"input norm p={norm_name(problem.p)}", "p in " + ", ".join(map(norm_name, self.norms))
        if problem.output.joint and not self.vector:
            return "output=Vector()", "scalar functionals: Logit, Margin, AllLogits, AllMargins, AllPairs, Combination"
        if problem.q is not None and problem.q not in self.output_norms:
            return f"output norm q={norm_name(problem.q)}", "q in " + ", ".join(map(norm_name, self.output_norms))
        return None

    def check(self, problem: LocalLipschitz) -> None:
        """Raises UnsupportedRequest when the question is outside what the method covers; call it before any work."""
        refusal = self.uncovered(problem)
        if refusal is None:
            return
        got, accepted = refusal
        able = [name for name, other in ESTIMATORS.items() if other.uncovered(problem) is None]
        todo = f"Estimators that cover the question: {', '.join(able)}" if able else ""
        if problem.p not in self.norms:
            from lipreg.estimators.norm_equivalence import nearest

            converted = nearest(self, problem.p)
            if converted.uncovered(problem) is None:
                todo += f". {converted.name!r} takes it in another norm and says the factor of norm equivalence"
        raise UnsupportedRequest(
            f"{got} is not covered", where=f"estimator {self.name!r}", accepted=accepted, todo=todo
        )

    def engine(self, solver: str) -> str:
        """What does the arithmetic, with its version, where programs go to ``solver``; for records."""
        return f"torch {torch.__version__}"

    def tolerances(self) -> dict[str, float]:
        """The tolerances inside the proof, by name; for records."""
        return {"rounding": ROUNDING}

    @abstractmethod
    def intervals(
        self,
        analysis: Analysis,
        budget: Budget,
        settings: Settings = DEFAULTS,
        known: Known = (),
        progress: Watch | None = None,
    ) -> list[CertifiedInterval]:
        """One certified interval for each reference point.

        Args:
            analysis: of a frozen graph.
            budget: for the whole batch of points; methods without a search ignore it.
            settings: which engines serve, and the seed.
            known: for each point, what earlier estimators proved.
            progress: told where a search stands.
        """


class BoundEstimator(Estimator):
    """A closed-form upper bound, batched over points and differentiable in the network's parameters.

    Attributes:
        layered: whether it is a product over layers, with ``factors``.
        masked: whether it sees the pre-activations only through ``slopes`` and ``moves``. In regional scope both are
            constant almost everywhere, so the analysis behind them needs no gradient.
    """

    certificate = Certificate.UPPER
    differentiable = True
    preactivations = ("interval",)
    layered: ClassVar[bool] = False
    masked: ClassVar[bool] = False

    @abstractmethod
    def bound(self, analysis: Analysis) -> Tensor:
        """The upper bound at each point, ``(batch,)``, in the graph's dtype."""

    def factors(self, analysis: Analysis) -> Tensor:
        """The factors of a product bound, ``(batch, layers)``: one for each linear map, the output's last."""
        raise NotImplementedError

    def intervals(
        self,
        analysis: Analysis,
        budget: Budget,
        settings: Settings = DEFAULTS,
        known: Known = (),
        progress: Watch | None = None,
    ) -> list[CertifiedInterval]:
        self.check(analysis.placed.problem)
        with torch.no_grad():
            bounds = rounded_up(analysis, self.bound(analysis))
        detail = analysis.norms.certificate()
        return [upper_interval(analysis, i, value, self.name, detail=detail) for i, value in enumerate(bounds)]


def rounded_up(analysis: Analysis, bounds: Tensor | float) -> list[float]:
    """Bounds ``(batch,)`` of float64 passes widened by rounding and underflow; 0 where the output cannot move."""
    widened = torch.as_tensor(bounds, dtype=torch.float64) * (1.0 + ROUNDING) + underflow(analysis).amax(1)
    constant = ~analysis.reach[-1].moves.flatten(1).any(-1)
    return widened.masked_fill(constant, 0.0).tolist()


def upper_interval(
    analysis: Analysis, index: int, upper: float, proof: str, status: Status = Status.BOUNDED, detail: str = ""
) -> CertifiedInterval:
    """An interval with only an upper end."""
    placed = analysis.placed
    detail = f"{detail}. {analysis.left_out}".lstrip(". ") if analysis.left_out else detail
    return CertifiedInterval(
        placed.problem,
        placed.functionals[index],
        upper=upper,
        proof=proof,
        status=status,
        detail=detail,
        subject=analysis.subject(index),
    )


def lower_interval(analysis: Analysis, index: int, witness: Witness | None, detail: str = "") -> CertifiedInterval:
    """An interval with only a lower end."""
    placed = analysis.placed
    lower = 0.0 if witness is None else witness.attained
    return CertifiedInterval(
        placed.problem,
        placed.functionals[index],
        lower=lower,
        witness=witness,
        detail=detail,
        subject=analysis.subject(index),
    )


ESTIMATORS: Registry[Estimator] = Registry("estimator", instance)
register = ESTIMATORS.register
get_estimator = ESTIMATORS.find
