"""Proofs that contradict each other: the error names both methods, both ends and the point, and whose the methods are."""

from __future__ import annotations

import pytest

import lipreg
from lipreg.auditing import AuditPlan, audit
from lipreg.errors import CrossingBounds
from lipreg.estimators import Estimator, EstimatorTask
from lipreg.estimators.base import lower_interval, upper_interval
from lipreg.results import Certificate, CertifiedInterval, Witness
from tests.auditing.cases import NET, PROBLEM, X, Y
from tests.auditing.conftest import Registers


class Low(Estimator):
    certificate = Certificate.UPPER

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        return [upper_interval(work.analysis, i, 1e-3, "a theorem") for i in range(work.analysis.placed.batch)]


class High(Estimator):
    certificate = Certificate.LOWER

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        at = [Witness(tuple(x.tolist()), 1e6) for x in work.analysis.placed.region.center]
        return [lower_interval(work.analysis, i, witness) for i, witness in enumerate(at)]


class Own(Estimator):
    certificate = Certificate.BRACKET
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        high, low = High().answer(work), Low().answer(work)
        return [one.intersect(other) for one, other in zip(high, low, strict=True)]


LOW, HIGH = (f"'{name}' ({__name__}.{name.title()}, not of lipreg)" for name in ("low", "high"))


@pytest.mark.parametrize(
    ("methods", "words", "checked"),
    [
        (("low", "random_points"), (f"a witness of 'random_points' attains the one, and {LOW} proves the other",), ("low",)),
        (("low", "mip"), (f"a witness of 'mip' attains the one, and {LOW} proves the other",), ("low",)),
        (("low@l2", "random_points"), ("and 'low@l2' (", "Low, not of lipreg) proves the other"), ("low",)),
        (("high", "fastlip"), (f"lower 1000000 exceeds upper {{fastlip}}: a witness of {HIGH} attains the one, and "
                               "'fastlip' proves the other",), ("high",)),
        (("high", "low"), (f"lower 1000000 exceeds upper 0.001: a witness of {HIGH} attains the one, and {LOW} proves the "
                           "other, by a theorem",), ("high", "low")),
    ],
)  # fmt: skip
def test_both_methods_are_named(
    known_as: Registers, methods: tuple[str, ...], words: tuple[str, ...], checked: tuple[str, ...]
) -> None:
    known_as("low", Low)
    known_as("high", High)
    fastlip = lipreg.certify(NET, PROBLEM, X, Y, estimator="fastlip")[0].upper
    with pytest.raises(CrossingBounds, match=r"^point 0, largest of 2 margins of class 0: lower ") as caught:
        audit(NET, AuditPlan(PROBLEM, methods), X, Y)
    for part in words:
        assert part.format(fastlip=f"{fastlip:.12g}") in str(caught.value)
    calls = " and ".join(f"lipreg.testing.check_estimator('{name}')" for name in checked)
    assert str(caught.value).endswith(f"Check what is not of lipreg first: {calls}.")


def test_a_search_that_contradicts_itself_is_named_with_what_was_known(known_as: Registers) -> None:
    known_as("own", Own)
    named = f"estimator 'own' ({__name__}.Own, not of lipreg)"
    fastlip = lipreg.certify(NET, PROBLEM, X, Y, estimator="fastlip")[0].upper
    with pytest.raises(CrossingBounds) as caught:
        audit(NET, AuditPlan(PROBLEM, ("fastlip", "own")), X, Y)
    assert str(caught.value).startswith(f"point 0: {named}")
    assert f"Proved there before: 'fastlip' proved at most {fastlip:.12g}" in str(caught.value)
    assert str(caught.value).endswith("check_estimator('own').")
    with pytest.raises(CrossingBounds) as caught:
        lipreg.certify(NET, PROBLEM, X, Y, estimator="own")
    assert str(caught.value).startswith(f"{named}: ") and str(caught.value).endswith("check_estimator('own').")


def test_between_methods_of_lipreg_it_is_to_be_reported(known_as: Registers) -> None:
    known_as("high", High)
    known = lipreg.certify(NET, PROBLEM, X, Y, estimator="high")
    with pytest.raises(
        CrossingBounds, match=r"^estimator 'branch_and_bound', started from what was known before: .*report"
    ):
        lipreg.certify(NET, PROBLEM, X, Y, estimator="branch_and_bound", known=known)
