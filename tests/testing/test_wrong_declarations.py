"""Estimators that declare what they do not keep, or touch what is not theirs: found by the default seed, in plain words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, BoundEstimator, Estimator, EstimatorTask, get_estimator, register
from lipreg.regions import WholeSpace
from lipreg.results import Certificate, CertifiedInterval
from lipreg.testing import CheckFailed, check_estimator
from tests.testing.test_wrong_estimators import IgnoresUnits


def bound_of(name: str, analysis: Analysis) -> Tensor:
    method: Any = ESTIMATORS[name]
    return method.bound(analysis)


class SlopeAtTheCenter(BoundEstimator):
    """Right in bounded regions; the norm at the center over all of R^n."""

    vector, unbounded_regions = False, True

    def bound(self, analysis: Analysis) -> Tensor:
        if not isinstance(analysis.placed.problem.region, WholeSpace):
            return bound_of("fastlip", analysis)
        graph = analysis.graph
        patterns = graph.patterns(graph.values(analysis.placed.region.center))
        slopes = {node: slope.unsqueeze(1) for node, slope in patterns.items()}
        return analysis.placed.combine(graph.gradients(slopes, analysis.placed.rows))


class RowSums(BoundEstimator):
    """Says that it weighs inputs, and does not look at their units."""

    norms, vector, weighted = (float("inf"),), False, True

    def bound(self, analysis: Analysis) -> Tensor:
        graph, total = analysis.graph, torch.ones((), dtype=torch.float64)
        for node in graph.nodes[:-1]:
            for _, map in node.terms() if hasattr(node, "terms") else ():  # type: ignore[attr-defined]
                total = total * map.dense().abs().sum(1).amax()
        ((_, last),) = graph.output.terms()
        rows = last.transpose(analysis.placed.rows.to(graph.dtype))
        return total * rows.flatten(2).abs().sum(-1).amax(-1)


class Spins(Estimator):
    """Works on before it looks at its budget."""

    certificate, searches, vector = Certificate.UPPER, True, False

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        for _ in range(100_000):
            work.analysis.placed.rows.size()
        return get_estimator("fastlip").intervals(work.analysis, work.budget)


class OwnBudget(Estimator):
    """Hands another budget on."""

    certificate, searches, vector = Certificate.BRACKET, True, False

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return get_estimator("branch_and_bound").intervals(work.analysis, Budget(60.0), work.settings)


class HalfFactors(BoundEstimator):
    vector, layered = False, True

    def bound(self, analysis: Analysis) -> Tensor:
        return bound_of("affine_relu", analysis)

    def factors(self, analysis: Analysis) -> Tensor:
        method: Any = ESTIMATORS["affine_relu"]
        return 0.5 * method.factors(analysis)


class NoFactors(BoundEstimator):
    vector, layered = False, True

    def bound(self, analysis: Analysis) -> Tensor:
        return bound_of("affine_relu", analysis)


class Seeds(BoundEstimator):
    """Seeds the random numbers of whoever uses it."""

    vector = False

    def bound(self, analysis: Analysis) -> Tensor:
        torch.manual_seed(0)
        return bound_of("fastlip", analysis)


class Trains(BoundEstimator):
    """Changes the weights."""

    vector = False

    def bound(self, analysis: Analysis) -> Tensor:
        value = bound_of("fastlip", analysis)
        with torch.no_grad():
            for _, map in analysis.graph.output.terms():
                map.dense().mul_(1.01)
        return value


class Halves(BoundEstimator):
    """Changes what the analysis knows of the units."""

    vector = False

    def bound(self, analysis: Analysis) -> Tensor:
        value = bound_of("fastlip", analysis)
        with torch.no_grad():
            for slopes in analysis.slopes.values():
                slopes.upper.mul_(0.5)
        return value


class Remembers(BoundEstimator):
    """Another number at every call."""

    vector = False
    calls = 0

    def bound(self, analysis: Analysis) -> Tensor:
        type(self).calls += 1
        return bound_of("fastlip", analysis) * self.calls


class DrawsItsOwn(BoundEstimator):
    """Draws from a generator without a seed."""

    vector = False

    def bound(self, analysis: Analysis) -> Tensor:
        generator = torch.Generator()
        generator.seed()
        return bound_of("fastlip", analysis) * (1.0 + torch.rand((), generator=generator))


@pytest.mark.parametrize(
    ("wrong", "aspect", "says"),
    [
        (SlopeAtTheCenter, "all of R^n", "unbounded_regions = True: .*the upper end is below the constant"),
        (RowSums, "aligned layers", "in units from 0.4 to 3 of .*the upper end is below the slope"),
        (IgnoresUnits, "one piece", "scale=.*the upper end is below the slope"),
        (Spins, "no budget", "without a second: it goes on for [0-9]+ calls"),
        (OwnBudget, "no budget", "without a second: it asks nothing of work.budget"),
        (HalfFactors, "factors", "layered = True: the product of the factors"),
        (NoFactors, "factors", r"layered = True: it has no factors\(self, analysis\)"),
        (Seeds, "repeats", "draws from torch's random numbers of the whole process, or seeds them"),
        (Trains, "repeats", "it has changed the weights of the network"),
        (Halves, "repeats", "and asked again about the same analysis .*changes nothing that it is given"),
        (Remembers, "repeats", "and asked again .*A method keeps nothing between calls"),
        (DrawsItsOwn, "repeats", "and asked again .*draws by settings.seed alone"),
    ],
)
def test_it_is_found(wrong: type[Estimator], aspect: str, says: str) -> None:
    register("wrong")(wrong)
    with pytest.raises(CheckFailed, match=f"(?s)wrong: .*{says}"):
        check_estimator("wrong", aspects=[aspect])


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("norms", 2.0, r"norms = 2.0, a float; a tuple is wanted, such as norms = \(2.0,\)"),
        ("scopes", "regional", r"scopes = 'regional', a str; a tuple is wanted, such as scopes = \('regional',\)"),
        ("norms", ("l2",), r"norms = \('l2',\), of which 'l2' is none of 1.0, 2.0, inf"),
    ],
)
def test_what_is_no_declaration_is_said(attribute: str, value: object, says: str) -> None:
    register("wrong")(type("Wrong", (HalfFactors,), {attribute: value}))
    with pytest.raises(CheckFailed, match=f"wrong: {says}"):
        check_estimator("wrong", aspects=["truth"])
