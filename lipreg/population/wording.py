"""What a sample says of its population, in sentences that stand by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from lipreg.population.sample import Between, Sample
from lipreg.words import counted, rounded

QUANTILES = (0.5, 0.9)
"""Those that are told unasked."""


def told(sample: Sample, seed: int, until: str, met: bool, figure: str = "") -> list[str]:
    """What was drawn, how surely the rest holds, and a median, a quantile and a mean.

    Args:
        sample: of a quantity that is called a constant.
        seed: of the draw.
        until: in words, when it was to end.
        met: whether that was reached.
        figure: what the rule that ended it was about, in words.
    """
    size, drawn = counted(sample.size, "point"), len(sample.drawn)
    surely = f"a confidence of {percent(sample.confidence)} over the draw"
    usual = [*(quantile(sample, share) for share in QUANTILES), mean(sample)]
    if drawn == sample.size:
        every = f"all {size}" if drawn > 1 else "the only point"
        whole = f"what follows is about {every}, and nothing of it hangs on a draw"
        return [f"{every} of the data set {'were' if drawn > 1 else 'was'} audited", whole, *_statements(figure, usual)]
    ended = "" if until == f"{drawn} points are drawn" else f", until {until}"
    if not met:
        ended = f", when the time ended; they were to be drawn until {until}"
    return [
        f"{drawn:,} of the {size} of the data set were drawn at random (seed {seed}){ended}",
        f"each of the following, by itself, is about all {size} and holds with {surely}",
        *_statements(figure, usual),
    ]


def _statements(figure: str, usual: list[str]) -> list[str]:
    return list(dict.fromkeys([*filter(None, [figure]), *usual]))


def quantile(sample: Sample, share: float, what: str = "constant") -> str:
    """Between what a quantile lies."""
    return f"{quantile_name(share)} of the {what} is {between(sample.quantile(share))}"


def quantile_name(share: float) -> str:
    """What a quantile is called."""
    return "the median" if share == 0.5 else f"the {percent(share)} quantile"


def percent(share: float) -> str:
    """A share as it was given, in per cent, not rounded."""
    return f"{(Decimal(repr(float(share))) * 100).normalize():f} %"


def mean(sample: Sample, what: str = "constant") -> str:
    """Between what the mean lies."""
    return f"the mean of the {what} is {between(sample.mean())}"


def share_above(sample: Sample, value: float, what: str = "constant") -> str:
    """How many points of the population have more than a value."""
    found = sample.share_above(value)
    low, high = _percent(found.low, math.floor), _percent(found.high, math.ceil)
    many = f"{low} %" if low == high else f"at most {high} %" if found.low == 0 else f"between {low} and {high} %"
    return f"{many} of the points have a {what} above {value!r}"


def between(found: Between) -> str:
    """Two ends in words, rounded outwards to five digits."""
    low, high = rounded(found.low, ROUND_FLOOR, 5), rounded(found.high, ROUND_CEILING, 5)
    if found.high == math.inf:
        return f"at least {low}, and not bounded from above" if found.low > -math.inf else "not known"
    if found.low == -math.inf:
        return f"at most {high}"
    return low if low == high else f"between {low} and {high}"


def _percent(share: float, rounded: Callable[[float], int]) -> str:
    """Per cent with two digits behind the point; whole counts over whole sizes are no multiples of rounding."""
    near = 1e-7 if rounded is math.floor else -1e-7
    return f"{rounded(share * 10_000 + near) / 100:.4g}"
