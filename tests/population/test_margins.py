"""Margins over constants as samples: ends that swap, classes that are wrong, and how often pairs of them miss."""

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
    difference_of_shares,
    of_margins,
    over_constants,
    ratio_of_quantiles,
)
from lipreg.population.ends import difference
from tests.population.test_sample import holds, made, rank

LEVEL, DRAWS, POINTS = 0.2, 150, 30


def test_ends_swap_and_wrong_classes_count_as_nothing() -> None:
    constants = Sample(6, [3, 1, 2], [2.0, 0.0, 1.0], [4.0, math.inf, 2.0])
    found = over_constants(constants, [1.0, 1.0, -3.0], factor=2.0)
    low, high = found.ends
    assert low == pytest.approx([0.125, 0.0, 0.0]) and high == pytest.approx([0.25, math.inf, 0.0])
    assert Fraction(low[0]) <= Fraction(1, 8) and Fraction(1, 4) <= Fraction(high[0])
    assert found.prior_ends[0].tolist() == [0.0] * 6 and found.prior_ends[1].tolist() == [math.inf] * 6
    everywhere = over_constants(constants, [1.0, 1.0, -3.0], [5.0, 1.0, -3.0, 1.0, -1.0, 0.0])
    assert everywhere.prior_ends[1].tolist() == [math.inf, math.inf, 0.0, math.inf, 0.0, 0.0]
    assert of_margins(constants, [1.0, 1.0, -3.0]).share_above(0.0).low > 0


def test_a_constant_of_nothing_leaves_the_margin_without_an_end() -> None:
    constants = Sample(3, [0, 1, 2], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    found = over_constants(constants, [1.0, 1.0, 1.0])
    assert found.quantile(1.0).high == math.inf and found.quantile(0.3).low <= 1.0
    assert found.mean().low > 1e308 and found.mean().high == math.inf


def test_differences_of_what_is_infinite() -> None:
    inf = math.inf
    one, other = (
        (np.array([inf, 0.0, inf]), np.array([inf, inf, inf])),
        (np.array([inf, 1.0, 1.0]), np.array([inf] * 3)),
    )
    low, high = difference(one, other)
    assert low.tolist() == [0.0, -inf, 0.0] and high.tolist() == [0.0, inf, inf]
    same = np.array([0.1 + 0.2]), np.array([0.1 + 0.2])
    assert [end.tolist() for end in difference(same, same)] == [[0.0], [0.0]]


class Twins:
    """Two networks of which the margins and constants at every point are known, each constant between two ends."""

    def __init__(self) -> None:
        random, (mine, twin) = np.random.default_rng(5), (made("spread"), made("spread"))
        size = len(mine["truth"])
        factor = np.exp(random.normal(-0.2, 0.4, size))
        twin = {name: ends * factor for name, ends in twin.items()}
        self.wholes = mine, twin
        self.margins = random.normal(1.0, 0.8, size), random.normal(1.0, 0.8, size)
        self.truths = tuple(
            np.maximum(margins, 0.0) / whole["truth"] for margins, whole in zip(self.margins, self.wholes, strict=True)
        )

    def samples(self, drawn: list[int], evidence: Evidence, known: bool) -> tuple[Sample, Sample]:
        found = []
        for whole, margins in zip(self.wholes, self.margins, strict=True):
            around = (whole["floor"], whole["ceiling"]) if known else (None, None)
            ends = whole["low"][drawn], whole["high"][drawn], *around
            constants = Sample(len(margins), drawn, *ends, 1 - LEVEL, evidence)
            found.append(over_constants(constants, margins[drawn], margins if known else None))
        return found[0], found[1]


TWINS = Twins()
_MINE, _TWIN = TWINS.truths
_SAID: dict[str, tuple[Callable[[Sample, Sample], Between], float]] = {
    "quantile": (lambda a, _: a.quantile(0.5), rank(_MINE, 0.5)),
    "share above": (lambda a, _: a.share_above(0.8), float((_MINE > 0.8).mean())),
    "mean": (lambda a, _: a.mean(), float(_MINE.mean())),
    "rose": (lambda a, b: a.minus(b).share_above(0.0), float((_MINE > _TWIN).mean())),
    "fell": (lambda a, b: a.minus(b).share_below(0.0), float((_MINE < _TWIN).mean())),
    "ratio of medians": (lambda a, b: ratio_of_quantiles(a, b, 0.5), rank(_MINE, 0.5) / rank(_TWIN, 0.5)),
    "difference": (
        lambda a, b: difference_of_shares(a, b, 0.8),
        float((_MINE > 0.8).mean() - (_TWIN > 0.8).mean()),
    ),
}


def median_ratio_missed(a: Sample, b: Sample) -> bool:
    """Points of which both are 0 have whatever ratio one likes: the interval holds the medians of all of them."""
    found, ratios = a.over(b).quantile(0.5), []
    for nothing in (0.0, math.inf):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(rank(np.nan_to_num(_MINE / _TWIN, nan=nothing, posinf=math.inf), 0.5))
    return not all(holds(found, ratio) for ratio in ratios)


@pytest.mark.parametrize("known", [True, False], ids=["known beforehand", "of the drawn alone"])
@pytest.mark.parametrize("evidence", [Planned(), AnyTime()], ids=lambda kind: kind.name)
def test_statements_of_margins_miss_as_seldom_as_they_say(evidence: Evidence, known: bool) -> None:
    missed = dict.fromkeys([*_SAID, "median ratio"], 0)
    for seed in range(DRAWS):
        a, b = TWINS.samples(Draw(len(_MINE), seed).first(POINTS), evidence, known)
        for name, (say, truth) in _SAID.items():
            missed[name] += not holds(say(a, b), truth)
        missed["median ratio"] += median_ratio_missed(a, b)
    assert max(missed.values()) <= LEVEL * DRAWS + 3 * math.sqrt(LEVEL * (1 - LEVEL) * DRAWS), missed


def test_all_points_tell_the_truth() -> None:
    a, b = TWINS.samples(Draw(len(_MINE), 0).order(), Planned(), True)
    for name in ("rose", "fell", "share above"):
        say, truth = _SAID[name]
        found = say(a, b)
        assert holds(found, truth) and found.high - found.low < 0.4, name  # a fifth of the points has wide ends


def test_what_is_not_of_the_same_points_is_refused() -> None:
    a, b = TWINS.samples(Draw(len(_MINE), 0).first(5), Planned(), False)
    other, _ = TWINS.samples(Draw(len(_MINE), 1).first(5), Planned(), False)
    with pytest.raises(IncomparableResults, match="minus"):
        a.minus(other)
    with pytest.raises(IncomparableResults, match="difference_of_shares"):
        difference_of_shares(a, b.together(2), 1.0)
    with pytest.raises(InvalidInput, match="margins"):
        over_constants(a, [1.0] * 4)
