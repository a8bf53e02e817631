"""What somebody else has registered, half written or wrong, is no matter of the one that is checked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.estimators import BoundEstimator, Estimator, EstimatorTask, get_estimator, register
from lipreg.milp import Found, Highs, Options, Program, register_solver
from lipreg.results import Certificate, CertifiedInterval
from lipreg.testing import CheckFailed, check_estimator, check_lowering, check_solver
from lipreg.testing.questions import Questions


class Unfinished(BoundEstimator):
    vector = False

    def bound(self, analysis: Any) -> Tensor:
        raise ZeroDivisionError("not finished yet")


class TooLow(BoundEstimator):
    vector = False

    def bound(self, analysis: Any) -> Tensor:
        return torch.zeros(analysis.placed.batch, dtype=torch.float64)


class Right(Estimator):
    certificate, searches, vector = Certificate.UPPER, True, False

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return list(get_estimator("fastlip").intervals(work.analysis, work.budget, work.settings))


@pytest.mark.parametrize("neighbour", [Unfinished, TooLow])
def test_estimators_and_lowerings_are_judged_without_it(neighbour: type[BoundEstimator]) -> None:
    register("neighbour")(neighbour)
    register("right")(Right)
    few = Questions(0, one_in=40)
    check_estimator("right", aspects=["truth"], questions=few)
    check_estimator("branch_and_bound", aspects=["truth"], questions=few)
    check_lowering(nn.ReLU, aspects=["constants"])
    with pytest.raises(CheckFailed, match="neighbour"):
        check_estimator("neighbour", aspects=["truth"], questions=few)


class Broken(Highs):
    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        raise ZeroDivisionError("not finished yet")


def test_solvers_are_judged_without_it() -> None:
    register_solver("neighbour")(Broken)
    check_solver("highs", aspects=["neighbours"])
