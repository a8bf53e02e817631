"""Bands over all values at once: ranks against enumeration, and how often a band misses anywhere."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lipreg.errors import InvalidInput
from lipreg.population import AnyTime, Draw, Evidence, Planned, Sample
from lipreg.population.ranks import ranks
from tests.population.test_sample import made, sample

EVIDENCE = pytest.mark.parametrize("evidence", [Planned(), AnyTime()], ids=lambda kind: kind.name)


@pytest.mark.parametrize(
    ("drawn", "size", "level"), [(1, 5, 0.3), (3, 9, 0.2), (4, 12, 0.1), (6, 11, 0.5), (10, 11, 0.4)]
)
def test_ranks_hold_together_as_often_as_they_say(drawn: int, size: int, level: float) -> None:
    """Of all sets of ranks, so many leave their ends somewhere; a little further in it would be too many."""
    least, most = ranks(drawn, size, level)
    sets = np.array(list(itertools.combinations(range(1, size + 1), drawn)))
    assert ((sets < least) | (sets > most)).any(1).mean() <= level
    assert (np.diff(least) > 0).all() and (least == size + 1 - most[::-1]).all()
    if drawn * 2 < size:
        assert ((sets < least + 1) | (sets > most - 1)).any(1).mean() > level


def test_ranks_of_large_populations_are_tighter_than_those_that_hold_one_by_one_at_a_part_of_the_level() -> None:
    least, most = ranks(60, 10_000, 0.05)
    half = math.sqrt(math.log(2 / 0.05) / 120)  # of Massart 1990, for samples of a distribution
    assert (most[29] - least[29]) / 10_000 < 1.1 * 2 * half
    assert most[0] / 10_000 < half  # and much tighter in the tails


@EVIDENCE
@pytest.mark.parametrize("kind", ["spread", "few values"])
def test_a_band_misses_anywhere_as_seldom_as_it_says(evidence: Evidence, kind: str) -> None:
    whole, draws, missed, level = made(kind), 150, 0, 0.2
    truth = np.sort(whole["truth"])
    values = np.unique(np.concatenate([truth, truth - 1e-9]))
    true = np.searchsorted(truth, values, "right")
    for seed in range(draws):
        band = sample(whole, Draw(len(truth), seed).first(25), evidence).band()
        low, high = band.counts(values)
        missed += bool(((true < low) | (true > high)).any())
    assert missed <= level * draws + 3 * math.sqrt(level * (1 - level) * draws)


@EVIDENCE
def test_quantiles_of_a_band_are_those_that_its_shares_leave(evidence: Evidence) -> None:
    whole = made("spread")
    band = sample(whole, Draw(120, 3).first(30), evidence).band()
    ends = np.unique(np.concatenate([*band.sure, band.least_values, band.most_values]))
    around = np.unique(np.concatenate([ends, np.nextafter(ends, -np.inf)]))
    for share in (0.01, 0.5, 0.77, 1.0):
        found, rank = band.quantile(share), math.ceil(share * 120)
        low, high = band.counts(around)
        possible = around[high >= rank]
        assert found.low == possible.min() and found.high == around[low >= rank].min()


@EVIDENCE
def test_a_band_is_within_what_each_value_says_by_itself_and_never_beyond_what_is_sure(evidence: Evidence) -> None:
    drawn = Draw(120, 3).first(30)
    bare = Sample(120, drawn, *(made("spread")["truth"][drawn] for _ in range(2)), evidence=evidence)
    for value in (0.5, 1.0, 2.0):
        one, all_ = bare.share_above(value), bare.band().share_above(value)
        assert all_.low <= one.low + 0.05 and one.high <= all_.high + 0.05 and all_.low < all_.high
    whole = Sample(120, Draw(120, 3).order(), *(made("spread")["truth"][Draw(120, 3).order()] for _ in range(2)))
    exact = whole.band().share_above(1.0)
    assert exact.low == exact.high == pytest.approx(float((made("spread")["truth"] > 1.0).mean()))


def test_what_is_no_value_is_refused() -> None:
    few = Sample(5, [0], [1.0], [1.0])
    for wrong in (lambda: few.band().share_above(math.nan), lambda: few.band().quantile(0), lambda: few.together(0)):
        with pytest.raises(InvalidInput):
            wrong()
    assert Sample(5, [], [], []).band().share_above(1.0).high == 1.0
