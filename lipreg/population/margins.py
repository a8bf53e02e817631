"""Margin over constant as a quantity of a population: a sample of it from margins, and from a sample of constants.

Margins are those of ``lipreg.transfer.margins``: the margin of the true class at a point, over k times the constant of its
region. As far as that, and inside the region, no point has another class. Where the class at the point is wrong it is 0:
such points stay in the count, and ``wording.wrong`` says how many they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lipreg.errors import InvalidInput
from lipreg.population.ends import SHARP, margins_over
from lipreg.population.sample import Numbers, Sample

MEASURE = "margin over constant"


def over_constants(
    constants: Sample, margins: Numbers, everywhere: Numbers | None = None, factor: float = 1.0
) -> Sample:
    """The margin over the constant at the drawn points of a sample of constants.

    A quotient swaps ends: its upper end is over the lower end of the constant. Of points that were not drawn it is known
    between two ends where their margins are, since closed-form bounds of their constants are.

    Args:
        constants: a sample of the constants, which are not negative.
        margins: at the drawn points, ``(n,)``: numbers that the margins are not below, and exceed by ``SHARP`` at most.
        everywhere: the same at every point of the population, ``(N,)``; None where they were not evaluated.
        factor: k: margins change by at most k times the constant times the distance.

    Raises:
        InvalidInput: margins of fewer or more points.
    """
    _check(constants, margins, everywhere)
    low, high = constants.ends
    ends = margins_over(np.asarray(margins, dtype=np.float64), factor, (np.maximum(low, 0.0), high))
    prior = (np.zeros(constants.size), None)
    if everywhere is not None:
        floor, ceiling = constants.prior_ends
        prior = margins_over(np.asarray(everywhere, dtype=np.float64), factor, (np.maximum(floor, 0.0), ceiling))
    of = constants.of and f"{constants.of}, {MEASURE}"
    return replace(constants, low=ends[0], high=ends[1], floor=prior[0], ceiling=prior[1], of=of)


def of_margins(constants: Sample, margins: Numbers, everywhere: Numbers | None = None) -> Sample:
    """The margins themselves at the same points, as for ``over_constants``: those that are not positive are wrong.

    Args:
        constants: the sample that says which points were drawn.
        margins: at the drawn points, ``(n,)``: numbers that the margins are not below, and exceed by ``SHARP`` at most.
        everywhere: the same at every point of the population, ``(N,)``; None where they were not evaluated.

    Raises:
        InvalidInput: margins of fewer or more points.
    """
    _check(constants, margins, everywhere)
    low = np.asarray(margins, dtype=np.float64)
    lows = None if everywhere is None else np.asarray(everywhere, dtype=np.float64)
    ends = low, low + SHARP * np.abs(low)
    prior = (None, None) if lows is None else (lows, lows + SHARP * np.abs(lows))
    of = constants.of and f"{constants.of}, margin"
    return replace(constants, low=ends[0], high=ends[1], floor=prior[0], ceiling=prior[1], of=of)


def _check(constants: Sample, margins: Numbers, everywhere: Numbers | None) -> None:
    wanted = [(margins, len(constants.drawn)), *([] if everywhere is None else [(everywhere, constants.size)])]
    for values, count in wanted:
        if len(values) != count or np.isnan(np.asarray(values, dtype=np.float64)).any():
            raise InvalidInput(f"{len(values)} margins", where=MEASURE, accepted=f"{count}, each a number")
