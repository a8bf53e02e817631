"""Statements about two networks over the whole data set, from two draws of the same points, in sentences."""

from __future__ import annotations

from collections.abc import Callable

from lipreg.errors import LipregError
from lipreg.population.between import Between
from lipreg.population.margins import MEASURE
from lipreg.population.sample import Sample
from lipreg.population.wording import Drawn, between, per_cent, percent

Share = Callable[[Sample, float], Between]

STATEMENTS = 2
"""How many statements are made of each quantity."""


def holding(mine: Drawn, twin: Drawn) -> str:
    """The confidence with which the sentences of ``compared`` hold, in words."""
    each = "all together" if mine.together or twin.together else "each by itself"
    return f"{each} with a confidence of {percent(mine.sample.confidence)} over the draw"


def compared(mine: Drawn, twin: Drawn, whose: str = "the twin's") -> list[str]:
    """How a network stands to another one at all points of a data set of which both have drawn the same.

    Of the constant and, where both have it, of the margin over it: at how many points it moved, and the median of its ratio.
    Statements hold by themselves, or all together where either draw is ``together``.

    Args:
        mine, twin: both draws.
        whose: what the twin's figures are called.

    Raises:
        IncomparableResults: another data set, question, draw or confidence.
    """
    pairs: list[tuple[Sample, Sample, str, Share, str]] = [
        (mine.sample, twin.sample, "constant", Sample.share_below, "smaller")
    ]
    if mine.over_constant is not None and twin.over_constant is not None:
        pairs.append((mine.over_constant, twin.over_constant, MEASURE, Sample.share_above, "larger"))
    count = STATEMENTS * len(pairs) if mine.together or twin.together else 1
    sentences: list[str] = []
    for first, second, what, share, direction in pairs:
        sentences += _of_one(first.together(count), second.together(count), what, share, f"{direction} than {whose}")
    return sentences


def refusal(error: LipregError) -> str:
    """Why the two are not compared, in words."""
    return f"they are not compared: {error.got}"


def _of_one(first: Sample, second: Sample, what: str, share: Share, direction: str) -> list[str]:
    share_moved, middle = share(first.minus(second), 0.0), first.over(second).quantile(0.5)
    ratio = f"the median of the ratio of the {what} to {direction.partition(' than ')[2]} is {between(middle)}"
    return [f"at {per_cent(share_moved)} of the points the {what} is {direction}", ratio]
