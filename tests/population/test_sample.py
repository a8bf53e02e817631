"""Statements about populations of which everything is known: how often they miss, over draws, and what they never say."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.population import (
    AnyTime,
    Between,
    Draw,
    Evidence,
    Planned,
    Sample,
    ShareWithin,
    ratio_of_quantiles,
)

DRAWS = 250
LEVEL = 0.2


def made(kind: str) -> dict[str, np.ndarray]:
    """A population with the ends that are known of every point: truth, low, high, floor, ceiling."""
    random = np.random.default_rng(3)
    truth = np.exp(random.normal(0, 0.6, 120)) if kind == "spread" else random.integers(1, 5, 90).astype(float)
    open_ = random.random(len(truth)) < 0.2
    wide = kind == "few values"
    return {
        "truth": truth,
        "low": np.where(open_, 0.8 * truth, truth),
        "high": np.where(open_, 1.3 * truth, truth),
        "floor": np.zeros(len(truth)) if wide else truth * random.uniform(0.4, 1, len(truth)),
        "ceiling": np.full(len(truth), 6.0) if wide else truth * random.uniform(1, 2.5, len(truth)),
    }


def sample(of: dict[str, np.ndarray], drawn: list[int], evidence: Evidence, confidence: float = 1 - LEVEL) -> Sample:
    ends = of["low"][drawn], of["high"][drawn], of["floor"], of["ceiling"]
    return Sample(len(of["truth"]), drawn, *ends, confidence, evidence)


def rank(values: np.ndarray, share: float) -> float:
    return float(np.sort(values)[math.ceil(share * len(values)) - 1])


STATEMENTS: dict[str, tuple[Callable[[Sample], Between], Callable[[np.ndarray], float]]] = {
    "median": (lambda s: s.quantile(0.5), lambda v: rank(v, 0.5)),
    "quantile": (lambda s: s.quantile(0.9), lambda v: rank(v, 0.9)),
    "largest": (lambda s: s.quantile(1.0), lambda v: float(v.max())),
    "mean": (lambda s: s.mean(), lambda v: float(v.mean())),
    "above": (lambda s: s.share_above(1.5), lambda v: float((v > 1.5).mean())),
    "below": (lambda s: s.share_below(2.0), lambda v: float((v < 2.0).mean())),
}


def holds(found: Between, truth: float) -> bool:
    return found.low - 1e-9 <= truth <= found.high + 1e-9


@pytest.mark.parametrize("kind", ["spread", "few values"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_planned_sample_misses_as_seldom_as_it_says(kind: str, statement: str) -> None:
    whole, (say, true) = made(kind), STATEMENTS[statement]
    size = len(whole["truth"])
    said = [say(sample(whole, Draw(size, seed).first(25), Planned())) for seed in range(DRAWS)]
    missed = sum(not holds(found, true(whole["truth"])) for found in said)
    assert missed <= LEVEL * DRAWS + 3 * math.sqrt(LEVEL * (1 - LEVEL) * DRAWS)
    assert any(found.high - found.low < 0.9 * (whole["ceiling"].max()) for found in said)  # it says something


@pytest.mark.parametrize("kind", ["spread", "few values"])
@pytest.mark.parametrize("statement", ["median", "mean", "above"])
def test_looking_again_and_again_misses_no_more(kind: str, statement: str) -> None:
    """A draw that ends as soon as a statement is wrong, if it ever is: the worst moment to stop."""
    whole, (say, true) = made(kind), STATEMENTS[statement]
    size, draws, missed = len(whole["truth"]), 40, 0
    for seed in range(draws):
        order = Draw(size, seed).order()
        said = (say(sample(whole, order[:n], AnyTime())) for n in range(2, size, 7))
        missed += any(not holds(found, true(whole["truth"])) for found in said)
    assert missed <= LEVEL * draws + 3 * math.sqrt(LEVEL * (1 - LEVEL) * draws)


@pytest.mark.parametrize("evidence", [Planned(), AnyTime()], ids=lambda kind: kind.name)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_all_points_leave_nothing_to_chance(evidence: Evidence, statement: str) -> None:
    whole, (say, true) = made("spread"), STATEMENTS[statement]
    whole |= {"low": whole["truth"], "high": whole["truth"]}
    found = say(sample(whole, Draw(len(whole["truth"]), 1).order(), evidence, 0.999))
    assert found.low == pytest.approx(true(whole["truth"]), rel=1e-11) and found.high == pytest.approx(
        found.low, rel=1e-11
    )


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_point_says_what_is_known_of_all(statement: str) -> None:
    whole, (say, true) = made("spread"), STATEMENTS[statement]
    found = say(sample(whole, [], Planned()))
    ends = true(whole["floor"]), true(whole["ceiling"])
    assert (found.low, found.high) == pytest.approx((min(ends), max(ends)), rel=1e-11)


def test_points_that_are_known_between_two_ends_only_widen() -> None:
    whole = made("spread")
    exact = whole | {"low": whole["truth"], "high": whole["truth"]}
    drawn = Draw(len(whole["truth"]), 5).first(40)
    for say, _ in STATEMENTS.values():
        wide, narrow = say(sample(whole, drawn, Planned())), say(sample(exact, drawn, Planned()))
        assert wide.low <= narrow.low + 1e-9 and narrow.high <= wide.high + 1e-9


def test_points_of_which_nothing_was_proved_stay_in_the_count() -> None:
    drawn = list(range(20))
    lost = Sample(40, drawn, [1.0] * 20, [1.0] * 10 + [math.inf] * 10)
    assert lost.quantile(0.9).high == math.inf and lost.quantile(0.2).high == 1.0
    assert lost.mean().high == math.inf and lost.share_above(2.0).high > 0.5


def test_ratios_of_the_same_points() -> None:
    whole = made("spread")
    drawn = Draw(len(whole["truth"]), 2).first(50)
    before = Sample(120, drawn, whole["low"][drawn], whole["high"][drawn])
    after = Sample(120, drawn, whole["low"][drawn] / 2, whole["high"][drawn] / 2)
    ratio = after.over(before)
    assert holds(ratio.quantile(0.5), 0.5) and ratio.share_below(1.0).low > 0.7
    assert holds(ratio_of_quantiles(after, before, 0.5), 0.5)
    with pytest.raises(IncomparableResults, match="50 points and 50 others"):
        after.over(Sample(120, drawn[::-1], whole["low"][drawn], whole["high"][drawn]))


def test_what_is_no_sample_is_refused() -> None:
    for wrong in ([0, 0], [5, 0], [-1, 0]):
        with pytest.raises(InvalidInput, match="each once, from 0 to 4"):
            Sample(5, wrong, [1.0, 1.0], [1.0, 1.0])
    with pytest.raises(InvalidInput, match="cross"):
        Sample(5, [0], [2.0], [1.0])
    with pytest.raises(InvalidInput, match="3 values of floor"):
        Sample(5, [0], [1.0], [1.0], floor=[0.0] * 3)
    for confidence in (0, 1, 1.5, True, "high"):
        with pytest.raises(InvalidInput, match=r"0\.95, say"):
            Sample(5, [0], [1.0], [1.0], confidence=confidence)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="above 0 and at most 1"):
        Sample(5, [0], [1.0], [1.0]).quantile(90)
    with pytest.raises(InvalidInput, match="may be negative"):
        Sample(5, [0], [-1.0], [1.0]).mean()


def test_a_bet_that_was_lost_early_says_nothing_that_is_known_to_be_false() -> None:
    values = [1.0] * 10 + [0.0] * 10
    found = Sample(20, list(range(20)), values, values, [0.0] * 20, [1.0] * 20).mean()
    assert found.low <= 0.5 <= found.high and found.high - found.low < 1e-9
    for n in range(20):
        part = Sample(20, list(range(n)), values[:n], values[:n], [0.0] * 20, [1.0] * 20).mean()
        assert part.low <= part.high


def test_means_are_rounded_outwards() -> None:
    values = [0.1, 0.2, 0.3]
    found = Sample(3, [0, 1, 2], values, values).mean()
    exact = sum(map(Fraction, values), Fraction()) / 3
    assert Fraction(found.low) <= exact <= Fraction(found.high) and found.high - found.low < 1e-9
    assert Sample(4, [0, 1, 2, 3], [1e308] * 4, [1e308] * 4).mean().low < math.inf


def test_ratios_of_what_may_be_negative_are_refused() -> None:
    signed, plain = Sample(4, [0, 1], [-1.0, 1.0], [1.0, 2.0]), Sample(4, [0, 1], [1.0, 1.0], [1.0, 2.0])
    for first, second in ((signed, plain), (plain, signed)):
        with pytest.raises(InvalidInput, match="may be negative"):
            first.over(second)
        with pytest.raises(InvalidInput, match="may be negative"):
            ratio_of_quantiles(first, second, 0.5)


def test_what_is_no_value_is_refused() -> None:
    sample = Sample(5, [0], [1.0], [1.0])
    for wrong in (lambda: sample.share_above(math.nan), lambda: ShareWithin(math.nan), lambda: Draw(5).first(-1)):
        with pytest.raises(InvalidInput):
            wrong()
    for size, drawn in ((0, []), (5, [0.5])):
        with pytest.raises(InvalidInput):
            Sample(size, drawn, [1.0] * len(drawn), [1.0] * len(drawn))  # type: ignore[arg-type]
