"""Upper bounds as a quantity: what penalties are about where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lipreg.bounds import ROW_MEMORY, Analysis
from lipreg.estimators import (
    Bound,
    BoundEstimator,
    PenaltyQuestion,
    differentiable_bound,
    differentiable_names,
    live_analysis,
)
from lipreg.estimators.recipe import ALL
from lipreg.graph import Graph
from lipreg.problem import LocalLipschitz
from lipreg.quantities.base import Quantity, register
from lipreg.quantities.query import Query
from lipreg.results import Certificate


@register("bound")
@dataclass(frozen=True)
class UpperBound(Quantity):
    """An upper bound on the local constant, by a recipe: ``LipschitzPenalty(bound=...)`` penalises it.

    By the closed form of a network without branches where the estimator has one, else on the live graph.

    Args:
        estimator, preactivations, spectral_norms, memory: as of ``lipreg.Bound``; the estimator is a differentiable one.
    """

    estimator: str = "affine_relu"
    preactivations: Sequence[str] | str = None  # type: ignore[assignment]  # None: the estimator's own, resolved below
    spectral_norms: str = "estimate"
    memory: int = ROW_MEMORY

    def __post_init__(self) -> None:
        object.__setattr__(self, "preactivations", self.recipe.preactivations)
        _ = self.method  # refused here if it cannot be differentiated

    @cached_property
    def recipe(self) -> Bound:
        """The recipe with these options."""
        options = {name: getattr(self, name) for name in ("preactivations", "spectral_norms", "memory")}
        return Bound.of({"estimator": self.estimator, **options}, "bound", differentiable_names())

    @cached_property
    def method(self) -> BoundEstimator:
        """The estimator object of that name."""
        return differentiable_bound(self.estimator)

    @classmethod
    def of(cls, recipe: Bound) -> UpperBound:
        """The quantity that is bounded by a recipe."""
        return cls(recipe.estimator, recipe.preactivations, recipe.spectral_norms, recipe.memory)

    @property
    def label(self) -> str:
        return self.recipe.label

    def certificate(self, problem: LocalLipschitz) -> Certificate:
        """ESTIMATE where spectral norms are estimated and count: they lie a little below, and what follows is no bound."""
        norms_count = problem.p == 2.0 and self.method.layer_norms
        norms_count = norms_count or (
            problem.region.norm == 2.0 and {"ball", ALL} & {*_listed(self.preactivations)} != set()
        )
        return Certificate.ESTIMATE if norms_count and self.spectral_norms == "estimate" else Certificate.UPPER

    def check(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        self.method.check(problem, graph)

    def values(self, query: Query) -> Tensor:
        chain, methods = query.network_state.chain, self.recipe.methods
        if chain is not None:
            arguments = query.problem, query.x, query.labels, methods, query.power, query.constants
            bounds = self.method.own_closed_form(PenaltyQuestion(chain, *arguments))
            if bounds is not None:
                return bounds
        return self.method.bound(self._analysis(query))

    def factors(self, query: Query) -> tuple[Tensor, Tensor]:
        """The bounds without gradient, ``(points,)``, and their factors, ``(points, layers)``, of a layered estimator."""
        analysis = self._analysis(query)
        factors = self.method.factors(analysis)
        with torch.no_grad():
            return self.method.bound(analysis), factors

    def _analysis(self, query: Query) -> Analysis:
        arguments = query.x, query.labels, self.method, self.recipe.methods, query.power, self.memory
        return live_analysis(query.graph, query.problem, *arguments)


def _listed(methods: Sequence[str] | str) -> Sequence[str]:
    return [methods] if isinstance(methods, str) else methods
