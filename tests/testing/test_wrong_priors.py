"""Searches that are given what is proved already, and lose it, mix it up or take it for their own proof: found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lipreg.estimators import Estimator, EstimatorTask, register
from lipreg.estimators.exact.branch_and_bound import BranchAndBound
from lipreg.estimators.relaxations.lp import LinearProgram
from lipreg.results import CertifiedInterval
from lipreg.testing import CheckFailed, Questions, check_estimator

QUESTIONS = Questions(one_in=8)


class HandsBack(BranchAndBound):
    """Returns what is known as its own answer."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return list(work.known) or super().answer(work)


class HandsBackABound(LinearProgram):
    """A relaxation that returns the upper end that is known where that is below its own."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        own = super().answer(work)
        if not work.known:
            return own
        return [replace(o, upper=min(o.upper, k.upper)) for o, k in zip(own, work.known, strict=True)]


class OfTheFirst(LinearProgram):
    """Takes the upper end that is known of the first point for that of every one."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        own = super().answer(work)
        return [replace(o, upper=min(o.upper, work.known[0].upper)) for o in own] if work.known else own


class BeginsAnew(BranchAndBound):
    """Does not look at what is known."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return super().answer(replace(work, known=()))


class TakesTheWitness(BranchAndBound):
    """Takes the value of the known witness for the constant."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        if not work.known:
            return super().answer(work)
        return [replace(known, upper=known.lower * (1 - 1e-3), lower=known.lower * (1 - 1e-3)) for known in work.known]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (HandsBack, "not searched to the end, as BRACKET promises of networks this small"),
        (HandsBackABound, "is what was known before; by itself it proves"),
        (OfTheFirst, "the upper end is below the constant|is what was known before"),
        (BeginsAnew, "which was proved before"),
        (TakesTheWitness, "the upper end is below the constant|is wider than"),
    ],
)
def test_misuse_of_what_is_known_is_found(wrong: type[Estimator], says: str) -> None:
    register("wrong")(wrong)
    with pytest.raises(CheckFailed, match=f"wrong: .*{says}"):
        check_estimator("wrong", aspects=["what is known"], questions=QUESTIONS)
