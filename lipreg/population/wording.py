"""Statements of a sample about its population, in sentences that stand by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from lipreg.population.between import Between
from lipreg.population.margins import MEASURE
from lipreg.population.sample import LARGEST, Sample
from lipreg.words import counted, rounded

QUANTILES = (0.5, 0.9)
"""Shares whose quantiles every report has."""


class Drawn(Protocol):
    """Points that were drawn, and all that is reported of what was proved there: a ``PopulationRecord``, say."""

    @property
    def sample(self) -> Sample:
        """The constant."""
        ...

    @property
    def over_constant(self) -> Sample | None:
        """The margin over it; None where there are no classes, or constants that bound no margins."""
        ...

    @property
    def classified(self) -> Sample | None:
        """The margin; None likewise."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the draw."""
        ...

    @property
    def until(self) -> str:
        """When the draw was to end, in words."""
        ...

    @property
    def met(self) -> bool:
        """Whether the draw went on until then."""
        ...

    @property
    def figure(self) -> str:
        """What the rule that ended it was about, in words; empty without a rule."""
        ...

    @property
    def above(self) -> list[float]:
        """Values, named before the draw, above which points are counted."""
        ...

    @property
    def together(self) -> bool:
        """Whether all statements are to hold together with the confidence."""
        ...


def population_sentences(of: Drawn) -> list[str]:
    """What was drawn, how surely the rest holds, and a median, a quantile and a mean; margins, where there are any."""
    size, drawn = counted(of.sample.size, "point"), len(of.sample.drawn)
    if drawn == of.sample.size:
        every = f"all {size}" if drawn > 1 else "the only point"
        whole = f"what follows is about {every}, and none of it depends on a draw"
        return [f"{every} of the data set {'were' if drawn > 1 else 'was'} audited", whole, *_statements(of, 1)]
    count = statements(bool(of.figure), of.above, of.over_constant is not None)
    surely = f"a confidence of {percent(of.sample.confidence)} over the draw"
    holds = f"each of the following, by itself, is about all {size} and holds with {surely}"
    if of.together:
        missed = f"{(100 - Decimal(repr(float(of.sample.confidence))) * 100).normalize():f} %"
        shared = f"the {missed} of draws that may miss are shared out equally among the {count}"
        holds = f"the following are about all {size} and hold all together with {surely}: {shared}"
    ended = "" if of.until == f"{drawn} points are drawn" else f", until {of.until}"
    if not of.met:
        ended = f", when the time ended; they were to be drawn until {of.until}"
    begin = f"{drawn:,} of the {size} of the data set were drawn at random (seed {of.seed}){ended}"
    return [begin, holds, *_statements(of, count if of.together else 1)]


def statements(rule: bool, above: Sequence[float], margins: bool) -> int:
    """How many statements are made, which is settled before the draw.

    Args:
        rule: whether one ends the draw, whose figure then is reported.
        above: values of which it is reported how many points are above.
        margins: whether margins over constants are reported.
    """
    return int(rule) + len(above) + len(QUANTILES) + 1 + 2 * margins


def _statements(of: Drawn, count: int) -> list[str]:
    """All of them, each with its part of the level."""
    sample, over, classes = of.sample.together(count), of.over_constant, of.classified
    sentences = [of.figure] if of.figure else []
    sentences += [share_above(sample, value) for value in of.above]
    sentences += [*(quantile(sample, share) for share in QUANTILES), mean(sample)]
    if over is not None and classes is not None:
        sentences += [quantile(over.together(count), 0.5, MEASURE), wrong(classes.together(count))]
    return list(dict.fromkeys(sentences))


def wrong(classified: Sample) -> str:
    """How many points are classified wrongly, in words that name the margin over constant that they count with: 0."""
    right = classified.share_above(0.0)
    share = Between(1 - right.high, 1 - right.low, right.confidence)
    if share.high <= 0:
        return "no point is classified wrongly"
    one = round(share.low * classified.size) == round(share.high * classified.size) == 1
    if share.low == share.high:
        many = counted(round(share.low * classified.size), "point")
        return f"{many} {'is' if one else 'are'} classified wrongly, with a {MEASURE} of 0"
    return f"{per_cent(share)} of the points are classified wrongly, with a {MEASURE} of 0"


def quantile(sample: Sample, share: float, what: str = "constant") -> str:
    """The ends of a quantile in a sentence.

    Args:
        sample: of the quantity, with the confidence at which the ends are to hold.
        share: of the points that do not exceed the quantile, above 0 and at most 1.
        what: what the quantity is called.
    """
    return f"{quantile_name(share)} of the {what} is {between(sample.quantile(share))}"


def quantile_name(share: float) -> str:
    """What the quantile of a share is called: "the median", "the 90 % quantile"."""
    return "the median" if share == 0.5 else f"the {percent(share)} quantile"


def percent(share: float) -> str:
    """A share in per cent, with all of its digits."""
    return f"{(Decimal(repr(float(share))) * 100).normalize():f} %"


def mean(sample: Sample, what: str = "constant") -> str:
    """The ends of the mean in a sentence, where ``what`` is what the quantity is called."""
    return f"the mean of the {what} is {between(sample.mean())}"


def share_above(sample: Sample, value: float, what: str = "constant") -> str:
    """The share of points that have more than a value, in a sentence.

    Args:
        sample: of the quantity, with the confidence at which the ends are to hold.
        value: above which points are counted, named before the draw.
        what: what the quantity is called.
    """
    return f"{per_cent(sample.share_above(value))} of the points have a {what} above {value!r}"


def per_cent(ends: Between) -> str:
    """The ends of a share in per cent, rounded outwards."""
    low, high = _percent(ends.low, math.floor), _percent(ends.high, math.ceil)
    return f"{low} %" if low == high else f"at most {high} %" if ends.low <= 0 else f"between {low} and {high} %"


def between(ends: Between) -> str:
    """The ends of a figure in words, rounded outwards to five digits."""
    if ends.low >= LARGEST:
        return "infinite"
    low, high = rounded(ends.low, ROUND_FLOOR, 5), rounded(ends.high, ROUND_CEILING, 5)
    if ends.high == math.inf:
        return f"at least {low}, and not bounded from above" if ends.low > -math.inf else "not known"
    if ends.low == -math.inf:
        return f"at most {high}"
    return low if low == high else f"between {low} and {high}"


def _percent(share: float, rounded: Callable[[float], int]) -> str:
    """Per cent with two digits behind the point; whole counts over whole sizes are no multiples of rounding."""
    near = 1e-7 if rounded is math.floor else -1e-7
    return f"{rounded(share * 10_000 + near) / 100:.4g}"
