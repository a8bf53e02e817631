"""What an estimator is, what it says of itself, and the registry that finds it by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from lipreg.bounds import METHODS, Analysis, norm_rounding, underflow
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.graph import Affine, Curved, Graph, Node, Relu
from lipreg.linalg import norm_name
from lipreg.options import Registry, instance
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status, Witness
from lipreg.search import Progress
from lipreg.words import listed

ROUNDING = 1e-9
"""Relative widening of bounds computed by float64 passes: far above the rounding of such passes, far below any use."""

ALL = "all"
"""As pre-activation methods: every one of ``METHODS``, intersected."""
IN_NORM = "@l"
"""Stands between the name of a method and the norm in which it is to be evaluated; see ``norm_equivalence``."""

Known = Sequence[CertifiedInterval]
"""What earlier estimators proved, an interval a point; empty where nothing is known. A search starts from its witness."""
Watch = Callable[[Progress], None]
"""Told where a search stands, as it goes along; estimators without a search of their own tell it nothing."""


@dataclass(frozen=True)
class Work:
    """What an estimator is given to do.

    Attributes:
        analysis: of a frozen graph, with the question at each reference point of a batch.
        budget: for the whole batch of points, started; bounds in closed form, a pass or two, ignore it.
        settings: which engines serve, and the seed.
        known: for each point, what earlier estimators proved.
        progress: told where a search stands.
    """

    analysis: Analysis
    budget: Budget
    settings: Settings = DEFAULTS
    known: Known = ()
    progress: Watch | None = None


class Estimator(ABC):
    """A method that answers a question at each reference point of a batch.

    What its class attributes leave out is refused before any work. Those about the network are narrow unless a class says
    otherwise: a method written for plain chains would prove a false number elsewhere.

    Attributes:
        name: what users and records call it; set by ``register``.
        certificate: UPPER, LOWER, BRACKET (both ends, by a search) or ESTIMATE.
        scopes, norms: which scopes and input norms p it covers.
        vector: whether it covers ``Vector`` outputs (the operator norm of the whole Jacobian).
        output_norms: the norms q of ``Vector`` outputs that it covers.
        weighed: whether it covers ``scale`` and ``measured``: every norm over inputs that it takes is of ``placed.weights``.
        kinds: which kinds of node it handles; max pools that it has written out as ReLUs are handled. Any Relu may be a
            leaky one: ``analysis.slopes`` are those of its kind.
        branches: whether it handles networks that branch (``Graph.branches``).
        everywhere: whether it answers over all of R^n, where pre-activations have no ends.
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
    weighed: ClassVar[bool] = False
    kinds: ClassVar[tuple[type[Node], ...]] = (Affine, Relu)
    branches: ClassVar[bool] = False
    everywhere: ClassVar[bool] = False
    differentiable: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    preactivations: ClassVar[tuple[str, ...] | str] = "all"
    solver_option: ClassVar[str] = "solver"
    source: ClassVar[str] = ""

    def named(self, analysis: Analysis) -> str:
        """The name under which it proves something from this analysis: a bound is its recipe."""
        return recipe_name(self.name, analysis.methods, self.preactivations)

    @property
    def proves_at_once(self) -> bool:
        """Whether it proves an upper end at once, of all points together, and not by a search."""
        return self.certificate is Certificate.UPPER and not self.searches

    def uncovered(self, problem: LocalLipschitz, graph: Graph | None = None) -> tuple[str, str] | None:
        """What of question and network the method does not cover, and what it does; None when it covers both.

        Args:
            problem: the question.
            graph: the network, once it is known.
        """
        return self.uncovered_question(problem) or (None if graph is None else self.uncovered_network(graph))

    def uncovered_question(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        """The same of the question alone; for methods whose attributes do not say all."""
        if problem.scope not in self.scopes:
            return f"scope {problem.scope!r}", " or ".join(map(repr, self.scopes))
        if not (problem.region.bounded or self.everywhere):
            return "a region without ends, all of R^n,", "bounded regions"
        if problem.p not in self.norms:
            return f"input norm p={norm_name(problem.p)}", "p in " + ", ".join(map(norm_name, self.norms))
        if problem.output.joint and not self.vector:
            return "output=Vector()", "scalar functionals: Logit, Margin, AllLogits, AllMargins, AllPairs, Combination"
        if problem.q is not None and problem.q not in self.output_norms:
            return f"output norm q={norm_name(problem.q)}", "q in " + ", ".join(map(norm_name, self.output_norms))
        if not problem.plain and not self.weighed:
            return "a question with scale or measured", "distances |x - x'|_p between all inputs"
        return None

    def uncovered_network(self, graph: Graph) -> tuple[str, str] | None:
        """The same of the network alone."""
        if set(graph.kinds) <= set(self.kinds) and (self.branches or not graph.branches):
            return None
        found = f"a network of {_listed(graph.kinds)} nodes" + (" that branches" if graph.branches else "")
        curves = [] if Curved in self.kinds else list(dict.fromkeys(repr(node.name) for _, node in graph.curves()))
        found += f", of which {listed(curves)} has no linear pieces," if curves else ""
        return found, f"networks of {_listed(self.kinds)} nodes" + ("" if self.branches else " that do not branch")

    def check(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        """Raises UnsupportedRequest when question or network are outside what the method covers; call it before any work.

        Args:
            problem: the question.
            graph: the network, once it is known.
        """
        refusal = self.uncovered(problem, graph)
        if refusal is None:
            return
        got, accepted = refusal
        able = {name: other for name, other in ESTIMATORS.offered().items() if other.uncovered(problem, graph) is None}
        both = "the question" if graph is None else "the question and the network"
        every = [name for name, other in able.items() if graph is not None or Curved in other.kinds]
        todo = f"Estimators that cover {both}: {', '.join(every)}" if every else ""
        if pieces := [name for name in able if name not in every]:
            todo += f"{'; of' if todo else 'Of'} networks of linear pieces {'also ' if todo else ''}{', '.join(pieces)}"
        if problem.p not in self.norms:
            from lipreg.estimators.norm_equivalence import nearest

            converted = nearest(self, problem.p)
            if converted.uncovered(problem, graph) is None:
                todo += f". For certify and audits, {converted.name!r} takes it in another norm and says the factor"
        raise UnsupportedRequest(
            f"{got} is not covered", where=f"estimator {self.name!r}", accepted=accepted, todo=todo
        )

    def engine(self, solver: str | None) -> str:
        """What does the arithmetic, with its version, where programs go to ``solver``, None for none; for records."""
        return f"torch {torch.__version__}"

    def tolerances(self) -> dict[str, float]:
        """The tolerances inside the proof, by name; for records."""
        return {"rounding": ROUNDING}

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
            budget: for the whole batch of points.
            settings, known, progress: as in ``Work``.

        Raises:
            UnsupportedRequest: question or network are outside what the method covers.
            IncomparableResults: what is known is of another network, point or question.
            InvalidInput: it is not one interval for each point.
        """
        self.check(analysis.placed.problem, analysis.graph)
        check_known(analysis, known)
        return self.answer(Work(analysis, budget.started(), settings, known, progress))

    @abstractmethod
    def answer(self, work: Work) -> list[CertifiedInterval]:
        """What a method does: one certified interval for each reference point, of what its attributes say it covers."""


def check_known(analysis: Analysis, known: Known) -> None:
    """Raises InvalidInput or IncomparableResults unless there is an interval for each point, of the same question there.

    None at all is nothing known.
    """
    if not len(known):
        return
    batch = analysis.placed.batch
    if len(known) != batch or not all(isinstance(interval, CertifiedInterval) for interval in known):
        kinds = ", ".join(sorted({type(interval).__name__ for interval in known}))
        got = f"{len(known)} known intervals for {batch} points" if len(known) != batch else f"known of {kinds}"
        raise InvalidInput(got, where="known", accepted="a CertifiedInterval for each point, or none at all")
    for i, interval in enumerate(known):
        lower_interval(analysis, i, None).check_comparable(interval)


def rounded_up(analysis: Analysis, bounds: Tensor | float) -> list[float]:
    """Bounds ``(batch,)`` of float64 passes widened by rounding and underflow; 0 where the output cannot move."""
    widened = torch.as_tensor(bounds, dtype=torch.float64) * (1.0 + ROUNDING) + underflow(analysis).amax(1)
    if (
        analysis.outward
        and not analysis.placed.without_rows
        and any(node.rounded for _, node in analysis.graph.affines())
    ):
        # of layers that were multiplied out, what that lost of any Jacobian
        widened = widened + norm_rounding(analysis)
    constant = ~analysis.reach[-1].moves.flatten(1).any(-1)
    return widened.masked_fill(constant, 0.0).tolist()


def upper_interval(
    analysis: Analysis, index: int, upper: float, proof: str, status: Status = Status.BOUNDED, detail: str = ""
) -> CertifiedInterval:
    """An interval with only an upper end."""
    placed = analysis.placed
    if analysis.left_out:
        detail, status = f"{detail}. {analysis.left_out}".lstrip(". "), cut_short(status)
    return CertifiedInterval(
        placed.problem,
        placed.functionals[index],
        upper=upper,
        proof=proof,
        status=status,
        detail=detail,
        subject=analysis.subject(index),
    )


def recipe_name(estimator: str, methods: Sequence[str] | str, own: Sequence[str] | str) -> str:
    """The name of an estimator that works from other pre-activation bounds than its own: with their methods behind it.

    Args:
        methods: of the bounds, or "all".
        own: those of the estimator, or "all".
    """
    if isinstance(methods, str) or set(methods) == set(METHODS):
        methods = ALL
    named = [] if methods == own else [methods] if isinstance(methods, str) else methods
    return "-".join((estimator, *named))


def cut_short(status: Status) -> Status:
    """The status of a bound that is looser than its method's own, because there was no time for a part of it."""
    return Status.TIME_LIMIT if status is Status.BOUNDED else status


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


def repeated(analysis: Analysis, interval: CertifiedInterval, index: int, first: int) -> CertifiedInterval:
    """What was found at the point ``first``, as of another one whose question is the same (``PlacedProblem.same``)."""
    detail = f"{interval.detail}. Searched at point {first}, whose question is the same".lstrip(". ")
    return replace(
        interval, functional=analysis.placed.functionals[index], subject=analysis.subject(index), detail=detail
    )


def _listed(kinds: Sequence[type[Node]]) -> str:
    *others, last = [kind.__name__ for kind in kinds]
    return f"{', '.join(others)} and {last}" if others else last


ESTIMATORS: Registry[Estimator] = Registry("estimator", instance)
register = ESTIMATORS.register
get_estimator = ESTIMATORS.find
