"""Intervals: each end needs its backing, crossing ends are an error, and different questions do not mix."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.outputs import Logit, Margin, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball, LinfBall
from lipreg.results import EXACT_TOLERANCE, Certificate, CertifiedInterval, Status, Witness

PROBLEM = LocalLipschitz(LinfBall(0.1), Logit(0))


def interval(
    lower: float = 0.0, upper: float = math.inf, problem: LocalLipschitz = PROBLEM, **more
) -> CertifiedInterval:
    """An interval with the backing that its ends need."""
    witness = Witness((0.0, 1.0), lower) if lower > 0 else None
    return CertifiedInterval(
        problem,
        more.pop("functional", "logit 0"),
        lower,
        upper,
        proof=more.pop("proof", "" if upper == math.inf else "a theorem"),
        witness=more.pop("witness", witness),
        **more,
    )


def test_crossing_ends_raise() -> None:
    with pytest.raises(CrossingBounds, match="report"):
        interval(2.0, 1.0)
    with pytest.raises(CrossingBounds):
        interval(1.0 + 1e-15, 1.0)
    with pytest.raises(CrossingBounds):
        interval(0.0, -1e-300)
    interval(1.0, 1.0)


def test_an_upper_end_needs_a_proof() -> None:
    with pytest.raises(InvalidInput, match="without a proof"):
        CertifiedInterval(PROBLEM, "logit 0", upper=1.0)
    with pytest.raises(InvalidInput, match="without a proof"):
        interval(0.0, 0.0, proof="")
    assert CertifiedInterval(PROBLEM, "logit 0").upper == math.inf


def test_a_lower_end_needs_a_witness_that_attains_it() -> None:
    with pytest.raises(InvalidInput, match="witness"):
        CertifiedInterval(PROBLEM, "logit 0", lower=1.0)
    with pytest.raises(InvalidInput, match="witness"):
        interval(1.0, witness=Witness((0.0,), 0.999999))
    assert interval(1.0, witness=Witness((0.0,), 1.5)).lower == 1.0


@pytest.mark.parametrize(
    "ends", [(math.nan, 1.0), (0.0, math.nan), (-1.0, 1.0), (math.inf, math.inf), (-math.inf, 1.0)], ids=str
)
def test_ends_must_be_numbers(ends: tuple[float, float]) -> None:
    with pytest.raises((InvalidInput, CrossingBounds)):
        CertifiedInterval(PROBLEM, "logit 0", *ends, proof="a theorem", witness=Witness((0.0,), math.inf))


@pytest.mark.parametrize(
    ("ends", "certificate", "gap"),
    [
        ((0.0, math.inf), Certificate.LOWER, 1.0),
        ((1.0, math.inf), Certificate.LOWER, 1.0),
        ((0.0, 2.0), Certificate.UPPER, 1.0),
        ((1.0, 2.0), Certificate.BRACKET, 0.5),
        ((2.0, 2.0), Certificate.EXACT, 0.0),
        ((2.0 * (1 - 0.5 * EXACT_TOLERANCE), 2.0), Certificate.EXACT, 0.5 * EXACT_TOLERANCE),
        ((2.0 * (1 - 2.0 * EXACT_TOLERANCE), 2.0), Certificate.BRACKET, 2.0 * EXACT_TOLERANCE),
        ((0.0, 0.0), Certificate.EXACT, 0.0),
    ],
    ids=str,
)
def test_certificate_and_gap(ends: tuple[float, float], certificate: Certificate, gap: float) -> None:
    result = interval(*ends)
    assert result.certificate is certificate
    assert result.gap == pytest.approx(gap, rel=1e-6)


def test_an_estimate_proves_neither_end() -> None:
    result = interval(estimate=3.0)
    assert result.certificate is Certificate.ESTIMATE
    assert interval(1.0, estimate=3.0).certificate is Certificate.LOWER
    assert interval(0.0, 4.0, estimate=3.0).certificate is Certificate.UPPER


def test_intersection_keeps_the_tighter_end_with_its_backing() -> None:
    upper = interval(0.0, 3.0, proof="theorem A", detail="A")
    lower = interval(1.0, detail="B")
    for merged in (upper.intersect(lower), lower.intersect(upper)):
        assert (merged.lower, merged.upper) == (1.0, 3.0)
        assert merged.proof == "theorem A" and merged.witness == lower.witness
        assert merged.certificate is Certificate.BRACKET
    better = interval(0.5, 2.0, proof="theorem B")
    merged = upper.intersect(lower).intersect(better)
    assert (merged.lower, merged.upper, merged.proof) == (1.0, 2.0, "theorem B")


def test_an_intersection_that_closes_is_proved() -> None:
    merged = interval(2.0).intersect(interval(0.0, 2.0 * (1 + 1e-7)))
    assert merged.certificate is Certificate.EXACT and merged.status is Status.PROVED


def test_intervals_that_do_not_meet_raise() -> None:
    with pytest.raises(CrossingBounds):
        interval(2.0).intersect(interval(0.0, 1.0))
    with pytest.raises(CrossingBounds):
        interval(0.0, 1.0).intersect(interval(2.0, 3.0))


@given(
    ends=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(1.0, 5.0)), min_size=2, max_size=4),
)
def test_intersection_is_the_set_intersection_in_any_order(ends: list[tuple[float, float]]) -> None:
    intervals = [interval(low, high) for low, high in ends]
    for order in itertools.permutations(intervals):
        merged = order[0]
        for other in order[1:]:
            merged = merged.intersect(other)
        assert (merged.lower, merged.upper) == (max(low for low, _ in ends), min(high for _, high in ends))
        if merged.lower > 0:
            assert merged.witness is not None and merged.witness.attained >= merged.lower


OTHERS = {
    "scope": LocalLipschitz(LinfBall(0.1), Logit(0), scope="pointed"),
    "radius": LocalLipschitz(LinfBall(0.2), Logit(0)),
    "ball": LocalLipschitz(L2Ball(0.1), Logit(0), p=math.inf),
    "range": LocalLipschitz(LinfBall(0.1, low=0.0), Logit(0)),
    "norm": LocalLipschitz(LinfBall(0.1), Logit(0), p=1),
    "output": LocalLipschitz(LinfBall(0.1), Margin(0, 1)),
    "q": LocalLipschitz(LinfBall(0.1), Vector()),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_different_questions_are_incomparable(other: LocalLipschitz) -> None:
    one, two = interval(0.0, 2.0), interval(0.0, 1.0, problem=other)
    for first, second in ((one, two), (two, one)):
        with pytest.raises(IncomparableResults):
            first.check_comparable(second)
        with pytest.raises(IncomparableResults):
            first.intersect(second)


def test_different_functionals_are_incomparable() -> None:
    """The runner-up may differ between two points, or between two states of a network."""
    one, two = interval(0.0, 2.0, functional="margin 1 - 3"), interval(0.0, 2.0, functional="margin 1 - 2")
    with pytest.raises(IncomparableResults, match="margin 1 - 2"):
        one.intersect(two)


def test_a_pointed_upper_end_never_meets_a_regional_lower_end() -> None:
    """relu(x - 1) about 0: the pointed bound 0.5 lies below the regional constant 1, and that is no crossing."""
    regional = interval(1.0, problem=LocalLipschitz(LinfBall(2.0), Logit(0)))
    pointed = interval(0.0, 0.5, problem=LocalLipschitz(LinfBall(2.0), Logit(0), scope="pointed"))
    with pytest.raises(IncomparableResults):
        regional.intersect(pointed)


def test_every_status_gives_advice() -> None:
    assert all(len(status.advice) > 20 for status in Status)


def test_results_and_errors_cross_processes() -> None:
    result = interval(1.0, 2.0)
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(CrossingBounds) as caught:
        interval(2.0, 1.0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is CrossingBounds and str(again) == str(caught.value)
    assert (again.where, again.todo) == (caught.value.where, caught.value.todo)


@pytest.mark.parametrize("status", list(Status))
def test_where_the_ends_meet_nothing_is_left_to_prove(status: Status) -> None:
    met = interval(2.0, 2.0, proof="a search", status=status)
    assert (met.certificate, met.status) == (Certificate.EXACT, Status.PROVED)
    apart = interval(1.0, 2.0, proof="a search", status=status)
    assert apart.status is status
