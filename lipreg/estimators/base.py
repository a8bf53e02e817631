"""The interface of an estimator, the questions and networks that it declares to cover, and the registry of all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds, InvalidInput, UnsupportedRequest
from lipreg.estimators.naming import cut_name, recipe_name
from lipreg.estimators.own_norms import name_in, nearest_norm, question_in
from lipreg.estimators.rounding import ROUNDING
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.estimators.whose import within
from lipreg.graph import Affine, Curved, Graph, Node, Relu
from lipreg.linalg import norm_name
from lipreg.options import Named, Registry, instance
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status, Witness
from lipreg.search import SearchProgress
from lipreg.words import listed

PriorIntervals = Sequence[CertifiedInterval]
"""Intervals that earlier estimators proved, one for each point; empty for none. A search starts from their witnesses."""
Watch = Callable[[SearchProgress], None]
"""A function that is called with the progress of a search after each round; methods without a search never call it."""


@dataclass(frozen=True)
class EstimatorTask:
    """The question to an estimator: a batch of points, with the time and memory for it.

    Attributes:
        analysis: the analysis of a frozen graph, with the question at each reference point of a batch.
        budget: the budget of the whole batch of points, started; bounds in closed form, a pass or two, ignore it.
        settings: which engines serve, and the seed.
        known: the intervals that earlier estimators proved, one for each point, or none at all.
        progress: a function that is called with the progress of a search; None for none.
    """

    analysis: Analysis
    budget: Budget
    settings: Settings = DEFAULTS
    known: PriorIntervals = ()
    progress: Watch | None = None


class Estimator(Named):
    """A method that answers a question at each reference point of a batch.

    Questions and networks outside its class attributes are refused before any work. Those about the network are narrow by
    default: a method written for plain chains would prove a false number elsewhere.

    Attributes:
        certificate: UPPER, LOWER, BRACKET (both ends, by a search) or ESTIMATE.
        scopes, norms: which scopes and input norms p it covers.
        vector: whether it covers ``Vector`` outputs (the operator norm of the whole Jacobian).
        output_norms: the norms q of ``Vector`` outputs that it covers.
        weighted: whether it covers ``scale`` and ``measured``: every norm over inputs that it takes is of
            ``placed.weights``.
        kinds: the kinds of node that it handles, max pools too where it writes them out as ReLUs. Any Relu may be a leaky
            one: ``analysis.slopes`` are those of its kind.
        branches: whether it handles networks that branch (``Graph.branches``).
        unbounded_regions: whether it answers over all of R^n, where pre-activations are unbounded.
        differentiable: whether ``bound`` can be a penalty.
        searches: whether it works point by point under a budget, rather than on the batch at once.
        preactivations: pre-activation methods that a recipe of this estimator means where it names none, or "all".
        solver_option: for searches, the field of ``Settings`` that names the solver of their programs.
        source: the publication of the method.
    """

    certificate: ClassVar[Certificate]
    scopes: ClassVar[tuple[str, ...]] = ("regional", "pointed")
    norms: ClassVar[tuple[float, ...]] = (1.0, 2.0, float("inf"))
    vector: ClassVar[bool] = True
    output_norms: ClassVar[tuple[float, ...]] = (1.0, 2.0, float("inf"))
    weighted: ClassVar[bool] = False
    kinds: ClassVar[tuple[type[Node], ...]] = (Affine, Relu)
    branches: ClassVar[bool] = False
    unbounded_regions: ClassVar[bool] = False
    differentiable: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    preactivations: ClassVar[tuple[str, ...] | str] = "all"
    solver_option: ClassVar[str] = "solver"
    source: ClassVar[str] = ""

    @staticmethod
    def registry() -> Registry[Any]:
        return ESTIMATORS

    def named(self, analysis: Analysis) -> str:
        """The name of its proofs from this analysis: the recipe, marked where bounds of the analysis were cut short."""
        name = recipe_name(self.name, analysis.methods, self.preactivations)
        return cut_name(name) if analysis.left_out else name

    @property
    def proves_at_once(self) -> bool:
        """Whether it proves upper ends of all points together, and not by a search of one after another."""
        return self.certificate is Certificate.UPPER and not self.searches

    def uncovered(self, problem: LocalLipschitz, graph: Graph | None = None) -> tuple[str, str] | None:
        """The part of question or network that the method does not cover, and what it covers instead; None for both covered.

        Args:
            problem: the question.
            graph: the network; None for the question alone.
        """
        return self.uncovered_question(problem) or (None if graph is None else self.uncovered_network(graph))

    def uncovered_question(self, problem: LocalLipschitz) -> tuple[str, str] | None:
        """``uncovered`` of the question alone; methods whose attributes do not say all override it."""
        if problem.scope not in self.scopes:
            return f"scope {problem.scope!r}", " or ".join(map(repr, self.scopes))
        if not (problem.region.bounded or self.unbounded_regions):
            return "a region without ends, all of R^n,", "bounded regions"
        if problem.p not in self.norms:
            return f"input norm p={norm_name(problem.p)}", "p in " + ", ".join(map(norm_name, self.norms))
        if problem.output.joint and not self.vector:
            return "output=Vector()", "scalar functionals: Logit, Margin, AllLogits, AllMargins, AllPairs, Combination"
        if problem.q is not None and problem.q not in self.output_norms:
            return f"output norm q={norm_name(problem.q)}", "q in " + ", ".join(map(norm_name, self.output_norms))
        if not problem.plain and not self.weighted:
            return "a question with scale or measured", "distances |x - x'|_p between all inputs"
        return None

    def uncovered_network(self, graph: Graph) -> tuple[str, str] | None:
        """``uncovered`` of the network alone."""
        if set(graph.kinds) <= set(self.kinds) and (self.branches or not graph.branches):
            return None
        got = f"a network of {_listed(graph.kinds)} nodes" + (" that branches" if graph.branches else "")
        curves = [] if Curved in self.kinds else list(dict.fromkeys(repr(node.name) for _, node in graph.curves()))
        got += f", of which {listed(curves)} has no linear pieces," if curves else ""
        return got, f"networks of {_listed(self.kinds)} nodes" + ("" if self.branches else " that do not branch")

    def check(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        """Raises UnsupportedRequest when question or network are outside what the method covers; call it before any work.

        Args:
            problem: the question.
            graph: the network; None for the question alone.
        """
        refusal = self.uncovered(problem, graph)
        if refusal is None:
            return
        got, accepted = refusal
        covering = {
            name: other for name, other in ESTIMATORS.offered().items() if other.uncovered(problem, graph) is None
        }
        both = "the question" if graph is None else "the question and the network"
        every = [name for name, other in covering.items() if graph is not None or Curved in other.kinds]
        todo = f"Estimators that cover {both}: {', '.join(every)}" if every else ""
        if linear := [name for name in covering if name not in every]:
            todo += f"{'; of' if todo else 'Of'} networks of linear pieces {'also ' if todo else ''}{', '.join(linear)}"
        norm = nearest_norm(self.norms, problem.p)
        _, refused = question_in(problem, norm, self.output_norms, self.uncovered_question)
        if norm != problem.p and refused is None and (graph is None or self.uncovered_network(graph) is None):
            words = f"For certify, audits and certified_radii, {name_in(self.name, norm)!r} takes it in another norm"
            todo += f". {words} and says the factor"
        raise UnsupportedRequest(
            f"{got} is not covered", where=f"estimator {self.name!r}", accepted=accepted, todo=todo
        )

    def engine(self, solver: str | None) -> str:
        """The software that computes, with its version, for records; ``solver`` names that of programs, None for none."""
        return f"torch {torch.__version__}"

    def tolerances(self) -> dict[str, float]:
        """The tolerances inside the proof, by name, for records."""
        return {"rounding": ROUNDING}

    def intervals(
        self,
        analysis: Analysis,
        budget: Budget,
        settings: Settings = DEFAULTS,
        known: PriorIntervals = (),
        progress: Watch | None = None,
    ) -> list[CertifiedInterval]:
        """One certified interval for each reference point.

        Args:
            analysis: the analysis of a frozen graph.
            budget: the budget of the whole batch of points.
            settings, known, progress: as in ``EstimatorTask``.

        Raises:
            UnsupportedRequest: question or network are outside what the method covers.
            IncomparableResults: a known interval is of another network, point or question.
            InvalidInput: ``known`` is not one interval for each point.
            CrossingBounds: what it proves contradicts itself, or what is known.
        """
        self.check(analysis.placed.problem, analysis.graph)
        check_known(analysis, known)
        try:
            return self.answer(EstimatorTask(analysis, budget.started(), settings, known, progress))
        except CrossingBounds as error:
            raise within(self, error, len(known) > 0) from None

    @abstractmethod
    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        """One certified interval for each reference point, of a question and network that its attributes cover."""


def check_known(analysis: Analysis, known: PriorIntervals) -> None:
    """Raises InvalidInput or IncomparableResults unless there is an interval of each point's question, or none at all."""
    if not isinstance(known, Sequence):
        raise InvalidInput(
            f"known={known!r}", where="known", accepted="a CertifiedInterval for each point, or none at all"
        )
    if not len(known):
        return
    batch = analysis.placed.batch
    if len(known) != batch or not all(isinstance(interval, CertifiedInterval) for interval in known):
        kinds = ", ".join(sorted({type(interval).__name__ for interval in known}))
        got = f"{len(known)} known intervals for {batch} points" if len(known) != batch else f"known of {kinds}"
        raise InvalidInput(got, where="known", accepted="a CertifiedInterval for each point, or none at all")
    for i, interval in enumerate(known):
        lower_interval(analysis, i, None).check_comparable(interval)


def upper_interval(
    analysis: Analysis, index: int, upper: float, proof: str, status: Status = Status.BOUNDED, detail: str = ""
) -> CertifiedInterval:
    """The interval of one point with an upper end alone.

    Args:
        analysis: the analysis of the points; where bounds in it were cut short, status and detail of the interval say so.
        index: the point's place in the batch.
        upper: the upper end, rounded outward.
        proof: the name of what proves it.
        status: how the work ended.
        detail: one line on how it came about.
    """
    placed = analysis.placed
    if analysis.left_out:
        detail, status = f"{detail}. {analysis.left_out}".lstrip(". "), cut_short(status)
    return CertifiedInterval(
        placed.problem,
        placed.functional_names[index],
        upper=upper,
        proof=proof,
        status=status,
        detail=detail,
        subject=analysis.subject(index),
    )


def cut_short(status: Status) -> Status:
    """The status of a bound that is looser than its method's own, because there was no time for a part of it."""
    return Status.TIME_LIMIT if status is Status.BOUNDED else status


def lower_interval(analysis: Analysis, index: int, witness: Witness | None, detail: str = "") -> CertifiedInterval:
    """The interval of one point with a lower end alone.

    Args:
        analysis: the analysis of the points.
        index: the point's place in the batch.
        witness: the witness, whose value is the lower end; None for 0.
        detail: one line on how it came about.
    """
    placed = analysis.placed
    lower = 0.0 if witness is None else witness.attained
    return CertifiedInterval(
        placed.problem,
        placed.functional_names[index],
        lower=lower,
        witness=witness,
        detail=detail,
        subject=analysis.subject(index),
    )


def repeated(analysis: Analysis, interval: CertifiedInterval, index: int, first: int) -> CertifiedInterval:
    """The interval of one point as that of another, whose question is the same (``PlacedProblem.representatives``).

    Args:
        analysis: the analysis of both points.
        interval: the result at the point ``first``.
        index, first: the places of both points in the batch.
    """
    detail = f"{interval.detail}. Searched at point {first}, whose question is the same".lstrip(". ")
    return replace(
        interval, functional=analysis.placed.functional_names[index], subject=analysis.subject(index), detail=detail
    )


def _listed(kinds: Sequence[type[Node]]) -> str:
    *others, last = [kind.__name__ for kind in kinds]
    return f"{', '.join(others)} and {last}" if others else last


ESTIMATORS: Registry[Estimator] = Registry("estimator", instance, base=Estimator, home="lipreg.estimators.ESTIMATORS")
"""The estimators by name, as instances with their default options."""
register = ESTIMATORS.register
