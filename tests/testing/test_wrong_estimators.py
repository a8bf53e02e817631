"""Estimators that are wrong, each in one way: check_estimator finds it, and says network, question and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lipreg.bounds import Analysis, analyse
from lipreg.errors import InvalidInput
from lipreg.estimators import (
    ESTIMATORS,
    BoundEstimator,
    Estimator,
    EstimatorTask,
    PenaltyQuestion,
    get_estimator,
    register,
)
from lipreg.estimators.base import lower_interval
from lipreg.estimators.exact.branch_and_bound import BranchAndBound
from lipreg.graph import Affine, Graph, MaxPool, Relu
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.testing import CheckFailed, Questions, check_estimator

ALL: Any = (Affine, Relu, MaxPool)
QUESTIONS = Questions(one_in=8)


def fastlip(analysis: Analysis) -> Tensor:
    method: Any = ESTIMATORS["fastlip"]
    return method.bound(analysis)


class TooSmall(BoundEstimator):
    """Nine tenths of a bound."""

    kinds, branches = ALL, True

    def bound(self, analysis: Analysis) -> Tensor:
        return 0.9 * fastlip(analysis)


class ForgetsABranch(BoundEstimator):
    """A product of norms along the first of several branches."""

    norms, vector, branches = (2.0,), False, True

    def bound(self, analysis: Analysis) -> Tensor:
        graph, along = analysis.graph, [torch.tensor(1.0, dtype=torch.float64)]
        for node in graph.nodes[1:-1]:
            if isinstance(node, Affine):
                source, map = next(iter(node.terms()))
                along.append(along[source] * torch.linalg.matrix_norm(map.dense(), ord=2))
            else:
                along.append(along[node.source])  # type: ignore[union-attr]
        source, map = next(iter(graph.output.terms()))
        return (analysis.placed.rows @ map.dense()).norm(dim=-1).amax(-1) * along[source]


class IgnoresUnits(BoundEstimator):
    """Says that it weighs inputs, and measures all of them as they are."""

    weighted = True

    def bound(self, analysis: Analysis) -> Tensor:
        plain = replace(analysis.placed.problem, scale=None, measured=None)
        return fastlip(analysis.for_question(replace(analysis.placed, problem=plain)))


class IgnoresQ(BoundEstimator):
    """Takes every output norm for the largest entry."""

    norms = (1.0,)

    def bound(self, analysis: Analysis) -> Tensor:
        placed = analysis.placed
        if placed.problem.q is None:
            return fastlip(analysis)
        return fastlip(analysis.for_question(replace(placed, problem=replace(placed.problem, q=math.inf))))


class IgnoresTheRange(Estimator):
    """Samples the ball, and forgets that the range of the data cuts it."""

    certificate = Certificate.LOWER
    kinds, branches = ALL, True
    norms = (math.inf,)

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        placed, graph = work.analysis.placed, work.analysis.graph
        region: Any = placed.problem.region
        if getattr(region, "low", None) is None or not hasattr(region, "radius"):
            return get_estimator("sampling").intervals(work.analysis, work.budget)
        whole = replace(placed.problem, region=replace(region, low=None, high=None))
        x = placed.region.center
        found = get_estimator("sampling").intervals(analyse(graph, whole.place(x, graph(x))), work.budget)
        return [lower_interval(work.analysis, i, interval.witness) for i, interval in enumerate(found)]


class ClaimsMaxPools(BoundEstimator):
    """Is right of ReLUs, and begins behind the last max pool."""

    kinds, branches = ALL, True

    def bound(self, analysis: Analysis) -> Tensor:
        pools = analysis.graph.pools()
        return 1e-2 * fastlip(analysis) if pools else fastlip(analysis)


class InOtherUnits(BoundEstimator):
    """Sound, and not in the units of the constant."""

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis) + 0.01


class LooksAtTheBatch(BoundEstimator):
    """Sound, and another number beside other points."""

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis).amax().expand(analysis.placed.batch)


class WrongGradient(BoundEstimator):
    """The right number, and twice its gradient."""

    def bound(self, analysis: Analysis) -> Tensor:
        value = fastlip(analysis)
        return 2.0 * value - value.detach()


class NoGradient(BoundEstimator):
    """The right number, and does not say that it is no penalty."""

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis).detach()


class ClosedFormDiffers(BoundEstimator):
    """The product of Frobenius norms, whose closed form loses one per cent."""

    norms, vector = (2.0,), False

    def bound(self, analysis: Analysis) -> Tensor:
        affine = [node for node in analysis.graph.nodes if isinstance(node, Affine)]
        return self._product([map.dense() for node in affine for _, map in node.terms()], analysis.placed.batch)

    def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
        return 0.99 * self._product([weight.flatten(1) for weight in step.chain.weights], len(step.x))

    @staticmethod
    def _product(weights: list[Tensor], batch: int) -> Tensor:
        total = torch.tensor(2.0, dtype=torch.float64)
        for weight in weights:
            total = total * weight.norm()
        return total.expand(batch)


class RightOfTiny(BoundEstimator):
    """Loses most of it where enumeration does not reach."""

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis) * (0.1 if analysis.graph.nodes[0].shape[0] > 4 else 1.0)


class RefusesNothing(BoundEstimator):
    """Says that it is for the regional scope and one norm, and answers whatever it is asked."""

    scopes, norms = ("regional",), (2.0,)

    def uncovered(self, problem: LocalLipschitz, graph: Graph | None = None) -> None:
        return None

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis)


class LosesADigit(BoundEstimator):
    """Answers in float32 arithmetic."""

    def bound(self, analysis: Analysis) -> Tensor:
        return (fastlip(analysis) * 0.999999).float().double()


class RightOfTheUsualSize(BoundEstimator):
    """Loses most of large numbers."""

    def bound(self, analysis: Analysis) -> Tensor:
        value = fastlip(analysis)
        return torch.where(value > 1000.0, 0.01 * value, value)


class RightNearZero(BoundEstimator):
    """Loses most of it at points far from 0."""

    def bound(self, analysis: Analysis) -> Tensor:
        return fastlip(analysis) * (0.01 if float(analysis.placed.region.center.abs().max()) > 10.0 else 1.0)


@pytest.mark.parametrize(
    ("wrong", "aspect", "says"),
    [
        (
            TooSmall,
            None,
            r"wrong: (regional|pointed) constant of \w+ of .*\[.*where the constant is in.*below the constant",
        ),
        (ForgetsABranch, None, r"of residual.*the upper end is below the constant"),
        (IgnoresUnits, None, r"distances by '\w+' at .*the upper end is below the constant"),
        (IgnoresQ, None, r"constant of vector_q(1|2) of .*the upper end is below the constant"),
        (IgnoresTheRange, None, r"on linf_cut.*(outside of the region|above the constant)"),
        (ClaimsMaxPools, None, r"of pooled.*the upper end is below the constant"),
        (LosesADigit, None, r"the upper end is below the constant"),
        (RightOfTiny, "larger networks", r"of a (chain|leaky convolution).*, and two points have slope"),
        (InOtherUnits, "units", r"with logits times 3: lower, upper, estimate: .* where .* is right"),
        (RightOfTheUsualSize, "units", r"with logits times 65536: .* where .* is right"),
        (RightNearZero, "units", r"with inputs moved by 64: .* where .* is right"),
        (LooksAtTheBatch, "batch", r"six points at once and one by one: \[.*\] where \[.*\] is right"),
        (WrongGradient, "gradients", r"the gradient is not that of finite differences"),
        (NoGradient, "gradients", r"no gradient reaches the weights; .* differentiable = False"),
        (
            ClosedFormDiffers,
            "closed form",
            r"the penalty's bounds and those of the graph: \[.*\] where \[.*\] is right",
        ),
        (
            RefusesNothing,
            "refusals",
            r"(pointed|regional) Lipschitz constant .*not refused; UnsupportedRequest is expected",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_it_is_found(wrong: type[Estimator], aspect: str | None, says: str) -> None:
    register("wrong")(wrong)
    with pytest.raises(CheckFailed, match=f"(?s){says}"):
        check_estimator("wrong", aspects=None if aspect is None else [aspect], questions=QUESTIONS)


LIES: dict[str, tuple[Callable[[CertifiedInterval, EstimatorTask], bool], dict[str, Any], str, str]] = {
    "proves what it left": (lambda i, w: i.status in LIMITS, {"status": Status.PROVED}, "limits", "below the constant"),
    "shrinks what is known": (lambda i, w: w.known is not None, {}, "limits", "below the constant"),
    "shrinks with a gap": (lambda i, w: w.budget.gap > 0, {}, "limits", "below the constant"),
    "shrinks in batches": (lambda i, w: w.analysis.placed.batch > 2, {}, "limits", "below the constant"),
    "says that it failed": (lambda i, w: True, {"upper": None, "status": Status.FAILED}, "limits", "failed"),
    "says that it is proved": (lambda i, w: True, {"upper": None, "status": Status.PROVED}, "limits", "do not meet"),
    "names no subject": (lambda i, w: True, {"upper": None, "subject": ""}, "truth", "subject"),
}
LIMITS = (Status.NODE_LIMIT, Status.GAP_LIMIT)


@pytest.mark.parametrize("label", LIES)
def test_searches_that_lie_are_found(label: str) -> None:
    when, says, aspect, named = LIES[label]

    @register("wrong")
    class Wrong(BranchAndBound):
        def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
            results = super().answer(work)
            return [
                replace(i, **{"upper": i.lower} | says | ({"upper": i.upper} if "upper" in says else {}))
                if when(i, work) and i.lower > 0
                else i
                for i in results
            ]

    with pytest.raises(CheckFailed, match=named):
        check_estimator("wrong", aspects=[aspect], questions=QUESTIONS)


def test_closed_forms_with_other_gradients_are_found() -> None:
    @register("wrong")
    class Wrong(ClosedFormDiffers):
        def closed_form(self, step: PenaltyQuestion) -> Tensor | None:
            right = super().closed_form(step)
            assert right is not None
            return 2.0 * right / 0.99 - (right / 0.99).detach()

    with pytest.raises(CheckFailed, match="gradient is off that of the graph's bound by"):
        check_estimator("wrong", aspects=["closed form"], questions=QUESTIONS)


def test_what_cannot_be_checked_says_why() -> None:
    class Unregistered(TooSmall):
        pass

    with pytest.raises(InvalidInput, match="no_such"):
        check_estimator("no_such")
    with pytest.raises(InvalidInput, match=r"did you mean 'truth'.*units"):
        check_estimator("fastlip", aspects=["truths"])
    with pytest.raises(InvalidInput, match="Unregistered"):
        check_estimator(Unregistered())
    register("nothing")(type("Nothing", (TooSmall,), {"norms": ()}))
    with pytest.raises(CheckFailed, match="covers no question"):
        check_estimator("nothing")
