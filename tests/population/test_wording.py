"""Sentences about data sets: what they round, what they count, and what they say of several statements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from lipreg.errors import IncomparableResults
from lipreg.population import Between, Draw, QuantileWithin, ShareWithin
from lipreg.population.comparing import compared
from lipreg.population.wording import between, population_sentences
from lipreg.records import PopulationRecord

SIZE = 50


def record(drawn: list[int], low: Sequence[float], **others: object) -> PopulationRecord:
    about: dict = {"size": SIZE, "seed": 0, "confidence": 0.95, "evidence": "planned", "met": True}
    about |= {"until": f"{len(drawn)} points are drawn", "floor": [], "ceiling": []}
    return PopulationRecord("run", 0, drawn=drawn, low=list(low), high=list(low), **(about | others))


def test_words_are_not_rounded_up() -> None:
    few = record([0, 1], [1.0, 1.0], size=5, confidence=0.99995)
    said = " ".join(population_sentences(few))
    assert "99.995 %" in said and "100 %" not in said
    assert QuantileWithin(0.99999, 0.1).sentence() == "the 99.999 % quantile is known within 10 %"
    rule = record([0, 1], [1.0, 1.0], size=5, figure=ShareWithin(0.7).figure(few.sample))
    assert population_sentences(rule)[2].endswith("have a constant above 0.7")


def test_statements_that_hold_together_say_how_and_are_wider() -> None:
    drawn = Draw(SIZE, 1).first(20)
    own = record(drawn, [float(i) for i in drawn], above=[10.5])
    apart, together = (
        population_sentences(own),
        population_sentences(record(drawn, own.low, above=[10.5], together=True)),
    )
    assert "each of the following, by itself" in apart[1]
    assert "the 5 % of draws that may miss are shared out equally among the 4" in together[1]
    alone = own.sample.together(4)
    assert alone.confidence == pytest.approx(0.9875) and alone.together(1) is alone
    assert apart[2].endswith("of the points have a constant above 10.5") and apart[2] != together[2]
    assert f"the median of the constant is {between(alone.quantile(0.5))}" in together


def test_points_that_are_classified_wrongly_are_said() -> None:
    drawn = Draw(SIZE, 1).first(20)
    margins = [0.5] * 17 + [-0.5] * 3
    every = [0.5] * SIZE
    for i, margin in zip(drawn, margins, strict=True):
        every[i] = margin
    seen = population_sentences(record(drawn, [2.0] * 20, margins=margins))
    assert seen[-1] == "between 6 and 32 % of the points are classified wrongly, with a margin over constant of 0"
    whole = population_sentences(record(drawn, [2.0] * 20, margins=margins, every_margin=every))
    assert whole[-1] == "3 points are classified wrongly, with a margin over constant of 0"
    assert whole[-2] == "the median of the margin over constant is between 0.25 and 0.25001"
    none = population_sentences(record(drawn, [2.0] * 20, margins=[0.5] * 20, every_margin=[0.5] * SIZE))
    assert none[-1] == "no point is classified wrongly"


def test_what_two_draws_say_of_two_networks() -> None:
    drawn = Draw(SIZE, 1).first(20)
    mine = record(drawn, [1.0] * 20, margins=[1.0] * 20, data="a", floor=[0.0] * SIZE, ceiling=[None] * SIZE)
    twin = record(drawn, [2.0] * 20, margins=[1.0] * 19 + [-1.0], data="a")
    said = compared(mine, twin)
    assert said == [
        "at between 88 and 100 % of the points the constant is smaller than the twin's",
        "the median of the ratio of the constant to the twin's is 0.5",
        "at between 88 and 100 % of the points the margin over constant is larger than the twin's",
        "the median of the ratio of the margin over constant to the twin's is between 1.9999 and 2.0001",
    ]
    wide = compared(record(drawn, [1.0] * 20, margins=[1.0] * 20, data="a", together=True), twin)
    assert wide[0].startswith("at between 84 and 100 %")
    with pytest.raises(IncomparableResults, match="two data sets, or under two questions"):
        compared(mine, record(drawn, [2.0] * 20, data="b"))
    old = record(drawn, [2.0] * 20)  # of an earlier version, which told no data
    assert len(compared(mine, old)) == 2


def test_what_is_beyond_all_numbers_is_infinite() -> None:
    assert between(Between(1.7976931348623157e308, math.inf, 0.95)) == "infinite"
