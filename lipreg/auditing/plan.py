"""AuditPlan: what an audit runs, checked before any work starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lipreg.arguments import check_switches
from lipreg.auditing.attack import Attack, check_attack
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, Bound, Estimator, Settings, get_estimator, usual_estimators
from lipreg.estimators.asked import check_problem, check_settings
from lipreg.estimators.settings import DEFAULTS
from lipreg.estimators.usual import ENGINES_SHARE
from lipreg.graph import Graph
from lipreg.problem import LocalLipschitz
from lipreg.records import COMBINED, FORMER
from lipreg.results import Certificate


def proves_one_end(method: Estimator) -> bool:
    """Whether a method is a relaxation, which takes a search's time and proves one end alone."""
    return method.searches and method.certificate is not Certificate.BRACKET


def shares(methods: Sequence[Estimator]) -> list[float]:
    """The part of the remaining time that each of some methods has, one after the other.

    Searches of both ends, which an audit is for, have ``ENGINES_SHARE`` of it where relaxations follow them. What one does
    not need is for those after it.
    """
    one_end = [proves_one_end(method) for method in methods]
    apart = len(set(one_end)) > 1
    parts = {True: 1 - ENGINES_SHARE, False: ENGINES_SHARE}
    weights = [parts[one] / one_end.count(one) if apart else 1.0 for one in one_end]
    return [weight / sum(weights[i:]) for i, weight in enumerate(weights)]


@dataclass(frozen=True)
class AuditPlan:
    """What an audit runs.

    Args:
        problem: the question.
        estimators: recipes, or registered names for the recipes with their defaults; they are kept as recipes with proved
            norms, each once. Closed-form bounds and sampling run before searches, whatever their order here, and searches of
            both ends before relaxations such as ``lp``, which have an eighth of the time beside them. None takes
            the usual ones that cover the question: ``lipreg.estimators.usual_estimators``.
        budget: for all of one audit, a ``Budget`` or a number of seconds: the time is shared out over the points
            (see ``lipreg.auditing.rounds``), the nodes are those of each search at each point.
        settings: the engines and the seed.
        attack: how a point of the region with another class is sought, where points have classes; None for not at all.
        certificates: whether certificates are written of the points that are exact, for which there is as much time again.
        usual: the labels of the estimators that nobody named: a network that they do not cover gets its own in their place,
            where one that was named is refused. Filled in where ``estimators`` is None.

    Raises:
        InvalidInput: no or unknown estimators, or a budget that is none or without an end.
        UnsupportedRequest: an estimator does not cover the question; raised here, before any training.
    """

    problem: LocalLipschitz
    estimators: Sequence[str | Bound] = None  # type: ignore[assignment]  # never None once it is made
    budget: Budget = None  # type: ignore[assignment]  # a number of seconds is made one
    settings: Settings = DEFAULTS
    attack: Attack | None = field(default_factory=Attack)
    usual: tuple[str, ...] = ()
    certificates: bool = False

    def __post_init__(self) -> None:
        check_problem(self.problem, "audit")
        if self.estimators is None:
            object.__setattr__(self, "usual", usual_estimators(self.problem))
            object.__setattr__(self, "estimators", self.usual)
        one = isinstance(self.estimators, str | Bound)
        if not isinstance(self.estimators, str | Bound | Iterable) or isinstance(self.estimators, Mapping):
            raise _no_list(self.estimators)
        _check_former([self.estimators] if one else self.estimators or ())
        if one or not self.estimators:
            raise _no_list(self.estimators)
        recipes = dict.fromkeys(Bound.of(estimator, "estimators").certified for estimator in self.estimators)
        object.__setattr__(self, "estimators", tuple(recipes))
        if COMBINED in self.recipes:
            got = f"an estimator named {COMBINED!r}, as is what all of them together prove"
            raise InvalidInput(got, where="audit", accepted="estimators of other names", todo="Register it by another")
        budget = Budget.of(self.budget, "audit")
        if budget.seconds == math.inf:  # it is shared out
            raise InvalidInput(f"budget={budget.seconds!r}", where="audit", accepted="a finite number of seconds")
        object.__setattr__(self, "budget", budget)
        check_settings(self.settings, "audit")
        if self.attack is not None:
            check_attack(self.attack, "audit")
        check_switches("audit", certificates=self.certificates)
        for label in self.recipes:
            self.method(label).check(self.problem)

    def asking(self, *recipes: Bound) -> AuditPlan:
        """The plan with more recipes; what is among the usual ones counts as named from now on."""
        usual = tuple(name for name in self.usual if name not in {recipe.label for recipe in recipes})
        return replace(self, estimators=(*self.estimators, *recipes), usual=usual)

    def covering(self, graph: Graph) -> AuditPlan:
        """The plan for a network: the usual estimators are those that cover it; those that were named stay."""
        covered = usual_estimators(self.problem, graph) if self.usual else ()
        named = [recipe for recipe in self.recipes.values() if recipe.label not in self.usual]
        if not covered:
            return self
        labels = {recipe.label for recipe in named}
        return replace(self, estimators=(*covered, *named), usual=tuple(name for name in covered if name not in labels))

    def check(self, graph: Graph) -> None:
        """Raises UnsupportedRequest when an estimator does not cover the network; call it before any work."""
        for method in self.methods().values():
            method.check(self.problem, graph)

    @property
    def recipes(self) -> dict[str, Bound]:
        """The recipes by label, in the given order."""
        return {recipe.label: recipe for recipe in self.estimators if isinstance(recipe, Bound)}

    def method(self, label: str) -> Estimator:
        """The estimator that a recipe names."""
        return get_estimator(self.recipes[label].estimator)

    def methods(self) -> dict[str, Estimator]:
        """All methods by label: cheap ones first, in the given order; then searches of both ends, which the audit is for;
        then relaxations, which take long and have the time that those do not need (``shares``)."""
        by_label = {label: self.method(label) for label in self.recipes}
        return dict(sorted(by_label.items(), key=lambda e: (e[1].searches, proves_one_end(e[1]))))

    def limits(self) -> dict[str, Any]:
        """The limits of the searches, for records: a later audit with wider ones goes on from there."""
        budget = self.budget
        return {"budget": budget.seconds, "gap": budget.gap, "nodes": budget.nodes, "memory": budget.memory}

    def settings_of(self, estimator: str) -> dict[str, Any]:
        """The settings that an estimator's answer depends on besides question and limits: for records and for resuming."""
        settings = {"seed": self.settings.seed, "preactivations": self.recipes[estimator].describe()["preactivations"]}
        option = self.method(estimator).solver_option
        return settings | ({option: self.solver_of(estimator)} if self.method(estimator).searches else {})

    def solver_of(self, estimator: str) -> str | None:
        """The engine that an estimator's programs go to; None where it has none."""
        return getattr(self.settings, self.method(estimator).solver_option)


def _no_list(estimators: object) -> InvalidInput:
    """The error about estimators that are no list of any, with one that is."""
    named = (
        [estimators] if isinstance(estimators, str) and ESTIMATORS.has(estimators) else ["fastlip", "branch_and_bound"]
    )
    accepted, todo = "a list of estimator names or of Bounds", f"Write estimators={named}"
    return InvalidInput(f"estimators={estimators!r}", where="audit", accepted=accepted, todo=todo)


def _check_former(estimators: Sequence[object]) -> None:
    """Refuses the name of what all estimators together prove, as it is and as it was, unless an estimator has it."""
    for name in estimators:
        if name in (COMBINED, FORMER) and not ESTIMATORS.has(name):
            raise InvalidInput(
                f"got {name!r}, which is no estimator: {COMBINED!r}, what all of them together prove, is in every audit",
                where="estimators",
                accepted="names of estimators: lipreg.estimators.ESTIMATORS.all_names()",
                todo=f"Leave {name!r} out; the search for the exact constant is 'branch_and_bound'",
            )
